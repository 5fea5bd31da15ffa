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

"""Test how 'nova-mem-encryption check' prints on terminals."""
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import ddt
import fixtures
from oslotest import base
import testtools

from nova.tests.fixtures import recorded_host as fake

from nova_mem_encryption.check import terminal
from nova_mem_encryption.engine import tree

SGR = re.compile(r'\x1b\[[0-9;]*m')
PAGE = os.path.join(tree.root(), 'doc', 'source', 'operator.rst')
SPLIT_FORGOTTEN = os.path.join(fake.FOLDER, 'split-forgotten')


def read_all(master):
    """Return what a terminal got, until nothing can write to it."""
    text = b''
    while True:
        try:
            data = os.read(master, 1 << 16)
        except OSError:  # EIO
            return text.decode().replace('\r\n', '\n')
        text += data


def run(*options, columns=80, stdout=None, **env):
    """Run check on a terminal; return what that got.

    :param stdout: what is stdout, if not the terminal
    :param env: variables; None for one that is not to be there
    """
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ,
                    struct.pack('4H', 24, columns, 0, 0))
        env = {**os.environ, 'TERM': 'xterm', 'COLUMNS': None,
               'NO_COLOR': None, **env}
        process = subprocess.Popen(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'check',
             *options], stdout=slave if stdout is None else stdout,
            stderr=slave, env={name: value for name, value in env.items()
                               if value is not None})
        os.close(slave)
        found = read_all(master)
        process.wait()
        return found
    finally:
        os.close(master)


@ddt.ddt
class TerminalTest(base.BaseTestCase):

    @ddt.data((80, 80), (120, 120), (20, 60))
    @ddt.unpack
    def test_the_width_is_that_of_the_terminal(self, columns, width):
        out = run('--recorded', SPLIT_FORGOTTEN, columns=columns, NO_COLOR='1')
        lines = out.splitlines()
        # A path is not broken.
        self.assertEqual([], [line for line in lines if len(line) > width
                              and ' ' in line[terminal.NAME + 6:].strip()])
        # They are as long as they may be.
        for line, after in zip(lines, lines[1:]):
            word = after.split()[0]
            if after.startswith('  ') and word != '->':
                self.assertGreater(len(line + ' ' + word), width, line)

    @testtools.skipUnless(os.path.exists(PAGE), 'only a checkout has it here')
    def test_the_documentation_has_what_is_printed(self):
        with open(PAGE) as f:
            block = re.search(r'first::\n\n((    .*\n)+)', f.read()).group(1)
        parts = re.sub('^    ', '', block, flags=re.MULTILINE).split('...\n')
        out = run('--recorded', SPLIT_FORGOTTEN, columns=75, NO_COLOR='1')
        self.assertEqual(2, len(parts))
        self.assertTrue(out.startswith(parts[0]), out)
        self.assertTrue(out.endswith('\n' + parts[1]), out)

    def test_a_width_that_is_not_known(self):
        out = run('--recorded', SPLIT_FORGOTTEN, columns=0, NO_COLOR='1')
        self.assertEqual(79, max(map(len, out.splitlines())))

    def test_a_width_that_is_of_no_terminal(self):
        self.useFixture(fixtures.EnvironmentVariable('COLUMNS', '200'))
        self.useFixture(fixtures.StringStream('stdout'))
        self.assertEqual(79, terminal.Page().width)

    def test_verdicts_have_colours(self):
        options = '--all', '--recorded', SPLIT_FORGOTTEN
        plain = run(*options, NO_COLOR='1')
        self.assertNotIn('\x1b', plain)
        self.assertEqual(plain, run(*options, TERM='dumb'))
        self.assertEqual(plain, run(*options, TERM=None))
        found = run(*options, NO_COLOR='')
        self.assertEqual(plain, SGR.sub('', found))
        for line in ('\x1b[1;31mFAIL\x1b[0m        split  ',
                     '\x1b[1;31mFAIL\x1b[0m: 1 FAIL',
                     '\x1b[32mPASS\x1b[0m  kernel  ',
                     '\x1b[2mSKIP\x1b[0m      kvm_amd.sev_es  '):
            self.assertIn('\n' + line, found)

    def test_no_colours_in_a_file(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'out')
        with open(path, 'w') as f:
            self.assertEqual('', run('--recorded', SPLIT_FORGOTTEN, stdout=f))
        with open(path) as f:
            text = f.read()
        self.assertNotIn('\x1b', text)
        self.assertIn('PASS  kernel', text)

    def test_what_is_waited_for(self):
        folder = self.useFixture(fixtures.TempDir()).path
        text = run('--record', folder + '/host', TERM='xterm')
        found = text.split(terminal.ERASE)
        self.assertEqual(
            ['Waiting for %s ...' % what for what in (
                'libvirt', 'libvirt', 'libvirt', 'Nova',
                'the Python of the services', 'Nova', 'Placement')],
            found[:-1])
        self.assertRegex(found[-1], r'^.*/host: \d+ files and answers')


class WaitingTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.master, slave = pty.openpty()
        self.addCleanup(os.close, self.master)
        self.stderr = open(slave, 'w')
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', self.stderr))

    def read(self):
        self.stderr.close()
        return read_all(self.master)

    def test_it_is_erased_whatever_comes(self):
        self.useFixture(fixtures.EnvironmentVariable('TERM', 'xterm'))

        def wait():
            with terminal.waiting('x'):
                raise KeyboardInterrupt

        self.assertRaises(KeyboardInterrupt, wait)
        self.assertEqual('Waiting for x ...' + terminal.ERASE, self.read())

    def test_it_is_not_said_where_it_cannot_be_erased(self):
        self.useFixture(fixtures.EnvironmentVariable('TERM', 'dumb'))
        with terminal.waiting('x'):
            pass
        self.assertEqual('', self.read())
