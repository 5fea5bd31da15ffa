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

"""Test that a guest starts with what it asked for, or not at all."""
import itertools
import re
from unittest import mock

import ddt
import fixtures
from keystoneauth1 import exceptions as ks_exc
from lxml import etree
from oslo_utils.fixture import uuidsentinel as uuids
from oslo_utils import timeutils

from nova.compute import manager
from nova.compute import power_state
from nova.compute import vm_states
from nova import context
from nova import exception
from nova.network import model as network_model
from nova import objects
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption
from nova.virt.libvirt import blockinfo
from nova.virt.libvirt import driver
from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.engine import ledger
from nova_mem_encryption.nova.mem_encryption.compute import conflicts

LOGGER = mem_encryption.LOGGER
SLOT = 'MEM_ENCRYPTION_CONTEXT'
SEV, ES = 'amd-sev', 'amd-sev-es'
POLICIES = {None: None, SEV: 0x33, ES: 0x37}
UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
SPECS = {None: {}, SEV: {'hw:mem_encryption': 'true'},
         ES: {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': ES}}

# Hosts: what is written to the kernel parameters, the split of ASIDs, and
# which models the host can give.
HOSTS = {
    'all': ({}, {}, {SEV, ES}),
    'lost sev': ({'sev': 'N'}, {}, set()),
    'lost sev_es': ({'sev_es': 'N'}, {}, {SEV}),
    'snp switched on': ({'sev_snp': 'Y'}, {}, {SEV}),
    'no asids for sev_es': ({}, {'max_es_guests': 0}, {SEV}),
    'all asids for sev_es': ({}, {'max_guests': 0}, {ES}),
    'libvirt does not tell': (
        {}, {'max_guests': None, 'max_es_guests': None}, {SEV}),
}

# Where the slots of a server can be: names of providers; None if Placement
# does not answer
SLOTS = [[], ['compute1'], ['compute1_amd_sev'], ['compute1_amd_sev_es'],
         ['other'], ['other_amd_sev_es'],
         ['other_amd_sev_es', 'compute1_amd_sev'],
         ['other_amd_sev', 'compute1_amd_sev_es'], None]


class DriverBase(mem_encryption.SEVTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(nova_fixtures.LibvirtImageBackendFixture())
        self.context = context.get_admin_context()
        self.set_host('all')

    def set_host(self, name):
        parameters, split, models = HOSTS[name]
        self.sev.set(**{'sev': 'Y', 'sev_es': 'Y', 'sev_snp': None,
                        **parameters})
        self.driver = self.get_driver(**{'max_guests': 100, **split})
        self.client = self.driver.virtapi.reportclient
        # Only what is in doubt may stop a guest, not the imitation's own.
        self.connection._sev_counts = None
        self.set_slots([])

    def set_slots(self, names):
        """Put the slots of every server on providers, in Placement."""
        if names is None:
            self.client.get_allocs_for_consumer.side_effect = (
                ks_exc.ConnectFailure)
            return
        self.client.get_allocs_for_consumer.side_effect = None
        self.client.get_allocs_for_consumer.return_value = {'allocations': {
            uuids.cpu: {'resources': {'VCPU': 1}},
            **{name: {'resources': {SLOT: 1}} for name in names}}}
        self.client.get_resource_provider_name.side_effect = (
            lambda context, uuid: uuid)

    def make_instance(self, model=None, specs=None, properties=None,
                      launched=True):
        """Make a server that asks for a model in its flavor."""
        flavor = objects.Flavor(
            id=2, flavorid='2', name='apple', memory_mb=1024, vcpus=2,
            root_gb=10, ephemeral_gb=0, swap=0,
            extra_specs=SPECS[model] if specs is None else specs)
        properties = UEFI if properties is None else properties
        return objects.Instance(
            id=1, uuid=uuids.server, display_name='server', flavor=flavor,
            new_flavor=None, old_flavor=None, instance_type_id=2,
            image_ref=uuids.image, project_id='p', user_id='u', host='host',
            node='compute1', memory_mb=1024, vcpus=2, root_gb=10,
            ephemeral_gb=0, os_type='linux', kernel_id=None, ramdisk_id=None,
            config_drive=None, vm_mode=None, vm_state=None, task_state=None,
            ephemeral_key_uuid=None, numa_topology=None, vcpu_model=None,
            pci_requests=None, resources=None, trusted_certs=None,
            device_metadata=None, root_device_name='/dev/vda',
            default_ephemeral_device=None, default_swap_device=None,
            pci_devices=objects.PciDeviceList(), metadata={}, migration=None,
            launched_at=timeutils.utcnow() if launched else None,
            info_cache=objects.InstanceInfoCache(
                network_info=network_model.NetworkInfo()),
            system_metadata={'image_' + name: value
                             for name, value in properties.items()})

    def get_config(self, instance, image=None, ports=(), **kwargs):
        """Return the XML that a server is defined with."""
        image = image or instance.image_meta
        disk = blockinfo.get_disk_info('kvm', instance, image,
                                       rescue='rescue' in kwargs)
        return self.driver._get_guest_config(
            instance, network_model.NetworkInfo(ports), image, disk,
            context=self.context, **kwargs)

    def get_xml(self, instance, image, **kwargs):
        """Return the XML of a server with some image, or the refusal."""
        return self.ask(
            self.driver._get_guest_xml, self.context, instance,
            network_model.NetworkInfo(), blockinfo.get_disk_info(
                'kvm', instance, image, rescue='rescue' in kwargs), image,
            **kwargs)

    def make_xml(self, policy):
        """Make XML of a server, with a policy whatever it asked for."""
        security = '' if policy is None else (
            '<launchSecurity type="sev"><policy>0x%04x</policy>'
            '<cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits>'
            '</launchSecurity>' % policy)
        return ('<domain type="kvm"><uuid>%s</uuid><name>server</name>'
                '<memory>1024</memory><vcpu>2</vcpu><os><type>hvm</type></os>'
                '<devices/>%s</domain>'
                % (uuids.server, security))

    def ask(self, function, *args, **kwargs):
        """Return what a function returns, or its refusal."""
        try:
            return function(*args, **kwargs)
        except (exception.MemEncryptionMismatch,
                exception.MemEncryptionUnavailable) as e:
            return e


def upstream(name):
    """Return the function of Nova that ours is laid over."""
    original, = [entry.original for entry in ledger.entries()
                 if entry.target is driver.LibvirtDriver and
                 entry.attribute == name]
    return original


@ddt.ddt
class GuestConfigTest(DriverBase):
    """The definition of a guest."""

    def test_the_table_of_all_hosts(self):
        for name, (parameters, split, models) in HOSTS.items():
            self.set_host(name)
            for model in (None, SEV, ES):
                found = self.ask(self.get_config, self.make_instance(model))
                if model in models or model is None:
                    security = found.launch_security
                    self.assertEqual(POLICIES[model],
                                     security and security.policy,
                                     (name, model))
                else:
                    self.assertIsInstance(
                        found, exception.MemEncryptionUnavailable,
                        (name, model))
                    self.assertIn(model, found.format_message())

    @tables.data(
        ('lost sev', SEV, 'does not support AMD SEV'),
        ('lost sev', ES, 'does not support AMD SEV'),
        ('lost sev_es', ES, 'kvm_amd.sev_es'),
        ('snp switched on', ES, 'kvm_amd.sev_snp'),
        ('no asids for sev_es', ES, 'maxESGuests'),
        ('all asids for sev_es', SEV, 'set aside for SEV-ES'), by=0)
    @ddt.unpack
    def test_a_refusal_has_the_reason(self, host, model, reason):
        self.set_host(host)
        e = self.assertRaises(exception.MemEncryptionUnavailable,
                              self.get_config, self.make_instance(model))
        self.assertIn(reason, e.format_message())

    @ddt.data(
        ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': SEV}, {},
         0x33),
        ({}, {'hw_mem_encryption': 'true'}, 0x33),
        ({}, {'hw_mem_encryption': 'true', 'hw_mem_encryption_model': ES},
         0x37),
        ({'hw:mem_encryption': 'true'}, {'hw_mem_encryption_model': ES}, 0x37),
        ({'hw:mem_encryption_model': ES}, {'hw_mem_encryption': 'true'}, 0x37),
    )
    @ddt.unpack
    def test_flavor_or_image_ask(self, specs, properties, policy):
        guest = self.get_config(self.make_instance(
            specs=specs, properties={**UEFI, **properties}))
        self.assertEqual(policy, guest.launch_security.policy)

    @ddt.data(SEV, ES)
    def test_all_that_encryption_needs(self, model):
        guest = self.get_config(self.make_instance(model, properties={
            **UEFI, 'hw_qemu_guest_agent': 'yes', 'hw_rng_model': 'virtio'}))
        xml = etree.fromstring(guest.to_xml())
        self.assertIsNotNone(xml.find('memoryBacking/locked'))
        self.assertIsNone(xml.find('features/vmcoreinfo'))
        self.assertEqual(['%d' % 51, '1'], [
            xml.findtext('launchSecurity/' + tag)
            for tag in ('cbitpos', 'reducedPhysBits')])
        for path in ('devices/disk', 'devices/rng', 'devices/memballoon',
                     'devices/controller[@type="virtio-serial"]'):
            self.assertEqual('on', xml.find(path + '/driver').get('iommu'),
                             path)

    def test_a_plain_guest_is_the_one_of_nova(self):
        # NOTE: with all that Nova asks of the host.
        guest = upstream('_get_guest_config')(
            self.driver, self.make_instance(), network_model.NetworkInfo(),
            self.make_instance().image_meta,
            blockinfo.get_disk_info('kvm', self.make_instance(),
                                    self.make_instance().image_meta),
            context=self.context)
        self.assertEqual(*[
            re.sub('<nova:creationTime>.*?<', '<', found.to_xml())
            for found in (guest, self.get_config(self.make_instance()))])
        self.assertIsNotNone(
            etree.fromstring(guest.to_xml()).find('features/vmcoreinfo'))
        self.assertEqual([], self.client.mock_calls)

    def test_the_choice_of_the_host_for_a_machine_type(self):
        instance = self.make_instance(
            ES, properties={'hw_firmware_type': 'uefi'})
        self.assertRaises(exception.InvalidMachineType, self.get_config,
                          instance)
        self.assertRaises(exception.InvalidMachineType,
                          self.driver._mem_encryption.guests.get_config,
                          instance.flavor, instance.image_meta)
        self.flags(hw_machine_type=['x86_64=q35'], group='libvirt')
        self.assertEqual(0x37,
                         self.get_config(instance).launch_security.policy)

    @tables.data(*itertools.product(('qemu', 'lxc', 'parallels'), (SEV, ES)))
    @ddt.unpack
    def test_another_hypervisor_cannot(self, virt_type, model):
        self.flags(virt_type=virt_type, group='libvirt')
        instance = self.make_instance(model)
        e = self.assertRaises(
            exception.MemEncryptionUnavailable,
            self.driver._mem_encryption.guests.get_config,
            instance.flavor, instance.image_meta)
        self.assertIn('[libvirt] virt_type is %s, ' % virt_type,
                      e.format_message())
        self.assertIn('Set [libvirt] virt_type = kvm.', e.format_message())
        self.assertRaises(exception.MemEncryptionUnavailable,
                          self.get_config, instance)

    @tables.data((None, [None, None]), (SEV, ['on', 'on']),
                 (ES, ['on', 'on']))
    @ddt.unpack
    def test_input_devices_that_use_virtio(self, model, expected):
        self.flags(enabled=True, group='spice')
        guest = self.get_config(self.make_instance(model, properties={
            **UEFI, 'hw_input_bus': 'virtio'}))
        root = etree.fromstring(guest.to_xml())
        drivers = [device.find('driver')
                   for device in root.findall('devices/input')]
        self.assertEqual(expected, [
            driver if driver is None else driver.get('iommu')
            for driver in drivers])
        self.assertEqual(
            [] if model is None else ['on'],
            [driver.get('iommu') for driver in root.findall(
                "devices/controller[@type='virtio-serial']/driver")])

    @ddt.data((None, False), (SEV, True), (ES, True))
    @ddt.unpack
    def test_nova_is_told_yes_or_no(self, model, enabled):
        instance = self.make_instance(model)
        self.assertIs(enabled, self.driver._sev_enabled(
            instance.flavor, instance.image_meta))

    def test_a_guest_without_launch_security_is_refused(self):
        # Nova decides on it by itself.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.LibvirtDriver._guest_configure_sev',
            lambda *args: None))
        e = self.assertRaises(exception.MemEncryptionMismatch,
                              self.get_config, self.make_instance(SEV))
        self.assertIn('no launch security', e.format_message())

    @tables.data(*itertools.product((None, SEV, ES), (None, SEV, ES),
                                    ({}, {'rescue': {'image_id': 'i'}})))
    @ddt.unpack
    def test_an_image_that_is_another(self, model, other, kwargs):
        """It may be of a rescue, or the server's own as it is now."""
        def make(model):
            # In the image, as a flavor would ask for both.
            return self.make_instance(specs={}, properties={
                **UEFI, **{name.replace(':', '_'): value
                           for name, value in SPECS[model].items()}})

        found = self.get_xml(make(model), make(other).image_meta, **kwargs)
        if model == other:
            policy = etree.fromstring(found).findtext('launchSecurity/policy')
            self.assertEqual(POLICIES[model], policy and int(policy, 0))
        else:
            self.assertIsInstance(found, exception.MemEncryptionMismatch)
            self.assertIn('encryption %s, and the server has %s.' % (
                other or 'none', model or 'none'), found.format_message())

    def test_what_no_host_gives_is_said_whatever_the_host(self):
        self.set_host('lost sev')
        found = self.get_xml(self.make_instance(), self.make_instance(
            properties={**UEFI, 'hw_mem_encryption': 'true'}).image_meta)
        self.assertIsInstance(found, exception.MemEncryptionMismatch)

    @ddt.data(({'hw:mem_encryption_model': ES}, None),
              ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'tdx'},
               0x33))
    @ddt.unpack
    def test_a_server_of_old_is_as_it_was(self, specs, policy):
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            guest = self.get_config(self.make_instance(specs=specs))
        self.assertEqual(
            policy, guest.launch_security and guest.launch_security.policy)
        message, = [record.getMessage() for record in logs.records]
        self.assertIn('flavor apple', message)
        self.assertIn('It is started all the same', message)

    @ddt.data('tdx', None)
    def test_what_nova_refuses_is_its_own_to_say(self, model):
        image = {**UEFI, 'hw_mem_encryption': 'false'}
        if model is not None:
            image['hw_mem_encryption_model'] = model
        instance = self.make_instance(SEV, properties=image)
        self.assertRaises(exception.FlavorImageConflict, conflicts.check,
                          instance, instance.flavor, instance.image_meta)

    @ddt.data({'hw:mem_encryption_model': ES},
              {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'tdx'})
    def test_a_new_server_that_the_api_let_pass_is_refused(self, specs):
        self.assertRaises(
            exception.MemEncryptionInvalid, self.get_config,
            self.make_instance(specs=specs, launched=False))


