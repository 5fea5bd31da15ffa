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

"""Test what is of SEV-SNP alone: the option, the trait, firmware, launch."""
import copy

import os_traits
from oslo_serialization import jsonutils
from oslo_utils import uuidutils

from nova import context as nova_context
from nova import objects
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

OPTION = ('To have this host offer SEV-SNP, set [libvirt] '
          'enable_amd_sev_snp = true.')
OFF = ('Switch SEV-SNP off in the BIOS', OPTION)


class SNPTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.upgrade_os_traits()

    def boot_snp(self, **kwargs):
        return self.boot(base.SNP_SPECS, base.STATELESS, **kwargs)

    def refuse(self, function, *args):
        e = self.assertRaises(client.OpenStackApiException, function, *args)
        self.assertEqual(400, e.response.status_code)
        return str(e)


class HostTest(SNPTestBase):

    def test_a_host_that_offers_it(self):
        self.start_snp_host()
        # SEV-SNP has the ASIDs of SEV-ES.
        self.assert_tree(sev=100, snp=15)
        self.assertIn('AMD SEV-SNP support detected: 15 guests',
                      self.stdlog.logger.output)
        server = self.boot_snp()
        self.assert_model(server, 'amd-sev-snp')
        self.assert_model(self.boot({}, base.SNP_PROPERTIES), 'amd-sev-snp')
        self.assert_model(self.boot(base.SEV_SPECS), 'amd-sev')
        self._run_periodics(raise_on_error=True)
        self.assert_tree(sev=100, snp=15)
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))

    def test_where_nobody_asked_for_it(self):
        self.sev.firmware.describe_one_file()
        self.set_snp(option=False)
        self.start_host(versions=base.NEW)
        self.assert_tree(sev=100)
        # The host says why it offers nothing, and what the choice is.
        said, = [line for line in self.stdlog.logger.output.splitlines()
                 if 'No AMD SEV-ES' in line]
        for words in OFF:
            self.assertIn(words, said)
        self.assertNotIn('No AMD SEV-SNP', self.stdlog.logger.output)
        self.assertIn('No valid host', self.boot_fails(
            base.SNP_SPECS, base.STATELESS))

    def test_where_it_is_off(self):
        self.set_snp(on=False, option=True)
        self.start_host(versions=base.NEW)
        self.assert_tree(sev=100, sev_es=15)
        self.assertIn('No AMD SEV-SNP: kernel parameter kvm_amd.sev_snp is '
                      'off.', self.stdlog.logger.output)

    def test_the_kernel_has_fewer_asids(self):
        self.sev.set_misc(capacity={'sev': 90, 'sev_es': 7})
        self.start_snp_host()
        self.assert_tree(sev=90, snp=7)

    def test_guests_of_others_take_its_slots(self):
        self.start_snp_host()
        self.connections['compute1'].createXML(
            """<domain type='kvm'><name>x</name>
            <uuid>8e5d6a0e-2c3f-4b7a-9d0b-0f7a3b1c9d11</uuid>
            <memory>1024</memory><vcpu>1</vcpu><os>
            <type machine='q35'>hvm</type></os><devices/><launchSecurity
            type='sev-snp'><policy>0x30000</policy></launchSecurity>
            </domain>""", 0)
        self.boot_snp()
        for _ in range(2):
            self._run_periodics(raise_on_error=True)
        provider = self.get_provider('compute1_amd_sev_snp')
        self.assertEqual((15, 1, 1), (
            provider['inventory'][base.SLOT]['total'],
            provider['inventory'][base.SLOT]['reserved'],
            provider['usage'][base.SLOT]))
        self.assertEqual(1, self.stdlog.logger.output.count(
            'have ASIDs of this host: x (8e5d6a0e'))

    def test_slots_that_are_kept_back(self):
        self.flags(reserved_sev_snp_guests=4, group='libvirt')
        self.start_snp_host()
        self.assertEqual(4, self.get_provider('compute1_amd_sev_snp')[
            'inventory'][base.SLOT]['reserved'])


