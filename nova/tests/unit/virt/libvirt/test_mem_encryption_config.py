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

"""Test the guest policy in the launch security of a guest."""
import ddt
from lxml import etree

from nova import test
from nova.tests.fixtures import tables
from nova.virt.libvirt import config

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import policies

# AMD 55766, "Secure Encrypted Virtualization API", table 2 (guest policy)
BITS = {'NODEBG': 0, 'NOKS': 1, 'ES': 2, 'NOSEND': 3, 'DOMAIN': 4, 'SEV': 5}
# AMD 56860, "SEV Secure Nested Paging Firmware ABI", the same
SNP_BITS = {'SMT': 16, 'RESERVED_1': 17, 'MIGRATE_MA': 18, 'DEBUG': 19,
            'SINGLE_SOCKET': 20, 'CXL_ALLOW': 21, 'MEM_AES_256_XTS': 22,
            'RAPL_DIS': 23, 'CIPHERTEXT_HIDING_DRAM': 24,
            'PAGE_SWAP_DISABLE': 25}


@ddt.ddt
class LaunchSecurityTest(test.NoDBTestCase):

    def format(self, policy=None):
        security = config.LibvirtConfigGuestSEVLaunchSecurity()
        security.cbitpos = 51
        security.reduced_phys_bits = 1
        if policy is not None:
            security.policy = policy
        return security.format_dom()

    @tables.data(*BITS.items(), by=0)
    @ddt.unpack
    def test_a_bit_has_the_value_of_the_manual(self, name, bit):
        self.assertEqual(1 << bit, policies.SEV[name])

    @tables.data(*SNP_BITS.items(), by=0)
    @ddt.unpack
    def test_and_one_of_sev_snp_too(self, name, bit):
        self.assertEqual(1 << bit, policies.SNP[name])

    def test_the_policies_are_made_of_bits(self):
        self.assertEqual({'amd-sev': 0x0033, 'amd-sev-es': 0x0037,
                          'amd-sev-snp': 0x30000}, {
            model: row.launch_security.value
            for model, row in models.MODELS.items()})

    def test_without_a_word_the_xml_is_the_one_of_nova(self):
        self.assertEqual(
            '<launchSecurity type="sev"><policy>0x0033</policy>'
            '<cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits>'
            '</launchSecurity>', etree.tostring(self.format()).decode())

    @tables.data((0x33, '0x0033'), (0x37, '0x0037'), (0, '0x0000'),
                 (0xffff, '0xffff'), by=1)
    @ddt.unpack
    def test_the_policy_is_written_to_the_xml(self, policy, text):
        root = self.format(policy)
        self.assertEqual(text, root.findtext('policy'))
        self.assertEqual(['policy', 'cbitpos', 'reducedPhysBits'],
                         [child.tag for child in root])

    def test_sev_snp_has_the_same_in_another_element(self):
        security = config.LibvirtConfigGuestSEVLaunchSecurity()
        security.cbitpos, security.reduced_phys_bits = 51, 1
        security.type, security.policy = 'sev-snp', 0x30000
        self.assertEqual(
            '<launchSecurity type="sev-snp"><policy>0x30000</policy>'
            '<cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits>'
            '</launchSecurity>',
            etree.tostring(security.format_dom()).decode())

    def test_a_policy_is_of_one_guest(self):
        self.format(0x0037)
        self.assertEqual('0x0033', self.format().findtext('policy'))

    def test_a_guest_has_the_policy_in_its_xml(self):
        guest = config.LibvirtConfigGuest()
        guest.virt_type = 'kvm'
        guest.launch_security = config.LibvirtConfigGuestSEVLaunchSecurity()
        guest.launch_security.policy = 0x37
        self.assertEqual('0x0037', etree.fromstring(guest.to_xml()).findtext(
            'launchSecurity/policy'))