@ddt.ddt
class CheckTest(DriverBase):

    def init_instance(self, model=ES, **kwargs):
        """Let nova-compute start with a server that it is not to touch."""
        compute = object.__new__(manager.ComputeManager)
        compute.driver, compute.host = self.driver, 'host'
        instance = self.make_instance(model, **kwargs)
        instance.vm_state = vm_states.ERROR
        compute._init_instance(self.context, instance)

    def test_a_server_without_a_guest_can_be_started(self):
        with self.assert_silence():
            self.init_instance()

    @tables.data(*itertools.product((None, SEV, ES), (None, 0x33, 0x37)))
    @ddt.unpack
    def test_a_guest_that_runs_as_another(self, model, policy):
        self.set_slots(['compute1_amd_sev', 'compute1_amd_sev_es'])
        self.connection.defineXML(self.make_xml(policy)).createWithFlags(0)
        if policy == POLICIES[model]:
            with self.assert_silence():
                self.init_instance(model)
            return
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            self.init_instance(model)
        record, = logs.records
        self.assertEqual('ERROR', record.levelname)
        less = model is not None and (policy or 0) < POLICIES[model]
        self.assertIn('This server runs with %s than it asked for: ' % (
            'less' if less else 'more'), record.getMessage())
        self.assertIn('Reboot it hard.', record.getMessage())
        if None not in (model, policy):
            self.assertIn('the guest policy is 0x%04x and not 0x%04x.' % (
                policy, POLICIES[model]), record.getMessage())

    @tables.data(('lost sev_es', ['compute1_amd_sev_es'], 'kvm_amd.sev_es'),
                 ('all', ['compute1'], 'its slot is on compute1 and not'))
    @ddt.unpack
    def test_one_that_no_reboot_makes_right(self, host, slots, reason):
        self.set_host(host)
        self.set_slots(slots)
        self.connection.defineXML(self.make_xml(0x33)).createWithFlags(0)
        with self.assertLogs(LOGGER, 'ERROR') as logs:
            self.init_instance()
        said, = [record.getMessage() for record in logs.records]
        self.assertIn('runs with less than it asked for', said)
        self.assertIn('Stop or migrate it, as a reboot is refused.', said)
        self.assertIn(reason, said)
        self.assertNotIn('Reboot it hard', said)

    def test_the_hypervisor_is_believed_and_not_the_definition(self):
        self.set_slots(['compute1_amd_sev_es'])
        self.connection.defineXML(self.make_xml(0x37)).createWithFlags(0)
        self.connection._sev_policy_reported = 0x33
        with self.assertLogs(LOGGER, 'ERROR') as logs:
            self.init_instance()
        self.assertIn('0x0033 and not 0x0037', logs.output[0])

    def test_a_guest_that_is_off_is_defined_again(self):
        self.connection.defineXML(self.make_xml(0x33))
        with self.assert_silence():
            self.init_instance()

    @ddt.data(({'hw:mem_encryption': 'true'}, {'hw_machine_type': 'q35'}),
              (SPECS[ES], {**UEFI, 'hw_machine_type': 'pc'}),
              ({**SPECS[ES], 'os:secure_boot': 'required'}, UEFI))
    @ddt.unpack
    def test_one_that_no_host_can_start_is_not_to_be_moved(self, specs,
                                                           properties):
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            self.init_instance(specs=specs, properties=properties)
        said, = [record.getMessage() for record in logs.records]
        self.assertIn('cannot be started again as it is', said)
        self.assertNotIn('Move it', said)

    @ddt.data(exception.InternalError('libvirt ended'),
              fakelibvirt.libvirtError('libvirt ended'))
    def test_a_libvirt_that_cannot_be_asked_is_warned_of(self, error):
        driver = self.get_driver()
        with mock.patch.object(driver._host, 'get_guest', side_effect=error), (
                self.assertLogs(LOGGER, 'WARNING')) as logs:
            driver._mem_encryption.stored_servers.check(self.make_instance(
                specs={'hw:mem_encryption': 'true'}))
        self.assertIn('libvirt ended', logs.records[0].getMessage())


