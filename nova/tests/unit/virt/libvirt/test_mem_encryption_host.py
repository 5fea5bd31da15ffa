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

"""Test the detection of SEV-ES."""
import builtins
import itertools
import os
from unittest import mock

import ddt

from nova.objects import fields
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption

LOGGER = mem_encryption.HOST_LOGGER

# What the issue calls a yes and a no: 1 or Y, any case, with a newline
YES = ['1', 'Y', 'y', 'Y\n', 'on', 'On', 'yes', 'TRUE', ' Y ']
NO = ['0', 'N', 'n', 'N\n', 'off', 'No', 'FALSE']
NONSENSE = ['', ' ', '\n', 'garbage', '2', '-1', 'Y N', '\0', '\u00bd']

# What is wrong with a host, to the arguments of one, a word of the reason
# and one of the remedy.
DEFECTS = {
    'no sev': ({'sev': 'N'}, {}, 'AMD SEV', 'sev=1'),
    'no sev_es': ({'sev_es': 'N'}, {}, 'kvm_amd.sev_es', 'sev_es=1'),
    'sev_snp': ({'sev_snp': 'Y'}, {}, 'kvm_amd.sev_snp', 'sev_snp=0'),
    'old libvirt': ({}, {'libvirt': '7.10.0'}, 'libvirt is too old', '8.0.0'),
    'old qemu': ({}, {'qemu': '5.2.0'}, 'QEMU is too old', '6.0.0'),
    'no count': ({}, {'max_es_guests': None},
                 'does not tell maxESGuests', 'Upgrade'),
    'none': ({}, {'max_es_guests': 0},
             'maxESGuests is 0', 'Minimum SEV non-ES ASID'),
}


