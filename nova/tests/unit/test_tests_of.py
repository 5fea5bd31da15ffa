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

"""Test which tests belong to a file."""
import os
import re
import subprocess
import sys

import ddt
import testtools

from nova_mem_encryption.engine import tree

PROJECT = tree.root()
SCRIPT = os.path.join(PROJECT, 'tools', 'tests_of.py')
UNIT = 'nova.tests.unit.'


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
@testtools.skipUnless(os.path.isfile(SCRIPT),
                      'the installed package has no tools')
class TestsOfTest(testtools.TestCase):

    def ask(self, *args):
        """Return the regular expressions by environment of tox."""
        done = subprocess.run(
            [sys.executable, SCRIPT, *args], cwd=PROJECT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.said = done.stderr
        found = re.findall("^tools/tox -e (.*) -- '(.*)'$", done.stdout, re.M)
        self.assertEqual(len(found), done.stdout.count('\n'), done.stdout)
        self.assertEqual(0 if found else 1, done.returncode, done.stderr)
        return dict(found)

    # By the path of Nova's module; by that of our file; by an import; by the
    # name in a command; by the folder of the feature; itself
    @ddt.data(
        ('nova/virt/libvirt/host/mem_encryption.py',
         'virt.libvirt.test_mem_encryption_host.HostTest.test_x'),
        ('nova/mem_encryption/compute/foreign_guests.py',
         'mem_encryption.compute.test_foreign_guests.T.test_x'),
        ('nova_mem_encryption/overlay.py', 'test_overlay_verbs.T.test_x'),
        ('nova_mem_encryption/engine/gate.py',
         'test_overlay_environments.T.test_x'),
        ('tools/doc_commands.py', 'test_doc_commands.T.test_x'),
        ('nova_mem_encryption/check/questions.py', 'test_check_fuzz.T.test_x'),
        ('setup.cfg', 'test_packaging.PackagingTest.test_x'),
        ('nova/tests/unit/test_cli.py', 'test_cli.T.test_x'),
    )
    @ddt.unpack
    def test_they_are_found(self, path, test):
        self.assertRegex(UNIT + test, self.ask(path)['unit'])

    @ddt.data(
        ('nova/virt/libvirt/host/mem_encryption.py',
         'virt.libvirt.test_mem_encryption_hostel.T.test_x'),
        ('nova_mem_encryption/check/tree.py', 'test_check_tree.T.test_x'),
        ('nova/conf/libvirt.py', 'virt.libvirt.test_mem_encryption_guest.T.x'),
        ('nova/scheduler/utils.py', 'test_overlay_environments.T.test_x'),
        ('nova/tests/unit/test_cli.py', 'test_overlay.T.test_x'),
    )
    @ddt.unpack
    def test_others_are_not(self, path, test):
        self.assertNotRegex(UNIT + test, self.ask(path)['unit'])

    def test_each_suite_has_its_command(self):
        found = self.ask('nova/virt/libvirt/driver/launch.py',
                         'nova_mem_encryption/demo/steps.py')
        self.assertEqual(['functional', 'sevhost', 'unit'], sorted(found))
        test = 'nova.tests.functional.libvirt.test_sevhost_launch.T.test_x'
        self.assertRegex(test, found['sevhost'])
        self.assertNotRegex(test, found['functional'])

    def test_a_file_that_none_names_is_for_all(self):
        self.ask('nova/frobnicate%s' % '.py')
        self.assertEqual('No test names it; run all.\n', self.said)
