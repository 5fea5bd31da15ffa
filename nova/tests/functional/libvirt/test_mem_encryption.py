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

"""Test SEV-ES from the API to the domain XML on one host."""
from nova.tests.functional.libvirt import mem_encryption as base


class FreshHostTest(base.MemEncryptionTestBase):
    """A host that never ran without the series."""

    def setUp(self):
        super().setUp()
        self.start_compute()

    def test_a_flavor_gets_sev_es(self):
        server = self.boot(base.ES_SPECS)
        self.assert_model(server, 'amd-sev-es')

    def test_no_model_gets_sev(self):
        server = self.boot(base.SEV_SPECS)
        self.assert_model(server, 'amd-sev')

    def test_soft_and_hard_reboot(self):
        server = self.boot(base.ES_SPECS)
        self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev-es')
