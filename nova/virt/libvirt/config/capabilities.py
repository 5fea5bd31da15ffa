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

"""Read no nonsense of a host."""
from oslo_log import log as logging

from nova.db import constants as db_const
from nova.virt.libvirt import config

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)


@overlay.wrap(config.LibvirtConfigDomainCapsFeatureSev,
              mends='domain capabilities that make no sense')
def parse_dom(upstream, self, xmldoc):
    """Offer nothing by what makes no sense, and say so."""
    try:
        upstream(self, xmldoc)
        if self.supported and None in (
                self.cbitpos, self.reduced_phys_bits):
            raise ValueError('cbitpos or reducedPhysBits is missing')
    except (TypeError, ValueError) as e:
        _complain(models.NATIVE.title, e)
        self.supported = False
    for name, title in (
            ('max_guests', 'SEV'), ('max_es_guests', 'SEV-ES')):
        count = getattr(self, name)
        if count is not None and not 0 <= count <= db_const.MAX_INT:
            _complain(title, '%s is %d' % (name, count))
            setattr(self, name, 0)


def _complain(title, why):
    LOG.error('What libvirt tells of SEV in its domain capabilities makes no '
              'sense, so this host is taken to have no %(title)s: %(why)s. '
              "Compare 'virsh domcapabilities', and the version of libvirt.",
              {'title': title, 'why': why})
