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

"""Test what 'nova-mem-encryption check' says of hosts that were recorded."""
import contextlib
import filecmp
import io
import json
import os
import re
import runpy
import subprocess
import sys

import ddt
import fixtures
from oslotest import base

from nova.tests.fixtures import recorded_host as fake
from nova.tests.fixtures import tables

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import opt_in
from nova_mem_encryption.check import record
from nova_mem_encryption.check import report
from nova_mem_encryption.check import tree as check_tree
from nova_mem_encryption import cli

KVM_AMD = fake.KVM_AMD
AT_ONCE = 'root/sys/module/ccp/parameters/psp_init_on_probe'
SPLIT_FORGOTTEN = os.path.join(fake.FOLDER, 'split-forgotten')
CPUID = 'commands/cpuid'
LOG = 'commands/kernel-log'
IOMMU = 'commands/iommu'
CAPABILITIES = 'commands/domcapabilities'
DESCRIPTOR = 'root/etc/qemu/firmware/70-amd-sev-snp.json'
# What is not PASS of each host, but for what is skipped
VERDICTS = {
    'ready': (0, {}),
    'split-forgotten': (2, {'split': 'FAIL'}),
    'snp-on': (2, {'kvm_amd.sev_snp': 'FAIL'}),
    'naples': (1, {'processor': 'WARN'}),
    'psp-not-initialised': (2, {'psp': 'FAIL'}),
    'psp-no-es': (2, {'psp.sev-es': 'FAIL'}),
    'snp-in-bios': (2, {'kvm_amd.sev_snp': 'FAIL'}),
    'no-firmware': (2, {'firmware': 'FAIL'}),
    'snp-ready': (0, {}),
    'snp-not-initialised': (2, {'psp.sev-snp': 'FAIL'}),
    'snp-no-descriptor': (2, {'firmware.sev-snp': 'FAIL'}),
    'snp-no-trait': (2, {'trait.sev-snp': 'FAIL'}),
    'debian-12': (1, {'apparmor': 'WARN', 'nova.conf': 'WARN',
                      'machine-type': 'WARN', 'placement': 'WARN'}),
}


