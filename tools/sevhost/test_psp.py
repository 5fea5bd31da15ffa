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

"""Test each state of the secure processor, by itself and with virsh.

SEVHOST_USR may name a folder with another libvirt and QEMU, for --usr.
"""
import json
import os
import sys
import uuid

import ddt

import psp
import test_sevhost as base

ASK = os.path.join(os.path.dirname(base.TOOL), 'ask_psp.py')
UNINIT, INIT, WORKING = 0, 1, 2  # AMD 55766, table 8
ES = 1 << 8                      # table 23
NO_FW_CALL = 0xffffffff          # SEV_RET_NO_FW_CALL of linux/psp-sev.h

NOT_FOR_ES = ('guest policy requires SEV-ES, but host SEV-ES support '
              'unavailable')
NO_STATUS = "failed to get platform status ret=-1 fw_error='"
NO_DEVICE = "Failed to open /dev/sev 'No such file or directory'"
# What QEMU says is what operators see, so it stands here to the letter.
#  state        SEV_PLATFORM_STATUS  SEV guest    SEV-ES guest; None: it runs
EXPECTED = {
    'ready':     ((INIT, ES), None, None),
    'no-es':     ((INIT, 0), None, NOT_FOR_ES),
    'failed':    ((UNINIT, 0), "failed to initialize ret=-5 fw_error=19 "
                               "'Hardware error'", NOT_FOR_ES),
    'timed-out': ('EBUSY', NO_STATUS, NO_STATUS),
    'absent':    ('ENOENT', NO_DEVICE, NO_DEVICE),
    'snp':       ((INIT, ES), None, "LAUNCH_START ret=1 fw_error=21 "
                                    "'Feature not supported'"),
    'lazy':      ((UNINIT, 0), None, NOT_FOR_ES),
    'old':       ((INIT, ES), None, None),
    'no-cpuid':  ((INIT, ES), None, None),
}
QEMU = ('echo quit | qemu-system-x86_64 -machine '
        'q35,accel=kvm,confidential-guest-support=sev0,vmport=off -nodefaults '
        '-display none -monitor stdio -m 64 -uuid %s -object '
        'sev-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,policy=%d -drive '
        'if=pflash,format=raw,readonly=on,file={} 2>&1; true').format(
            base.FIRMWARE)


class Base(base.Base):

    def boot_anew(self, *options):
        """Have a host that has just booted."""
        type(self).booted = None
        self.boot(*options)

    def ask(self, command='status'):
        """Have a process of the host ask the secure processor."""
        return json.loads(self.inside(ASK, command))

    def status(self):
        """Return its state and flags, or the kernel's errno."""
        answer = self.ask()
        return answer['errno'] or (answer['state'], answer['flags'])


