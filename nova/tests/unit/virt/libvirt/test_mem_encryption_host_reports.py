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

"""Test what nova-compute says of hosts that were reported."""
import itertools

import ddt

from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption

# As AMDSEV 189 and 246 and sev-tool 43 had them, and others: parameters of
# kvm_amd, libvirt and QEMU
HOSTS = list(itertools.product(
    (('Y', 'Y', 'N'), ('1', '1', None), ('Y', 'Y', None)),
    (('9.0.0', '7.2.0'), ('11.3.0', '10.0.0'))))


@ddt.ddt
class ReportsTest(mem_encryption.SEVTestCase):

    @tables.data(*HOSTS)
    @ddt.unpack
    def test_libvirt_offers_none(self, parameters,
                                                            versions):
        """https://github.com/AMDESE/AMDSEV/issues/189"""
        self.sev.set(**dict(zip(('sev', 'sev_es', 'sev_snp'), parameters)))
        self.connect(libvirt=versions[0], qemu=versions[1]).unset_sev()
        host = self.get_host()
        with self.assertLogs(mem_encryption.HOST_LOGGER, 'INFO') as logs:
            self.assertIs(False, host.supports_amd_sev_es)
        message, = [record.getMessage() for record in logs.records]
        self.assertTrue(message.startswith('No AMD SEV-ES: '))
        for words in ('libvirt', 'dmesg', 'ccp', 'cache'):
            self.assertIn(words, message)
        # What is on is not to be switched on.
        self.assertNotIn('sev=1', message)