@ddt.ddt
class SupportsTest(mem_encryption.SEVTestCase):

    def ask(self, host):
        """Ask a host; return its answer and what it logged."""
        with self.assertLogs(LOGGER, 'INFO') as logs:
            return host.supports_amd_sev_es, logs.records

    def infos(self, records):
        return [r.getMessage() for r in records if r.levelname == 'INFO']

    def warnings(self, records):
        return [r.getMessage() for r in records if r.levelname == 'WARNING']

    def test_a_host_that_has_all_is_supported(self):
        answer, records = self.ask(self.get_host())
        self.assertIs(True, answer)
        self.assertEqual(['AMD SEV-ES support detected: 15 guests'],
                         [r.getMessage() for r in records])

    def test_all_asids_may_be_set_aside_for_sev_es(self):
        self.assertTrue(self.get_host(max_guests=0).supports_amd_sev_es)

    @tables.data(('8.0.0', '6.0.0'), ('8.0.0', '6.2.0'), ('11.3.0', '10.0.0'))
    @ddt.unpack
    def test_the_oldest_versions_that_will_do(self, libvirt, qemu):
        host = self.get_host(libvirt=libvirt, qemu=qemu)
        self.assertTrue(host.supports_amd_sev_es)

    @tables.data(('7.10.0', '6.2.0'), ('8.0.0', '5.2.0'), ('7.0.0', '5.0.0'))
    @ddt.unpack
    def test_versions_that_are_too_old(self, libvirt, qemu):
        host = self.get_host(libvirt=libvirt, qemu=qemu)
        self.assertFalse(host.supports_amd_sev_es)

    @ddt.data(*DEFECTS)
    def test_each_no_is_logged_with_its_remedy(self, defect):
        parameters, ability, reason, remedy = DEFECTS[defect]
        self.sev.set(**parameters)
        host = self.get_host(**ability)
        with self.assertLogs(LOGGER, 'INFO') as logs:
            for i in range(3):
                self.assertIs(False, host.supports_amd_sev_es)
        message, = [r.getMessage() for r in logs.records]
        self.assertIn('No AMD SEV-ES: ', message)
        self.assertIn(reason, message)
        self.assertIn(remedy, message)
        self.assertEqual('INFO', logs.records[0].levelname)

    @ddt.data('qemu', 'lxc', 'parallels')
    def test_only_kvm_guests_can_be_encrypted(self, virt_type):
        """Although libvirt says yes, as it does of emulated guests."""
        self.flags(virt_type=virt_type, group='libvirt')
        host = self.get_host()
        self.assertTrue(host.supports_amd_sev)
        for model, title in (('amd-sev', 'SEV'), ('amd-sev-es', 'SEV-ES')):
            with self.assertLogs(LOGGER, 'INFO') as logs:
                for i in range(3):
                    self.assertIn(
                        '[libvirt] virt_type is %s, ' % virt_type,
                        host._mem_encryption_abilities.find_obstacle(model))
            message, = [r.getMessage() for r in logs.records]
            self.assertTrue(message.startswith('No AMD %s: ' % title))
            self.assertIn('Set [libvirt] virt_type = kvm.', message)

    def test_a_host_without_sev_is_not_told_to_use_kvm(self):
        self.flags(virt_type='qemu', group='libvirt')
        self.sev.set(sev='N')
        answer, records = self.ask(self.get_host())
        self.assertFalse(answer)
        self.assertIn('does not support AMD SEV', records[0].getMessage())
        self.assertNotIn('virt_type', records[0].getMessage())

    def test_the_bios_option_is_named_as_both_vendors_do(self):
        answer, records = self.ask(self.get_host(max_es_guests=0))
        for name in ('Minimum SEV non-ES ASID', 'SEV-ES ASID Space Limit'):
            self.assertIn(name, records[0].getMessage())

    @tables.data(*itertools.product(['sev_es', 'sev_snp'], YES))
    @ddt.unpack
    def test_a_kernel_parameter_says_yes(self, name, value):
        self.sev.set(**{name: value})
        answer, records = self.ask(self.get_host())
        self.assertEqual(name == 'sev_es', answer)
        self.assertEqual([], self.warnings(records))

    @tables.data(*itertools.product(['sev_es', 'sev_snp'], NO + [None]))
    @ddt.unpack
    def test_a_kernel_parameter_says_no(self, name, value):
        self.sev.set(**{name: value})
        answer, records = self.ask(self.get_host())
        self.assertEqual(name == 'sev_snp', answer)
        self.assertEqual([], self.warnings(records))

    @tables.data(*itertools.product(['sev_es', 'sev_snp'], NONSENSE))
    @ddt.unpack
    def test_nonsense_is_a_no_with_a_warning(self, name, value):
        self.sev.set(**{name: value})
        answer, records = self.ask(self.get_host())
        self.assertEqual(name == 'sev_snp', answer)
        warning, = self.warnings(records)
        self.assertIn(os.path.join(self.sev.path, name), warning)

    @ddt.data('sev', 'sev_es', 'sev_snp')
    def test_binary_bytes_are_a_no_with_a_warning(self, name):
        with open(os.path.join(self.sev.path, name), 'wb') as f:
            f.write(b'\xff\xfe\x00Y')
        answer, records = self.ask(self.get_host())
        self.assertEqual(name == 'sev_snp', answer)
        self.assertEqual(1, len(self.warnings(records)))

    @ddt.data('sev_es', 'sev_snp')
    def test_what_cannot_be_read_is_a_no_with_a_warning(self, name):
        self.sev.set(**{name: None})
        os.mkdir(os.path.join(self.sev.path, name))
        answer, records = self.ask(self.get_host())
        self.assertEqual(name == 'sev_snp', answer)
        warning, = self.warnings(records)
        self.assertIn('Is a directory', warning)

    def test_the_table_of_all_hosts(self):
        # An oracle of its own, written from the issue: all of these must be
        # so, and the reason given is one that holds.
        table = itertools.product(
            ('Y', 'N', None), ('1', 'N', None, 'garbage'),
            ('Y', 'N', None, 'garbage'), ('7.10.0', '8.0.0'),
            ('5.2.0', '6.0.0'), (None, 0), (None, -1, 0, 15))
        for sev, es, snp, libvirt, qemu, guests, es_guests in table:
            wrong = {
                'AMD SEV.': sev != 'Y', 'kvm_amd.sev_es': es != '1',
                'kvm_amd.sev_snp': snp == 'Y',
                'libvirt is': libvirt < '8', 'QEMU is': qemu < '6',
                'libvirt does not tell': es_guests is None,
                'maxESGuests is': es_guests in (0, -1),
            }
            wrong = {reason for reason, holds in wrong.items() if holds}
            self.sev.set(sev=sev, sev_es=es, sev_snp=snp)
            answer, records = self.ask(self.get_host(
                max_guests=guests, max_es_guests=es_guests, libvirt=libvirt,
                qemu=qemu))
            case = (sev, es, snp, libvirt, qemu, guests, es_guests)
            self.assertIs(not wrong, answer, case)
            message, = self.infos(records)
            if wrong:
                self.assertTrue(any('No AMD SEV-ES: ' in message and
                                    reason in message for reason in wrong),
                                (case, message))

    @ddt.data({}, {'sev': 'N'}, {'sev_es': 'N'}, {'sev_es': 'garbage'},
              {'sev_snp': 'Y'})
    def test_the_host_is_examined_once(self, parameters):
        self.sev.set(**parameters)
        host = self.get_host()
        host.supports_amd_sev_es
        with mock.patch.object(builtins, 'open', wraps=open) as read, \
                mock.patch.multiple(
                    self.connection, getCapabilities=mock.DEFAULT,
                    getDomainCapabilities=mock.DEFAULT,
                    getVersion=mock.DEFAULT,
                    getLibVersion=mock.DEFAULT) as calls:
            for i in range(3):
                host.supports_amd_sev_es
                host.supports_amd_sev
        for spy in [read, *calls.values()]:
            spy.assert_not_called()

    def test_each_kernel_parameter_is_read_once(self):
        host = self.get_host()
        with mock.patch.object(builtins, 'open', wraps=open) as read:
            for i in range(3):
                host.supports_amd_sev_es
        paths = [call.args[0] for call in read.mock_calls if call.args and
                 str(call.args[0]).startswith(self.sev.path)]
        self.assertEqual([os.path.join(self.sev.path, name)
                          for name in ('sev', 'sev_es', 'sev_snp')], paths)

    def test_each_host_is_examined_for_itself(self):
        first, second = self.get_host(), self.get_host()
        self.assertTrue(first.supports_amd_sev_es)
        self.sev.set(sev_es='N')
        self.assertTrue(first.supports_amd_sev_es)
        self.assertFalse(second.supports_amd_sev_es)

    @ddt.data(fields.Architecture.AARCH64, fields.Architecture.PPC64,
              fields.Architecture.S390X)
    def test_another_architecture_asks_nothing(self, arch):
        self.libvirt.mock_uname.return_value = fakelibvirt.os_uname(
            'Linux', '', '5.4.0-0-generic', '', arch)
        host = self.get_host()
        with mock.patch.object(builtins, 'open', wraps=open) as read, \
                mock.patch.object(self.connection,
                                  'getDomainCapabilities') as caps:
            self.assertFalse(host.supports_amd_sev_es)
        self.assertEqual([], [call for call in read.mock_calls if call.args and
                              str(call.args[0]).startswith(self.sev.path)])
        caps.assert_not_called()
        self.assertIsNone(host.max_sev_es_guests)
