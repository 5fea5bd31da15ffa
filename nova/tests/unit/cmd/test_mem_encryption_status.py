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

"""Test nova-status as a process, which has only imported what it needs."""
import os
import subprocess
import sys

from nova import test

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
