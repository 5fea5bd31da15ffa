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

"""Test 'nova-mem-encryption check' inside of an imitated host."""
import json
import os
import subprocess
import sys

import ddt
import fixtures

from nova.tests.functional.libvirt import sevhost as base

from nova_mem_encryption.check import hosts

HOST = ['processor', 'sev', 'sev-es', 'split', 'kernel', 'kvm_amd.sev',
        'kvm_amd.sev_es', 'kvm_amd.sev_snp', 'asids', '/dev/sev', 'psp',
        'psp.sev-es', 'kernel-log', 'libvirt', 'qemu', 'capabilities',
        'guests', 'in-use', 'firmware', '/dev/kvm', 'access', 'apparmor',
        'selinux']  # and 'locked-memory', which is of this machine
ASIDS = 'in-use'


@ddt.ddt
class CheckTest(base.SevhostTestBase):

    def check(self, *options):
        """Run it; return exit status, and what it found by name."""
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'check',
             '--json', *options], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.assertEqual('', done.stderr)
        return done.returncode, {check['name']: check for check in
                                 json.loads(done.stdout)['checks']}

    def test_it_passes_from_the_processor_to_libvirt(self):
        base.tool('reboot')
        code, found = self.check()
        self.assertEqual(HOST, list(found)[:len(HOST)])
        self.assertEqual({}, {
            name: check for name, check in found.items()
            if name in HOST and check['verdict'] != 'PASS'})
        self.assertIn('maxESGuests is 99', found['guests']['found'])
        self.assertEqual('PASS', found['nova']['verdict'])
        # There is no nova.conf, and no Placement.
        self.assertEqual(1, code)
        self.assertEqual('WARN', found['placement']['verdict'])

    # Options, and what is not PASS or SKIP of the host then
    @ddt.data(('--sev-asids=0', {}),
              ('--es-asids=0', {'split': 'FAIL'}),
              ('--no-es', {'kvm_amd.sev_es': 'FAIL'}),
              ('--snp', {'kvm_amd.sev_snp': 'FAIL'}),
              ('--no-sev', {'sev': 'FAIL'}),
              ('--psp=no-es', {'psp.sev-es': 'FAIL'}),
              ('--psp=failed', {'psp': 'FAIL'}),
              ('--psp=timed-out', {'psp': 'FAIL'}),
              ('--psp=absent', {'/dev/sev': 'FAIL'}),
              ('--psp=snp', {'kvm_amd.sev_snp': 'FAIL'}),
              ('--psp=lazy', {'psp.sev-es': 'FAIL'}))
    @ddt.unpack
    def test_a_host_that_is_not_ready(self, options, expected):
        base.tool('reboot', options)
        code, found = self.check()
        self.assertEqual(expected, {
            name: check['verdict'] for name, check in found.items()
            if name in HOST and check['verdict'] not in ('PASS', 'SKIP')})
        self.assertEqual(2 if expected else 1, code)

    def test_firmware_without_the_reset_block(self):
        base.tool('reboot')
        self.replace_firmware()
        code, found = self.check()
        self.assertEqual((2, 'FAIL'), (code, found['firmware']['verdict']))
        self.assertIn('no SEV-ES reset block', found['firmware']['found'])

    def test_guests_that_run(self):
        base.tool('reboot')
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'xml')
        with open(path, 'w') as f:
            f.write((base.FOREIGN % (base.FIRMWARE, 0x37)).replace(
                '</loader>', "</loader><nvram template='%s'/>" % (
                    base.FIRMWARE.replace('CODE', 'VARS'))))
        virsh = ['virsh', '-q', '-c', 'qemu:///system']
        subprocess.check_call([*virsh, 'create', path])
        self.addCleanup(subprocess.check_call, [*virsh, 'destroy', 'foreign'])
        base.tool('settle')
        found = self.check()[1][ASIDS]
        self.assertEqual('PASS', found['verdict'])
        self.assertIn('0 of SEV, 1 of SEV-ES; guests of libvirt: 0 and 1',
                      found['found'])

    def test_guests_that_libvirt_does_not_know(self):
        base.tool('reboot', '--es-asids=2')
        path = '/run/sevhost/asids/sev_es-test'
        lock = subprocess.Popen(['flock', path, 'sleep', '60'])
        self.addCleanup(os.unlink, path)
        self.addCleanup(lock.wait)
        self.addCleanup(lock.kill)
        self.wait_until(
            lambda: self.check()[1][ASIDS]['verdict'] == 'WARN')

    def test_what_is_recorded_says_the_same(self):
        base.tool('reboot', '--es-asids=0')
        folder = os.path.join(self.useFixture(fixtures.TempDir()).path, 'host')
        subprocess.check_call(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'check',
             '--record', folder], stdout=subprocess.DEVNULL)
        code, found = self.check()
        again = self.check('--recorded', folder)
        for name, check in again[1].items():
            if check['remedy'] == hosts.RECORD_AGAIN:
                check['remedy'] = found[name]['remedy']
        self.assertEqual((code, found), again)
