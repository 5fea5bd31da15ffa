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

"""Test the imitated host by itself, with virsh.

SEVHOST_USR may name a folder with another libvirt and QEMU, for --usr.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

import ddt

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'sevhost.py')
USR = os.environ.get('SEVHOST_USR', '/usr')
FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
# The SEV-ES reset block's GUID as it stands in firmware; see OvmfPkg's
# ResetVectorVtf0.asm.
ES_RESET_BLOCK = uuid.UUID('00f771de-1a7e-4fcb-890e-68c77e2fb44e').bytes_le
DOMAIN = '''
<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>64</memory>
  <memoryBacking><locked/></memoryBacking>
  <vcpu>2</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <loader readonly='yes' type='pflash'>{firmware}</loader>
    <nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
  {security}
</domain>
'''
SECURITY = '''
  <launchSecurity type='sev'>
    <cbitpos>{cbitpos}</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
    <policy>0x{policy:04x}</policy>
  </launchSecurity>
'''
SEV, ES = 0x33, 0x37


def tool(*args, check=True):
    """Run sevhost.py; return what it did."""
    done = subprocess.run([sys.executable, TOOL, *args], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if check and done.returncode:
        raise AssertionError(done.stderr)
    return done


class Base(unittest.TestCase):
    """A host that each test boots as it wants it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp(prefix='sevhost-')
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        tool('start', cls.folder, '--usr', USR)
        cls.addClassCleanup(tool, 'stop', cls.folder, check=False)
        cls.booted = ()

    def boot(self, *options):
        """Have a host of these options."""
        if options != self.booted:
            tool('reboot', self.folder, *options)
            type(self).booted = options

    def inside(self, *command):
        """Run a command on the host; return what it printed."""
        return tool('exec', self.folder, *command).stdout

    def virsh(self, *args, check=True):
        """Run virsh; return what it printed, or what it complained of."""
        done = tool('exec', self.folder, 'virsh', '-q', '-c',
                    'qemu:///system', *args, check=False)
        self.assertEqual(check, not done.returncode, done.stderr)
        return done.stdout if check else done.stderr

    def define(self, policy=None, cbitpos=51, firmware=FIRMWARE):
        """Define a guest; return its name."""
        return self.define_xml(
            DOMAIN, firmware=firmware,
            security='' if policy is None else SECURITY.format(
                policy=policy, cbitpos=cbitpos))

    def define_xml(self, xml, **values):
        """Define a guest, with values for what its XML leaves open."""
        name = self._testMethodName[-40:]
        while os.path.exists('%s/etc/qemu/%s.xml' % (self.folder, name)):
            name += 'x'
        path = os.path.join(self.folder, name + '.xml')
        self.uuid = str(uuid.uuid4())
        with open(path, 'w') as f:
            f.write(xml.format(name=name, uuid=self.uuid, **values))
        self.virsh('define', '--validate', path)
        self.addCleanup(self.virsh, 'undefine', '--nvram', name)
        self.addCleanup(tool, 'exec', self.folder, 'virsh', '-c',
                        'qemu:///system', 'destroy', name, check=False)
        return name

    def start(self, *args, **kwargs):
        """Define a guest and start it; return its name."""
        name = self.define(*args, **kwargs)
        self.virsh('start', name)
        return name

    def start_fails(self, *args, **kwargs):
        """Define a guest that does not start; return why."""
        return self.refused(self.define(*args, **kwargs))

    def refused(self, name):
        """Return why a guest that was defined does not start.

        Now and then libvirt notices that QEMU has ended before it has read
        why; then it is asked again.
        """
        for _ in range(10):
            why = self.virsh('start', name, check=False)
            if 'failed to connect to monitor socket' not in why:
                break
        return why

    def calls(self):
        """Return the latest guest's calls to the imitated kernel."""
        return [call for call in json.loads(tool('log', self.folder).stdout)
                if call['guest'] == self.uuid]

    def wait(self, function, expected, seconds=20):
        """Wait until a function returns something."""
        deadline = time.monotonic() + seconds
        while function() != expected and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(expected, function())

    def used(self):
        """Return the use of ASIDs as the misc cgroup has it."""
        tool('settle', self.folder)
        lines = self.inside('cat', '/sys/fs/cgroup/misc.current').split()
        return {'sev': 0, 'sev_es': 0,
                **dict(zip(lines[::2], map(int, lines[1::2])))}

    def state(self, name):
        return self.virsh('domstate', name).strip()


