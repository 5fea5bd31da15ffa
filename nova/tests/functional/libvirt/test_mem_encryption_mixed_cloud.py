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

"""Test a cloud in which one host has the series and another has not yet."""
from nova.tests.functional.libvirt import mem_encryption as base


class MixedCloudTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host('old', plain=True)
        self.start_host('new')

    def test_sev_goes_to_both_and_sev_es_to_the_new_one(self):
        self.assert_model(self.boot(base.SEV_SPECS, host='old'), 'amd-sev',
                          host='old', slot='old')
        self.assert_model(self.boot(base.SEV_SPECS, host='new'), 'amd-sev',
                          host='new')
        self.assertEqual({'new': {'new_amd_sev_es'}}, {
            server['OS-EXT-SRV-ATTR:host']: set(self.get_slots(server))
            for server in [self.boot(base.ES_SPECS) for _ in range(4)]})
        self.assertIn('No valid host',
                      self.boot_fails(base.ES_SPECS, host='old'))

        self.restart_host('old')

        self.assert_tree('old', sev=100, sev_es=15)
        self.assert_model(self.boot(base.ES_SPECS, host='old'), 'amd-sev-es',
                          host='old')

    def test_sev_moves_between_them(self):
        server = self.boot(base.SEV_SPECS, host='old')
        self._migrate_server(server, host='new')
        self._confirm_resize(server)
        self.assert_model(server, 'amd-sev', host='new')
        self._migrate_server(server, host='old')
        self.assert_model(server, 'amd-sev', host='old', slot='old')
        self._revert_resize(server)
        self.assert_model(server, 'amd-sev', host='new')

    def test_no_sev_es_server_moves_to_the_old_one(self):
        server = self.boot(base.ES_SPECS)
        self.assertIn('No valid host', self.act(server, 'migrate'))
        self.assert_model(server, 'amd-sev-es', host='new')
        self.force_down('new')
        self.assertIn('No valid host', self.act(server, 'evacuate', {}))
        self.assertEqual(['new_amd_sev_es'], self.get_slots(server))
        self.assertFalse(self.is_running(server, 'old'))
