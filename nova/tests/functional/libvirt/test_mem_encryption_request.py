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

"""Test which model a server gets, from the request to the domain XML."""
from nova.tests.functional.libvirt import mem_encryption as base

REQUESTS = (
    # (extra specs, image properties, model)
    (base.SEV_SPECS, {}, 'amd-sev'),
    ({}, base.SEV_PROPERTIES, 'amd-sev'),
    ({**base.SEV_SPECS, 'hw:mem_encryption_model': 'amd-sev'}, {}, 'amd-sev'),
    ({}, {**base.SEV_PROPERTIES, 'hw_mem_encryption_model': 'amd-sev'},
     'amd-sev'),
    (base.ES_SPECS, {}, 'amd-sev-es'),
    ({}, base.ES_PROPERTIES, 'amd-sev-es'),
    (base.ES_SPECS, base.ES_PROPERTIES, 'amd-sev-es'),
    (base.SEV_SPECS, {'hw_mem_encryption_model': 'amd-sev-es'}, 'amd-sev-es'),
    ({'hw:mem_encryption_model': 'amd-sev-es'}, base.SEV_PROPERTIES,
     'amd-sev-es'),
)
EXPECTED = {
    'amd-sev': ('0x0033', ['compute1_amd_sev']),
    'amd-sev-es': ('0x0037', ['compute1_amd_sev_es']),
}


class RequestTest(base.MemEncryptionTestBase):

    ADMIN_API = False

    def setUp(self):
        super().setUp()
        self.start_host()

    def test_flavor_and_image_give_the_model(self):
        found = []
        for specs, properties, _ in REQUESTS:
            server = self.boot(specs, properties)
            policy = self.get_xml(server).findtext('launchSecurity/policy')
            found.append((specs, properties, policy, self.get_slots(server)))
        self.assertEqual([
            (specs, properties, *EXPECTED[model])
            for specs, properties, model in REQUESTS], found)

    def test_a_server_without_either_is_plain(self):
        self.assert_plain(self.boot())

    def test_a_volume_gives_the_model(self):
        server = self.boot_from_volume({}, base.ES_PROPERTIES)
        self.assert_model(server, 'amd-sev-es')

    def test_deleting_a_server_frees_its_slot(self):
        server = self.boot(base.ES_SPECS)
        self._delete_server(server)
        self.assertEqual(
            {base.SLOT: 0},
            self.get_provider('compute1_amd_sev_es')['usage'])


class DomainXMLTest(base.MemEncryptionTestBase):

    def test_an_sev_es_guest_has_all_that_encryption_needs(self):
        self.start_host()
        server = self._create_server(
            flavor_id=self.create_flavor(),
            image_uuid=self.create_image(
                hw_qemu_guest_agent='yes', **base.ES_PROPERTIES),
            networks=[{'port': self.neutron.port_1['id']}])
        xml = self.get_xml(server)

        security = xml.find('launchSecurity')
        self.assertEqual('sev', security.get('type'))
        self.assertEqual(
            {'policy': '0x0037', 'cbitpos': '51', 'reducedPhysBits': '1'},
            {child.tag: child.text for child in security})
        self.assertIsNotNone(xml.find('memoryBacking/locked'))
        self.assertIsNone(xml.find('features/vmcoreinfo'))
        self.assertEqual(['org.qemu.guest_agent.0'], [
            target.get('name')
            for target in xml.findall('devices/channel/target')])
        self.assertEqual({
            'disk': 'on', 'interface': 'on', 'controller': 'on',
            'video': 'on', 'rng': 'on', 'memballoon': 'on'},
            {driver.getparent().tag: driver.get('iommu')
             for driver in xml.findall('devices/*/driver')})

    def test_a_cpu_model_that_is_chosen_by_the_flavor(self):
        # Nova translates the flavor for that, without the image.
        self.flags(cpu_mode='custom', cpu_models=['Penryn'],
                   group='libvirt')
        self.start_host()
        for specs, model in ((base.SEV_SPECS, 'amd-sev'),
                             (base.ES_SPECS, 'amd-sev-es')):
            server = self.boot(specs)
            self.assert_model(server, model)
            self.assertEqual('Penryn',
                             self.get_xml(server).findtext('cpu/model'))