@ddt.ddt
class HostTest(Base):
    """What a host says of itself."""

    @ddt.data(
        ((), ('410', '99'), 'Y Y N', (410, 99)),
        (('--sev-asids=3', '--es-asids=2'), ('3', '2'), 'Y Y N', (3, 2)),
        (('--no-es',), ('410', '99'), 'Y N N', (410, 0)),
        (('--es-asids=0',), ('410', '0'), 'Y N N', (410, 0)),
        (('--sev-asids=0',), ('0', '99'), 'Y Y N', (0, 99)),
        (('--snp',), ('410', '99'), 'Y Y Y', (410, 99)),
        (('--no-sev',), None, 'N N N', (0, 0)))
    @ddt.unpack
    def test_what_it_says_of_itself(self, options, counts, parameters,
                                    capacity):
        self.boot(*options)
        xml = self.virsh('domcapabilities', '--machine', 'q35')
        if counts is None:
            self.assertIn("<sev supported='no'/>", xml)
        else:
            self.assertIn('<maxGuests>%s</maxGuests>' % counts[0], xml)
            self.assertIn('<maxESGuests>%s</maxESGuests>' % counts[1], xml)
            self.assertIn('<cbitpos>51</cbitpos>', xml)
            self.assertIn('max-guests        : ' + counts[0],
                          self.virsh('nodesevinfo'))
        self.assertEqual(parameters.split(), self.inside(
            'cat', *('/sys/module/kvm_amd/parameters/' + name
                     for name in ('sev', 'sev_es', 'sev_snp'))).split())
        # The kernel says nothing of what it has none of.
        self.assertEqual(
            ''.join('%s %d\n' % item for item in
                    zip(('sev', 'sev_es'), capacity) if item[1]),
            self.inside('cat', '/sys/fs/cgroup/misc.capacity'))
        self.assertEqual(counts is not None, 'sev' in self.inside(
            'ls', '/dev').split())

    def test_another_bit(self):
        self.boot('--cbitpos=47')
        self.assertIn('<cbitpos>47</cbitpos>',
                      self.virsh('domcapabilities', '--machine', 'q35'))
        self.assertIn("cbitpos check failed, host '47' requested '51'",
                      self.start_fails(SEV))
        self.assertEqual('running', self.state(self.start(SEV, cbitpos=47)))

    def test_it_is_not_seen_outside(self):
        self.boot()
        for path in ('/sys/module/kvm_amd/parameters/sev', '/dev/sev',
                     '/sys/fs/cgroup/misc.capacity'):
            self.assertNotEqual(_tell(path), self.inside(
                'stat', '-c', '%d %i', path).strip())


def _tell(path):
    return '%(st_dev)d %(st_ino)d' % {
        name: getattr(os.stat(path), name) for name in ('st_dev', 'st_ino')
    } if os.path.exists(path) else None


