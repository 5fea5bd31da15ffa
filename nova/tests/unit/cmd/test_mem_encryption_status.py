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

"""Test what nova-status runs, also as a process that imports what it needs."""
import contextlib
import io
import os
import subprocess
import sys
from unittest import mock

from oslo_upgradecheck import upgradecheck

from nova.cmd import status
from nova import test

from nova_mem_encryption.nova.mem_encryption.upgrade import checks

# The flavors are the first to be looked at; there is no database.
ASK = '''
import os
import sys
from nova.cmd import status
from nova import config
from nova import objects
assert not hasattr(objects, 'FlavorList'), 'the test is in vain'
# Not what this machine has in /etc/nova
config.parse_args(['nova-status', '--config-file', os.devnull])
from nova_mem_encryption.nova.mem_encryption.upgrade import checks as ours
for name, function in ours.CHECKS:
    print(list(ours.find(function)))
'''


class ProcessTest(test.NoDBTestCase):

    def test_each_check_ends_with_findings(self):
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', ASK], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'OS_API_DATABASE__CONNECTION': 'sqlite://',
                 'OS_DATABASE__CONNECTION': 'sqlite://'})
        self.assertEqual(0, done.returncode, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(4, len(lines), done.stdout)
        for line in lines:
            self.assertIn("object='This', problem='cannot be checked", line)


class CommandTest(test.NoDBTestCase):

    def test_it_runs_each_check(self):
        found = [check for check in status.UpgradeCommands._upgrade_checks
                 if 'Memory encryption' in check[0]]
        with mock.patch.object(
                status.UpgradeCommands, '_upgrade_checks', found), (
                mock.patch.object(
                    checks, 'get_result', autospec=True,
                    return_value=upgradecheck.Result(
                        upgradecheck.Code.SUCCESS))) as get_result, (
                contextlib.redirect_stdout(io.StringIO())):
            code = status.UpgradeCommands().check()
        self.assertEqual(upgradecheck.Code.SUCCESS, code)
        self.assertEqual([mock.call(check) for _, check in checks.CHECKS],
                         get_result.call_args_list)
