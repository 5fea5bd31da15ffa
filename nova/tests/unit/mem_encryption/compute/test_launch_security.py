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

"""Test how the launch security of a guest is compared with what was asked."""
import ddt

from nova import test
from nova.tests.fixtures import tables
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption.compute import launch_security

SEV, ES, SNP = 'amd-sev', 'amd-sev-es', 'amd-sev-snp'


@ddt.ddt
class CompareTest(test.NoDBTestCase):

    def compare(self, model, found):
        return launch_security.compare(
            model and hardware.MemEncryptionConfig(model),
            found and launch_security.LaunchSecurity(*found))

    @tables.data((None, None), (SEV, ('sev', 0x33)), (ES, ('sev', 0x37)),
                 (SNP, ('sev-snp', 0x30000)))
    @ddt.unpack
    def test_what_is_equal(self, model, found):
        self.assertIsNone(self.compare(model, found))

    @tables.data(
        (SEV, None, True), (ES, None, True), (SNP, None, True),
        (None, ('sev', 0x33), False), (None, ('sev-snp', 0x30000), False),
        (SEV, ('sev', 0x37), False), (ES, ('sev', 0x33), True),
        (ES, ('sev', 0x36), True), (ES, ('sev', 0x3f), False),
        (ES, ('sev', None), True),
        (SEV, ('sev-snp', 0x30000), False), (ES, ('sev-snp', 0x30000), False),
        (SNP, ('sev', 0x33), True), (SNP, ('sev', 0x37), True),
        (SNP, ('sev', 0x30000), True), (SEV, ('s390-pv', None), True),
        # In the policy of SEV-SNP a bit can allow something.
        (SNP, ('sev-snp', 0xb0000), True), (SNP, ('sev-snp', 0x70000), True),
        (SNP, ('sev-snp', 0x130000), False),
        (SNP, ('sev-snp', 0x230000), True),
        (SNP, ('sev-snp', 0x430000), False),
        (SNP, ('sev-snp', 0x830000), False),
        (SNP, ('sev-snp', 0x1030000), False),
        (SNP, ('sev-snp', 0x2030000), False),
        (SNP, ('sev-snp', 0x20000), False), (SNP, ('sev-snp', None), True))
    @ddt.unpack
    def test_what_is_not(self, model, found, less):
        difference = self.compare(model, found)
        self.assertIs(less, difference.less)
        self.assertTrue(difference.reason)

    @ddt.data('kernelHashes="yes"', 'authorKey="yes"', 'vcek="no"',
              'hostData', 'idBlock', 'idAuth', 'guestVisibleWorkarounds')
    def test_what_is_reported_of(self, given):
        """Of SEV and SEV-ES this is not looked at, as it never was."""
        attribute, child = (given, '') if '=' in given else (
            '', '<%s>AAAA</%s>' % (given, given))
        for model, element, policy in ((SNP, 'sev-snp', 0x30000),
                                       (SEV, 'sev', 0x33), (ES, 'sev', 0x37)):
            found = launch_security.read(
                '<domain><launchSecurity type="%s" %s><!-- --><policy>%d'
                '</policy>%s<cbitpos>51</cbitpos><reducedPhysBits>1'
                '</reducedPhysBits></launchSecurity></domain>'
                % (element, attribute, policy, child))
            difference = self.compare(model, found)
            if model != SNP:
                self.assertIsNone(difference)
                continue
            self.assertFalse(difference.less)
            self.assertIn(given.partition('=')[0], difference.reason)
