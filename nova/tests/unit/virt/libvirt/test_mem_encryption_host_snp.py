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

"""Test the detection of SEV-SNP."""
import errno
import os
from unittest import mock

import ddt

from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import firmware
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption
from nova.virt.libvirt import host as libvirt_host

SNP = 'amd-sev-snp'
# What differs of a host that can, and words of the reason and the remedy
DEFECTS = {
    'no SEV': ({'parameters': {'sev': 'N'}}, 'does not support AMD SEV',
               'sev=1'),
    'off': ({'parameters': {'sev_snp': 'N'}}, 'kvm_amd.sev_snp is off. ',
            "'SEV-SNP Support'"),
    'of an old kernel': ({'parameters': {'sev_snp': None}},
                         'kvm_amd.sev_snp is off. ', 'Linux 6.11'),
    'IOMMU': ({'parameters': {'sev_snp': 'N'}, 'cmdline': 'quiet iommu=pt'},
              'leave the IOMMU alone', 'without amd_iommu=off'),
    'libvirt': ({'ability': {'libvirt': '10.4.0'}}, 'libvirt is too old',
                '10.5.0'),
    'QEMU': ({'ability': {'qemu': '9.0.0'}}, 'QEMU is too old', '9.1.0'),
    'QEMU without it': ({'ability': {'elements': ('sev',)}},
                        'libvirt offers no SEV-SNP', 'capabilities'),
    'no count': ({'ability': {'max_es_guests': None}},
                 'does not tell maxESGuests', 'Upgrade'),
    'no ASID': ({'ability': {'max_es_guests': 0}}, 'maxESGuests is 0',
                'Minimum SEV non-ES ASID'),
    'uninitialised': ({'psp': {'snp': False}},
                      'not initialised for SEV-SNP', 'dmesg'),
    'broken': ({'psp': {'error': OSError(errno.EIO, 'broken')}}, 'broken',
               'dmesg'),
    'no firmware': ({'descriptors': None}, 'no firmware', ''),
    'firmware without SNP': (
        {'descriptors': {'image': firmware.make_image(
            *firmware.OVMF, size=64 << 10)}}, 'no firmware', ''),
    'firmware of odd size': (
        {'descriptors': {'image': firmware.make_snp_image(
            size=60 << 10)}}, 'no firmware', ''),
    'firmware in flash': ({'descriptors': {'features': ['amd-sev-es']}},
                          'no firmware', ''),
}


