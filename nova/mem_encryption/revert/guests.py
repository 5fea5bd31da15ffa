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

"""Look for guests of a host that Nova without the series cannot have.

A server may be there without an allocation, which Placement tells nothing of.
"""
import importlib
import typing as ty

import nova.conf

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption.revert import writes

CONF = nova.conf.CONF
NONE = 'none'  # instead of a URI: do not look


class Guests:
    """The guests of libvirt on one host.

    :param uri: of libvirt; None for that of nova-compute on this machine,
        NONE for none
    """

    def __init__(self, uri: ty.Optional[str]) -> None:
        self.uri = uri
        # How many there are; None if it was not looked
        self.count: ty.Optional[int] = None

    def refuse(self, node: str) -> None:
        """Refuse to go on if one is more than what Nova has by itself.

        :param node: name of the node whose guests they have to be
        :raises writes.Failed: if one is, or if that cannot be told
        """
        if self.uri == NONE:
            return
        self.uri = self.uri or CONF.libvirt.connection_uri or 'qemu:///system'
        try:
            libvirt: ty.Any = importlib.import_module('libvirt')
        except ImportError as e:
            raise self._unseen(node, str(e)) from e
        # It would also print what its exceptions say.
        libvirt.registerErrorHandler(lambda context, error: None, None)
        try:
            connection = libvirt.openReadOnly(self.uri)
            name = connection.getHostname()
            if name != node:
                raise self._unseen(node, 'that libvirt is of host %s' % name)
            found = [(domain, self._find_more(libvirt, domain))
                     for domain in connection.listAllDomains(
                         libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE |
                         libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE)]
            self.count = len(found)
            more = ['%s (%s, %s)' % (domain.name(), domain.UUIDString(), what)
                    for domain, what in found if what]
        except libvirt.libvirtError as e:
            raise self._unseen(node, str(e)) from e
        if more:
            raise writes.Failed(
                'Of node %s, libvirt has guests that Nova without the series '
                'would start as plain %s, if they are servers: %s. Move these '
                'to another host or delete them, and undefine (virsh) those '
                'that are not Nova\'s, or look yourself and give --libvirt '
                '%s.' % (node, models.NATIVE.title, ', '.join(sorted(more)),
                         NONE))

    def _find_more(self, libvirt: ty.Any, domain: ty.Any) -> ty.Optional[str]:
        """Return what a guest has that Nova by itself does not have."""
        try:
            # What runs, and what would be started
            for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
                security = launch_security.read(domain.XMLDesc(flags))
                if security is None:
                    continue
                model = models.find_model(
                    security.element, security.policy or 0)
                if model is None:
                    return security.element
                if not model.native:
                    return model.title
        except libvirt.libvirtError as e:
            if e.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        return None

    def _unseen(self, node: str, reason: str) -> writes.Failed:
        return writes.Failed(
            'The guests of node %s cannot be looked at by libvirt at %s: %s. '
            'Run this on that host while libvirt runs, name its libvirt by '
            '--libvirt URI, or look yourself and give --libvirt %s.' % (
                node, self.uri, ' '.join(reason.split()).rstrip('.'), NONE))
