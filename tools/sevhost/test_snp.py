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

"""Test a host with SEV-SNP, with virsh.

SEVHOST_USR may name a folder with another libvirt and QEMU, for --usr. That of
Debian 12 does not know SEV-SNP.
"""
import os
import re
import unittest
import uuid

import ddt

import test_psp
import test_sevhost as base

FIRMWARE = '/usr/share/ovmf/OVMF.fd'
# In firmware, what leads to its metadata of SEV-SNP; see OvmfPkg's
# ResetVectorVtf0.asm.
METADATA = uuid.UUID('dc886566-984a-4798-a75e-5585a7bf67cc').bytes_le
DOMAIN = '''
<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader {loader}>{firmware}</loader>
  </os>
  <features><acpi/><apic/></features>
  {cpu}
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
  <launchSecurity type='sev-snp'>
    <policy>0x{policy:08x}</policy>
  </launchSecurity>
</domain>
'''
CPU = '''<cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>%s</model></cpu>'''
SMT, ONE, DEBUG, SINGLE_SOCKET = (1 << bit for bit in (16, 17, 19, 20))
SNP = ONE | SMT
NORMAL, ZERO, SECRETS, CPUID = 1, 3, 5, 6  # types of pages
KIB = 1024


def outside(path):
    """Return where a file of the host's /usr is."""
    return base.USR + path[len('/usr'):]


def read(path):
    """Return the content of a file."""
    with open(path, 'rb') as f:
        return f.read()


# Whether this libvirt, by the schema of its XML, knows SEV-SNP
KNOWN = b'sev-snp' in read(
    outside('/usr/share/libvirt/schemas/domaincommon.rng'))


class Base(test_psp.Base):

    def define_snp(self, policy=SNP, loader="type='rom'", firmware=FIRMWARE,
                   vcpus=2, cpu=None, memory=64):
        """Define a SEV-SNP guest; return its name."""
        return self.define_xml(
            DOMAIN, policy=policy, loader=loader, firmware=firmware,
            vcpus=vcpus, memory=memory, cpu='' if cpu is None else CPU % cpu)

    def start_snp(self, **kwargs):
        """Define a SEV-SNP guest and start it; return its name."""
        name = self.define_snp(**kwargs)
        self.virsh('start', name)
        return name

    def snp_fails(self, **kwargs):
        """Define a SEV-SNP guest that does not start; return why."""
        return self.refused(self.define_snp(**kwargs))

    def write_firmware(self, content):
        """Write firmware for the host to see; return its path there."""
        path = os.path.join(self.folder, 'firmware.fd')
        with open(path, 'wb') as f:
            f.write(content)
        return path


@ddt.ddt
class HostTest(Base):
    """What such a host says of itself."""

    # kvm_amd's parameter, the processor's flag, SNP_PLATFORM_STATUS
    @ddt.data(
        ((), 'N', False, 'EINVAL'),
        (('--snp',), 'Y', True, test_psp.INIT),
        (('--psp=snp',), 'N', True, test_psp.INIT),
        (('--snp', '--no-es'), 'N', True, test_psp.INIT),
        (('--snp', '--es-asids=0'), 'N', True, test_psp.INIT),
        (('--snp', '--iommu-pt'), 'N', True, 'EINVAL'),
        (('--snp', '--no-sev'), 'N', False, 'ENOENT'),
        (('--snp', '--psp=old'), 'Y', True, 'EINVAL'),
        (('--snp', '--psp=failed'), 'Y', True, 'EINVAL'),
        (('--snp', '--psp=timed-out'), 'Y', True, 'EINVAL'),
        (('--snp', '--psp=absent'), 'Y', True, 'ENOENT'),
        # It is initialised for SEV and SEV-ES only that late.
        (('--snp', '--psp=lazy'), 'Y', True, test_psp.INIT))
    @ddt.unpack
    def test_what_it_says_of_itself(self, options, parameter, flag, status):
        self.boot(*options)
        self.assertEqual(parameter + '\n', self.inside(
            'cat', '/sys/module/kvm_amd/parameters/sev_snp'))
        self.assertEqual(flag, 'sev_snp' in self.inside(
            'cat', '/proc/cpuinfo').split())
        answer = self.ask('snp-status')
        self.assertEqual(status, answer['errno'] or answer['state'])

    def test_sev_beside_it(self):
        self.boot('--snp')
        self.assertEqual('running', self.state(self.start(base.SEV)))
        self.wait(lambda: (self.ask()['guest_count'],
                           self.ask('snp-status')['guest_count']), (1, 0))
        self.assertIn("fw_error=21 'Feature not supported'",
                      self.start_fails(base.ES))

    @ddt.data('--psp=old', '--iommu-pt')
    def test_where_it_cannot_be_had_there_is_sev_es(self, option):
        self.boot('--snp', option)
        self.assertEqual('running', self.state(self.start(base.ES)))

    @ddt.data((), ('--iommu-pt',))
    def test_how_linux_was_booted(self, options):
        self.boot(*options)
        self.assertEqual(bool(options), 'iommu=pt' in self.inside(
            'cat', '/proc/cmdline').split())


