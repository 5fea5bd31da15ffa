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

"""Write the policy of each model, and read no nonsense of a host."""
from oslo_log import log as logging

from nova.db import constants as db_const
from nova.virt.libvirt import config

from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)
SEV = config.LibvirtConfigGuestSEVLaunchSecurity

# Guest policy: AMD 55766, "Secure Encrypted Virtualization API", table 2.
POLICY_BITS = {
    'SEV_POLICY_NODEBG': 1 << 0,  # no debugging of the guest
    'SEV_POLICY_NOKS': 1 << 1,    # no sharing of its keys with other guests
    'SEV_POLICY_ES': 1 << 2,      # its registers are encrypted too
    'SEV_POLICY_NOSEND': 1 << 3,  # not to be sent to another platform
    'SEV_POLICY_DOMAIN': 1 << 4,  # ... to one of another domain
    'SEV_POLICY_SEV': 1 << 5,     # ... to one that is not SEV-capable
}
for _name, _bit in POLICY_BITS.items():
    overlay.add(SEV, _name, _bit)

# 0x0033, as Nova has always had it
overlay.add(SEV, 'DEFAULT_SEV_POLICY',
            SEV.SEV_POLICY_NODEBG | SEV.SEV_POLICY_NOKS |
            SEV.SEV_POLICY_DOMAIN | SEV.SEV_POLICY_SEV)
# 0x0037
overlay.add(SEV, 'DEFAULT_SEV_ES_POLICY',
            SEV.DEFAULT_SEV_POLICY | SEV.SEV_POLICY_ES)
overlay.add(SEV, 'policy', SEV.DEFAULT_SEV_POLICY)


@overlay.wrap(config.LibvirtConfigGuestSEVLaunchSecurity)
def format_dom(upstream, self):
    """Write the policy of this guest in the place of the fixed one."""
    root = upstream(self)
    root.find('policy').text = '0x%04x' % self.policy
    return root


@overlay.wrap(config.LibvirtConfigDomainCapsFeatureSev)
def parse_dom(upstream, self, xmldoc):
    """Offer nothing by what makes no sense, and say so."""
    try:
        upstream(self, xmldoc)
        if self.supported and None in (self.cbitpos, self.reduced_phys_bits):
            raise ValueError('cbitpos or reducedPhysBits is missing')
    except (TypeError, ValueError) as e:
        _complain('SEV', e)
        self.supported = False
    for name, what in (('max_guests', 'SEV'), ('max_es_guests', 'SEV-ES')):
        count = getattr(self, name)
        if count is not None and not 0 <= count <= db_const.MAX_INT:
            _complain(what, '%s is %d' % (name, count))
            setattr(self, name, 0)


def _complain(what, why):
    LOG.error('What libvirt tells of SEV in its domain capabilities makes no '
              'sense, so this host is taken to have no %(what)s: %(why)s. '
              "Compare 'virsh domcapabilities', and the version of libvirt.",
              {'what': what, 'why': why})
