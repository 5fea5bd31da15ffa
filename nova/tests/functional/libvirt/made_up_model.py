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

"""What test_made_up_model runs on a copy of the series with a row more."""
import logging

from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.nova.mem_encryption import models

SPECS = {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'made-up'}
PROPERTIES = {'hw_mem_encryption': 'true',
              'hw_mem_encryption_model': 'made-up'}
TRAIT = 'CUSTOM_MEM_ENCRYPTION_MADE_UP'


class MadeUpModelTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.assertIn('made-up', models.MODELS)
        self.sev.set(made_up='Y')
        self.flags(enable_made_up=True, group='libvirt')

    def refuse(self, specs, properties):
        e = self.assertRaises(client.OpenStackApiException, self.boot,
                              specs, properties)
        self.assertEqual(400, e.response.status_code)
        return str(e)

    def assert_made_up(self, server, host='compute1'):
        self.assertTrue(self.is_running(server, host))
        self.assertEqual([host + '_made_up'], self.get_slots(server))
        xml = self.get_xml(server, host)
        self.assertEqual('made-up', xml.find('launchSecurity').get('type'))
        self.assertEqual('0x0009', xml.findtext('launchSecurity/policy'))
        self.assertIsNone(xml.find('memoryBacking/locked'))
        self.assertIsNone(xml.find('features/vmcoreinfo'))

    def test_its_provider(self):
        self.start_host()
        self.assert_tree(sev=100, sev_es=15)
        provider = self.get_provider('compute1_made_up')
        self.assertEqual({TRAIT}, provider['traits'])
        self.assertEqual(15, provider['inventory'][base.SLOT]['total'])

    def test_its_servers(self):
        self.start_host()
        self.start_host('compute2', max_es_guests=0)
        for number, asked in enumerate(((SPECS, {}), ({}, PROPERTIES))):
            server = self.boot(*asked)
            self.assert_made_up(server)
        self._reboot_server(server)
        self._reboot_server(server, hard=True)
        self.assert_made_up(server)
        self._stop_server(server)
        self._start_server(server)
        self.assert_made_up(server)
        self._shelve_server(server)
        self._unshelve_server(server)
        self.assert_made_up(server)
        self.assertEqual(2, self.get_provider('compute1_made_up')[
            'usage'][base.SLOT])
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')
        self.assert_model(
            self.boot(base.SEV_SPECS), 'amd-sev',
            self.boot(base.SEV_SPECS)['OS-EXT-SRV-ATTR:host'])

    def test_what_the_api_refuses(self):
        self.start_host()
        self.assertIn('Conflicting memory encryption models',
                      self.refuse(SPECS, base.ES_PROPERTIES))
        self.assertIn('Allowed are amd-sev, amd-sev-es, amd-sev-snp, '
                      'made-up.',
                      self.refuse({}, {**PROPERTIES,
                                       'hw_mem_encryption_model': 'tdx'}))
        self.assertIn('MADE-UP has none. Do not require it, or ask for model '
                      'amd-sev.', self.refuse(
                          SPECS, {'os_secure_boot': 'required'}))

    def test_a_host_without_it(self):
        self.sev.set(made_up='N')
        with self.assertLogs('nova_mem_encryption', logging.INFO) as logs:
            self.start_host()
        self.assertIsNone(self.get_provider('compute1_made_up'))
        self.assertIn(
            'No AMD MADE-UP: kernel parameter kvm_amd.made_up is off. Load '
            'kvm_amd with made_up=1; this needs Linux 6.1 or a backport of '
            'it, and an EPYC 9999 (Utopia) or later.',
            [record.getMessage() for record in logs.records])
        self.assertIn('No valid host', self.boot_fails(SPECS))

    def test_a_host_that_is_not_told_to_offer_it(self):
        self.flags(enable_made_up=False, group='libvirt')
        self.start_host()
        self.assertIsNone(self.get_provider('compute1_made_up'))
        self.assertIn('No valid host', self.boot_fails(SPECS))

    def test_a_host_that_loses_it(self):
        self.start_host()
        server = self.boot(SPECS)
        self.sev.set(made_up='N')
        self.restart_host()
        self.assertEqual(1, self.get_provider('compute1_made_up')[
            'inventory'][base.SLOT]['total'])
        self.assertIn('Memory encryption model made-up was requested',
                      self.hard_reboot_fails(server))
        self.assertTrue(self.is_running(server))

    def test_slots_that_are_kept_back(self):
        self.flags(reserved_made_up_guests=4, group='libvirt')
        self.start_host()
        self.assertEqual(4, self.get_provider('compute1_made_up')[
            'inventory'][base.SLOT]['reserved'])