class LaunchBase(DriverBase):
    """What libvirt reports of the guests that run."""

    def setUp(self):
        super().setUp()
        self.told = []  # states of the guest when it was asked
        self.useFixture(fixtures.MonkeyPatch(
            'nova.tests.fixtures.libvirt.Domain.launchSecurityInfo',
            self.get_teller()))

    def get_teller(self):
        tell = fakelibvirt.Domain.launchSecurityInfo

        def launchSecurityInfo(domain, flags=0):
            self.told.append(domain._state)
            return tell(domain, flags)

        return launchSecurityInfo

    def set_reported(self, policy):
        """Have libvirt report a policy, -1 if it tells none."""
        self.connection._sev_policy_told = policy != -1
        self.connection._sev_policy_reported = policy

    def get_state(self):
        """Return the state of the guest, None if there is none."""
        for domain in self.connection._vms.values():
            return domain._state

    def clean(self):
        for domain in list(self.connection._vms.values()):
            if domain._state != fakelibvirt.VIR_DOMAIN_SHUTOFF:
                domain.destroy()
            domain.undefine()


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class CreateGuestTest(LaunchBase):
    """The last step of all that starts a guest."""

    def create(self, instance, policy, **kwargs):
        return self.ask(self.driver._create_guest, self.context,
                        self.make_xml(policy), instance, **kwargs)

    def expect(self, model, models, policy, slots, reported):
        """Tell whether a guest may start."""
        if policy != POLICIES[model]:
            return False
        if model is None:
            return True
        if model not in models:
            return False
        if reported not in (-1, POLICIES[model]):
            return False
        if slots is None:
            return True
        here = {name for name in slots if name.startswith('compute1')}
        if model == SEV:
            # On the root before the series came; none, as the operator did
            # not let Nova count.
            return 'compute1_amd_sev' in here or here <= {'compute1'}
        return 'compute1_amd_sev_es' in here

    def test_the_table_of_all_starts(self):
        for host, (parameters, split, models) in HOSTS.items():
            self.set_host(host)
            for model, policy, slots, reported in itertools.product(
                    (None, SEV, ES), (None, 0x33, 0x37), SLOTS,
                    (-1, 0x33, 0x37, 0)):
                case = host, model, policy, slots, reported
                self.set_slots(slots)
                self.set_reported(reported)
                self.told = []
                found = self.create(self.make_instance(model), policy)
                if self.expect(model, models, policy, slots, reported):
                    self.assertIsInstance(found, libvirt_guest.Guest, case)
                    self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING,
                                     self.get_state(), case)
                    self.assertEqual(
                        [] if model is None else
                        [fakelibvirt.VIR_DOMAIN_PAUSED], self.told, case)
                else:
                    self.assertIsInstance(found, (
                        exception.MemEncryptionMismatch,
                        exception.MemEncryptionUnavailable), case)
                    self.assertIn(
                        self.get_state(),
                        (None, fakelibvirt.VIR_DOMAIN_SHUTOFF), case)
                self.clean()

    @ddt.data((SEV, 0x33), (ES, 0x37))
    @ddt.unpack
    def test_a_policy_may_be_decimal(self, model, policy):
        self.set_slots(['compute1_' + model.replace('-', '_')])
        xml = self.make_xml(policy).replace('0x%04x' % policy, str(policy))
        self.assertIsInstance(
            self.ask(self.driver._create_guest, self.context, xml,
                     self.make_instance(model)), libvirt_guest.Guest)

    @tables.data(*itertools.product((SEV, ES), (True, False), (True, False)))
    @ddt.unpack
    def test_it_is_paused_until_verified(self, model, power_on, pause):
        self.set_slots(['compute1_' + model.replace('-', '_')])
        self.create(self.make_instance(model), POLICIES[model],
                    power_on=power_on, pause=pause)
        states = {(True, False): fakelibvirt.VIR_DOMAIN_RUNNING,
                  (True, True): fakelibvirt.VIR_DOMAIN_PAUSED,
                  (False, True): fakelibvirt.VIR_DOMAIN_PAUSED,
                  (False, False): fakelibvirt.VIR_DOMAIN_SHUTOFF}
        self.assertEqual(states[power_on, pause], self.get_state())
        self.assertEqual(
            [fakelibvirt.VIR_DOMAIN_PAUSED] if power_on or pause else [],
            self.told)

    def test_a_guest_that_is_another_is_off_and_never_ran(self):
        self.set_slots(['compute1_amd_sev_es'])
        self.set_reported(0x33)
        with mock.patch.object(fakelibvirt.Domain, 'resume') as resume:
            e = self.create(self.make_instance(ES), 0x37)
        self.assertIn('0x0033 and not 0x0037', e.format_message())
        resume.assert_not_called()
        self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())

    @tables.data(*itertools.product((None, SEV, ES), (None, 0x33, 0x37)))
    @ddt.unpack
    def test_a_definition_that_is_edited_before_the_start(self, model, policy):
        """What counts is what libvirt starts."""
        self.set_slots(['compute1_amd_sev', 'compute1_amd_sev_es'])
        found = self.create(
            self.make_instance(model), POLICIES[model],
            post_xml_callback=lambda: list(
                self.connection._vms.values())[0].edit(policy))
        if policy == POLICIES[model]:
            self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.get_state())
        else:
            self.assertIsInstance(found, exception.MemEncryptionMismatch)
            self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())

    @tables.data((None, 0x37), (SEV, None), (ES, None), by=0)
    @ddt.unpack
    def test_a_guest_that_runs_as_another_is_off(self, model, policy):
        """As one that was edited while libvirt started it, or was saved."""
        self.set_slots(['compute1_amd_sev', 'compute1_amd_sev_es'])
        start = fakelibvirt.Domain.createWithFlags

        def createWithFlags(domain, flags):
            domain.edit(policy)
            start(domain, flags)

        with mock.patch.object(fakelibvirt.Domain, 'createWithFlags',
                               createWithFlags):
            found = self.create(self.make_instance(model), POLICIES[model])
        self.assertIsInstance(found, exception.MemEncryptionMismatch)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())

    def test_a_guest_that_cannot_be_asked_is_off(self):
        self.set_slots(['compute1_amd_sev_es'])
        error = fakelibvirt.make_libvirtError(
            fakelibvirt.libvirtError, 'gone',
            error_code=fakelibvirt.VIR_ERR_INTERNAL_ERROR)
        with mock.patch.object(fakelibvirt.Domain, 'launchSecurityInfo',
                               side_effect=error):
            self.assertRaises(fakelibvirt.libvirtError, self.create,
                              self.make_instance(ES), 0x37)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.get_state())

    @tables.data((-1, 'does not tell the policy'), (None, None), by=0)
    @ddt.unpack
    def test_a_libvirt_that_cannot_tell(self, reported, warning):
        self.set_slots(['compute1_amd_sev_es'])
        self.set_reported(reported)
        with self.assertLogs(LOGGER, 'INFO') as logs:
            self.create(self.make_instance(ES), 0x37)
        messages = [record.getMessage() for record in logs.records
                    if record.levelname == 'WARNING']
        self.assertEqual([] if warning is None else [mock.ANY], messages)
        self.assertIn(warning or '', ''.join(messages))

    def test_a_refusal_names_both_slots(self):
        self.set_slots(['compute1_amd_sev'])
        e = self.create(self.make_instance(ES), 0x37)
        self.assertIn('its slot is on compute1_amd_sev and not on '
                      'compute1_amd_sev_es', e.format_message())

    @ddt.data(
        ks_exc.ConnectFailure(), ks_exc.EndpointNotFound(),
        exception.ConsumerAllocationRetrievalFailed(
            consumer_uuid='c', error='e'))
    def test_no_placement_is_warned_of(self, error):
        self.client.get_allocs_for_consumer.side_effect = error
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            self.create(self.make_instance(ES), 0x37)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.get_state())
        self.assertIn('which slot', logs.records[0].getMessage())

    def test_a_guest_starts_with_an_unknown_provider(self):
        # That is also what Nova makes of a connection that is lost.
        self.set_slots(['compute1_amd_sev_es'])
        self.client.get_resource_provider_name.side_effect = (
            exception.ResourceProviderNotFound(name_or_uuid='r'))
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            self.create(self.make_instance(ES), 0x37)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.get_state())
        self.assertIn('which slot', logs.records[0].getMessage())

    @tables.data(*itertools.product((True, False), (True, False)))
    @ddt.unpack
    def test_a_plain_guest_starts_as_ever(self, power_on, pause):
        callback = mock.Mock()
        launched = mock.patch.object(libvirt_guest.Guest, 'launch')
        created = mock.patch.object(
            libvirt_guest.Guest, 'create', wraps=libvirt_guest.Guest.create)
        with launched as launch, created as create:
            guest = self.create(self.make_instance(), None, power_on=power_on,
                                pause=pause, post_xml_callback=callback)
        self.assertIsInstance(guest, libvirt_guest.Guest)
        create.assert_called_once_with(self.make_xml(None), self.driver._host)
        callback.assert_called_once_with()
        self.assertEqual([mock.call(pause=pause)] if power_on or pause else [],
                         launch.mock_calls)
        self.assertEqual([], self.told)
        self.assertEqual([], self.client.mock_calls)

    @ddt.data(*HOSTS)
    def test_a_plain_guest_starts(self, host):
        self.set_host(host)
        self.create(self.make_instance(), None)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.get_state())


