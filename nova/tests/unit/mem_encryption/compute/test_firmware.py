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

"""Test which firmware servers are defined with, and when hosts have none."""
import json
from unittest import mock

import ddt
import fixtures
from keystoneauth1 import exceptions as ks_exc

from nova import exception
from nova import test
from nova.tests.fixtures import firmware as fake
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption
from nova.tests.unit.virt.libvirt import test_mem_encryption_driver as base
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import host as libvirt_host

from nova_mem_encryption.engine import ledger
from nova_mem_encryption.nova.mem_encryption.compute import firmware

SEV, ES = base.SEV, base.ES
NOVAS = '/usr/share/OVMF/OVMF_CODE.fd'  # its own choice, by LibvirtFixture
NOVAS_SECURE = '/usr/share/OVMF/OVMF_CODE.secboot.fd'
REFUSED = 'it has no firmware that can start such a guest.'
SECURE = fake.SHIPPED + '/50-secure.json'
EDK2 = fake.SHIPPED + '/60-edk2.json'


class LoaderBase(base.DriverBase):

    def setUp(self):
        super().setUp()
        self.firmware = self.sev.firmware
        # A host is examined once, when nova-compute starts.
        self.assertTrue(self.driver._host.supports_amd_sev_es)

    def refuse(self, function, *args):
        """Check that something is refused; return what the log says."""
        with self.assertLogs(base.LOGGER, 'ERROR') as logs:
            e = self.assertRaises(exception.MemEncryptionUnavailable,
                                  function, *args)
        self.assertTrue(e.format_message().endswith('it: ' + REFUSED))
        return logs.records[0].getMessage()

    def warnings(self, function, *args, **kwargs):
        """Return what a function returns, and its warnings."""
        with self.assertLogs(base.LOGGER, 'WARNING') as logs:
            firmware.LOG.warning('nothing')
            result = function(*args, **kwargs)
        return result, [r.getMessage() for r in logs.records[1:]]