class TraitTest(base.MemEncryptionTestBase):

    def test_placement_that_does_not_know_it(self):
        self.assertFalse(hasattr(os_traits, base.SNP_TRAIT))
        self.start_snp_host()
        self._run_periodics(raise_on_error=True)
        # SEV goes on as ever.
        self.assert_tree(sev=100)
        self.assert_model(self.boot(base.SEV_SPECS), 'amd-sev')
        said = [line for line in self.warnings if 'does not know' in line]
        self.assertEqual(1, len(said), said)
        for words in (base.SNP_TRAIT, 'Upgrade os-traits to 3.7.0 or later'):
            self.assertIn(words, said[0])
        self.assertIn('No valid host', self.boot_fails(
            base.SNP_SPECS, base.STATELESS))
        # nova-compute need not be restarted.
        self.upgrade_os_traits()
        self._run_periodics()
        self.assert_tree(sev=100, snp=15)
        self.assertIn('Placement knows trait ' + base.SNP_TRAIT,
                      self.stdlog.logger.output)
        self.assert_model(self.boot(base.SNP_SPECS, base.STATELESS),
                          'amd-sev-snp')


class GuestTest(SNPTestBase):

    def setUp(self):
        super().setUp()
        self.start_snp_host()

    def test_its_definition(self):
        xml = self.get_xml(self.boot_snp())
        self.assertEqual(
            {'type': 'rom', 'stateless': 'yes', 'secure': 'no',
             'readonly': 'yes'},
            dict(xml.find('os/loader').attrib))
        self.assertEqual('/usr/share/ovmf/OVMF.fd', xml.findtext('os/loader'))
        self.assertIsNone(xml.find('os/nvram'))
        self.assertIsNone(xml.find('memoryBacking/locked'))
        self.assertIsNone(xml.find('features/vmcoreinfo'))
        self.assertEqual(
            ['policy', 'cbitpos', 'reducedPhysBits'],
            [child.tag for child in xml.find('launchSecurity')])

    def wait(self, server, action, body, state='ACTIVE'):
        self.api.post_server_action(server['id'], {action: body})
        return self._wait_for_state_change(server, state)

    def assert_snp(self, server, host='compute1', slot=None):
        self.assert_model(server, 'amd-sev-snp', host, slot)
        self.assertEqual('rom', self.get_xml(server, host).find(
            'os/loader').get('type'))

    def test_what_stays_on_its_host(self):
        server = self.boot_snp()
        for action, body in (
                ('reboot', {'type': 'SOFT'}), ('reboot', {'type': 'HARD'}),
                ('rebuild', {'imageRef': self.create_image(
                    **base.STATELESS)}),
                ('unshelve', None), ('unrescue', None), ('os-start', None)):
            before = {'unshelve': ('shelve', None, 'SHELVED_OFFLOADED'),
                      'unrescue': ('rescue', {}, 'RESCUE'),
                      'os-start': ('os-stop', None, 'SHUTOFF')}.get(action)
            if before is not None:
                server = self.wait(server, *before)
            if action == 'unrescue':
                self.assert_snp(server)
            server = self.wait(server, action, body)
            self.assert_snp(server)
        self._delete_server(server)
        self.assertEqual({base.SLOT: 0}, self.get_provider(
            'compute1_amd_sev_snp')['usage'])

    def test_moves(self):
        self.start_host('compute2', versions=base.NEW)
        server = self.boot_snp(host='compute1')
        self._resize_server(server, self.create_flavor(base.SNP_SPECS))
        self.assert_snp(server, 'compute2')
        self._revert_resize(server)
        self.assert_snp(server)
        self._migrate_server(server)
        self._wait_for_state_change(server, 'VERIFY_RESIZE')
        self._confirm_resize(server)
        self.assert_snp(server, 'compute2')

    def test_evacuate(self):
        server = self.boot_snp()
        self.start_host('compute2', versions=base.NEW)
        self.force_down('compute1')
        self._evacuate_server(server)
        self._start_server(server)
        self.assertTrue(self.is_running(server, 'compute2'))
        self.assertEqual({'compute1_amd_sev_snp', 'compute2_amd_sev_snp'},
                         set(self.get_slots(server)))
        self.restart_host('compute1')
        self.assert_snp(server, 'compute2')

    def test_to_and_from_other_models(self):
        server = self.boot(base.SEV_SPECS, base.STATELESS)
        self.flags(allow_resize_to_same_host=True)
        self.restart_host()
        self._resize_server(server, self.create_flavor(base.SNP_SPECS))
        self.assert_snp(server)
        self._revert_resize(server)
        self.assert_model(server, 'amd-sev')
        self.assertEqual('pflash', self.get_xml(server).find(
            'os/loader').get('type'))

    def test_qemus_reason_is_kept(self):
        self.restart_host(max_es_guests=1)
        self.boot_snp()
        # Another one has taken the last ASID.
        self.connections['compute1'].set_sev(max_es_guests=1)
        name = 'compute1_amd_sev_snp'
        uuid = self.get_provider(name)['uuid']
        generation = self.get_provider(name)['generation']
        self.placement.put(
            '/resource_providers/%s/inventories' % uuid,
            {'resource_provider_generation': generation,
             'inventories': {base.SLOT: {'total': 2}}}, version='1.30')
        self.boot_fails(base.SNP_SPECS, base.STATELESS)
        self.assertIn('failed to initialize ret=-16',
                      self.stdlog.logger.output)
        self.assertNotIn('Connection reset by peer',
                         self.stdlog.logger.output)

    def test_one_that_is_not_what_was_asked_for(self):
        server = self.boot_snp()
        for policy, element in ((0xb0000, 'sev-snp'), (0x30000, 'sev'),
                                (0x37, 'sev'), (None, None)):
            self.get_domain(server).edit(policy, element)
            self._reboot_server(server)
            # It was rebooted hard.
            self.assert_snp(server)
            self.assertIn('It is rebooted hard.', '\n'.join(self.warnings))

    def test_no_warning_without_a_cause(self):
        self.warnings.clear()
        self._reboot_server(self.boot_snp(), hard=True)
        self.assertEqual([], [line for line in self.warnings
                              if 'policy' in line])


