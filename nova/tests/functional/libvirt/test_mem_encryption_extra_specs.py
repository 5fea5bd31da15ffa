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

"""Test what other extra specs do beside memory encryption."""
import ddt

from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import mem_encryption as base

SECOND = {'resources1:MEM_ENCRYPTION_CONTEXT': '1'}


@ddt.ddt
class ExtraSpecsTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()

    @ddt.data({'trait:' + base.SEV_TRAIT: 'required'},
              {'trait1:' + base.ES_TRAIT: 'required', **SECOND})
    def test_no_host_has_that(self, specs):
        # No provider of SEV-ES has the trait of SEV, and none gives a server
        # two slots.
        self.assertIn('No valid host was found', self.boot_fails(
            {**base.ES_SPECS, **specs}))

    def test_the_trait_is_on_the_provider_of_the_slot(self):
        for specs, trait, model in (
                (base.SEV_SPECS, base.SEV_TRAIT, 'amd-sev'),
                (base.ES_SPECS, base.ES_TRAIT, 'amd-sev-es')):
            self.assert_model(self.boot({
                **specs, 'trait:' + trait: 'required'}), model)

    def test_a_second_slot_is_of_no_use(self):
        server = self.boot({**base.ES_SPECS, **SECOND,
                            'trait1:' + base.SEV_TRAIT: 'required'})
        self.assertEqual({'compute1_amd_sev_es', 'compute1_amd_sev'},
                         set(self.get_slots(server)))
        self.assertEqual('0x0037', self.get_xml(server).findtext(
            'launchSecurity/policy'))

    def test_a_slot_alone_is_no_encryption(self):
        server = self.boot({**SECOND, 'trait1:' + base.ES_TRAIT: 'required'})
        self.assertEqual(['compute1_amd_sev_es'], self.get_slots(server))
        self.assertIsNone(self.get_xml(server).find('launchSecurity'))

    @tables.data((base.SEV_TRAIT, 'compute1_amd_sev'),
                 (base.ES_TRAIT, 'compute1_amd_sev_es'), by=1)
    @ddt.unpack
    def test_a_slot_by_hand(self, trait, provider):
        server = self.boot({'resources:MEM_ENCRYPTION_CONTEXT': '1',
                            'trait:' + trait: 'required'})
        self.assertEqual([provider], self.get_slots(server))
        self.assertIsNone(self.get_xml(server).find('launchSecurity'))

    @ddt.data('0', '1', '2')
    def test_without_a_number_it_is_one_slot(self, amount):
        self.assert_model(self.boot({
            **base.ES_SPECS, 'resources:MEM_ENCRYPTION_CONTEXT': amount}),
            'amd-sev-es')

    def test_another_group_goes_beside_it(self):
        self.assert_model(self.boot({
            **base.ES_SPECS, 'resources:VCPU': '0', 'resources1:VCPU': '1'}),
            'amd-sev-es')
