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

"""Test what can be done to a server after it was created."""
import ddt

from nova.compute import api
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base
from nova import utils

from nova_mem_encryption.engine import ledger

PLAIN = {}
SPECS = {None: PLAIN, 'amd-sev': base.SEV_SPECS, 'amd-sev-es': base.ES_SPECS}


class MovesTestBase(base.MemEncryptionTestBase):

    def assert_as(self, server, model, host='compute1'):
        if model is None:
            self.assert_plain(server, host)
        else:
            self.assert_model(server, model, host)


@ddt.ddt
class ResizeTest(MovesTestBase):

    def setUp(self):
        super().setUp()
        self.start_host('compute1')
        self.start_host('compute2')

    @ddt.data(('amd-sev', 'amd-sev-es'), ('amd-sev-es', 'amd-sev'),
              (None, 'amd-sev-es'))
    @ddt.unpack
    def test_to_another_model(self, old, new):
        server = self.boot(SPECS[old], host='compute1')
        flavor = self.create_flavor(SPECS[new])
        self._resize_server(server, flavor)
        self.assert_as(server, new, 'compute2')
        self._revert_resize(server)
        self.assert_as(server, old, 'compute1')
        self._resize_server(server, flavor)
        self._confirm_resize(server)
        self.assert_as(server, new, 'compute2')
        self.assertEqual({base.SLOT: 0}, self.get_provider(
            'compute1_amd_sev')['usage'])
        self.assertEqual({base.SLOT: 0}, self.get_provider(
            'compute1_amd_sev_es')['usage'])

    def test_on_the_same_host(self):
        self.flags(allow_resize_to_same_host=True)
        self.restart_host('compute1')
        self.force_down('compute2')
        server = self.boot(base.SEV_SPECS)
        self._resize_server(server, self.create_flavor(base.ES_SPECS))
        self.assert_model(server, 'amd-sev-es')
        self.assertEqual(['compute1_amd_sev'], self.get_slots(
            self.get_migration_uuid_for_instance(server['id'])))
        self._revert_resize(server)
        self.assert_model(server, 'amd-sev')

    def test_a_stopped_server_stays_off(self):
        server = self.boot(base.ES_SPECS, host='compute1')
        self._stop_server(server)
        self._resize_server(server, self.create_flavor(base.ES_SPECS))
        self.api.post_server_action(server['id'], {'confirmResize': None})
        self._wait_for_state_change(server, 'SHUTOFF')
        self.assertFalse(self.is_running(server, 'compute2'))
        self._start_server(server)
        self.assert_model(server, 'amd-sev-es', 'compute2')