@ddt.ddt
class GuestTest(Base):
    """What guests get, and when they do not start."""

    @ddt.data((SEV, 'KVM_SEV_INIT', 'sev'), (ES, 'KVM_SEV_ES_INIT', 'sev_es'))
    @ddt.unpack
    def test_what_qemu_asks_of_the_kernel(self, policy, call, key):
        self.boot()
        name = self.start(policy)
        vmsa = ['KVM_SEV_LAUNCH_UPDATE_VMSA'] if policy == ES else []
        calls = self.calls()
        self.assertEqual(
            ['SEV_PLATFORM_STATUS', call, 'KVM_SEV_LAUNCH_START',
             'KVM_SEV_LAUNCH_UPDATE_DATA', *vmsa, 'KVM_SEV_LAUNCH_MEASURE',
             'KVM_SEV_LAUNCH_FINISH'],
            [call['call'] for call in calls
             if call['call'] != 'SEV_GET_ID2'])
        self.assertEqual({name}, {call['name'] for call in calls})
        self.assertEqual({0}, {call['result'] for call in calls})
        self.assertEqual([policy], [
            call['policy'] for call in calls
            if call['call'] == 'KVM_SEV_LAUNCH_START'])
        self.assertIn('sev-policy     : %d' % policy,
                      self.virsh('domlaunchsecinfo', name))
        self.assertEqual({'sev': 0, 'sev_es': 0, key: 1}, self.used())
        self.virsh('destroy', name)
        self.wait(self.used, {'sev': 0, 'sev_es': 0})

    def test_a_plain_guest_asks_nothing(self):
        self.boot()
        self.assertEqual('running', self.state(self.start()))
        self.assertEqual([], self.calls())
        self.assertEqual({'sev': 0, 'sev_es': 0}, self.used())

    # What QEMU says is what operators see, so it stands here to the letter.
    @ddt.data(
        (('--no-es',), ES, 'failed to initialize ret=-25'),
        (('--snp',), ES, "LAUNCH_START ret=1 fw_error=21 'Feature not "
                         "supported'"),
        (('--sev-asids=0',), SEV, 'failed to initialize ret=-25'))
    @ddt.unpack
    def test_what_the_host_cannot_give(self, options, policy, words):
        self.boot(*options)
        self.assertIn(words, self.start_fails(policy))

    def test_libvirt_defines_no_guest_that_the_host_cannot_give(self):
        self.boot('--no-sev')
        with self.assertRaisesRegex(
                AssertionError, "(SEV|'sev') launch security"):
            self.define(SEV)

    @ddt.data(SEV, ES)
    def test_no_more_guests_than_asids(self, policy):
        self.boot('--sev-asids=1', '--es-asids=1')
        first = self.start(policy)
        self.assertIn('failed to initialize ret=-16', self.start_fails(policy))
        # The other model has its own.
        self.start(SEV + ES - policy)
        self.virsh('destroy', first)
        self.start(policy)

    def test_firmware_without_the_es_reset_block(self):
        self.boot()
        with open(FIRMWARE, 'rb') as f:
            code = f.read()
        self.assertEqual(1, code.count(ES_RESET_BLOCK))
        path = os.path.join(self.folder, 'firmware.fd')
        with open(path, 'wb') as f:
            f.write(code.replace(ES_RESET_BLOCK, bytes(16)))
        self.assertIn('failed to locate and/or save reset vector',
                      self.start_fails(ES, firmware=path))
        self.assertEqual('running', self.state(
            self.start(SEV, firmware=path)))

    @ddt.data(None, SEV, ES)
    def test_the_power_button_ends_it(self, policy):
        self.boot()
        name = self.start(policy)
        self.virsh('shutdown', name)
        self.wait(lambda: self.state(name), 'shut off')

    @ddt.data((None, 'running'), (SEV, 'running'), (ES, 'shut off'))
    @ddt.unpack
    def test_a_reset(self, policy, state):
        self.boot()
        name = self.start(policy)
        self.virsh('reset', name)
        time.sleep(0.5)
        self.wait(lambda: self.state(name), state)
        if state == 'running':
            self.virsh('shutdown', name)
            self.wait(lambda: self.state(name), 'shut off')

    def listen(self, name):
        """Return a function that tells what QEMU says of a guest's end."""
        path = os.path.join(self.folder, 'events')
        with open(path, 'w') as f:
            virsh = subprocess.Popen(
                [sys.executable, TOOL, 'exec', self.folder, 'virsh', '-c',
                 'qemu:///system', 'qemu-monitor-event', '--loop', '--domain',
                 name, '--timeout', '60'], stdout=f)
        self.addCleanup(virsh.wait)
        self.addCleanup(virsh.terminate)

        def listens():  # it does not say so itself
            self.virsh('suspend', name)
            self.virsh('resume', name)
            return os.path.getsize(path) > 0

        self.wait(listens, True)

        def heard():
            with open(path) as f:
                return re.findall(r'event (\w+) at .*"reason":"([\w-]+)"',
                                  f.read())

        return heard

    # What nova-compute tells a reset by, which libvirt's own events do not
    @ddt.data((None, 'running', 'RESET'), (SEV, 'running', 'RESET'),
              (ES, 'shut off', 'SHUTDOWN'))
    @ddt.unpack
    def test_a_reboot_from_inside(self, policy, state, event):
        self.boot()
        name = self.start(policy)
        heard = self.listen(name)
        self.virsh('send-key', name, 'KEY_LEFTCTRL', 'KEY_LEFTALT',
                   'KEY_DELETE')
        self.wait(lambda: heard()[:1], [(event, 'guest-reset')])
        self.wait(lambda: self.state(name), state)

    @ddt.data(('reset', 'host-qmp-system-reset'),
              ('shutdown', 'guest-shutdown'), ('destroy', 'host-signal'))
    @ddt.unpack
    def test_why_a_guest_of_sev_es_ends(self, command, reason):
        self.boot()
        name = self.start(ES)
        heard = self.listen(name)
        self.virsh(command, name)
        self.wait(lambda: heard()[:1], [('SHUTDOWN', reason)])

    def test_a_killed_guest_gives_its_asid_back(self):
        self.boot('--es-asids=1')
        self.start(ES)
        self.inside('pkill', '-KILL', 'qemu-system')
        self.wait(self.used, {'sev': 0, 'sev_es': 0})
        self.start(ES)

    def test_guests_outlive_libvirtd(self):
        self.boot()
        name = self.start(ES)
        self.inside('pkill', '-KILL', '-x', 'libvirtd')
        time.sleep(1)
        self.wait(lambda: tool('exec', self.folder, 'virsh', '-q', '-c',
                               'qemu:///system', 'domstate', name,
                               check=False).stdout.strip(), 'running')
        self.assertEqual({'sev': 0, 'sev_es': 1}, self.used())


