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

"""Test that each contract about layers can be broken."""
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys

import ddt
import fixtures
import testtools

from nova_mem_encryption.engine import tree

PROJECT = tree.root()
SCRIPT = os.path.join(PROJECT, 'tools', 'check_layers.py')
OURS = 'from nova_mem_encryption.nova.'

LAYERS = 'mem_encryption knows neither the driver nor services'
NO_NOVA = ('What is known of models, hosts and errors, check and measure need '
           'no Nova')
ENGINE = 'The engine knows neither commands nor the tree'
TREE = 'The tree knows no command'
OVERLAY = 'Of the engine the tree knows overlay alone'
CIRCLES = 'No circles'
WRONG = [  # in which file which import, what that is to say, the contract
    ('nova/mem_encryption/refusals.py', 'from nova.compute import api',
     'nova.compute.api', LAYERS),
    ('nova/mem_encryption/refusals.py', OURS + 'compute import manager',
     'nova/compute/manager', LAYERS),
    ('nova/mem_encryption/models.py', 'from nova import exception',
     'nova.exception', NO_NOVA),
    ('nova/mem_encryption/host/files.py', OURS + 'virt import hardware',
     'nova/virt/hardware.py', NO_NOVA),
    ('nova_mem_encryption/check/tree.py', 'import nova.conf',
     'nova.conf', NO_NOVA),
    ('nova_mem_encryption/bootstrap.py',
     'def f():\n    from nova_mem_encryption import cli',
     'nova_mem_encryption/cli/__init__.py', ENGINE),
    ('nova_mem_encryption/overlay.py', OURS + 'virt import hardware',
     'nova/virt/hardware.py', ENGINE),
    ('nova/virt/hardware.py', 'from nova_mem_encryption import revert',
     'nova_mem_encryption/revert.py', TREE),
    ('nova/virt/libvirt/guest.py',
     'from nova_mem_encryption.engine import release',
     'nova_mem_encryption/engine/release.py', OVERLAY),
    ('nova/mem_encryption/host/files.py',
     OURS + 'mem_encryption.host import misc_cgroup',
     'nova/mem_encryption/host/misc_cgroup.py', CIRCLES),
]


class Checkout(fixtures.Fixture):
    """A copy of what the contracts are about."""

    def _setUp(self):
        self.path = os.path.join(self.useFixture(fixtures.TempDir()).path,
                                 'checkout')
        for folder in ('nova', 'nova_mem_encryption'):
            shutil.copytree(
                os.path.join(PROJECT, folder),
                os.path.join(self.path, folder),
                ignore=shutil.ignore_patterns('tests', '__pycache__'))
        shutil.copy(os.path.join(PROJECT, 'pyproject.toml'), self.path)

    def change(self, file, change):
        path = os.path.join(self.path, file)
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(change(text))

    def check(self):
        """Return the exit status, and what is printed."""
        done = subprocess.run(
            [sys.executable, SCRIPT, self.path], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout


@functools.lru_cache(maxsize=None)
def all_wrong():
    """Check a checkout with all wrong imports at once, to save time."""
    with Checkout() as checkout:
        for file, line, _found, _contract in WRONG:
            checkout.change(file, lambda text, line=line:
                            text + '\n' + line + '\n')
        return checkout.check()


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
@testtools.skipUnless(os.path.isfile(SCRIPT),
                      'the installed package has no tools')
@testtools.skipUnless(importlib.util.find_spec('importlinter'),
                      'import-linter is not installed')
class LayersTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.checkout = self.useFixture(Checkout())

    def test_the_checkout_keeps_to_them(self):
        self.assertEqual((0, 'Contracts: 6 kept, 0 broken.\n'),
                         self.checkout.check())

    @ddt.data(*WRONG)
    @ddt.unpack
    def test_a_wrong_import_is_refused(self, file, line, found, contract):
        status, said = all_wrong()
        self.assertEqual(1, status, said)
        heading = '\n%s\n%s\n' % (contract, '-' * len(contract))
        self.assertIn(heading, said)
        part = re.split(r'\n---+\n', said.partition(heading)[2])[0]
        self.assertIn('%s -> %s (l.' % (file, found), part)

    def test_what_is_ignored_and_not_there_is_refused(self):
        self.checkout.change('pyproject.toml', lambda text: (
            text.partition('type = "acyclic"\n')[0] +
            'type = "acyclic"\nignore_imports = ["nova.a -> nova.b"]\n'))
        status, said = self.checkout.check()
        self.assertEqual(1, status, said)
        self.assertIn('nova.a -> nova.b', said)

    def test_a_name_that_is_not_there_is_refused(self):
        self.checkout.change('pyproject.toml', lambda text: text.replace(
            '"nova_mem_encryption.revert"', '"nova_mem_encryption.rovert"'))
        self.assertEqual(
            (1, 'pyproject.toml: %s: there is no nova_mem_encryption.rovert\n'
                'pyproject.toml: %s: there is no nova_mem_encryption.rovert\n'
             % (ENGINE, TREE)), self.checkout.check())
