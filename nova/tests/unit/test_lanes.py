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

"""Test how all is run, in two lanes, and how CI adds up what they print."""
import os
import shutil
import signal
import subprocess
import sys
import time

import ddt
import fixtures
import testtools

PROJECT = os.path.abspath(os.path.join(
    os.path.dirname(__file__), *3 * [os.pardir]))
FILES = '.ci/run', 'tools/tox', 'tools/lanes.py'
# In place of tox: each waits for the other, and writes its lines by halves.
TOX = '''#!/bin/sh
echo "asked for $*"
case "$*" in
    *--skip-env*) lane=tests other=processes passed=40;;
    *) lane=processes other=tests passed=2;;
esac
touch $lane
for i in $(seq 300); do
    [ -e $other ] || sleep 0.1
done
[ -e $other ] || exit 9
for i in 1 2 3; do
    printf "a line of "
    sleep 0.1
    echo "$lane"
done
printf " - Passed: $passed\\n - Skipped: 1\\n - Failed: 0\\n"
[ "$FAILS" != $lane ]
'''
# The same, which prints for ever, and takes its time to end
ENDLESS = '''#!/bin/sh
case "$*" in
    *--skip-env*) lane=tests;;
    *) lane=processes;;
esac
trap 'sleep 0.5; echo cleared up; touch "$lane-ended"; exit 130' INT
touch $lane
while echo "a line of $lane"; do
    sleep 0.05
done
'''
# In place of a Python that fits: makes an environment, in which pip has tox
PYTHON = '''
[ "$2" = venv ] || exit 0
mkdir -p .venv/bin
cp "$0" .venv/bin/python
printf '#!/bin/sh\\necho " - Passed: 7"\\n' > .venv/bin/tox
chmod +x .venv/bin/tox
'''


@testtools.skipUnless(os.path.isfile(os.path.join(PROJECT, FILES[0])),
                      'only a checkout has the tools')
@ddt.ddt
class LanesTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).path
        for name in FILES:
            os.makedirs(os.path.dirname(os.path.join(self.path, name)),
                        exist_ok=True)
            shutil.copy(os.path.join(PROJECT, name),
                        os.path.join(self.path, name))
        programs = os.path.join(self.path, '.venv', 'bin')
        os.makedirs(programs)
        os.symlink(sys.executable, os.path.join(programs, 'python'))
        self.tox = os.path.join(programs, 'tox')
        self.write_tox(TOX)

    def write_tox(self, text):
        with open(self.tox, 'w') as f:
            f.write(text)
        os.chmod(self.tox, 0o755)

    def run_it(self, *arguments, fails=''):
        return subprocess.run(
            [os.path.join(self.path, '.ci', 'run'), *arguments], text=True,
            cwd=self.path, env={**os.environ, 'FAILS': fails},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def test_both_are_run_at_once_and_added_up(self):
        done = self.run_it()
        self.assertEqual(0, done.returncode, done.stdout)
        lines = done.stdout.splitlines()
        self.assertEqual('42 passed, 0 failed, 2 skipped', lines[-1])
        for lane in ('tests', 'processes'):
            begin = '%-9s | ' % lane
            own = [line[len(begin):] for line in lines
                   if line.startswith(begin)]
            self.assertEqual(3 * ['a line of ' + lane], own[1:4])
            self.assertIn('ended with exit status 0', own[-1])
        self.assertIn(
            'tests     | asked for run --skip-env ^(processes|hosts)$', lines)
        self.assertIn('processes | asked for run -e processes,hosts', lines)

    @ddt.data('tests', 'processes')
    def test_one_that_fails_fails_all(self, lane):
        done = self.run_it(fails=lane)
        self.assertEqual(1, done.returncode, done.stdout)
        lines = done.stdout.splitlines()
        self.assertEqual('42 passed, 0 failed, 2 skipped', lines[-1])
        self.assertIn('tox failed with exit status 1', lines)
        self.assertRegex(done.stdout, r'\n%-9s \| ended with exit status 1 '
                         % lane)

    def start(self, **options):
        """Start the lanes, with a tox that prints for ever."""
        self.write_tox(ENDLESS)
        process = subprocess.Popen(
            [os.path.join(self.path, 'tools', 'tox')], text=True,
            cwd=self.path, stderr=subprocess.PIPE, **options)
        self.addCleanup(process.stderr.close)
        return process

    def assertEnded(self, process, status):
        """Assert that each tox has ended well, before the process did."""
        self.assertEqual(status, process.wait(30))
        for lane in ('tests', 'processes'):
            self.assertTrue(os.path.exists(
                os.path.join(self.path, lane + '-ended')), lane)

    def test_when_nobody_reads_on_each_is_interrupted_and_that_is_said(self):
        process = self.start(stdout=subprocess.PIPE)
        for _number in range(3):
            process.stdout.readline()
        process.stdout.close()
        self.assertEnded(process, 1)
        self.assertEqual('lanes.py: interrupted, as nothing can be printed: '
                         '[Errno 32] Broken pipe\n', process.stderr.read())

    @testtools.skipUnless(os.path.exists('/dev/full'), 'it needs /dev/full')
    def test_where_nothing_can_be_written_it_is_the_same(self):
        with open('/dev/full', 'w') as full:
            process = self.start(stdout=full)
        self.assertEnded(process, 1)
        self.assertIn('No space left on device', process.stderr.read())

    @ddt.data('SIGINT', 'SIGTERM', 'SIGHUP')
    def test_a_signal_interrupts_each_which_ends_in_its_time(self, name):
        process = self.start(stdout=subprocess.PIPE)
        end = time.monotonic() + 30
        while time.monotonic() < end and not all(
                os.path.exists(os.path.join(self.path, lane))
                for lane in ('tests', 'processes')):
            time.sleep(0.05)
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=30)
        self.assertEnded(process, 128 + getattr(signal, name))
        self.assertEqual('', err)
        for lane in ('tests', 'processes'):
            self.assertIn('%-9s | cleared up\n' % lane, out)
            self.assertRegex(out, '%-9s \\| ended with exit status 130' % lane)

    def test_ci_prefers_one_python_and_takes_any_that_fits(self):
        self.write_tox('#!/bin/sh\n')
        shutil.rmtree(os.path.join(self.path, '.venv'))
        programs = self.useFixture(fixtures.TempDir()).path
        for name, text in (('python3', 'exit 1'), ('python3.12', PYTHON),
                           ('python3.11', 'exit 1'), ('uptime', 'exit 0')):
            path = os.path.join(programs, name)
            with open(path, 'w') as f:
                f.write('#!/bin/sh\n' + text)
            os.chmod(path, 0o755)
        done = subprocess.run(
            [os.path.join(self.path, '.ci', 'run'), '-e', 'pep8'], text=True,
            env={'PATH': '%s:%s' % (programs, os.environ['PATH']),
                 'PYTHON_FIRST': '/none'},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual('7 passed, 0 failed, 0 skipped',
                         done.stdout.splitlines()[-1], done.stdout)

    def test_what_is_asked_for_is_run_alone(self):
        self.write_tox('#!/bin/sh\necho "asked for $*"\n'
                       'echo " - Passed: 7"\n')
        done = self.run_it('-e', 'pep8')
        self.assertEqual(
            'asked for -e pep8\n - Passed: 7\n'
            '0 faulted runs, 0 hostile inputs, 0 ways to start\n'
            '7 passed, 0 failed, 0 skipped\n', done.stdout)
        self.assertEqual(0, done.returncode)