def run(*args):
    """Run the command; return exit status, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(['check', *args])
    return code, out.getvalue(), err.getvalue()


def unlike(results):
    """Return the verdicts that are neither PASS nor SKIP, by name."""
    return {name: result.verdict for name, result in results.items()
            if result.verdict not in ('PASS', 'SKIP')}


# What is skipped where a host is not to offer the model
OPT_IN = {check.name for check in opt_in.get_checks()}
# How the host with SEV-SNP is changed, as in CHANGES
SNP_CHANGES = [
    (('nova-conf', {'libvirt__enable_amd_sev_snp': False}),
     'kvm_amd.sev_snp', 'FAIL', '[libvirt] enable_amd_sev_snp = true'),
    ((CPUID, 'eax=0x0000001f', 'eax=0x0000000f'), 'sev-snp', 'FAIL', 'BIOS'),
    ((fake.CPUINFO, ' sev_snp', ''), 'sev-snp', 'FAIL', 'SNP on in the'),
    ((IOMMU, '75', '0'), 'iommu.sev-snp', 'FAIL', 'IOMMU in the BIOS'),
    ((KVM_AMD + 'sev_snp', 'Y', 'N'), 'kernel.sev-snp', 'FAIL', 'Linux 6.11'),
    ((KVM_AMD + 'sev_snp', 'Y', '?'), 'kvm_amd.sev_snp', 'WARN', 'neither'),
    (('snp-status', {'initialised': False}), 'psp.sev-snp', 'FAIL', 'RMP'),
    (('commands/snp-status', '{\n "initialised": true\n}', '{"error": 16}'),
     'psp.sev-snp', 'FAIL', 'from power off'),
    (('commands/snp-status', '{\n "initialised": true\n}', '{"error": 13}'),
     'psp.sev-snp', 'WARN', 'cannot be told'),
    (('commands/version', 'daemon: 11.3.0', 'daemon: 10.4.0'),
     'libvirt.sev-snp', 'FAIL', '10.5.0'),
    (('commands/version', 'hypervisor: QEMU 10.0.7', 'hypervisor: QEMU 9.0.2'),
     'qemu.sev-snp', 'FAIL', '9.1.0'),
    ((CAPABILITIES, '<value>sev-snp</value>', ''),
     'sectype.sev-snp', 'FAIL', 'capabilities'),
    ((DESCRIPTOR, '"memory"', '"flash"'),
     'firmware.sev-snp', 'FAIL', 'install -D -m 644 -t /etc/qemu/firmware '),
    ((DESCRIPTOR, '/usr/share/ovmf/OVMF.fd', '/usr/share/ovmf/none.fd'),
     'firmware.sev-snp', 'FAIL', 'none.fd'),
    (('placement', {'unknown': ['amd_sev_snp'], 'amd_sev_snp': None}),
     'trait.sev-snp', 'FAIL', 'os-traits to 3.7.0'),
    (('nova-conf', {'libvirt__file_backed_memory': 1048576}),
     'file-backed', 'FAIL', 'Of SEV-SNP guests: Its private'),
    (('placement', {'amd_sev_snp': None}),
     'amd_sev_snp', 'FAIL', 'no provider <node>_amd_sev_snp'),
]


@ddt.ddt
class RecordedHostsTest(base.BaseTestCase):
    """Those of tools/check_hosts."""

    @ddt.data(*VERDICTS)
    def test_its_verdicts(self, name):
        code, expected = VERDICTS[name]
        host = self.useFixture(fake.RecordedHost(name))
        found, out, err = run('--recorded', host.path, '--json')
        self.assertEqual((code, ''), (found, err))
        report = json.loads(out)
        self.assertEqual(('PASS', 'WARN', 'FAIL')[code], report['verdict'])
        self.assertEqual(expected, {
            check['name']: check['verdict'] for check in report['checks']
            if check['verdict'] not in ('PASS', 'SKIP')})
        for check in report['checks']:
            self.assertEqual(check['verdict'] in ('WARN', 'FAIL'),
                             bool(check['remedy']), check)
            self.assertTrue(check['found'])

    def test_they_are_as_they_are_made(self):
        folder = self.useFixture(fixtures.TempDir()).path
        make = runpy.run_path(os.path.join(fake.FOLDER, 'make.py'))
        make['make'](folder)
        self.assertEqual(set(VERDICTS) - {'debian-12'},
                         set(os.listdir(folder)))
        for name in os.listdir(folder):
            self.assert_same(filecmp.dircmp(
                os.path.join(folder, name), os.path.join(fake.FOLDER, name)))

    def assert_same(self, comparison):
        self.assertEqual(
            ([], [], []), (comparison.left_only, comparison.right_only,
                           comparison.diff_files), comparison.left)
        for inner in comparison.subdirs.values():
            self.assert_same(inner)

    def test_it_is_printed_as_a_tree(self):
        code, out, err = run('--all', '--recorded', SPLIT_FORGOTTEN)
        self.assertEqual((2, ''), (code, err))
        for line in ('PASS  processor              AMD EPYC 9354',
                     'PASS      sev-es             the processor has SEV-ES',
                     'FAIL        split            the last ASID is 1006',
                     "-> Raise 'Minimum SEV non-ES ASID'",
                     'SKIP      kvm_amd.sev_es     until split passes'):
            self.assertIn(line, out)
        self.assertIn('\nFAIL: 1 FAIL, 0 WARN, 27 PASS, 22 SKIP\n', out)
        self.assertEqual([], [line for line in out.splitlines()
                              if len(line) > 79])

    def test_how_much_is_printed(self):
        found = {}
        for option in ('--all', None, '--short'):
            out = run('--recorded', SPLIT_FORGOTTEN, *filter(None, [option]))[
                1]
            found[option] = [line[:4] for line in out.splitlines()
                             if re.match('[A-Z]{4}  ', line)]
            # The counts are of all.
            self.assertIn('1 FAIL, 0 WARN, 27 PASS, 22 SKIP', out)
        self.assertEqual(len(report.CHECKS), len(found['--all']))
        self.assertEqual([verdict for verdict in found['--all']
                          if verdict != 'SKIP'], found[None])
        self.assertEqual(['FAIL'], found['--short'])
        out = run('--recorded', SPLIT_FORGOTTEN, '--json')[1]
        self.assertEqual(found['--all'], [
            check['verdict'] for check in json.loads(out)['checks']])

    def test_it_ends_with_the_first_thing_to_do(self):
        host = self.useFixture(fake.RecordedHost())
        self.assertEqual('PASS: 0 FAIL, 0 WARN, 39 PASS, 11 SKIP\n',
                         run('--recorded', host.path, '--short')[1])
        host.update('apparmor', rules=[])
        host.update('nova-conf', libvirt__cpu_mode='none')
        self.assertIn("\nBegin with apparmor: Add the line '/dev/sev rw,' to",
                      run('--recorded', host.path)[1])
        host.update('placement', amd_sev=None)
        host.update('services', unreadable=['/a.pth', 'user nova'])
        self.assertIn('\nBegin with services: Install the package again with '
                      'umask 022.\n', run('--recorded', host.path)[1])

    def test_nothing_is_to_be_run_on_a_recorded_host(self):
        host = self.useFixture(fake.RecordedHost())
        host.write(fake.CAPACITY, 'sev 1006\n')
        host.fail('cpuid', '/dev/cpu/0/cpuid cannot be read: No such device. '
                  'Run modprobe cpuid. Run this as root.')
        host.fail('version', 'virsh: forbidden. Run this as root.')
        host.update('engine', state='no nova', nova=None, reason='It is not')
        host.write(KVM_AMD + 'sev', None)
        host.write(KVM_AMD + 'sev.error', '%s: Permission denied. Run this '
                   'as root.' % KVM_AMD)
        results = host.check()
        for name in ('split', 'libvirt', 'nova', 'kvm_amd.sev'):
            self.assertIn('check --record DIR', results[name].remedy, name)
        out = ' '.join(run('--all', '--recorded', host.path)[1].split())
        self.assertNotRegex(out.lower(), 'run (this|modprobe)')
        host.write(fake.CPUINFO, 'x')
        self.assertIn('check --record DIR', host.check()['processor'].remedy)

    def test_what_is_printed_does_not_reach_the_terminal(self):
        host = self.useFixture(fake.RecordedHost())
        host.replace(fake.CPUINFO, '9354', '\x1b[2J\u202e9354')
        code, out, err = run('--recorded', host.path)
        self.assertIn('EPYC ?[2J?9354', out)

    @ddt.data('', 'root')
    def test_a_folder_that_is_no_host(self, name):
        folder = self.useFixture(fixtures.TempDir()).path
        os.makedirs(os.path.join(folder, name), exist_ok=True)
        code, out, err = run('--recorded', folder)
        self.assertEqual((255, ''), (code, out))
        self.assertIn('check --record', err)

    def test_this_machine(self):
        """Without a processor that has SEV it fails there first."""
        with open('/proc/cpuinfo') as f:
            if ' sev ' in f.read():
                self.skipTest('this machine has SEV')
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'check',
             '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((2, b''), (done.returncode, done.stderr))
        failed = [check for check in json.loads(done.stdout)['checks']
                  if check['verdict'] == 'FAIL']
        self.assertIn(failed[0]['name'], ('processor', 'sev'))
        self.assertTrue(failed[0]['remedy'])


# What is changed of the ready host: path, old, new; or answer and its keys;
# and what is not PASS then, with words of what was found or of the remedy
CHANGES = [
    ((fake.CPUINFO, 'AuthenticAMD', 'GenuineIntel'),
     'processor', 'FAIL', 'EPYC 7002'),
    ((fake.CPUINFO, ': 25', ': 22'), 'processor', 'FAIL', 'EPYC 7002'),
    ((fake.CPUINFO, ': 17', ': '), 'processor', 'WARN', 'cannot be told'),
    ((CPUID, 'eax=0x0000000f', 'eax=0x0000000d'), 'sev', 'FAIL', 'in the BI'),
    ((CPUID, 'eax=0x0000000f', 'eax=0x00000007'), 'sev-es', 'FAIL', 'no SEV-'),
    ((fake.CPUINFO, ' sme sev sev_es', ''), 'sev', 'FAIL', 'SMEE is off'),
    ((fake.CPUINFO, ' sev sev_es', ''), 'sev', 'FAIL', 'cpuinfoEnable'),
    ((fake.CPUINFO, ' sev_es', ''), 'sev-es', 'FAIL', 'flag sev_es'),
    ((CPUID, 'edx=0x00000064', 'edx=0x00000000'), 'split', 'FAIL', 'Raise'),
    ((CPUID, 'edx=0x00000064', 'edx=0x00000800'), 'split', 'FAIL', 'sense'),
    ((CPUID, 'edx=0x00000064', 'edx=0x00000065'), 'asids', 'WARN', 'has 100'),
    ((fake.CPUINFO, 'EPYC 9354', 'Ryzen Threadripper PRO 5995WX'),
     'processor', 'WARN', 'no EPYC'),
    ((fake.CPUINFO, 'EPYC 9354', 'Eng Sample: 100-000000053'),
     'processor', 'WARN', 'does not tell'),
    ((KVM_AMD + 'sev_es', 'Y\n', None), 'kvm_amd.sev_es', 'FAIL', 'sev_es=1'),
    (('commands/kernel', '6.8.0', '5.10.0'), 'kernel', 'WARN', 'a backport'),
    (('commands/kernel', '6.8.0', 'six'), 'kernel', 'WARN', 'cannot be told'),
    (('commands/kernel', 'x86_64', 'aarch64'), 'kernel', 'WARN', 'x86_64'),
    ((KVM_AMD + 'sev', 'Y', 'N'), 'kvm_amd.sev', 'FAIL', 'sev=1'),
    ((KVM_AMD + 'sev', 'Y', '?'), 'kvm_amd.sev', 'WARN', 'neither Y nor N'),
    ((KVM_AMD + 'sev_es', 'Y', '0'), 'kvm_amd.sev_es', 'FAIL', 'sev_es=1'),
    ((KVM_AMD + 'sev_snp', 'N', '1'), 'kvm_amd.sev_snp', 'FAIL', 'the BIOS'),
    ((fake.CPUINFO, 'sev_es', 'sev_es sev_snp'),
     'kvm_amd.sev_snp', 'FAIL', 'flag sev_snp'),
    (('platform-status', {'state': 0}), 'psp', 'FAIL', 'SMEE'),
    (('platform-status', {'es': False}), 'psp.sev-es', 'FAIL', 'SEV-ES'),
    (('platform-status', {'api': [0, 16]}), 'psp.sev-es', 'FAIL', '0.16'),
    ((LOG, '[]', '["ccp 0000:22:00.1: sev command 0x85 timed out, disabling '
      'PSP"]'), 'kernel-log', 'WARN', 'from power off'),
    ((LOG, '[]', '["SEV: all is well"]'), 'usage', 'PASS', ''),
    ((LOG, '[]', '{}'), 'kernel-log', 'WARN', 'cannot be told'),
    ((fake.CAPACITY, 'sev_es 99', 'sev_es 9'), 'asids', 'WARN', 'has 99'),
    ((fake.CAPACITY, 'sev_es 99\n', ''), 'asids', 'FAIL', 'again'),
    (('commands/version', 'daemon: 9.0.0', 'daemon: 7.10.0'),
     'libvirt', 'FAIL', '8.0.0'),
    (('commands/version', 'hypervisor: QEMU 7.2', 'hypervisor: QEMU 6.1'),
     'qemu', 'FAIL', '6.2.0'),
    (('commands/version', 'Running hypervisor', 'hypervisor'),
     'libvirt', 'FAIL', 'no line'),
    ((CAPABILITIES, 'supported="yes"', 'supported="no"'),
     'capabilities', 'FAIL', '/var/cache/libvirt'),
    ((CAPABILITIES, 'kvm', 'qemu'), 'capabilities', 'WARN', 'KVM'),
    ((CAPABILITIES, '<maxESGuests>99</maxESGuests>', ''),
     'guests', 'FAIL', 'Upgrade'),
    ((CAPABILITIES, '>99<', '>0<'), 'guests', 'FAIL', 'Raise'),
    ((CAPABILITIES, '>99<', '>98<'), 'guests', 'WARN', 'kernel has 99'),
    ((fake.CURRENT, 'sev_es 2', 'sev_es 3'), 'in-use', 'WARN', '3 of SEV-ES'),
    ((fake.CURRENT, 'sev_es 2', 'sev_es two'), 'in-use', 'WARN', 'not as the'),
    (('root/usr/share/qemu/firmware/60-edk2-x86_64.json', 'amd-sev', 'a'),
     'firmware', 'FAIL', '60-edk2-x86_64.json: its features lack'),
    (('dev-sev', {'device': False}), '/dev/sev', 'FAIL', 'not a device'),
    (('qemu-conf', {'user': ['nova'], 'namespaces': []}),
     'access', 'FAIL', 'udev'),
    (('kvm-access', {'error': 2}), '/dev/kvm', 'FAIL', 'SVM'),
    (('kvm-access', {'error': 13}), '/dev/kvm', 'FAIL', 'kvm libvirt-qemu'),
    (('kvm-access', {'error': 13.0, 'guessed': True}),
     '/dev/kvm', 'WARN', 'cannot open'),
    (('selinux', {'enforcing': True}), 'selinux', 'WARN', 'restorecon'),
    ((IOMMU, '75', '0'), 'iommu', 'PASS', 'only PCI passthrough'),
    (('selinux', {'enforcing': True, 'type': 'sev_device_t'}),
     'selinux', 'PASS', 'knows /dev/sev'),
    (('libvirtd', {'may_raise': False}), 'locked-memory', 'WARN', 'LimitMEM'),
    (('libvirtd', {'may_raise': False, 'memlock': None}),
     'locked-memory', 'PASS', 'no limit'),
    (('apparmor', {'rules': []}), 'apparmor', 'WARN', '/dev/sev rw,'),
    (('apparmor', {'rules': ['/dev/sev rw,', 'deny /dev/sev w,']}),
     'apparmor', 'WARN', '/dev/sev rw,'),
    (('apparmor', {'rules': ['/dev/sev r,']}), 'apparmor', 'WARN', 'no rule'),
    (('engine', {'state': 'refused', 'reason': 'It does not fit'}),
     'nova', 'FAIL', 'It does not fit'),
    (('engine', {'state': 'off'}), 'nova', 'FAIL', 'off'),
    (('engine', {'state': 'no nova', 'nova': None}), 'nova', 'FAIL', 'enviro'),
    (('engine', {'state': 'unknown'}), 'nova', 'FAIL', 'unknown'),
    (('engine', {'armed': False}), 'nova', 'FAIL', 'not armed'),
    (('engine', {'state': 'patched', 'version': '1.0.0', 'patches': '0.9.0',
                 'reason': 'They differ'}),
     'nova', 'WARN', 'They differInstall version 0.9.0 of the package'),
    (('services', {'services': [{
        'command': '/usr/bin/nova-api', 'python': '/usr/bin/python3',
        'state': 'absent'}]}), 'services', 'FAIL', '/usr/bin/python3 -m pip'),
    (('services', {'services': [{
        'command': '/usr/bin/nova-compute', 'python': None, 'state': None}]}),
     'services', 'WARN', 'cannot be told'),
    (('services', {'unreadable': ['/a.pth', 'user nova']}),
     'services', 'FAIL', 'by user nova'),
    (('services', {'unreadable': ['/a.pth']}), 'services', 'WARN', 'schemas'),
    (('libvirt-python', {
        'version': None,
        'fault': "ModuleNotFoundError: No module named 'libvirt'"}),
     'libvirt-python', 'FAIL', "does not start: ModuleNotFoundError: No mod"),
    (('libvirt-python', {'version': [7, 10, 0]}),
     'libvirt-python', 'WARN', '8.0.0'),
    (('libvirt-python', {'version': [9, 0]}),
     'libvirt-python', 'WARN', 'cannot be told'),
    (('nova-conf', {'compute_driver': 'libvirt.LibvirtDriver'}),
     'compute-driver', 'WARN', '= mem_encryption.LibvirtDriver, which'),
    (('nova-conf', {'files': 0}), 'nova.conf', 'WARN', 'check --record'),
    (('nova-conf', {'compute_driver': None}), 'nova.conf', 'FAIL', 'compute_'),
    (('nova-conf', {'libvirt__virt_type': 'qemu'}),
     'nova.conf', 'FAIL', 'virt_type = kvm'),
    (('nova-conf', {'libvirt__hw_machine_type': ['x86_64=pc']}),
     'machine-type', 'WARN', 'x86_64=q35'),
    (('nova-conf', {'libvirt__hw_machine_type': ['aarch64=q35']}),
     'machine-type', 'WARN', 'x86_64=q35'),
    (('nova-conf', {'ram_allocation_ratio': 1.5}), 'memory', 'WARN', '= 1.0'),
    (('nova-conf', {'ram_allocation_ratio': None,
                    'initial_ram_allocation_ratio': 2}),
     'memory', 'WARN', 'ratio is 2,'),
    (('nova-conf', {'ram_allocation_ratio': float('nan')}),
     'memory', 'WARN', 'nan'),
    (('nova-conf', {'libvirt__cpu_mode': 'none'}),
     'cpu-model', 'WARN', 'EPYC'),
    (('nova-conf', {'libvirt__cpu_mode': 'custom', 'libvirt__cpu_models': [
        'EPYC-Rome', 'Cascadelake-Server']}), 'cpu-model', 'WARN', 'host-mod'),
    (('nova-conf', {'libvirt__num_memory_encrypted_guests': 907}),
     'deprecated', 'WARN', 'Take it out'),
    (('nova-conf', {'libvirt__file_backed_memory': 1048576}),
     'file-backed', 'WARN', 'memory_backing_dir'),
    (('placement', {'amd_sev_es': None}), 'amd_sev_es', 'FAIL', 'no provider'),
    (('placement', {'amd_sev': None}), 'amd_sev', 'FAIL', 'no provider'),
]


@ddt.ddt
class SNPTest(base.BaseTestCase):
    """A host that is ready for SEV-SNP, but for one thing."""

    def setUp(self):
        super().setUp()
        self.host = self.useFixture(fake.RecordedHost('snp-ready'))

    @tables.data(*SNP_CHANGES, by=1)
    @ddt.unpack
    def test_one_thing_is_not_as_it_should_be(self, change, name, verdict,
                                              words):
        self.host.change(*change)
        results = self.host.check()
        self.assertEqual(verdict, results[name].verdict, results[name])
        self.assertIn(words, results[name].found + results[name].remedy)
        self.assertEqual([name] * (verdict == 'FAIL'), [
            other for other in results if results[other].verdict == 'FAIL'])

    @ddt.data('iommu=pt', 'amd_iommu=off', 'iommu.passthrough=1')
    def test_a_kernel_that_was_told_to_leave_it_alone(self, words):
        self.host.write('root/proc/cmdline', words + '\n')
        self.host.write(KVM_AMD + 'sev_snp', 'N\n')
        self.host.replace(fake.CPUINFO, ' sev_snp', '')
        # The kernel takes the flag away, so that it has SEV-ES.
        self.host.update('placement', amd_sev_snp=None, amd_sev_es={
            'total': 99, 'used': 2, 'reserved': 0,
            'traits': ['HW_CPU_X86_AMD_SEV_ES']})
        results = self.host.check()
        self.assertEqual({'iommu.sev-snp': 'FAIL'}, unlike(results))
        self.assertIn('and not passed through',
                      results['iommu.sev-snp'].remedy)

    def test_sev_es_is_not_missed_where_firmware_takes_it_away(self):
        self.host.update('platform-status', es=False)
        results = self.host.check()
        self.assertEqual({}, unlike(results))
        for name in ('kvm_amd.sev_snp', 'psp.sev-es', 'amd_sev_es'):
            self.assertEqual('SKIP', results[name].verdict)
        self.assertIn('SEV-SNP', results['psp.sev-es'].found)

    def test_where_it_is_off_sev_es_is_looked_at_as_ever(self):
        """The option alone takes nothing away."""
        host = self.useFixture(fake.RecordedHost())
        host.update('nova-conf', libvirt__enable_amd_sev_snp=True)
        results = host.check()
        self.assertEqual({'sev-snp', 'libvirt.sev-snp', 'firmware.sev-snp'},
                         {*unlike(results)})
        for name in ('kvm_amd.sev_snp', 'psp.sev-es', 'amd_sev_es'):
            self.assertEqual('PASS', results[name].verdict)

    def test_a_host_that_is_not_to_offer_it_is_not_asked_for_any_of_it(self):
        results = self.useFixture(fake.RecordedHost()).check()
        self.assertEqual({'SKIP'}, {results[name].verdict for name in OPT_IN})
        self.assertIn('[libvirt] enable_amd_sev_snp is false',
                      results['enable_amd_sev_snp'].found)

    def hold(self, host, model, trait, **given):
        """Have one slot of a model that the host gives no more."""
        host.update('placement', **given, **{model: {
            'total': 1, 'used': 1, 'reserved': 0, 'traits': [trait]}})

    @ddt.data((98, 2, 'PASS'), (99, 2, 'FAIL'), (97, 2, 'FAIL'),
              (99, 99, 'PASS'))
    @ddt.unpack
    def test_slots_that_sev_es_servers_still_hold(self, total, used, verdict):
        """As the provider tree has it: those ASIDs are offered once."""
        given = {'total': total, 'used': used, 'reserved': 0,
                 'traits': ['HW_CPU_X86_AMD_SEV_SNP']}
        self.hold(self.host, 'amd_sev_es', 'HW_CPU_X86_AMD_SEV_ES',
                  amd_sev_snp=given)
        results = self.host.check()
        self.assertEqual({'amd_sev_snp': verdict} if verdict != 'PASS' else
                         {}, unlike(results))
        self.assertIn('beside the 1 of SEV-ES that it cannot start any more',
                      results['amd_sev_snp'].found)

    @ddt.data((98, 'PASS'), (99, 'FAIL'))
    @ddt.unpack
    def test_slots_that_snp_servers_still_hold(self, total, verdict):
        host = self.useFixture(fake.RecordedHost())
        self.hold(host, 'amd_sev_snp', 'HW_CPU_X86_AMD_SEV_SNP', amd_sev_es={
            'total': total, 'used': 2, 'reserved': 0,
            'traits': ['HW_CPU_X86_AMD_SEV_ES']})
        self.assertEqual({'amd_sev_es': verdict} if verdict != 'PASS' else
                         {}, unlike(host.check()))

    @ddt.data('snp-ready', 'snp-no-descriptor')
    def test_recorded_again_it_is_the_same(self, name):
        """What an example names is recorded, without a descriptor, too."""
        host = self.useFixture(fake.RecordedHost(name))
        again = os.path.join(self.useFixture(fixtures.TempDir()).path, 'host')
        record.record(hosts.Recorded(host.path), again)
        self.assertEqual(
            {name: found.verdict for name, found in host.check().items()},
            {found.name: found.verdict for found in check_tree.run(
                report.CHECKS, hosts.Recorded(again))})

    def test_without_an_image_there_is_no_descriptor_to_install(self):
        self.host.write(DESCRIPTOR, None)
        self.host.write(fake.IMAGE, bytes(65536))
        remedy = self.host.check()['firmware.sev-snp'].remedy
        self.assertNotIn('install -D', remedy)
        self.assertIn('Install UEFI firmware with SEV-SNP support', remedy)
        # That alone is not enough.
        self.assertNotIn('Debian 12', remedy)
        self.assertIn('once /usr/share/ovmf/OVMF.fd is there', remedy)


@ddt.ddt
class ChangesTest(base.BaseTestCase):
    """A host that is ready, but for one thing."""

    def setUp(self):
        super().setUp()
        self.host = self.useFixture(fake.RecordedHost())

    @tables.data(*CHANGES, by=1)
    @ddt.unpack
    def test_one_thing_is_not_as_it_should_be(self, change, name, verdict,
                                              words):
        self.host.change(*change)
        results = self.host.check()
        self.assertEqual(verdict, results[name].verdict, results[name])
        self.assertIn(words, results[name].found + results[name].remedy)
        # What comes before it is as it was.
        before = list(results)[:list(results).index(name)]
        self.assertEqual([], [b for b in before
                              if results[b].verdict != 'PASS'])
        # What comes after it is not blamed.
        self.assertEqual([name] * (verdict == 'FAIL'), [
            other for other in results if results[other].verdict == 'FAIL'])

    @tables.data(
        (KVM_AMD + 'npt', 'kvm_amd.sev', 'sev', 'kvm_amd.npt'),
        (KVM_AMD + 'nrips', 'kvm_amd.sev', 'sev', 'kvm_amd.nrips'),
        (fake.MMIO_CACHING, 'kvm_amd.sev_es', 'sev_es', 'kvm.mmio_caching'),
        (KVM_AMD + 'lbrv', 'kvm_amd.sev_es', 'sev_es', 'kvm_amd.lbrv'), by=3)
    @ddt.unpack
    def test_what_keeps_a_model_off(self, path, name, parameter, guilty):
        self.host.write(KVM_AMD + parameter, 'N\n')
        self.host.write(path, '0\n')
        result = self.host.check()[name]
        self.assertEqual('FAIL', result.verdict)
        self.assertIn('as %s is off' % guilty, result.found)
        self.assertIn('%s=1, then kvm_amd with %s=1' % (
            guilty.partition('.')[2], parameter), result.remedy)
        # It does no harm by itself.
        self.host.write(KVM_AMD + parameter, 'Y\n')
        self.assertEqual({}, unlike(self.host.check()))

    def test_a_parameter_that_the_kernel_does_not_have(self):
        for name in ('npt', 'nrips', 'lbrv', 'sev_snp'):
            self.host.write(KVM_AMD + name, None)
        self.assertEqual({}, unlike(self.host.check()))
        self.host.write(KVM_AMD + 'sev', None)
        result = self.host.check()['kvm_amd.sev']
        self.assertEqual('FAIL', result.verdict)
        self.assertIn('is not loaded', result.found)

    def test_novas_driver_on_a_host_without_a_model_of_the_series(self):
        self.host.update('nova-conf', compute_driver='libvirt.LibvirtDriver')
        self.host.write(KVM_AMD + 'sev_es', 'N\n')
        self.assertEqual('PASS', self.host.check()['compute-driver'].verdict)

    def test_all_asids_are_for_sev_es(self):
        self.host.write(CPUID, 'eax=0x0000000f ebx=0x00000073 '
                        'ecx=0x00000063 edx=0x00000064')
        self.host.write(fake.CAPACITY, 'sev_es 99\n')
        self.host.replace(CAPABILITIES, '>907<', '>0<')
        self.host.update('placement', amd_sev=None)
        self.assertEqual({}, unlike(self.host.check()))

    def test_a_kernel_that_does_not_count(self):
        self.host.write(fake.CAPACITY, None)
        self.host.write(fake.CURRENT, None)
        results = self.host.check()
        self.assertEqual({}, unlike(results))
        for name, words in (('asids', 'Linux 5.13'), ('in-use', 'Linux 6.5')):
            self.assertEqual('SKIP', results[name].verdict)
            self.assertIn(words, results[name].found)

    def test_a_user_who_cannot_ask_the_processor(self):
        why = '/dev/cpu/0/cpuid cannot be read. Run this as root.'
        self.host.fail('cpuid', why)
        results = self.host.check()
        self.assertEqual({}, unlike(results))
        self.assertIn('99 ASIDs are for SEV-ES, by misc.capacity',
                      results['split'].found)
        self.host.write(fake.CAPACITY, 'sev 1006\n')
        result = self.host.check()['split']
        self.assertEqual(
            ('WARN', 'this cannot be told. /dev/cpu/0/cpuid cannot be read.',
             hosts.RECORD_AGAIN),
            (result.verdict, result.found, result.remedy))
        self.host.replace(fake.CPUINFO, ' sev_es', '')
        self.assertEqual('FAIL', self.host.check()['sev-es'].verdict)

    @ddt.data('platform-status', 'kernel-log', 'kvm-access', 'selinux',
              'libvirtd', 'libvirt-python', 'iommu', 'services')
    def test_what_an_older_version_did_not_ask(self, answer):
        self.host.write('commands/' + answer, None)
        results = self.host.check()
        self.assertEqual({}, unlike(results))
        self.assertIn('That was not recorded: %s.' % answer, [
            result.found for result in results.values()
            if result.verdict == 'SKIP'])

    @ddt.data('platform-status', 'kernel-log')
    def test_what_only_root_can_ask_of_it(self, answer):
        """All else is looked at."""
        self.host.fail(answer, 'No. Run this as root.')
        results = self.host.check()
        name = {'platform-status': 'psp'}.get(answer, answer)
        self.assertEqual({name: 'WARN'}, unlike(results))
        self.assertEqual(hosts.RECORD_AGAIN, results[name].remedy)
        self.assertEqual({'psp.sev-es'} if name == 'psp' else set(), {
            name for name, result in results.items()
            if result.verdict == 'SKIP'} - OPT_IN)

    @ddt.data(({'state': 0}, 'psp'), ({'es': False}, 'psp.sev-es'))
    @ddt.unpack
    def test_what_the_kernel_says_of_it_is_told_with_it(self, status, name):
        self.host.update('platform-status', **status)
        self.host.write(LOG, json.dumps([
            'SEV: failed to INIT error 0x1, rc -5',
            'SEV-SNP: failed to INIT rc -5, error 0x3']))
        result = self.host.check()[name]
        self.assertIn('SEV-SNP: failed to INIT rc -5', result.found)
        self.assertIn('SEV-SNP off in the BIOS', result.remedy)

    @ddt.data((16, 'FAIL', 'from power off'), (5, 'FAIL', 'SMEE'),
              (16.0, 'FAIL', 'from power off'), (24, 'WARN', 'be told'),
              (25, 'WARN', 'cannot be told'), (-1, 'WARN', 'cannot be told'))
    @ddt.unpack
    def test_it_does_not_answer(self, number, verdict, words):
        self.host.write('commands/platform-status',
                        json.dumps({'error': number}))
        result = self.host.check()['psp']
        self.assertEqual(verdict, result.verdict)
        self.assertIn(words, result.found + result.remedy)

    # The answer, of what; what the kernel's log says; words of the remedy
    @tables.data(
        ('dev-sev', 'null', 'kvm_amd: SEV-ES disabled (ASIDs 0 - 0)', 'ccp'),
        ('platform-status', '{"error": 16}',
         'ccp 0000:22:00.1: SEV: failed to INIT error 0x13',
         'did not answer'), by=0)
    @ddt.unpack
    def test_a_line_that_is_of_something_else(self, answer, text, line, words):
        self.host.write('commands/' + answer, text)
        self.host.write(LOG, json.dumps([line]))
        name = {'dev-sev': '/dev/sev'}.get(answer, 'psp')
        result = self.host.check()[name]
        self.assertNotIn(line, result.found)
        self.assertIn(words, result.remedy)

    def test_it_is_left_to_the_first_guest(self):
        self.host.update('platform-status', state=0, es=False)
        self.host.write(AT_ONCE, 'N\n')
        results = self.host.check()
        self.assertEqual({'psp.sev-es': 'FAIL'}, unlike(results))
        self.assertIn('psp_init_on_probe', results['psp.sev-es'].remedy)

    @ddt.data(('iommu=pt', 'WARN'), ('quiet iommu=nopt', 'FAIL'),
              ('iommu.passthrough=1 x', 'WARN'), ('xiommu=pt', 'FAIL'),
              ('iommu=soft,pt', 'WARN'), ('amd_iommu=off', 'WARN'),
              ('amd_iommu=fullflush,pgtbl_v2', 'WARN'),
              ('iommu=pt iommu.passthrough=0', 'FAIL'))
    @ddt.unpack
    def test_snp_that_the_kernel_leaves_alone(self, words, verdict):
        self.host.replace(fake.CPUINFO, 'sev_es', 'sev_es sev_snp')
        self.host.write('root/proc/cmdline', words + '\n')
        self.assertEqual(verdict, self.host.check()['kvm_amd.sev_snp'].verdict)

    def test_devices_that_are_passed_through(self):
        self.host.update('nova-conf', pci__device_spec=2)
        self.assertEqual({}, unlike(self.host.check()))
        self.host.write(IOMMU, '0')
        results = self.host.check()
        self.assertEqual({'iommu': 'WARN'}, unlike(results))
        self.assertIn('amd_iommu=off', results['iommu'].remedy)

    def test_a_host_that_was_recorded_before_that_was_asked(self):
        conf = json.loads(self.host.read('commands/nova-conf'))
        del conf['libvirt.file_backed_memory']
        del conf['pci.device_spec']
        self.host.write('commands/nova-conf', json.dumps(conf))
        results = self.host.check()
        self.assertEqual({}, unlike(results))
        self.assertEqual('SKIP', results['file-backed'].verdict)

    def test_a_user_who_cannot_ask_libvirt(self):
        self.host.fail('domcapabilities', 'virsh: operation forbidden. Run '
                       'this as root.')
        results = self.host.check()
        self.assertEqual({'capabilities': 'WARN'}, unlike(results))
        self.assertEqual(hosts.RECORD_AGAIN, results['capabilities'].remedy)
        self.assertEqual('SKIP', results['placement'].verdict)
        self.host.fail('version', 'There is no command virsh.')
        result = self.host.check()['libvirt']
        self.assertEqual('FAIL', result.verdict)
        self.assertIn('There is no command virsh', result.found)

    def test_a_virtual_machine(self):
        self.host.replace(fake.CPUINFO, ' sme sev sev_es', ' hypervisor')
        self.host.replace(CPUID, 'eax=0x0000000f', 'eax=0x00000000')
        result = self.host.check()['sev']
        self.assertEqual('FAIL', result.verdict)
        self.assertIn('virtual machine', result.found)

    def test_no_dev_sev(self):
        self.host.write('commands/dev-sev', 'null')
        result = self.host.check()['/dev/sev']
        self.assertEqual('FAIL', result.verdict)
        self.assertIn('ccp', result.remedy)

    @ddt.data(('root', '0600', 'root', 'PASS'), ('+0', '0600', 'x', 'PASS'),
              ('nova', '0666', 'root', 'PASS'), ('nova', '0662', 'r', 'FAIL'),
              ('nova', '0600', 'nova', 'PASS'), ('nova', '0660', 'r', 'FAIL'),
              ('nova', '0400', 'nova', 'FAIL'))
    @ddt.unpack
    def test_who_may_open_dev_sev(self, user, mode, owner, verdict):
        self.host.update('qemu-conf', user=[user], namespaces=[])
        self.host.update('dev-sev', mode=mode, user=owner)
        self.assertEqual(verdict, self.host.check()['access'].verdict)
        self.host.update('qemu-conf', namespaces=['mount'])
        self.assertEqual('PASS', self.host.check()['access'].verdict)

    @ddt.data(
        ('/dev/sev rw,', 'PASS'), ('"/dev/sev" rwk , # for SEV', 'PASS'),
        ('/dev/sev rw, # for SEV', 'PASS'), ('audit /dev/sev wr,', 'PASS'),
        ('/dev/sev r, # no write', 'WARN'), ('', 'WARN'),
        ('/dev/sev rw', 'WARN'), ('"/dev/sev rw,', 'WARN'),
        ('deny /dev/sev rw,', 'WARN'), ('audit deny /dev/sev rw,', 'WARN'))
    @ddt.unpack
    def test_what_a_rule_of_apparmor_allows(self, rule, verdict):
        self.host.update('apparmor', rules=[rule])
        self.assertEqual(verdict, self.host.check()['apparmor'].verdict)
        self.host.update('apparmor', rules=['/dev/sev rw,', rule])
        self.assertEqual(verdict, self.host.check()['apparmor'].verdict)

    def test_apparmor_that_does_not_matter(self):
        self.host.update('apparmor', rules=[], enabled=False)
        self.assertEqual({}, unlike(self.host.check()))
        self.host.update('apparmor', enabled=True)
        self.host.update('qemu-conf', security_driver=['none'])
        self.assertEqual({}, unlike(self.host.check()))

    def test_nova_that_does_not_need_the_series(self):
        self.host.update('engine', state='not needed', nova='32.0.0')
        results = self.host.check()
        self.assertEqual({'compute-driver': 'WARN'}, unlike(results))
        self.assertIn('= libvirt.LibvirtDriver before',
                      results['compute-driver'].remedy)
        self.host.update('nova-conf', compute_driver='libvirt.LibvirtDriver')
        self.assertEqual({}, unlike(self.host.check()))

    @ddt.data({'armed': False}, {'version': '1.0.1', 'patches': '1.0.1'})
    def test_nova_that_carries_the_series(self, found):
        self.host.update('engine', state='patched', version='1.0.0',
                         patches='1.0.0')
        self.assertEqual({}, unlike(self.host.check()))
        self.host.update('engine', **found)
        self.assertEqual({}, unlike(self.host.check()))

    @ddt.data('host-passthrough', None, 'maximum')
    def test_cpu_modes_that_will_do(self, mode):
        self.host.update('nova-conf', libvirt__cpu_mode=mode)
        self.assertEqual({}, unlike(self.host.check()))
        self.host.update('nova-conf', libvirt__cpu_mode='custom',
                         libvirt__cpu_models=['EPYC-Milan', 'epyc'])
        self.assertEqual({}, unlike(self.host.check()))

    # Provider, what it has else, verdict of which check, words
    @ddt.data(
        ('root', {'total': 100}, 'placement', 'FAIL', '100 slots'),
        ('root', {'traits': ['HW_CPU_X86_AMD_SEV']}, 'placement', 'FAIL',
         'another model'),
        ('amd_sev_es', {'total': 98}, 'amd_sev_es', 'FAIL', '98 slots'),
        ('amd_sev_es', {'traits': []}, 'amd_sev_es', 'FAIL', 'none of SEV'),
        ('amd_sev', {'traits': ['HW_CPU_X86_AMD_SEV_ES']}, 'amd_sev', 'FAIL',
         'its traits'),
        ('amd_sev', {'total': 2 ** 31 - 1}, 'amd_sev', 'FAIL', 'can run 907'),
        ('amd_sev_es', {'used': 100}, 'amd_sev_es', 'WARN', 'Move'),
        ('amd_sev_es', {'used': 1}, 'usage', 'WARN', 'sev_es: 2 guests, 1'),
        ('amd_sev_es', {'used': 1, 'reserved': 1}, 'usage', 'PASS', ''))
    @ddt.unpack
    def test_what_placement_has(self, provider, values, name, verdict, words):
        tree = json.loads(self.host.read('commands/placement'))
        self.host.update('placement', **{
            provider: {**tree[provider], **values}})
        result = self.host.check()[name]
        self.assertEqual(verdict, result.verdict, result)
        self.assertIn(words, result.found + result.remedy)

    @ddt.data('a root provider', 'a child of another provider')
    def test_a_name_that_another_provider_has(self, kind):
        tree = json.loads(self.host.read('commands/placement'))
        for suffix, root in (('amd_sev', {'total': 3, 'used': 3}),
                             ('amd_sev_es', {})):
            self.host.update('placement', **{
                **tree, suffix: None, 'taken': {suffix: kind},
                'root': {**tree['root'], **root}})
            results = self.host.check()
            self.assertEqual('PASS', results['placement'].verdict)
            result = results[suffix]
            self.assertEqual('FAIL', result.verdict)
            self.assertIn('<node>_%s is %s' % (suffix, kind), result.found)
            self.assertIn('rename it', result.remedy)
        # More than is in use may be given out.
        self.host.update('placement', amd_sev=None, taken={'amd_sev': kind},
                         root={**tree['root'], 'total': 4, 'used': 3})
        self.assertEqual('FAIL', self.host.check()['placement'].verdict)

    def test_slots_of_the_root_are_used_by_guests(self):
        tree = json.loads(self.host.read('commands/placement'))
        self.host.update('placement', amd_sev=None, taken={
            'amd_sev': 'a root provider'}, root={
                **tree['root'], 'total': 3, 'used': 3})
        for guests, verdict in ((3, 'PASS'), (4, 'WARN')):
            self.host.update('guests', sev=guests)
            self.assertEqual(verdict, self.host.check()['usage'].verdict)

    def test_slots_of_sev_that_nova_caps(self):
        self.host.update('nova-conf', libvirt__num_memory_encrypted_guests=9)
        self.assertEqual('FAIL', self.host.check()['amd_sev'].verdict)
        tree = json.loads(self.host.read('commands/placement'))
        self.host.update('placement', amd_sev={**tree['amd_sev'], 'total': 9})
        self.assertEqual({'deprecated': 'WARN'}, unlike(self.host.check()))

    def link(self, path):
        """Have a link to a file of another place."""
        other = os.path.join(self.useFixture(fixtures.TempDir()).path, 'x')
        with open(other, 'w') as f:
            f.write('hunter2')
        os.symlink(other, os.path.join(self.host.path, path))

    @ddt.data(CPUID, CPUID + '.error', fake.CPUINFO + '.error')
    def test_no_answer_of_a_recorded_host_is_read_elsewhere(self, path):
        self.host.write(path.replace('.error', ''), None)
        self.link(path)
        code, out, err = run('--recorded', self.host.path, '--json')
        self.assertEqual('', err)
        self.assertNotIn('hunter2', out)

    @ddt.data('root', 'commands')
    def test_a_recorded_host_that_is_all_elsewhere(self, name):
        path = os.path.join(self.host.path, name)
        os.rename(path, path + '.old')
        os.symlink('/', path)
        code, out, err = run('--recorded', self.host.path)
        self.assertEqual((255, ''), (code, out))
        self.assertIn('it is a link to what is not below', err)

    @ddt.data(fake.CAPACITY, fake.CURRENT, fake.CPUINFO, CPUID)
    def test_a_pipe_of_a_recorded_host_is_not_waited_for(self, path):
        self.host.write(path, None)
        os.mkfifo(os.path.join(self.host.path, path))
        self.useFixture(fixtures.Timeout(60, gentle=True))
        code, out, err = run('--recorded', self.host.path)
        self.assertEqual('', err)
        self.assertIn('it is not a regular file', ' '.join(out.split()))

    def test_nothing_of_a_recorded_host_is_read_elsewhere(self):
        path = os.path.join(self.host.path, fake.CPUINFO)
        os.unlink(path)
        os.symlink('/proc/cpuinfo', path)
        result = self.host.check()['processor']
        self.assertEqual('WARN', result.verdict)
        self.assertIn('is a link to what is not below', result.found)
