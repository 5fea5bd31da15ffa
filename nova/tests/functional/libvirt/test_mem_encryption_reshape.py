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

"""Test the move of plain SEV from the root provider to one of its own."""
from unittest import mock

from nova import exception
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.nova.mem_encryption import devices


class ReshapeTestBase(base.MemEncryptionTestBase):

    def assert_moved(self, *consumers, host='compute1'):
        """Check that consumers have one slot each, where SEV now is."""
        for consumer in consumers:
            self.assertEqual(['%s_amd_sev' % host], self.get_slots(consumer))
        self.assertEqual(
            len(consumers),
            self.get_provider('%s_amd_sev' % host)['usage'][base.SLOT])


class ReshapeTest(ReshapeTestBase):

    def test_running_servers_move_and_go_on(self):
        self.start_host(plain=True)
        plain = self.boot()
        servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]
        self.assertEqual(100, self.get_provider(
            'compute1')['inventory'][base.SLOT]['total'])

        self.restart_host()

        self.assert_tree(sev=100, sev_es=15)
        self.assert_moved(*servers)
        self.assertEqual([], self.get_slots(plain))
        for server in servers:
            self._reboot_server(server, hard=True)
            self.assert_model(server, 'amd-sev')
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')
        after = self.get_placement()
        self._run_periodics(raise_on_error=True)
        self.restart_host()
        self.assertEqual(after, self.get_placement())

    def test_a_resize_to_confirm_and_one_to_revert_move_too(self):
        self.start_host('compute1', plain=True)
        self.start_host('compute2', plain=True)
        servers = [self.boot(base.SEV_SPECS, host='compute1')
                   for _ in range(2)]
        flavor = self.create_flavor(base.SEV_SPECS)
        for server in servers:
            self._resize_server(server, flavor)
        migrations = [self.get_migration_uuid_for_instance(server['id'])
                      for server in servers]

        self.restart_host('compute1')

        self.assert_moved(*migrations, host='compute1')
        for server in servers:  # the other host's are not touched
            self.assertEqual(['compute2'], self.get_slots(server))
        self.restart_host('compute2')
        self.assert_moved(*servers, host='compute2')
        self._confirm_resize(servers[0])
        self.assert_model(servers[0], 'amd-sev', host='compute2')
        self._revert_resize(servers[1])
        self.assert_model(servers[1], 'amd-sev', host='compute1')
        self.assertEqual([], self.get_slots(migrations[0]))
        self.assertEqual([], self.get_slots(migrations[1]))

    def test_a_host_that_lost_sev_keeps_what_is_in_use(self):
        self.start_host(plain=True)
        servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]
        self.sev.set(sev='N')
        self.connections['compute1'].unset_sev()

        self.restart_host()

        self.assert_moved(*servers)
        self.assert_tree(sev=2)
        for server in servers:
            self.assertIn(server['id'], self.stdlog.logger.output)
            self._delete_server(server)
        self._run_periodics(raise_on_error=True)
        self.assert_tree()

    def test_a_host_that_emulates_keeps_what_is_in_use(self):
        self.start_host(plain=True)
        servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]
        self.flags(virt_type='qemu', group='libvirt')

        self.restart_host()

        self.assert_moved(*servers)
        self._run_periodics(raise_on_error=True)
        self.assert_tree(sev=2)

    def test_going_back_and_forth(self):
        self.start_host()
        first = self.boot(base.SEV_SPECS)
        self.restart_host(plain=True)  # the series was uninstalled
        second = self.boot(base.SEV_SPECS)
        # Nova leaves the providers, and with them the slots, where they are.
        self.put_slot(second, 'compute1', remove=self.get_slots(second)[0])

        self.restart_host()

        self.assert_moved(first, second)
        self.assert_tree(sev=100, sev_es=15)

    def test_beside_a_reshape_of_vgpus(self):
        mdevs = {
            name: fakelibvirt.FakeMdevDevice(
                dev_name=name, type_id=fakelibvirt.NVIDIA_11_VGPU_TYPE,
                parent=fakelibvirt.MDEVCAP_DEV1_PCI_ADDR)
            for name in ['mdev_4b20d080_1b54_4048_85b3_a6a62d165c01']}
        self.start_host(plain=True, mdev_info=fakelibvirt.HostMdevDevicesInfo(
            devices=mdevs))
        # No release that Nova can be told to be has vGPUs on the root, so
        # they are put there, and Nova is kept from looking.
        root = self.get_provider('compute1')
        inventory = {**root['inventory'], 'VGPU': {
            'total': 1, 'max_unit': 1}}
        self._update_inventory(root['uuid'], {
            'inventories': inventory,
            'resource_provider_generation': root['generation']})
        self.flags(enabled_mdev_types=[fakelibvirt.NVIDIA_11_VGPU_TYPE],
                   group='devices')
        driver = self.computes['compute1'].driver
        driver.supported_vgpu_types = driver._get_supported_vgpu_types()
        # The API did not refuse both then.
        with mock.patch.object(driver, 'update_provider_tree'), (
                mock.patch.object(devices, 'find_request',
                                  return_value=None)):
            server = self.boot({**base.SEV_SPECS, 'resources:VGPU': '1'})
        self.assertEqual(['compute1'], self.get_slots(server))

        self.restart_host()

        self.assert_tree(sev=100, sev_es=15)
        self.assert_moved(server)
        vgpu = 'compute1_%s' % fakelibvirt.MDEVCAP_DEV1_PCI_ADDR
        self.assertEqual({'VGPU': 1}, self.get_provider(vgpu)['usage'])
        self.assertNotIn('VGPU', self.get_provider('compute1')['inventory'])
        # Nor is it kept from going on.
        self._reboot_server(server, hard=True)


class ImpossibleReshapeTest(ReshapeTestBase):

    def setUp(self):
        super().setUp()
        self.start_host(plain=True)
        self.good = self.boot(base.SEV_SPECS)
        self.bad = self.boot(base.SEV_SPECS)

    def assert_fails(self):
        before = self.get_placement()
        e = self.assertRaises(exception.ReshapeFailed, self.restart_host)
        self.assertIn(self.bad['id'], str(e))
        self.assertNotIn(self.good['id'], str(e))
        self.assertEqual(before, self.get_placement())

    def test_a_consumer_with_two_slots(self):
        root = self.get_provider('compute1')
        root['inventory'][base.SLOT]['max_unit'] = 2
        self._update_inventory(root['uuid'], {
            'inventories': root['inventory'],
            'resource_provider_generation': root['generation']})
        self.put_slot(self.bad, 'compute1', amount=2)
        self.assert_fails()
        # What the error tells to do
        self.put_slot(self.bad, 'compute1')
        self.restart_host()
        self.assert_moved(self.good, self.bad)

    def test_a_consumer_that_has_one_there_already(self):
        root = self.get_provider('compute1')
        child = self.placement.post('/resource_providers', {
            'name': 'compute1_amd_sev', 'parent_provider_uuid': root['uuid'],
        }, version='1.20').body
        self._update_inventory(child['uuid'], {
            'inventories': {base.SLOT: {'total': 5}},
            'resource_provider_generation': child['generation']})
        self.put_slot(self.bad, 'compute1_amd_sev')
        self.assert_fails()