class LossTest(SNPTestBase):

    def assert_kept(self, server, slots, message):
        """Check that what runs goes on, and is not started again."""
        self.restart_host()
        self._run_periodics()
        self.assert_tree(**slots)
        self.assertIn(message, self.hard_reboot_fails(server))
        self.assertTrue(self.is_running(server))

    def test_a_host_of_sev_es_on_which_it_is_switched_on(self):
        self.sev.firmware.describe_one_file()
        self.start_host(versions=base.NEW)
        server = self.boot(base.ES_SPECS)
        self.set_snp()
        # Of 15 ASIDs, one is held as a slot of SEV-ES.
        self.assert_kept(server, {'sev': 100, 'sev_es': 1, 'snp': 14},
                         'kernel parameter kvm_amd.sev_snp is on')
        other = self.boot_snp()
        self.assert_model(other, 'amd-sev-snp')
        self._delete_server(server)
        self._run_periodics()
        self.assert_tree(sev=100, snp=15)
        # ... and off
        self.set_snp(on=False, option=True)
        self.assert_kept(other, {'sev': 100, 'sev_es': 14, 'snp': 1},
                         'kernel parameter kvm_amd.sev_snp is off')
        self.set_snp()
        self.restart_host()
        self.assert_tree(sev=100, snp=15)
        self.assert_model(self._reboot_server(other, hard=True),
                          'amd-sev-snp')

    def test_the_option_is_switched_off(self):
        self.start_snp_host()
        server = self.boot_snp()
        self.set_snp(option=False)
        self.assert_kept(server, {'sev': 100, 'snp': 1},
                         '[libvirt] enable_amd_sev_snp is false. ' + OPTION)
        self._stop_server(server)
        self.assertIn('enable_amd_sev_snp is false',
                      self.act(server, 'os-start'))
        self._delete_server(server)
        self._run_periodics()
        self.assert_tree(sev=100)

    def test_all_slots_are_held_as_those_of_sev_es(self):
        self.sev.firmware.describe_one_file()
        self.start_host(versions=base.NEW, max_es_guests=1)
        server = self.boot(base.ES_SPECS)
        self.set_snp()
        self.restart_host()
        self._run_periodics()
        self.assert_tree(sev=100, sev_es=1)
        self._delete_server(server)
        self._run_periodics()
        self.assert_tree(sev=100, snp=1)


