# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Ask libvirt of the domain of a server, and of the host's processor."""
import importlib
import typing as ty
from urllib import parse
import uuid

from nova_mem_encryption import errors

URI = 'qemu:///system'


class Answer(ty.NamedTuple):
    """What libvirt says; all of it is XML."""

    live: str          # the domain that runs
    asked: str         # what it was made of
    capabilities: str  # of the host


def is_remote(uri: str) -> bool:
    """Tell whether files of that libvirt's host may be on another machine."""
    return bool(parse.urlsplit(uri).netloc)


def ask(uri: str, server: str) -> Answer:
    """Ask libvirt, without the right to change anything.

    :param uri: of libvirt
    :param server: UUID or name of the domain
    :raises errors.CannotRun: if there is no answer, or it does not run
    """
    try:
        libvirt: ty.Any = importlib.import_module('libvirt')
    except ImportError as e:
        raise errors.CannotRun(
            'libvirt cannot be asked: %s. Use the environment that '
            'nova-compute runs in, or take the recorded description of the '
            'server: --from FILE.' % e) from e
    # It would also print what its exceptions say.
    libvirt.registerErrorHandler(lambda context, error: None, None)
    try:
        connection = libvirt.openReadOnly(uri)
        domain = _find(connection, server)
        if not domain.isActive():
            raise errors.CannotRun(
                'Server %s does not run: what it is started with is made at '
                'its start. Start it, and run this again.' % server)
        return Answer(domain.XMLDesc(0),
                      domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
                      connection.getCapabilities())
    except libvirt.libvirtError as e:
        if e.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            raise errors.CannotRun(
                "libvirt at %s has no server %s. 'openstack server show' "
                'tells on which host it is, and its instance name; its UUID '
                'will do, too.' % (uri, server)) from e
        raise errors.CannotRun(
            'libvirt at %s cannot be asked: %s. Run this on the host of the '
            'server while libvirt runs, or name its libvirt by --libvirt URI.'
            % (uri, ' '.join(str(e).split()).rstrip('.'))) from e


def _find(connection: ty.Any, server: str) -> ty.Any:
    try:
        return connection.lookupByUUIDString(str(uuid.UUID(server)))
    except ValueError:
        return connection.lookupByName(server)
