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

"""Test how unit tests are run with the cgroups of other machines."""
import os
import subprocess
import sys

import fixtures
import testtools

PROJECT = os.path.abspath(os.path.join(
    os.path.dirname(__file__), *3 * [os.pardir]))
TOOL = os.path.join(PROJECT, 'tools', 'with_cgroup.py')
TOTALS = '0 passed, 0 failed, 1 skipped\n'


@testtools.skipUnless(os.path.isfile(TOOL), 'only a checkout has the tool')
class WithCgroupTest(testtools.TestCase):

    def run_it(self, *command):
        return subprocess.run([sys.executable, TOOL, *command], text=True,
                              stdout=subprocess.PIPE)

    def test_there_is_version_2_only(self):
        done = self.run_it(
            '2', 'sh', '-c', 'grep -c cgroup/cpu /proc/self/mounts;'
            'cat /sys/fs/cgroup/cgroup.controllers; exit 3')
        if TOTALS in done.stdout:
            self.skipTest(done.stdout)
        self.assertEqual(3, done.returncode)
        count, controllers = done.stdout.splitlines()
        self.assertEqual('0', count)
        self.assertIn('cpu', controllers.split())

    def test_where_that_cannot_be_it_runs_with_those_of_the_machine(self):
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', self.useFixture(fixtures.TempDir()).path))
        done = self.run_it('2', sys.executable, '-c', 'exit(3)')
        self.assertEqual(3, done.returncode)
        self.assertEqual('Not with other cgroups, as that needs root: there '
                         'is no command unshare.\n' + TOTALS, done.stdout)
