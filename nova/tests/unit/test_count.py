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

"""Test what is counted of the design."""
import importlib.util
import os
import subprocess
import sys

import fixtures
import testtools

from nova_mem_encryption.engine import finder
from nova_mem_encryption.engine import ledger
from nova_mem_encryption.engine import tree

PROJECT = tree.root()
TOOLS = os.path.join(PROJECT, 'tools')
sys.path.append(TOOLS)
FILES = {
    'nova_mem_encryption/__init__.py': '"""The engine."""\n',
    'nova_mem_encryption/a.py': """\
import os
from nova_mem_encryption import b
def f(): pass
from nova_mem_encryption import c
""",
    'nova_mem_encryption/b.py': """\
def f():
    from nova_mem_encryption.nova.virt import d
""",
    'nova_mem_encryption/c.py': 'import nova_mem_encryption\n',
    'nova/virt/d.py': """\
import contextvars
from nova.virt import d
from nova_mem_encryption import a
_x = contextvars.ContextVar('x')
_y: contextvars.ContextVar = contextvars.ContextVar('y')
a.add(d.D, '_said', {})
a.add(d.D, 'SAID', {})
a.add('_said')
""",
    'nova/tests/unit/test_d.py': 'import contextvars\n' * 99,
}


@testtools.skipUnless(os.path.isdir(TOOLS),
                      'the installed package has no tools')
@testtools.skipUnless(importlib.util.find_spec('importlinter'),
                      'import-linter is not installed')
class CountTest(testtools.TestCase):

    def test_sources_are_counted(self):
        import count
        folder = self.useFixture(fixtures.TempDir()).path
        for path, text in FILES.items():
            path = os.path.join(folder, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as f:
                f.write(text)
        self.assertEqual({
            'context variables': 2,
            "attributes on Nova's classes": 1,
            'imports not at the top': 1,
            'circles of imports': 1,
            'files, tests aside': 5,
            'lines, tests aside': 16,
            'longest file': '8 nova/virt/d.py',
        }, count.count(folder))

    def test_verbs_are_counted_by_the_ledger(self):
        finder.load()
        wraps = [entry for entry in ledger.entries()
                 if entry.verb == 'wrap' and
                 not entry.module.startswith('nova.tests.')]
        done = subprocess.run(
            [sys.executable, os.path.join(TOOLS, 'count.py'), PROJECT],
            text=True, stdout=subprocess.PIPE)
        self.assertEqual(['wraps', str(len(wraps))],
                         done.stdout.splitlines()[0].split())
