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

"""Test how Debian packages are installed, and a command is run with them."""
import os
import shutil
import signal
import subprocess
import sys

import ddt
import fixtures
import testtools

PROJECT = os.path.abspath(os.path.join(
    os.path.dirname(__file__), *3 * [os.pardir]))
FILES = 'bindep.txt', 'tools/tox', 'tools/with_packages.py'
# Runs it as root, with a clock that only sleep moves.
AS_ROOT = '''
import os, runpy, sys, time
now = [0]
os.geteuid = lambda: 0
time.monotonic = lambda: now[0]
def sleep(seconds):
    now[0] += seconds
    print('slept', flush=True)
time.sleep = sleep
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
'''
# It has what 'missing' lists.
BINDEP = '#!/bin/sh\ncat "$(dirname "$0")/missing"\n'
# Fails as often as the file 'faults' has lines, and says that.
APT = '''#!/bin/sh
folder=$(dirname "$0")
echo "$*" >> "$folder/calls"
[ "$LC_ALL" = C ] || exit 3
read -r fault < "$folder/faults" || exit 0
echo "E: $fault" >&2
sed -i 1d "$folder/faults"
exit 100
'''
LOCKED = 'Could not get lock /var/lib/apt/lists/lock. It is held by process 7'
# Takes longer to end than Python gives a child that it waits for.
SLOW = '''
import signal, sys, time
def end(number, frame):
    time.sleep(1)
    print('cleared up', flush=True)
    sys.exit(7)
signal.signal(signal.%s, end)
print('runs', flush=True)
time.sleep(60)
'''


@testtools.skipUnless(os.path.isfile(os.path.join(PROJECT, FILES[-1])),
                      'only a checkout has the tools')
class TestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).path
        os.mkdir(os.path.join(self.path, 'tools'))
        for name in FILES:
            shutil.copy(os.path.join(PROJECT, name),
                        os.path.join(self.path, name))
        self.bin = os.path.join(self.path, 'bin')
        os.mkdir(self.bin)
        self.write('apt-get', APT)
        self.write('calls', '')
        self.faults()

    def write(self, name, text):
        path = os.path.join(self.bin, name)
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, 0o755)

    def faults(self, *lines):
        self.write('faults', ''.join(line + '\n' for line in lines))

    def calls(self):
        """Return what apt-get was asked to do, one after the other."""
        with open(os.path.join(self.bin, 'calls')) as f:
            return [line.split()[0] for line in f]


@ddt.ddt
class WithPackagesTest(TestCase):

    def setUp(self):
        super().setUp()
        os.symlink(sys.executable, os.path.join(self.bin, 'python'))
        self.write('bindep', BINDEP)
        self.missing()

    def missing(self, *names):
        self.write('missing', ''.join(name + '\n' for name in names))

    def start(self, *command):
        return subprocess.Popen(
            [os.path.join(self.bin, 'python'), '-c', AS_ROOT,
             os.path.join(self.path, 'tools', 'with_packages.py'), 'cloud',
             '--', *command], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env={**os.environ, 'PATH': '%s:%s' % (
                self.bin, os.environ['PATH'])})

    def run_it(self, *command):
        """Return exit status, output and errors."""
        process = self.start(*command)
        out, err = process.communicate()
        return process.returncode, out, err

    def test_exit_status_and_output_are_those_of_the_command(self):
        self.assertEqual((7, 'well\n', ''), self.run_it(
            'sh', '-c', 'echo well; exit 7'))
        self.assertEqual([], self.calls())

    @ddt.data('SIGINT', 'SIGTERM')
    def test_a_command_has_its_time_to_end(self, name):
        process = self.start(sys.executable, '-c', SLOW % name)
        self.assertEqual('runs\n', process.stdout.readline())
        process.send_signal(getattr(signal, name))
        out, _err = process.communicate()
        self.assertEqual((7, 'cleared up\n'), (process.returncode, out))

    def test_what_is_missing_is_installed_before(self):
        self.missing('mariadb-server', 'rabbitmq-server')
        status, out, err = self.run_it('echo', 'well')
        self.assertEqual((0, ''), (status, err))
        self.assertEqual('Installing Debian packages: mariadb-server '
                         'rabbitmq-server\nwell\n', out)
        self.assertEqual(['update', 'install'], self.calls())

    def test_it_waits_while_another_holds_a_lock(self):
        self.missing('quilt')
        self.faults(LOCKED, LOCKED)
        status, out, err = self.run_it('echo', 'well')
        self.assertEqual((0, ''), (status, err))
        self.assertEqual(['slept', 'slept', 'well'], out.split('\n')[1:-1])
        self.assertEqual(3 * ['update'] + ['install'], self.calls())

    def test_it_waits_ten_minutes_and_says_what_it_waits_for(self):
        self.missing('quilt')
        self.faults(*200 * [LOCKED])
        status, out, err = self.run_it('echo', 'well')
        self.assertEqual(1, status)
        self.assertEqual(120, out.count('slept'))
        self.assertNotIn('well', out)
        self.assertIn('apt-get update -q failed:\nE: ' + LOCKED, err)

    def test_another_failure_is_one_at_once(self):
        self.missing('quilt')
        self.faults('Unable to locate package quilt')
        status, out, err = self.run_it('echo', 'well')
        self.assertEqual(1, status)
        self.assertNotIn('slept', out)
        self.assertIn('E: Unable to locate package quilt', err)


@testtools.skipUnless(os.path.isfile('/etc/debian_version'),
                      'only Debian has the packages')
class ToxTest(TestCase):
    """tools/tox installs what it cannot do without, and waits likewise."""

    def setUp(self):
        super().setUp()
        for name in ('cat', 'dirname', 'ln', 'mkdir', 'rm', 'sed'):
            os.symlink(shutil.which(name), os.path.join(self.bin, name))
        self.write('id', '#!/bin/sh\necho 0\n')
        self.write('sleep', '#!/bin/sh\necho slept\n')

    def run_it(self, **environ):
        return subprocess.run(
            [os.path.join(self.path, 'tools', 'tox'), 'run'], text=True,
            env={'PATH': self.bin, **environ}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)

    def test_it_waits_while_another_holds_a_lock(self):
        self.faults(LOCKED, LOCKED)
        done = self.run_it(PYTHON='none')
        self.assertEqual(3 * ['update'] + ['install'], self.calls())
        self.assertEqual('slept\nslept\n', done.stdout)
        self.assertNotIn(LOCKED, done.stderr)

    def test_it_waits_ten_minutes_and_says_what_it_waits_for(self):
        self.faults(*200 * [LOCKED])
        done = self.run_it(PYTHON='none')
        self.assertEqual(120, done.stdout.count('slept'))
        self.assertIn(LOCKED, done.stderr)
        self.assertIn('tests need uptime', done.stderr)

    def test_another_failure_is_one_at_once(self):
        self.faults('Unable to locate package procps')
        done = self.run_it(PYTHON='none')
        self.assertEqual(['update'], self.calls())
        self.assertIn('E: Unable to locate package procps', done.stderr)
        self.assertIn('tests need uptime', done.stderr)
