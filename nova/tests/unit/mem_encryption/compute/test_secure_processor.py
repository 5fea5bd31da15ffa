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


"""Test how nova-compute asks the secure processor, and what it offers then."""
import errno
import os
from unittest import mock

import ddt
from oslo_privsep import daemon

from nova.tests import fixtures as nova_fixtures
from nova.tests.unit.virt.libvirt import mem_encryption

from nova_mem_encryption.nova.mem_encryption.host import (
    secure_processor as psp)
from nova_mem_encryption.nova.mem_encryption.host import dev_sev

# What the secure processor says, the slots of SEV and SEV-ES, and words of
# the reason for no SEV-ES
ANSWERS = {
    'ready': ({}, 100, 15, 'support detected'),
    'with guests': ({'state': 2}, 100, 15, 'support detected'),
    'not for SEV-ES': ({'flags': 0}, 100, 0, 'not initialised for SEV-ES'),
    'old': ({'api_major': 0, 'api_minor': 16}, 100, 0, 'API 0.16'),
    'not initialised': ({'state': 0}, 100, 0, 'is not initialised. See'),
    'given up': ({'error': OSError(errno.EBUSY, 'busy')}, 0, 0, 'busy'),
    'late': ({'error': OSError(errno.ETIMEDOUT, 'late')}, 0, 0, 'late'),
    'broken': ({'error': OSError(errno.EIO, 'broken')}, 0, 0, 'broken'),
    'gone': ({'error': OSError(errno.ENODEV, 'gone')}, 0, 0, 'gone'),
}
# ... and where it cannot be told, as in a container that was not given it
UNTOLD = {
    'not there': FileNotFoundError(errno.ENOENT, 'none'),
    'of another kind': OSError(errno.ENOTTY, 'another'),
    'of the limits': OSError(errno.EMFILE, 'too many'),
}
HELPER = daemon.FailedToDropPrivileges('no helper')


@ddt.ddt
class OfferTest(mem_encryption.SEVTestCase):

    def examine(self):
        """Return slots of both models, and what the log says."""
        with self.assertLogs(mem_encryption.LOGGER, 'INFO') as logs:
            found = mem_encryption.get_inventories(self.get_driver())
        return ([found[model]['total'] for model in ('amd-sev', 'amd-sev-es')],
                [record.getMessage() for record in logs.records
                 if 'capacity' not in record.getMessage()])

    @ddt.data(*ANSWERS)
    def test_no_more_is_offered(self, name):
        answer, sev, sev_es, words = ANSWERS[name]
        self.sev.set_secure_processor(**answer)
        slots, said = self.examine()
        self.assertEqual([sev, sev_es], slots)
        self.assertIn(words, '\n'.join(said))

    @ddt.data(*UNTOLD)
    def test_what_cannot_be_told_is_told(self, name):
        self.sev.set_secure_processor(UNTOLD[name])
        slots, said = self.examine()
        self.assertEqual([100, 15], slots)
        self.assertEqual(1, '\n'.join(said).count('cannot be told'), said)

    @ddt.data(*ANSWERS)
    def test_root_asks_where_nova_may_not(self, name):
        answer, sev, sev_es, words = ANSWERS[name]
        self.useFixture(nova_fixtures.PrivsepFixture())
        self.sev.set_secure_processor(**answer)
        read, calls = os.open, []

        def deny_first(path, *args, **kwargs):
            if path.endswith(dev_sev.DEVICE):
                calls.append(path)
                if len(calls) == 1:
                    raise PermissionError(errno.EACCES, 'denied')
            return read(path, *args, **kwargs)
        with mock.patch.object(os, 'open', deny_first):
            slots, said = self.examine()
        self.assertEqual([sev, sev_es], slots)
        self.assertEqual(2, len(calls))

    @ddt.data(HELPER, PermissionError(errno.EACCES, 'denied'),
              NameError('no such function'))
    def test_a_root_that_cannot_be_asked(self, error):
        self.useFixture(nova_fixtures.PrivsepFixture())
        with mock.patch.object(psp, 'read_status', side_effect=[
                PermissionError(errno.EACCES, 'denied'), error]):
            slots, said = self.examine()
        self.assertEqual([100, 15], slots)
        self.assertIn(str(error), '\n'.join(said))

    def test_it_is_asked_once_and_only_where_there_is_sev(self):
        with mock.patch.object(psp, 'read_status',
                               wraps=psp.read_status) as asked:
            driver = self.get_driver()
            for _ in range(3):
                mem_encryption.get_inventories(driver)
            self.assertEqual(1, asked.call_count)
            self.sev.set(sev='N')
            mem_encryption.get_inventories(self.get_driver())
            self.connection.unset_sev()
            self.assertEqual(1, asked.call_count)

    def test_libvirt_offers_none_though_the_kernel_has_it(self):
        connection = self.connect()
        connection.unset_sev()
        slots, said = self.examine()
        self.assertEqual([0, 0], slots)
        for words in ('though the kernel has it', 'dmesg', 'SMEE', 'SEV firm',
                      'capabilities'):
            self.assertIn(words, said[0])
        # What the secure processor says tells more.
        self.sev.set_secure_processor(state=0)
        slots, said = self.examine()
        self.assertIn('is not initialised', said[0])

    def write(self, path, text):
        path = os.path.join(self.sev.path, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)

    def test_it_is_left_to_the_first_guest(self):
        """Which cannot be one of SEV-ES."""
        self.write(psp.AT_ONCE_FILE.lstrip('/'), 'N\n')
        self.sev.set_secure_processor(state=0, flags=0)
        slots, said = self.examine()
        self.assertEqual([100, 0], slots)
        self.assertIn('psp_init_on_probe', '\n'.join(said))

    @ddt.data(('es', 'quiet', 15), ('sev_snp', 'quiet', 0),
              ('sev_snp', 'iommu=pt quiet', 15), ('sev_snp', 'iommu=nopt', 0))
    @ddt.unpack
    def test_snp_elsewhere(self, flags, cmdline, sev_es):
        self.write('proc/cpuinfo', 'processor\t: 0\nflags\t\t: fpu sev %s\n'
                   % flags)
        self.write('proc/cmdline', 'BOOT_IMAGE=/vmlinuz %s\n' % cmdline)
        slots, said = self.examine()
        self.assertEqual([100, sev_es], slots)
        self.assertEqual(not sev_es, 'off in the BIOS' in '\n'.join(said))