@ddt.ddt
class StateTest(Base):
    """What each state looks like, and what guests get."""

    @ddt.data(*psp.STATES)
    def test_what_it_says_of_itself(self, name):
        self.boot_anew('--psp=' + name)
        state = psp.STATES[name]
        self.assertEqual(EXPECTED[name][0], self.status())
        self.assertIn(
            "<sev supported='%s'" % ('yes' if state.initialises else 'no'),
            self.virsh('domcapabilities', '--machine', 'q35'))
        self.assertEqual(['Y', 'Y', 'N', 'N' if state.lazy else 'Y'],
                         self.inside('cat', *(
                             '/sys/module/%s/parameters/%s' % path
                             for path in (('kvm_amd', 'sev'),
                                          ('kvm_amd', 'sev_es'),
                                          ('kvm_amd', 'sev_snp'),
                                          ('ccp', 'psp_init_on_probe'))
                         )).split())
        self.assertEqual(state.snp, 'sev_snp' in self.inside(
            'cat', '/proc/cpuinfo').split())
        self.assertEqual(
            '600 root:root\n' if state.device else '',
            base.tool('exec', self.folder, 'stat', '-c', '%a %U:%G',
                      '/dev/sev', check=False).stdout)

    # SEV-ES is first, as a plain SEV guest has a lazy one initialised.
    @ddt.data(*psp.STATES)
    def test_what_guests_get(self, name):
        self.boot_anew('--psp=' + name)
        for policy, words in _guests(name):
            if not psp.STATES[name].initialises:
                with self.assertRaisesRegex(
                        AssertionError, "(SEV|'sev') launch security"):
                    self.define(policy)
            elif words is None:
                self.assertEqual('running', self.state(self.start(policy)))
            else:
                self.assertIn(words, self.start_fails(policy))

    @ddt.data(*psp.STATES)
    def test_what_qemu_says(self, name):
        """As where libvirt remembers SEV from before."""
        self.boot_anew('--psp=' + name)
        for policy, words in _guests(name):
            self.uuid = str(uuid.uuid4())
            said = self.inside('sh', '-c', QEMU % (self.uuid, policy))
            self.assertEqual(words is None, 'KVM_SEV_LAUNCH_FINISH' in [
                call['call'] for call in self.calls()], said)
            self.assertIn(words or '', said)

    def test_it_counts_its_guests(self):
        self.boot()
        for number, policy in enumerate((base.SEV, base.ES), 1):
            self.start(policy)
            self.wait(lambda: self.ask()['guest_count'], number)
            self.assertEqual((WORKING, ES), self.status())


def _guests(name):
    """Return what guests get in a state, as (policy, words of QEMU)."""
    _, sev, es = EXPECTED[name]
    return (base.ES, es), (base.SEV, sev)


@ddt.ddt
class CommandTest(Base):
    """What the kernel answers to commands that want it initialised."""

    # State, errno and the firmware's error; None: what the caller had there
    @ddt.data(('ready', None, 0), ('no-es', None, 0), ('snp', None, 0),
              ('lazy', None, 0), ('failed', 'EIO', psp.PLATFORM_ERROR),
              ('timed-out', 'EBUSY', NO_FW_CALL), ('absent', 'ENOENT', None))
    @ddt.unpack
    def test_export(self, name, errno, error):
        self.boot_anew('--psp=' + name)
        self.assertEqual({'errno': errno, 'error': error}, self.ask('export'))

    def test_who_may_only_read_does_not_have_it_initialised(self):
        self.boot()
        self.assertIsNone(self.ask('export-read-only')['errno'])
        self.boot_anew('--psp=lazy')
        self.assertEqual('EPERM', self.ask('export-read-only')['errno'])
        self.assertEqual((UNINIT, 0), self.status())

    @ddt.data('export', 'guest')
    def test_what_has_a_lazy_one_initialised(self, how):
        self.boot_anew('--psp=lazy')
        self.assertIn(NOT_FOR_ES, self.start_fails(base.ES))
        self.assertEqual((UNINIT, 0), self.status())
        if how == 'export':
            self.ask('export')
            self.assertEqual((INIT, ES), self.status())
        else:
            self.start(base.SEV)
        self.assertEqual('running', self.state(self.start(base.ES)))
        # It lasts until the next boot.
        self.boot_anew('--psp=lazy')
        self.assertEqual((UNINIT, 0), self.status())

    def test_a_file_that_is_not_its_own(self):
        """null's ioctl is null's, whatever number the file has."""
        self.boot()
        self.assertEqual('ENOTTY\n', self.inside(
            sys.executable, '-c', 'import errno, fcntl, os\n'
            'fd = os.open("/dev/sev", os.O_RDWR)\n'
            'os.dup2(os.open("/dev/null", os.O_RDWR), fd)\n'
            'try:\n'
            '    fcntl.ioctl(fd, %d, bytearray(16))\n'
            'except OSError as e:\n'
            '    print(errno.errorcode[e.errno])'
            % (3 << 30 | 16 << 16 | ord('S') << 8)))