class DeviceTest(SNPTestBase):
    """Devices of the host, which it cannot have."""

    def start_host_with_device(self):
        device = {'vendor_id': fakelibvirt.PCI_VEND_ID,
                  'product_id': fakelibvirt.PCI_PROD_ID}
        self.flags(group='pci', device_spec=[jsonutils.dumps(device)],
                   alias=[jsonutils.dumps({'name': 'a1', **device})])
        self.flags(allow_resize_to_same_host=True)
        self.start_snp_host(
            pci_info=fakelibvirt.HostPCIDevicesInfo(num_pci=1))

    def test_a_resize_gives_it_back(self):
        self.start_host_with_device()
        server = self.boot({'pci_passthrough:alias': 'a1:1'}, base.STATELESS)
        self._resize_server(server, self.create_flavor(base.SNP_SPECS))
        self._confirm_resize(server)
        self.assert_model(server, 'amd-sev-snp')

    def test_a_port_that_it_has_got_all_the_same(self):
        """As by an API without the series."""
        self.start_snp_host()
        server = self.boot_snp()
        context = nova_context.get_admin_context()
        requests = objects.InstancePCIRequests.get_by_instance_uuid(
            context, server['id'])
        requests.requests.append(objects.InstancePCIRequest(
            count=1, alias_name=None, request_id=uuidutils.generate_uuid(),
            requester_id=uuidutils.generate_uuid(), spec=[]))
        instance = objects.Instance.get_by_uuid(context, server['id'])
        instance.pci_requests = requests
        instance.save()
        self.assertIn('Use ports of vnic_type normal.',
                      self.hard_reboot_fails(server))
        self.assertTrue(self.is_running(server))
        self._stop_server(server)
        self.assertIn('Use ports of vnic_type normal.',
                      self.act(server, 'os-start'))
        self.assertFalse(self.is_running(server))


class PortTest(SNPTestBase):
    """Ports with SR-IOV, which it cannot have."""

    def setUp(self):
        super().setUp()
        self.flags(group='pci', device_spec=[jsonutils.dumps({
            'vendor_id': fakelibvirt.PCI_VEND_ID, 'product_id': product,
            'physical_network': 'physnet2'}) for product in (
                fakelibvirt.PF_PROD_ID, fakelibvirt.VF_PROD_ID)])
        network, subnet, self.port = (
            copy.deepcopy(found) for found in (
                self.neutron.network_2, self.neutron.subnet_2,
                self.neutron.sriov_port))
        self.neutron._networks[network['id']] = network
        self.neutron._subnets[subnet['id']] = subnet
        self.neutron._ports[self.port['id']] = self.port
        self.start_snp_host(pci_info=fakelibvirt.HostPCIDevicesInfo(
            num_pfs=1, num_vfs=2))

    def assert_free(self):
        """Check that no device of the host is taken."""
        node = objects.ComputeNode.get_by_nodename(
            nova_context.get_admin_context(), 'compute1')
        self.assertEqual({'available'}, {
            device.status for device in
            objects.PciDeviceList.get_by_compute_node(
                nova_context.get_admin_context(), node.id)})

    def test_create_and_resize(self):
        image = self.create_image(**base.STATELESS)
        flavor = self.create_flavor(base.SNP_SPECS)
        networks = [{'port': self.port['id']}]
        words = 'Use ports of vnic_type normal.'
        self.assertIn(words, self.refuse(self.api.post_server, {
            'server': self._build_server(
                image_uuid=image, flavor_id=flavor, networks=networks)}))
        plain = self._create_server(
            image_uuid=image, networks=networks,
            flavor_id=self.create_flavor({}))
        self.assertIn(words, self.refuse(
            self.api.post_server_action, plain['id'],
            {'resize': {'flavorRef': flavor}}))
        self.assertTrue(self.is_running(plain))

    def test_attach(self):
        attach = {'interfaceAttachment': {'port_id': self.port['id']}}
        server = self.boot_snp()
        for off in (False, True):
            if off:
                self._stop_server(server)
            self.assertIn('Use ports of vnic_type normal.', self.refuse(
                self.api.attach_interface, server['id'], attach))
            self.assert_free()
            self.assertIsNone(self.get_xml(server).find('devices/hostdev'))
        self._start_server(server)
        self.assert_model(server, 'amd-sev-snp')
        plain = self.boot({}, base.STATELESS)
        self.api.attach_interface(plain['id'], attach)