@ddt.ddt
class LifeTest(unittest.TestCase):
    """How a host comes and goes."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix='sevhost-')
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.host = os.path.join(self.folder, 'host')

    def start(self, *options, check=True):
        self.addCleanup(tool, 'stop', self.host, check=False)
        return tool('start', self.host, '--usr', USR, *options, check=check)

    def refused(self, *args, code=1):
        """Return why a command was refused, in one line."""
        done = tool(*args, check=False)
        self.assertEqual(code, done.returncode)
        if code == 1:
            self.assertRegex(done.stderr, '^sevhost: [^\n]*\n$')
        return done.stderr

    def test_it_leaves_nothing(self):
        def snapshot():
            with open('/proc/self/mounts') as f:
                mounts = sorted(f)
            processes = [
                path for path in glob.glob('/proc/[0-9]*/cmdline')
                if self.host.encode() in _read(path)]
            return mounts, processes, sorted(os.listdir('/run')), os.listdir(
                self.folder)
        before = snapshot()
        self.start()
        self.assertNotEqual(before, snapshot())
        tool('exec', self.host, 'sh', '-c', 'sleep 100 >/dev/null 2>&1 &')
        tool('stop', self.host)
        self.assertEqual(before, snapshot())

    def test_nobody_else_may_use_it(self):
        """Who may use its libvirtd may do what root may."""
        os.mkdir(self.host, 0o755)
        self.start()
        for path in ('', '/run/libvirt/libvirt-sock',
                     '/run/libvirt/libvirt-sock-ro'):
            self.assertEqual(0, os.stat(self.host + path).st_mode & 0o077,
                             path)

    def test_a_command_is_where_it_was_called_but_inside(self):
        self.start()
        done = subprocess.run(
            [sys.executable, TOOL, 'exec', self.host, 'cat',
             'sevhost/host.conf'], cwd='/run', text=True,
            stdout=subprocess.PIPE)
        self.assertIn('cbitpos=51', done.stdout)

    def test_devices_have_their_rights(self):
        self.start()
        self.assertEqual(
            '666', tool('exec', self.host, 'stat', '-c', '%a', '/dev/null'
                        ).stdout.strip())

    @ddt.data('usr', '/a:b', '/a,b')
    def test_a_folder_that_cannot_be_laid_over_usr(self, usr):
        self.assertIn('an absolute path without', self.refused(
            'start', self.host, '--usr', usr))

    def test_it_ends_only_its_own(self):
        """A stopped host's number may be that of another process by now."""
        self.start()
        other = subprocess.Popen(['sleep', '100'])
        self.addCleanup(other.wait)
        self.addCleanup(other.kill)
        path = self.host + '/run/sevhost/pid'
        with open(path) as f:
            pid = f.read()
        with open(path, 'w') as f:
            f.write(str(other.pid))
        self.assertIn('no host runs', self.refused('exec', self.host, 'true'))
        with open(path, 'w') as f:
            f.write(pid)
        tool('stop', self.host)
        self.assertIsNone(other.poll())

    def test_two_hosts_do_not_meet(self):
        self.start('--sev-asids=5', '--hostname=one')
        second = os.path.join(self.folder, 'second')
        self.addCleanup(tool, 'stop', second, check=False)
        tool('start', second, '--usr', USR, '--sev-asids=6',
             '--hostname=two')
        for folder, name, count in ((self.host, 'one', 5),
                                    (second, 'two', 6)):
            self.assertEqual(name, tool('exec', folder, 'virsh', '-c',
                                        'qemu:///system', 'hostname'
                                        ).stdout.strip())
            self.assertIn('sev %d\n' % count, tool(
                'exec', folder, 'cat', '/sys/fs/cgroup/misc.capacity').stdout)

    def test_it_is_started_once(self):
        self.start()
        self.assertIn('is not empty', self.refused('start', self.host))
        tool('exec', self.host, 'virsh', '-c', 'qemu:///system', 'list')

    @ddt.data('exec', 'log', 'stop', 'reboot', 'settle')
    def test_there_is_none(self, command):
        self.assertRegex(self.refused(command, self.host, *(
            ['true'] if command == 'exec' else [])), 'no host (runs|lives) in')

    def test_the_status_of_a_command_is_its_own(self):
        self.start()
        self.assertEqual(7, tool('exec', self.host, 'sh', '-c', 'exit 7',
                                 check=False).returncode)

    @ddt.data(('--sev-asids=-1', 'from 0 to 1000'),
              ('--es-asids=many', 'from 0 to 1000'),
              ('--cbitpos=64', 'from 32 to 63'))
    @ddt.unpack
    def test_a_bad_option(self, option, words):
        self.assertIn(words, self.refused('start', self.host, option, code=2))
        self.assertFalse(os.path.exists(self.host))

    def test_it_wants_root(self):
        done = subprocess.run(
            [sys.executable, '-c', 'import os, sys, sevhost\n'
             'os.seteuid(65534)\n'
             'sys.argv[1:] = ["start", "host"]\n'
             'sys.exit(sevhost.main())'],
            cwd=os.path.dirname(TOOL), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((1, 'sevhost: it needs root, for namespaces and '
                          'mounts\n'), (done.returncode, done.stderr))

    @ddt.data(('bin/qemu-system-x86_64', "install Debian's qemu-system-x86"),
              ('sbin/libvirtd', "install Debian's libvirt-daemon-system"))
    @ddt.unpack
    def test_what_is_missing(self, program, words):
        for name in {'bin/qemu-system-x86_64', 'sbin/libvirtd',
                     'bin/virsh'} - {program}:
            path = os.path.join(self.folder, 'usr', name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy('/bin/true', path)
        self.assertIn(words, self.refused(
            'start', self.host, '--usr', os.path.join(self.folder, 'usr')))

    @ddt.data(('bin/qemu-system-x86_64', 'no instruction CPUID'),
              ('sbin/libvirtd', 'the host did not start'))
    @ddt.unpack
    def test_what_does_not_fit(self, program, words):
        """Refuse it at the start, and leave nothing."""
        for name in ('bin/qemu-system-x86_64', 'sbin/libvirtd', 'bin/virsh'):
            path = os.path.join(self.folder, 'usr', name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            shutil.copy('/bin/true' if name == program else '/usr/' + name,
                        path)
        self.assertIn(words, self.refused(
            'start', self.host, '--usr', os.path.join(self.folder, 'usr')))
        self.assertFalse(os.path.exists(self.host + '/run'))

    def test_a_qemu_that_was_replaced_does_not_start(self):
        """It would see this machine's processor."""
        self.start()
        with open(self.host + '/run/sevhost/cpuid-sites', 'a') as f:
            f.write('1000\n')
        done = tool('exec', self.host, 'qemu-system-x86_64', '--version',
                    check=False)
        self.assertEqual(1, done.returncode)
        self.assertIn('stop the host and start it again', done.stderr)


def _read(path):
    try:
        with open(path, 'rb') as f:
            return f.read()
    except OSError:
        return b''


if __name__ == '__main__':
    unittest.main()
