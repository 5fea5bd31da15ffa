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

"""Test that the tests have short ids."""
import os
import subprocess
import sys

import testtools

PROJECT = os.path.abspath(os.path.join(
    os.path.dirname(__file__), *3 * [os.pardir]))
LENGTH = 125


class IdsTest(testtools.TestCase):

    def test_they_are_short(self):
        # NOTE: in a process of its own, as functional tests change Nova when
        # they are imported.
        done = subprocess.run(
            [sys.executable, '-m', 'testtools.run', 'discover', '--list',
             '-s', './nova/tests', '-t', '.'],
            cwd=PROJECT, text=True, stdout=subprocess.PIPE)
        ids = done.stdout.split()
        self.assertEqual(0, done.returncode)
        self.assertIn(self.id(), ids)
        self.assertEqual([], [name for name in ids if len(name) > LENGTH])