@ddt.ddt
class OtherMovesTest(MovesTestBase):

    def setUp(self):
        super().setUp()
        self.start_host('compute1')

    def test_reboot(self):
        server = self.boot(base.ES_SPECS)
        for hard in (False, True):
            self._reboot_server(server, hard=hard)
            self.assert_model(server, 'amd-sev-es')

    def test_evacuate(self):
        by_flavor = self.boot(base.ES_SPECS)
        by_image = self.boot({}, base.ES_PROPERTIES)
        self.start_host('compute2')
        self.force_down('compute1')
        for server in (by_flavor, by_image):
            self._evacuate_server(server)
            self._start_server(server)
            self.assertTrue(self.is_running(server, 'compute2'))
            # The slot on the dead host is freed when it is back.
            self.assertEqual(
                {'compute1_amd_sev_es', 'compute2_amd_sev_es'},
                set(self.get_slots(server)))
        self.restart_host('compute1')
        self.assert_model(by_flavor, 'amd-sev-es', 'compute2')
        self.assert_model(by_image, 'amd-sev-es', 'compute2')

    @ddt.data('2.29', '2.67')
    def test_evacuate_by_force(self, microversion):
        """Nova copies no allocation that is of more than one provider."""
        plain = self.boot()
        encrypted = [self.boot(base.SEV_SPECS), self.boot(base.ES_SPECS)]
        self.start_host('compute2')
        self.force_down('compute1')
        body = {'host': 'compute2', 'force': True}
        for server in encrypted:
            self.assertIn('has complex allocations on the source host',
                          self.act(server, 'evacuate', body, microversion))
            # It is left as it was, and can go to that host without force.
            self._evacuate_server(server, {'host': 'compute2'},
                                  expected_host='compute2')
        with utils.temporary_mutation(self.api, microversion=microversion):
            self._evacuate_server(plain, body, expected_host='compute2',
                                  expected_state='ACTIVE')

    def test_shelve_and_unshelve(self):
        for specs, properties in ((base.ES_SPECS, {}),
                                  ({}, base.ES_PROPERTIES)):
            server = self.boot(specs, properties)
            self._shelve_server(server)
            self.assertEqual([], self.get_slots(server))
            self._unshelve_server(server)
            self.assert_model(server, 'amd-sev-es')

    def test_rebuild_with_another_image(self):
        for specs, properties in ((base.ES_SPECS, {}),
                                  ({}, base.ES_PROPERTIES)):
            server = self.boot(specs, properties)
            image = self.create_image(**properties)
            self._rebuild_server(server, image)
            self.assert_model(server, 'amd-sev-es')
            self.assertEqual(image, self.get_instance(server).image_ref)

    def test_rescue(self):
        for specs, properties in ((base.ES_SPECS, {}),
                                  ({}, base.ES_PROPERTIES)):
            server = self.boot(specs, properties)
            self._rescue_server(server)
            self.assert_model(server, 'amd-sev-es')
            self._unrescue_server(server)
            self.assert_model(server, 'amd-sev-es')

    @ddt.data(
        # (image properties of the server, of the rescue image, reason)
        (base.ES_PROPERTIES, {},
         'memory encryption none, the server has amd-sev-es'),
        (base.ES_PROPERTIES, base.SEV_PROPERTIES,
         'memory encryption amd-sev, the server has amd-sev-es'),
        (base.SEV_PROPERTIES, base.ES_PROPERTIES,
         'memory encryption amd-sev-es, the server has amd-sev'),
        (base.SEV_PROPERTIES, {}, 'memory encryption none, the server has '
                                  'amd-sev'),
        (base.SEV_PROPERTIES, {**base.SEV_PROPERTIES, 'hw_firmware_type': None
                               }, 'hw_firmware_type'),
        (base.SEV_PROPERTIES, {**base.SEV_PROPERTIES, 'hw_machine_type': 'pc'
                               }, 'q35'),
        (base.ES_PROPERTIES, {**base.ES_PROPERTIES,
                              'os_secure_boot': 'sometimes'},
         'Field value sometimes is invalid. Rescue'),
        (base.ES_PROPERTIES, {**base.ES_PROPERTIES,
                              'hw_firmware_type': 'efi'},
         'Field value efi is invalid. Rescue'),
    )
    @ddt.unpack
    def test_rescue_with_an_image_that_does_not_fit(self, properties, rescue,
                                                    reason):
        server = self.boot({}, properties)
        model = properties.get('hw_mem_encryption_model', 'amd-sev')
        e = self.assertRaises(
            client.OpenStackApiException, self.api.post_server_action,
            server['id'], {'rescue': {
                'rescue_image_ref': self.create_image(**rescue)}})
        self.assertEqual(400, e.response.status_code)
        self.assertIn(reason, str(e))
        self.assertIn('Rescue it with an image that has the same', str(e))
        # It was not touched.
        self.assertEqual('ACTIVE', self.api.get_server(server['id'])['status'])
        self.assert_model(server, model)

    @ddt.data((base.ES_PROPERTIES, {}),
              (base.ES_PROPERTIES, base.SEV_PROPERTIES),
              (base.SEV_PROPERTIES, {}))
    @ddt.unpack
    def test_so_is_one_that_the_api_let_pass(self, properties, rescue):
        """One of an API without the series."""
        server = self.boot({}, properties)
        original, = [entry.original for entry in ledger.entries()
                     if entry.target is api.API and
                     entry.attribute == 'rescue']
        self.stub_out('nova.compute.api.API.rescue', original)
        self.assertIn('as the guest is not what was asked for', self.act(
            server, 'rescue', {
                'rescue_image_ref': self.create_image(**rescue)}))
        model = properties.get('hw_mem_encryption_model', 'amd-sev')
        self.assertEqual('0x%04x' % base.POLICIES[model], self.get_xml(
            server).findtext('launchSecurity/policy'))

    def test_rescue_with_its_own_image_that_has_changed(self):
        server = self.boot({}, base.ES_PROPERTIES)
        image = self.get_instance(server).image_ref
        self.glance.images[image]['properties'] = dict(base.UEFI)
        e = self.assertRaises(
            client.OpenStackApiException, self._rescue_server, server)
        self.assertEqual(400, e.response.status_code)
        # It is gone: that is for the compute service to say.
        del self.glance.images[image]
        self.assertIn('could not be found', self.act(server, 'rescue'))

    def test_rescue_of_a_server_of_old(self):
        """It goes on with a combination that is refused now."""
        server = self.boot(base.SEV_SPECS)
        instance = self.get_instance(server)
        instance.flavor.extra_specs['hw:mem_encryption_model'] = 'garbage'
        instance.save()
        self._rescue_server(server)
        self.assert_model(server, 'amd-sev')

    def test_rescue_of_one_whose_models_disagree(self):
        server = self.boot({**base.SEV_SPECS,
                            'hw:mem_encryption_model': 'amd-sev'})
        instance = self.get_instance(server)
        instance.system_metadata['image_hw_mem_encryption_model'] = (
            'amd-sev-es')
        instance.save()
        self.glance.images[instance.image_ref]['properties'].update(
            hw_mem_encryption_model='amd-sev-es')
        e = self.assertRaises(client.OpenStackApiException,
                              self._rescue_server, server)
        self.assertEqual(400, e.response.status_code)
        self.assertIn('Conflicting memory encryption models', str(e))
        self.assert_model(server, 'amd-sev')

    def test_rescue_of_a_plain_server(self):
        server = self.boot()
        self.api.post_server_action(server['id'], {'rescue': {
            'rescue_image_ref': self.create_image(hw_machine_type='pc')}})
        self._wait_for_state_change(server, 'RESCUE')

    def test_rescue_with_a_fitting_image(self):
        server = self.boot({}, base.ES_PROPERTIES)
        image = self.create_image(**base.ES_PROPERTIES)
        self.api.post_server_action(
            server['id'], {'rescue': {'rescue_image_ref': image}})
        self._wait_for_state_change(server, 'RESCUE')
        self.assert_model(server, 'amd-sev-es')

    def test_rescue_with_a_stable_device(self):
        server = self.boot({}, base.ES_PROPERTIES)
        image = self.create_image(
            hw_rescue_device='disk', hw_rescue_bus='virtio')
        self.api.post_server_action(
            server['id'], {'rescue': {'rescue_image_ref': image}})
        self._wait_for_state_change(server, 'RESCUE')
        self.assert_model(server, 'amd-sev-es')
        self._unrescue_server(server)
        self.assert_model(server, 'amd-sev-es')