class RefusalsTest(SNPTestBase):

    ADMIN_API = False

    def test_what_it_cannot_have(self):
        self.flags(group='pci', alias=[jsonutils.dumps({
            'name': 'a1', 'vendor_id': '8086', 'product_id': '1528'})])
        self.start_snp_host()
        plain = self.boot({}, base.STATELESS)
        for specs, properties, words in (
                ({}, {'hw_firmware_stateless': None},
                 ('has hw_firmware_stateless unset',
                  'Set hw_firmware_stateless=true in the image.')),
                ({}, {'hw_firmware_stateless': 'false'},
                 ("has hw_firmware_stateless 'False'",)),
                ({}, {'hw_firmware_type': 'bios'}, ('hw_firmware_type',)),
                ({}, {'hw_machine_type': 'pc'}, ('q35',)),
                ({'os:secure_boot': 'required'}, {},
                 ('with secure boot', 'ask for model amd-sev.')),
                ({'hw:viommu_model': 'intel'}, {}, ('a virtual IOMMU',)),
                ({'resources:VGPU': '1'}, {}, ('can have no vGPU',)),
                ({'pci_passthrough:alias': 'a1:1'}, {},
                 ('has pci_passthrough:alias', 'or model amd-sev or '
                  'amd-sev-es.')),
                ({'accel:device_profile': 'fpga'}, {},
                 ('has accel:device_profile',)),
                ({'hw:mem_page_size': 'large'}, {}, ('with large pages',)),
                ({'hw:locked_memory': 'true', 'hw:mem_page_size': 'small'},
                 {}, ('with locked memory', "hw:locked_memory 'true'")),
                ({'hw:mem_page_size': 'small'},
                 {'hw_locked_memory': 'true'}, ("hw_locked_memory 'True'",)),
                ({'hw:cpu_realtime': 'yes', 'hw:cpu_policy': 'dedicated',
                  'hw:emulator_threads_policy': 'isolate'}, {},
                 ("has hw:cpu_realtime 'yes'. Its private memory",)),
                ({'hw:mem_page_size': 'any'},
                 {'hw_mem_page_size': '2048'}, ("_mem_page_size '2048'",)),
                ({'hw:mem_page_size': '1GB'}, {},
                 ('Set it to small, or remove it.',))):
            image = self.create_image(**{**base.STATELESS, **properties})
            flavor = self.create_flavor({**base.SNP_SPECS, **specs})
            message = self.refuse(self.api.post_server, {
                'server': self._build_server(
                    image_uuid=image, flavor_id=flavor, networks='none')})
            for word in words:
                self.assertIn(word, message)
            if not properties and 'accel:device_profile' not in specs:
                self.assertIn(words[0], self.refuse(
                    self.api.post_server_action, plain['id'],
                    {'resize': {'flavorRef': flavor}}))

    def test_small_pages_are_no_large_ones(self):
        self.start_snp_host()
        for size in ('small', '4', '4KB'):
            self.assert_model(self.boot(
                {**base.SNP_SPECS, 'hw:mem_page_size': size},
                base.STATELESS), 'amd-sev-snp')

    def test_a_rebuild_without_stateless_firmware(self):
        self.start_snp_host()
        server = self.boot(base.SNP_SPECS, base.STATELESS)
        self.assertIn('without stateless firmware', self.refuse(
            self.api.post_server_action, server['id'],
            {'rebuild': {'imageRef': self.create_image()}}))
        self.assert_model(server, 'amd-sev-snp')

    def test_no_suspend_and_no_live_migration(self):
        self.start_snp_host()
        server = self.boot(base.SNP_SPECS, base.STATELESS)
        for body in ({'suspend': None},
                     {'os-migrateLive': {'host': None,
                                         'block_migration': 'auto'}}):
            self.assertIn('SEV', self.refuse(
                self.admin_api.post_server_action, server['id'], body))