@ddt.ddt
class GuestTest(LoaderBase):
    """The loader in the definition of a guest."""

    @tables.data((None, NOVAS, '/usr/share/OVMF/OVMF_VARS.fd'),
                 (SEV, fake.CODE, fake.VARS), (ES, fake.CODE, fake.VARS), by=0)
    @ddt.unpack
    def test_it_gets_what_is_chosen(self, model, code, vars_):
        guest, warnings = self.warnings(self.get_config,
                                        self.make_instance(model))
        self.assertEqual((code, vars_, False, 'pflash'), (
            guest.os_loader, guest.os_nvram_template, guest.os_loader_secure,
            guest.os_loader_type))
        self.assertEqual([], warnings)

    def test_a_stateless_guest_has_no_template(self):
        guest = self.get_config(self.make_instance(ES, properties={
            **base.UEFI, 'hw_firmware_stateless': 'true'}))
        self.assertEqual((fake.CODE, None, True), (
            guest.os_loader, guest.os_nvram_template,
            guest.os_loader_stateless))

    def test_nothing_fits_sev_es(self):
        self.firmware.remove('60-edk2.json')
        said = self.refuse(self.get_config, self.make_instance(ES))
        self.assertIn('machine type pc-q35-', said)
        self.assertIn(SECURE + ': it requires SMM', said)
        self.assertIn('describe it in /etc/qemu/firmware', said)
        self.firmware.remove('50-secure.json')
        self.assertIn('there is no descriptor in /usr/share/qemu/firmware or '
                      '/etc/qemu/firmware',
                      self.refuse(self.get_config, self.make_instance(ES)))

    def test_nothing_that_says_sev_is_needed_for_sev(self):
        """Nova has always started it with what it chose."""
        self.firmware.remove('50-secure.json', '60-edk2.json')
        self.assertEqual(
            NOVAS, self.get_config(self.make_instance(SEV)).os_loader)

    def test_it_is_seen_when_firmware_comes_and_goes(self):
        """A host that was found able goes on, without another start."""
        self.firmware.write(fake.CODE, fake.make_image())
        self.refuse(self.get_config, self.make_instance(ES))
        self.firmware.write(fake.CODE, fake.make_image(*fake.OVMF))
        self.assertEqual(
            fake.CODE, self.get_config(self.make_instance(ES)).os_loader)

    @tables.data(
        (SEV, 'required', NOVAS_SECURE, True),
        (SEV, 'optional', NOVAS_SECURE, True),
        (SEV, 'disabled', fake.CODE, False),
        (ES, 'optional', fake.CODE, False),
        (ES, 'disabled', fake.CODE, False), by=1)
    @ddt.unpack
    def test_secure_boot(self, model, wish, code, secure):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.supports_secure_boot', True))
        for specs, properties in (({'os:secure_boot': wish}, {}),
                                  ({}, {'os_secure_boot': wish})):
            guest, warnings = self.warnings(
                self.get_config, self.make_instance(
                    specs={**base.SPECS[model], **specs},
                    properties={**base.UEFI, **properties}))
            self.assertEqual((code, secure), (guest.os_loader,
                                              guest.os_loader_secure))
            self.assertEqual(secure, any(
                isinstance(f, vconfig.LibvirtConfigGuestFeatureSMM)
                for f in guest.features))
            self.assertEqual([], warnings)

    def test_secure_boot_that_the_api_let_pass_is_refused(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.supports_secure_boot', True))
        for launched in (True, False):
            instance = self.make_instance(
                specs={**base.SPECS[ES], 'os:secure_boot': 'required'},
                launched=launched)
            e = self.assertRaises(exception.MemEncryptionInvalid,
                                  self.get_config, instance)
            self.assertIn('flavor apple has os:secure_boot',
                          e.format_message())

    def test_a_machine_type_that_the_host_does_not_know(self):
        """Nova says so."""
        self.assertRaises(
            exception.InvalidMachineType, self.get_config,
            self.make_instance(ES, properties={
                **base.UEFI, 'hw_machine_type': 'pc-q35-99.9'}))


@ddt.ddt
class KeepTest(LoaderBase):
    """A guest keeps its firmware, as it keeps its NVRAM."""

    def setUp(self):
        super().setUp()
        self.firmware.write('/2M.fd', fake.make_image(*fake.OVMF))
        self.firmware.describe('90-2M.json', [SEV], '/2M.fd', '/2M.vars')
        self.firmware.write('/2M.vars', bytes(4096))

    def define(self, model, loader='/2M.fd'):
        """Have a guest that is off; return its server."""
        instance = self.make_instance(model)
        guest = self.get_config(instance)
        guest.os_loader = loader
        self.connection.defineXML(guest.to_xml())
        return instance

    @ddt.data(SEV, ES)
    def test_it_fits(self, model):
        guest, warnings = self.warnings(self.get_config, self.define(model))
        self.assertEqual(('/2M.fd', '/2M.vars'),
                         (guest.os_loader, guest.os_nvram_template))
        self.assertEqual([], warnings)

    @ddt.data(SEV, ES)
    def test_it_does_not_fit(self, model):
        self.firmware.write('/2M.fd', None)
        instance = self.define(model)
        guest, warnings = self.warnings(self.get_config, instance)
        self.assertEqual(fake.CODE, guest.os_loader)
        warning, = warnings
        self.assertIn('was /2M.fd, which does not fit any more', warning)
        self.assertIn('gets ' + fake.CODE, warning)
        self.assertIn('/2M.fd: it cannot be read', warning)

    def test_plain_sev_has_what_only_nova_knows(self):
        self.firmware.remove('50-secure.json', '60-edk2.json', '90-2M.json')
        guest, warnings = self.warnings(self.get_config, self.define(SEV))
        self.assertEqual(NOVAS, guest.os_loader)
        self.assertEqual([], warnings)

    def test_a_plain_guest_gets_the_choice_of_nova(self):
        guest, warnings = self.warnings(self.get_config, self.define(None))
        self.assertEqual((NOVAS, []), (guest.os_loader, warnings))

    @tables.data((None, NOVAS), (SEV, '/2M.fd'), (ES, '/2M.fd'), by=0)
    @ddt.unpack
    def test_a_hard_reboot_undefines_it_first(self, model, loader):
        instance = self.define(model)
        client = self.driver.virtapi.reportclient
        # Its slot cannot be told.
        client.get_allocs_for_consumer.side_effect = ks_exc.ConnectFailure
        defined = []

        def create(driver, context, xml, *args, **kwargs):
            defined.append(xml)
            raise test.TestingException()

        for name, function in (
                ('driver.LibvirtDriver._create_guest_with_network', create),
                ('driver.LibvirtDriver._create_images_and_backing',
                 lambda *args: None),
                ('driver.LibvirtDriver._get_instance_disk_info_from_config',
                 lambda *args: []),
                ('utils.get_instance_path',
                 lambda *args: self.sev.path)):
            self.useFixture(fixtures.MonkeyPatch(
                'nova.virt.libvirt.' + name, function))
        self.assertRaises(test.TestingException, self.driver._hard_reboot,
                          self.context, instance, [], [])
        self.assertIn('>%s</loader>' % loader, defined[0])
        self.assertEqual([], list(self.connection._vms))
        # It is forgotten then.
        guest = self.get_config(instance)
        self.assertEqual(fake.CODE if model else NOVAS, guest.os_loader)


@ddt.ddt
class HostTest(mem_encryption.SEVTestCase):
    """What the host offers."""

    def ask(self):
        """Return whether a new host supports SEV-ES, and what is logged."""
        host = self.get_host()
        with self.assertLogs(mem_encryption.HOST_LOGGER, 'INFO') as logs:
            answer = host.supports_amd_sev_es
        self.assertEqual(None if answer else REFUSED,
                         host._mem_encryption_abilities.find_obstacle(ES))
        return answer, [(r.levelname, r.getMessage()) for r in logs.records]

    def test_debian_can(self):
        self.assertTrue(self.ask()[0])

    def test_only_secure_boot(self):
        self.sev.firmware.remove('60-edk2.json')
        answer, logs = self.ask()
        self.assertFalse(answer)
        (level, said), last = logs
        self.assertEqual('WARNING', level)
        self.assertIn('No firmware can start a guest of model amd-sev-es with '
                      'machine type pc-q35-', said)
        self.assertIn(SECURE + ': it requires SMM', said)
        self.assertIn('Install OVMF', said)
        self.assertEqual(('INFO', 'No AMD SEV-ES: ' + REFUSED), last)

    def test_other_reasons_come_first(self):
        self.sev.firmware.remove('60-edk2.json')
        self.sev.set(sev_es='N')
        host = self.get_host()
        self.assertFalse(host.supports_amd_sev_es)
        self.assertIn('kvm_amd.sev_es',
                      host._mem_encryption_abilities.find_obstacle(ES))

    def test_plain_sev_does_not_depend_on_it(self):
        self.sev.firmware.remove('50-secure.json', '60-edk2.json')
        self.assertTrue(self.get_host().supports_amd_sev)


@ddt.ddt
class NovaLoadersTest(mem_encryption.SEVTestCase):
    """What Nova itself looks at, for all guests."""

    def setUp(self):
        super().setUp()
        self.firmware = self.sev.firmware
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.QEMU_FIRMWARE_DESCRIPTOR_PATHS',
            [self.firmware.path + folder
             for folder in (fake.SHIPPED, fake.LOCAL)]))

    def get(self, secure=False):
        """Return the loader that Nova chooses; it has none in a memo."""
        host = self.get_host()
        with mock.patch.object(
                libvirt_host.Host, 'loaders',
                new=property(lambda host: libvirt_host._get_loaders())):
            return host.get_loader('x86_64', 'q35', secure)[0]

    def test_it_is_as_ever(self):
        self.firmware.describe('10-x.json', [], '/x', folder=fake.LOCAL)
        original, = [entry.original for entry in ledger.entries()
                     if entry.attribute == '_get_loaders']
        found = libvirt_host._get_loaders()
        self.assertEqual(original(), found)
        self.assertEqual(3, len(found))
        # Whatever QEMU says of the order
        self.assertEqual(fake.CODE, self.get())
        self.assertEqual(fake.SECURE_CODE, self.get(True))

    @ddt.data(
        {'device': 'memory', 'filename': '/x', 'executable': None,
         'nvram_template': None},
        {'mode': 'stateless', 'nvram_template': None},
        {'executable': '/x'}, {'nvram_template': []},
        {'executable': {'filename': 1}}, {'executable': {}})
    def test_a_kind_that_it_does_not_know(self, mapping):
        """Before 31.3 it failed with most, and later with some."""
        self.firmware.describe('10-x.json', [], **mapping)
        self.assertEqual(fake.CODE, self.get())

    @ddt.data([], None, 1, 'x', {'targets': 1}, {'features': 1},
              {'mapping': []}, {'targets': [1]},
              {'targets': [{'architecture': 'x86_64'}]},
              {'targets': [{'architecture': 'x86_64', 'machines': [1]}]})
    def test_what_makes_no_sense(self, change):
        path = self.firmware.describe('10-x.json', [])
        with open(self.firmware.path + path, 'rb') as f:
            spec = json.load(f)
        self.firmware.write(path, json.dumps(
            {**spec, **change} if isinstance(change, dict) else change))
        self.assertEqual(fake.CODE, self.get())

    @ddt.data(b'', b'{', b'\xff', b'[' * 100000)
    def test_what_is_no_json(self, content):
        self.firmware.write(fake.SHIPPED + '/10-x.json', content)
        with self.assertLogs(base.LOGGER, 'WARNING') as logs:
            self.assertEqual(fake.CODE, self.get())
        warning, = [r.getMessage() for r in logs.records]
        self.assertIn('Nova cannot read all', warning)
        self.assertIn('10-x.json: it is no JSON' if content else
                      'Left out: none', warning)

    def test_a_mask(self):
        self.firmware.write(fake.LOCAL + '/60-edk2.json', b'')
        self.firmware.describe('70-x.json', [], '/x')
        self.assertEqual('/x', self.get())

    def test_no_folder_at_all(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.QEMU_FIRMWARE_DESCRIPTOR_PATHS', []))
        self.assertRaises(exception.InternalError, self.get)
