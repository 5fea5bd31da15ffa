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

"""Read firmware descriptors that Nova fails with."""
import jsonschema
from oslo_log import log as logging

from nova.virt.libvirt import host

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import descriptors
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)

# What Host.get_loader takes out of a descriptor
_FILE = {'type': 'object', 'required': ['filename'],
         'properties': {'filename': {'type': 'string'}}}
_STRINGS = {'type': 'array', 'items': {'type': 'string'}}
KNOWN = jsonschema.Draft7Validator({
    'type': 'object', 'required': ['targets', 'features', 'mapping'],
    'properties': {
        'features': _STRINGS,
        'targets': {'type': 'array', 'items': {
            'type': 'object', 'required': ['architecture', 'machines'],
            'properties': {'machines': _STRINGS}}},
        'mapping': {
            'type': 'object', 'required': ['executable', 'nvram-template'],
            'properties': {'executable': _FILE,
                           'nvram-template': _FILE}}}})


# NOTE: it cannot lean on Host.get_loader too, for which KNOWN is: that of 31.3
# is another than that of 31.0 to 31.2.
@overlay.wrap(host, mends='firmware descriptors it cannot read', leans_on=[
    'Host.loaders', 'Host.get_canonical_machine_type'])
def _get_loaders(upstream):
    """Leave out descriptors of kinds that Nova fails with.

    It fails as a whole with what is no JSON, such as the empty file that
    masks another one; in some releases also with firmware that is not for
    flash.
    """
    try:
        specs = upstream()
    except (OSError, ValueError, RecursionError) as e:
        found, rejected = descriptors.read_specs(files.ROOT)
        specs = list(found.values())
        LOG.warning('Nova cannot read all descriptors of firmware '
                    '(%(error)s). It gets those that can be read, in the '
                    'order that QEMU has. Left out: %(rejected)s',
                    {'error': e,
                     'rejected': '; '.join(map(str, rejected)) or 'none'})
    return [spec for spec in specs if _is_known(spec)]


def _is_known(spec):
    try:
        return KNOWN.is_valid(spec)
    except RecursionError:
        return False