@ddt.ddt
class SupportsTest(mem_encryption.SEVTestCase):

    def ask(self, parameters=(), ability=(), psp=(), cmdline='quiet',
            descriptors=(), option=True):
        """Make a host; return why it has no SEV-SNP, and what it logged."""
        self.flags(enable_amd_sev_snp=option, group='libvirt')
        self.sev.set(**{'sev_snp': 'Y', **dict(parameters)})
        self.sev.set_secure_processor(**dict(psp))
        self.sev.firmware.write('/proc/cmdline', cmdline + '\n')
        if descriptors is not None:
            self.sev.firmware.describe_one_file(**dict(descriptors))
        host = self.get_host(**{'libvirt': '10.5.0', 'qemu': '9.1.0',
                                **dict(ability)})
        with self.assertLogs(mem_encryption.LOGGER, 'DEBUG') as logs:
            for _ in range(3):
                found = host._mem_encryption_abilities.find_obstacle(SNP)
        self.said = [record.getMessage() for record in logs.records]
        return found, [record for record in logs.records
                       if record.getMessage().startswith(
                           ('No AMD SEV-SNP', 'AMD SEV-SNP support'))]

    def test_a_host_that_has_all(self):
        found, (record,) = self.ask()
        self.assertIsNone(found)
        self.assertEqual('AMD SEV-SNP support detected: 15 guests',
                         record.getMessage())

    @tables.data(*DEFECTS)
    def test_each_no_has_its_remedy(self, defect):
        parts, reason, remedy = DEFECTS[defect]
        found, (record,) = self.ask(**parts)
        self.assertIn(reason, found)
        self.assertIn(remedy, found)
        self.assertEqual(('INFO', 'No AMD SEV-SNP: ' + found),
                         (record.levelname, record.getMessage()))

    def test_the_log_says_which_firmware_will_do(self):
        self.ask(descriptors=None)
        warning, = [line for line in self.said if 'No firmware can' in line]
        for words in ("60-edk2.json: it is for device 'flash', mode 'split', "
                      "and such guests need device 'memory'",
                      'in /etc/qemu/firmware, for device memory'):
            self.assertIn(words, warning)

    def test_without_the_option_nothing_is_said(self):
        found, (record,) = self.ask(option=False)
        self.assertEqual(
            '[libvirt] enable_amd_sev_snp is false. To have this host offer '
            'SEV-SNP, set [libvirt] enable_amd_sev_snp = true.', found)
        self.assertEqual('DEBUG', record.levelname)

    @ddt.data((True, False), (False, True))
    @ddt.unpack
    def test_the_choice_is_told(self, option, told):
        self.ask(option=option)
        obstacle = self.get_host()._mem_encryption_abilities.find_obstacle(
            'amd-sev-es')
        self.assertIn('kvm_amd.sev_snp is on', obstacle)
        self.assertEqual(told, 'enable_amd_sev_snp = true' in obstacle)
        # No remedy undoes what was asked for.
        self.assertEqual(told, 'Switch SEV-SNP off' in obstacle)
        self.assertEqual(
            option, 'That is for SEV-SNP: [libvirt] enable_amd_sev_snp is '
            'true.' in obstacle)

    def test_file_backed_memory(self):
        self.flags(file_backed_memory=1024, group='libvirt')
        found, (record,) = self.ask()
        self.assertIn('[libvirt] file_backed_memory is 1024. Its private '
                      'memory is in no file', found)
        self.assertEqual('INFO', record.levelname)
        # The others are what they were.
        self.ask({'sev_snp': 'N'}, option=False)
        self.assertTrue(self.get_host().supports_amd_sev_es)

    def test_no_firmware_in_flash(self):
        """Nova wants some before the guest gets its own."""
        with mock.patch.object(libvirt_host.Host, 'loaders', new=[]):
            found, (record,) = self.ask()
        self.assertIn('Nova finds no firmware in flash', found)
        self.assertIn('Install OVMF in two files', found)
        self.assertEqual('No AMD SEV-SNP: ' + found, record.getMessage())

    def test_libvirt_does_not_answer(self):
        self.ask()
        abilities = self.get_host(
            libvirt='10.5.0', qemu='9.1.0')._mem_encryption_abilities
        self.assertTrue(abilities._host.supports_amd_sev)
        error = fakelibvirt.make_libvirtError(
            fakelibvirt.libvirtError, 'gone',
            error_code=fakelibvirt.VIR_ERR_INTERNAL_ERROR)
        with mock.patch.object(
                self.connection, 'getDomainCapabilities', side_effect=error
        ), self.assertLogs(mem_encryption.LOGGER, 'WARNING') as logs:
            for _ in range(2):
                self.assertIn('libvirt does not tell what it offers (gone).',
                              abilities.find_obstacle(SNP))
        self.assertEqual(1, len(logs.output))
        # nova-compute need not be restarted.
        self.assertIsNone(abilities.find_obstacle(SNP))

    def test_what_cannot_be_told_is_no_obstacle(self):
        found, _ = self.ask(psp={
            'error': FileNotFoundError(errno.ENOENT, 'none')})
        self.assertIsNone(found)

    def test_sev_es_is_what_it_was(self):
        for option in (True, False):
            self.ask({'sev_snp': 'N'}, option=option)
            host = self.get_host()
            self.assertTrue(host.supports_amd_sev_es)

    def test_root_asks_where_nova_may_not(self):
        self.useFixture(nova_fixtures.PrivsepFixture())
        read, calls = os.open, []

        def deny_first(path, *args, **kwargs):
            if path.endswith('/dev/sev'):
                calls.append(path)
                if len(calls) % 2:
                    raise PermissionError(errno.EACCES, 'denied')
            return read(path, *args, **kwargs)
        with mock.patch.object(os, 'open', deny_first):
            self.assertIsNone(self.ask()[0])
            self.assertIn('not initialised for SEV-SNP',
                          self.ask(psp={'snp': False})[0])
        self.assertEqual(4, len(calls))