@ddt.ddt
class SoftRebootTest(LaunchBase):
    """A guest that is shut down and started again as it is defined."""

    def start(self, policy):
        """Start a guest, on whatever host."""
        domain = self.connection.defineXML(self.make_xml(policy))
        domain.createWithFlags(0)
        return domain

    def reboot(self, model):
        self.set_slots(['compute1_amd_sev', 'compute1_amd_sev_es'])
        return self.ask(self.driver._soft_reboot, self.make_instance(model))

    def get_policy(self):
        """Return the policy that the guest runs with, or of its last run."""
        for domain in self.connection._vms.values():
            return domain._sev_policy()

    def test_the_table_of_all_reboots(self):
        for host, (parameters, split, models) in HOSTS.items():
            self.set_host(host)
            for model, policy, edited, reported in itertools.product(
                    (None, SEV, ES), (None, 0x33, 0x37),
                    ('same', None, 0x33, 0x37), (-1, 0x33, 0x37, 0)):
                case = host, model, policy, edited, reported
                self.set_reported(-1)
                domain = self.start(policy)
                if edited != 'same':
                    domain.edit(edited)
                self.set_reported(reported)
                found = self.reboot(model)
                state = self.get_state()
                expected = POLICIES[model]
                if model is not None and model not in models:
                    # Refused, and the guest is let alone.
                    self.assertIsInstance(
                        found, exception.MemEncryptionUnavailable, case)
                    self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, state)
                    self.assertEqual(policy, self.get_policy())
                elif (policy if edited == 'same' else edited) != expected:
                    # The same; a hard reboot makes it right.
                    self.assertIs(False, found, case)
                    self.assertEqual(model is not None, state ==
                                     fakelibvirt.VIR_DOMAIN_RUNNING, case)
                    self.assertEqual(policy, self.get_policy())
                elif model is None or reported in (-1, expected):
                    self.assertIs(True, found, case)
                    self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, state)
                    self.assertEqual(expected, self.get_policy())
                else:
                    self.assertIs(False, found, case)
                    self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, state)
                self.clean()

    def test_it_is_paused_until_verified(self):
        self.start(0x37)
        self.assertIs(True, self.reboot(ES))
        self.assertEqual(fakelibvirt.VIR_DOMAIN_PAUSED, self.told[0])

    def test_one_that_lost_its_slot_is_let_alone(self):
        self.start(0x37)
        self.set_slots(['compute1_amd_sev'])
        e = self.ask(self.driver._soft_reboot, self.make_instance(ES))
        self.assertIn('its slot is on', e.format_message())
        self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.get_state())

    @ddt.data(*HOSTS)
    def test_nova_reboots_a_plain_one(self, host):
        self.set_host(host)
        domain = self.start(None)
        with mock.patch.object(domain, 'shutdown',
                               wraps=domain.shutdown) as shutdown:
            self.assertIs(True, self.reboot(None))
        shutdown.assert_called_once_with()
        self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING, self.get_state())
        self.assertEqual([], self.told)
        self.assertEqual([], self.client.mock_calls)


class SnapshotTest(LaunchBase):
    """A guest that is suspended for a snapshot, and started again."""

    def resume(self, model, policy):
        domain = self.connection.defineXML(self.make_xml(policy))
        guest = libvirt_guest.Guest(domain)
        return self.ask(
            self.driver._resume_guest_after_snapshot, self.context, False,
            power_state.RUNNING, self.make_instance(model), guest)

    def test_the_table_of_all(self):
        self.set_slots(['compute1_amd_sev', 'compute1_amd_sev_es'])
        for model, policy in itertools.product(
                (None, SEV, ES), (None, 0x33, 0x37)):
            found = self.resume(model, policy)
            if policy == POLICIES[model]:
                self.assertIsNone(found)
                self.assertEqual(fakelibvirt.VIR_DOMAIN_RUNNING,
                                 self.get_state())
            else:
                self.assertIsInstance(found, exception.MemEncryptionMismatch)
                self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF,
                                 self.get_state())
            self.clean()

    def test_a_live_one_asks_nothing_of_the_host(self):
        self.set_host('lost sev')
        self.driver._resume_guest_after_snapshot(
            self.context, True, power_state.RUNNING, self.make_instance(ES),
            mock.sentinel.guest)