@ddt.ddt
class GuestTest(Base):
    """What guests get, and when they do not start."""

    def test_libvirt_knows_it(self):
        self.boot('--snp')
        self.assertIn('<value>sev-snp</value>',
                      self.virsh('domcapabilities', '--machine', 'q35'))

    def test_what_qemu_asks_of_the_kernel(self):
        self.boot('--snp')
        name = self.start_snp(vcpus=3)
        first, start, *updates, finish = self.calls()[1:]
        self.assertEqual(
            ['KVM_SEV_INIT2', 'KVM_SEV_SNP_LAUNCH_START',
             'KVM_SEV_SNP_LAUNCH_FINISH'],
            [call['call'] for call in (first, start, finish)])
        self.assertEqual({'KVM_SEV_SNP_LAUNCH_UPDATE'},
                         {call['call'] for call in updates})
        self.assertEqual({(name, 0)}, {
            (call['name'], call['result']) for call in self.calls()})
        self.assertEqual((1, SNP, SNP), (
            first['asid'], start['policy'], finish['policy']))
        # All of the firmware, below 4 GiB
        size = os.path.getsize(outside(FIRMWARE))
        self.assertEqual((NORMAL, 4 * KIB ** 3 - size, size), tuple(
            updates[0][key] for key in ('type', 'address', 'bytes')))
        self.assertEqual([ZERO, SECRETS, CPUID], sorted({
            call['type'] for call in updates[1:]}))
        self.assertEqual((size // 4096, 1, 1, 3), tuple(
            finish[key] for key in ('normal', 'secrets', 'cpuid', 'vmsa')))
        # It has an ASID of those of SEV-ES.
        self.wait(self.used, {'sev': 0, 'sev_es': 1})
        self.wait(lambda: (self.ask()['guest_count'],
                           self.ask('snp-status')['guest_count']), (0, 1))
        self.virsh('destroy', name)
        self.wait(self.used, {'sev': 0, 'sev_es': 0})

    @ddt.data(SNP, SNP | DEBUG, SNP | 0x137)  # the firmware is 1.55
    def test_a_policy_that_it_gives(self, policy):
        self.boot('--snp')
        self.assertEqual('running', self.state(self.start_snp(policy=policy)))

    # What QEMU says is what operators see, so it stands here to the letter.
    @ddt.data(
        (SMT, "ret=-22 fw_error=0 ''"),
        (ONE, "ret=-22 fw_error=0 ''"),
        (SNP | SINGLE_SOCKET, "ret=-22 fw_error=0 ''"),
        (SNP | 1 << 18, "ret=-22 fw_error=0 ''"),
        (SNP | 0x138, "ret=-5 fw_error=7 'Policy is not allowed'"))
    @ddt.unpack
    def test_a_policy_that_it_does_not(self, policy, words):
        self.boot('--snp')
        self.assertIn('SNP_LAUNCH_START ' + words,
                      self.snp_fails(policy=policy))

    @ddt.data(
        ((), 'vm-type SEV-SNP not supported by KVM'),
        (('--psp=snp',), 'vm-type SEV-SNP not supported by KVM'),
        (('--snp', '--no-es'), 'vm-type SEV-SNP not supported by KVM'),
        (('--snp', '--es-asids=0'), 'vm-type SEV-SNP not supported by KVM'),
        (('--snp', '--iommu-pt'), 'vm-type SEV-SNP not supported by KVM'),
        (('--snp', '--psp=old'), "SNP_LAUNCH_START ret=-25 fw_error=1 "
                                 "'Platform state is invalid'"),
        (('--snp', '--psp=no-cpuid'), 'SNP_LAUNCH_UPDATE ret=-5 fw_error=22 '
                                      "'Invalid parameter'"))
    @ddt.unpack
    def test_what_the_host_cannot_give(self, options, words):
        self.boot(*options)
        self.assertIn(words, self.snp_fails())

    def test_what_the_firmware_says_of_the_cpuid_table(self):
        self.boot('--snp', '--psp=no-cpuid')
        self.assertRegex(
            self.snp_fails(), 'CPUID validation failed for function 0x1, .*'
            'provided: .* ecx: 0x80202001, .* expected: .* ecx: 0x80002001')

    @ddt.data('failed', 'timed-out', 'absent')
    def test_libvirt_defines_none_that_the_host_cannot_give(self, state):
        self.boot('--snp', '--psp=' + state)
        with self.assertRaisesRegex(
                AssertionError, "'sev-snp' launch security is not supported"):
            self.define_snp()

    def test_a_lazy_secure_processor(self):
        self.boot_anew('--snp', '--psp=lazy')
        self.assertEqual((test_psp.UNINIT, 0), self.status())
        self.assertEqual('running', self.state(self.start_snp()))
        self.assertEqual((test_psp.INIT, test_psp.ES), self.status())

    def test_no_more_guests_than_asids(self):
        self.boot('--snp', '--es-asids=1')
        first = self.start_snp()
        self.assertIn('failed to initialize ret=-16', self.snp_fails())
        self.virsh('destroy', first)
        self.start_snp()
        self.inside('pkill', '-KILL', 'qemu-system')
        self.wait(self.used, {'sev': 0, 'sev_es': 0})
        self.start_snp()

    def test_firmware_without_its_metadata(self):
        self.boot('--snp')
        content = read(outside(FIRMWARE))
        self.assertEqual(1, content.count(METADATA))
        path = self.write_firmware(content.replace(METADATA, bytes(16)))
        self.assertIn('Failed to locate SEV metadata header',
                      self.snp_fails(firmware=path))

    def test_firmware_in_flash_memory(self):
        self.boot('--snp')
        name = self.define_snp(firmware=base.FIRMWARE, loader=(
            "type='pflash' readonly='yes' stateless='yes'"))
        self.assertIn('pflash with kvm requires KVM readonly memory support',
                      self.refused(name))

    @ddt.data(('shutdown', 'shut off'), ('reset', 'shut off'))
    @ddt.unpack
    def test_what_ends_it(self, command, state):
        self.boot('--snp')
        name = self.start_snp()
        self.virsh(command, name)
        self.wait(lambda: self.state(name), state)

    def test_its_memory_is_not_resident(self):
        self.boot('--snp')
        name = self.start_snp(memory=512)
        with open('%s/run/libvirt/qemu/%s.pid' % (self.folder, name)) as f:
            lines = self.inside('cat', '/proc/%s/status' % f.read())
        self.assertLess(int(re.search(r'VmRSS:\s+(\d+)', lines)[1]),
                        256 * KIB)


class OldTest(Base):
    """A libvirt that does not know it."""

    def test_libvirt_defines_none(self):
        self.boot('--snp')
        with self.assertRaisesRegex(AssertionError, 'launchSecurity'):
            self.define_snp()


def load_tests(loader, tests, pattern):
    """Leave out what this libvirt cannot do, or what it can."""
    tests = [HostTest, GuestTest if KNOWN else OldTest]
    return unittest.TestSuite(map(loader.loadTestsFromTestCase, tests))
