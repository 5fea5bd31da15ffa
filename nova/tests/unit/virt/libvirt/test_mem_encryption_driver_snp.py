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

"""Test how guests with SEV-SNP are started, and that they are what was asked.
"""
import itertools
from unittest import mock

import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova import exception
from nova.network import model as network_model
from nova import objects
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import test_mem_encryption_driver as base
from nova.virt.libvirt import guest as libvirt_guest

SNP = 'amd-sev-snp'
SPECS = {None: {}, base.SEV: base.SPECS[base.SEV],
         SNP: {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': SNP}}
PROPERTIES = {**base.UEFI, 'hw_firmware_stateless': 'True'}
# What a guest can have, and the model that it is of
FOUND = {None: None, ('sev', 0x33): base.SEV, ('sev-snp', 0x30000): SNP,
         ('sev', 0x30000): '', ('sev-snp', 0x20000): '',
         ('sev-snp', 0x10000): '', ('sev-snp', 0xb0000): '',
         ('sev-snp', 0x33): '', ('sev-foo', 0x30000): ''}


@ddt.ddt
class CreateGuestTest(base.LaunchBase):

    def setUp(self):
        super().setUp()
        self.flags(enable_amd_sev_snp=True, group='libvirt')
        self.sev.set(sev_snp='Y')
        self.sev.firmware.describe_one_file()
        self.driver = self.get_driver(libvirt='11.3.0', qemu='10.0.0')
        self.connection._sev_counts = None
        self.client = self.driver.virtapi.reportclient
        self.set_slots(['compute1_amd_sev', 'compute1_amd_sev_snp'])
        self.started = []  # flags of starts
        start = fakelibvirt.Domain.createWithFlags

        def createWithFlags(domain, flags):
            self.started.append(flags)
            start(domain, flags)

        self.stub_out('nova.tests.fixtures.libvirt.Domain.createWithFlags',
                      createWithFlags)

    def make(self, model):
        return self.make_instance(specs={**SPECS[model]},
                                  properties=PROPERTIES)

    def make_xml(self, found):
        if found is None:
            return super().make_xml(None)
        return super().make_xml(found[1]).replace(
            'type="sev"', 'type="%s"' % found[0])

    def create(self, model, found, **kwargs):
        return self.ask(self.driver._create_guest, self.context,
                        self.make_xml(found), self.make(model), **kwargs)

    def test_the_table_of_all_starts(self):
        for model, found in itertools.product(SPECS, FOUND):
            result = self.create(model, found)
            if FOUND[found] == model:
                self.assertIsInstance(result, libvirt_guest.Guest,
                                      (model, found))
                self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING,
                                 self.get_state())
            else:
                self.assertIsInstance(
                    result, exception.MemEncryptionMismatch, (model, found))
                self.assertIsNone(self.get_state())
            self.clean()

    @tables.data(*itertools.product((True, False), (True, False)))
    @ddt.unpack
    def test_it_is_launched_running(self, power_on, pause):
        """Paused, QEMU would launch it only when it is resumed."""
        self.create(SNP, ('sev-snp', 0x30000), power_on=power_on, pause=pause)
        self.assertEqual([0] if power_on or pause else [], self.started)
        self.assertEqual(
            fakelibvirt.VIR_DOMAIN_PAUSED if pause else
            fakelibvirt.VIR_DOMAIN_RUNNING if power_on else
            fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())
        # libvirt 11.3 fails if it is asked.
        self.assertEqual([], self.told)

    def test_one_that_cannot_be_paused_is_off(self):
        error = fakelibvirt.make_libvirtError(
            fakelibvirt.libvirtError, 'gone',
            error_code=fakelibvirt.VIR_ERR_INTERNAL_ERROR)
        with mock.patch.object(fakelibvirt.Domain, 'suspend',
                               side_effect=error):
            self.assertRaises(fakelibvirt.libvirtError, self.create, SNP,
                              ('sev-snp', 0x30000), pause=True)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())

    @tables.data(('sev', 0x37), ('sev-snp', 0xb0000), (None, None), by=0)
    @ddt.unpack
    def test_one_that_runs_as_another_is_off(self, element, policy):
        """As one that was edited while libvirt started it."""
        start = fakelibvirt.Domain.createWithFlags

        def createWithFlags(domain, flags):
            domain.edit(policy, element)
            start(domain, flags)

        with mock.patch.object(fakelibvirt.Domain, 'createWithFlags',
                               createWithFlags):
            self.assertIsInstance(
                self.create(SNP, ('sev-snp', 0x30000)),
                exception.MemEncryptionMismatch)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())

    def test_nothing_is_warned_of(self):
        with self.assert_silence():
            self.create(SNP, ('sev-snp', 0x30000))

    @tables.data(['compute1_amd_sev'], ['compute1_amd_sev_es'], ['compute1'],
                 [])
    def test_a_slot_of_another_model(self, slots):
        self.set_slots(slots)
        result = self.create(SNP, ('sev-snp', 0x30000))
        self.assertIn('its slot is on', result.format_message())
        self.assertIsNone(self.get_state())

    def make_with(self, model, **request):
        """Make a server that has a device of the host."""
        instance = self.make(model)
        instance.pci_requests = objects.InstancePCIRequests(
            requests=[objects.InstancePCIRequest(count=1, **request)])
        return instance

    def test_no_port_with_sr_iov(self):
        """Which an API without the series lets pass."""
        for model in SPECS:
            instance = self.make_with(model)
            if model != SNP:
                self.get_config(instance)
                continue
            e = self.assertRaises(exception.MemEncryptionInvalid,
                                  self.get_config, instance)
            self.assertIn('Use ports of vnic_type normal.',
                          e.format_message())

    @tables.data(('hw_veb', 'accelerator-direct', True),
                 ('hostdev_physical', 'accelerator-direct-physical', True),
                 ('bridge', 'normal', False), by=0)
    @ddt.unpack
    def test_no_port_of_cyborg(self, vif_type, vnic_type, is_device):
        """Which no PCI request tells of."""
        port = network_model.VIF(
            id=uuids.port, address='fa:16:3e:00:00:01', type=vif_type,
            devname='tap1', vnic_type=vnic_type,
            profile={'pci_slot': '0000:81:00.1'}, details={'vlan': '1'},
            network=network_model.Network(
                id=uuids.network, bridge='br0', subnets=[]))
        for model in SPECS:
            instance = self.make(model)
            if model != SNP or not is_device:
                self.get_config(instance, ports=[port])
                continue
            e = self.assertRaises(exception.MemEncryptionInvalid,
                                  self.get_config, instance, ports=[port])
            self.assertIn('Use ports of vnic_type normal.',
                          e.format_message())

    def test_a_port_that_is_not_loaded(self):
        """As of a server that is started, or rebooted hard."""
        loaded = self.make_with(SNP).pci_requests
        for act in (self.driver._mem_encryption.restarts.check,
                    self.get_config):
            instance = self.make(SNP)
            instance._context = self.context
            delattr(instance, '_obj_pci_requests')
            with mock.patch.object(
                    objects.InstancePCIRequests, 'get_by_instance_uuid',
                    return_value=loaded):
                e = self.assertRaises(exception.MemEncryptionInvalid, act,
                                      instance)
            self.assertIn('Use ports of vnic_type normal.',
                          e.format_message())

    def test_a_resize_from_a_flavor_with_a_device(self):
        """It is given back, and so is no reason to refuse."""
        instance = self.make_with(None, alias_name='nic')
        instance.flavor.extra_specs = {'pci_passthrough:alias': 'nic:1'}
        flavor = self.make(SNP).flavor
        check = self.driver._mem_encryption.restarts.check
        self.assertEqual(SNP, check(instance, flavor).model)
        flavor.extra_specs['pci_passthrough:alias'] = 'nic:1'
        self.assertIn('has pci_passthrough:alias', self.assertRaises(
            exception.MemEncryptionInvalid, check, instance, flavor
        ).format_message())

    def test_no_device_by_the_flavor(self):
        """Also where it was started once."""
        instance = self.make(SNP)
        instance.flavor.extra_specs['pci_passthrough:alias'] = 'nic:1'
        self.assertRaises(exception.MemEncryptionInvalid, self.get_config,
                          instance)

    def test_no_realtime(self):
        """It would be defined without its memory locked."""
        instance = self.make(SNP)
        instance.flavor.extra_specs['hw:cpu_realtime'] = 'yes'
        self.assertRaises(exception.MemEncryptionInvalid, self.get_config,
                          instance)

    @tables.data((SNP, 'pflash', False), (SNP, 'rom', True),
                 (base.SEV, 'rom', False), (base.SEV, 'pflash', True))
    @ddt.unpack
    def test_other_firmware_is_told_of(self, model, loader, told):
        """But not that a resize gives another model another kind."""
        guest = mock.Mock()
        guest.get_xml_desc.return_value = (
            '<domain><os><loader type="%s">/old.fd</loader></os></domain>'
            % loader)
        with mock.patch.object(self.driver._host, 'get_guest',
                               return_value=guest), (
                self.assertLogs(base.LOGGER, 'WARNING') if told else
                self.assert_silence()) as logs:
            self.get_config(self.make(model))
        if told:
            self.assertIn('/old.fd, which does not fit', logs.output[0])

    @ddt.data({'hw_firmware_stateless': 'False'},
              {'os_secure_boot': 'required', 'hw_firmware_stateless': 'True'},
              {'hw_locked_memory': 'True', 'hw_mem_page_size': 'small',
               'hw_firmware_stateless': 'True'},
              {})
    def test_what_an_api_without_the_series_let_pass(self, properties):
        """Also if it was started once."""
        for launched in (True, False):
            instance = self.make_instance(
                specs=SPECS[SNP], properties={**base.UEFI, **properties},
                launched=launched)
            self.assertRaises(exception.MemEncryptionInvalid,
                              self.get_config, instance)
