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

"""Test every add and wrap of the series in the same way."""
import ast
import importlib
from importlib import util
import inspect
import json
import os
import subprocess
import sys

import nova
import testtools

from nova_mem_encryption import cli
from nova_mem_encryption import fingerprint
from nova_mem_encryption import overlay

NOVA = os.path.dirname(nova.__file__) + os.sep
FIXTURE = 'nova.tests.fixtures.libvirt'


def find(module, name):
    """Return the namespace that a name is in, and what it is there.

    :param module: 'nova.virt.libvirt.host'
    :param name: 'Host.supports_amd_sev_es'
    :returns: a mapping, and the value or None
    """
    place = vars(importlib.import_module(module))
    *path, last = name.split('.')
    for part in path:
        thing = place[part]
        place = thing if isinstance(thing, dict) else vars(thing)
    return place, place.get(last)


def function_of(thing):
    return getattr(thing, '__func__', thing)


def code_of(function):
    """Return the code of a function, inside of what decorates it."""
    return inspect.unwrap(function_of(function)).__code__


def written():
    """Return each add and wrap that is written in the tree.

    :returns: a list of (verb, file, line)
    """
    found = []
    for name, path in overlay.tree().items():
        if name.startswith(overlay.TESTS) and name != FIXTURE:
            continue
        with open(path, encoding='utf-8') as f:
            tree = ast.parse(f.read())
        for node in ast.walk(tree):
            if (isinstance(node, ast.Call) and
                    isinstance(node.func, ast.Attribute) and
                    node.func.attr in ('add', 'wrap') and
                    getattr(node.func.value, 'id', None) == 'overlay'):
                found.append((node.func.attr, path, node.lineno))
    return found


class LedgerTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        overlay.load()
        importlib.import_module(FIXTURE)
        self.entries = overlay.ledger()
        self.wraps = [e for e in self.entries if e.verb == 'wrap']

    def assert_each(self, entries, good):
        """Assert something of each entry, and name those that are not so."""
        self.assertEqual([], ['%s: %s' % (e.module, e.name)
                              for e in entries if not good(e)])

    def test_is_not_empty(self):
        self.assertGreater(len(self.wraps), 7)
        self.assertGreater(len(self.entries), len(self.wraps))

    def test_each_is_applied(self):
        self.assert_each(
            self.entries,
            lambda e: find(e.module, e.name)[1] is e.current)

    def test_each_is_applied_once(self):
        names = [(e.module, e.name) for e in self.entries]
        self.assert_each(
            self.entries, lambda e: names.count((e.module, e.name)) == 1)
        self.assert_each(
            self.wraps, lambda e: function_of(
                e.original).__code__.co_filename != overlay.__file__)

    def test_the_original_is_kept_and_is_novas(self):
        self.assert_each(
            self.wraps, lambda e: function_of(e.current).__wrapped__
            is function_of(e.original))
        self.assert_each(
            self.wraps,
            lambda e: code_of(e.original).co_filename.startswith(NOVA))

    def test_signatures_are_kept(self):
        self.assert_each(
            self.wraps, lambda e: inspect.signature(function_of(e.current))
            == inspect.signature(function_of(e.original)))
        # NOTE: of a function that Nova itself decorates, getfullargspec told
        # less than the truth.
        self.assert_each(
            self.wraps,
            lambda e: inspect.getfullargspec(function_of(e.current)) ==
            inspect.getfullargspec(inspect.unwrap(function_of(e.original))))

    def test_names_and_docstrings_are_kept(self):
        for attribute in ('__name__', '__qualname__', '__module__',
                          '__doc__'):
            self.assert_each(
                self.wraps, lambda e, attribute=attribute:
                getattr(function_of(e.current), attribute) ==
                getattr(function_of(e.original), attribute))

    def test_kinds_are_kept(self):
        self.assertIn(classmethod, [type(e.original) for e in self.wraps])
        self.assert_each(
            self.wraps, lambda e: type(e.current) is type(e.original))

    def test_fingerprints_are_those_of_the_installed_nova(self):
        found = {}
        for module in {e.module for e in self.wraps}:
            with open(sys.modules[module].__file__, 'rb') as f:
                found[module] = fingerprint.functions(f.read())
        self.assert_each(
            self.wraps, lambda e: e.fingerprint == found[e.module][e.name])

    def test_all_that_is_leaned_on_is_checked(self):
        known = fingerprint.table()['functions']

        def checked(entry):
            for other in entry.leans_on:
                module, _, name = other.rpartition(':')
                if name not in known.get(module or entry.module, {}):
                    return False
            return True
        self.assert_each(self.wraps, checked)
        self.assertIn(True, [bool(e.leans_on) for e in self.wraps])

    def test_all_that_is_written_took_place(self):
        # NOTE: one add in a loop takes place several times, and two wraps
        # around one function begin on the same line.
        self.assertEqual(
            sorted({(verb, file) for verb, file, _ in written()}),
            sorted({(e.verb, e.file) for e in self.entries}))
        for verb, file in {(e.verb, e.file) for e in self.entries}:
            took = [e.line for e in self.entries
                    if (e.verb, e.file) == (verb, file)]
            count = sum((v, f) == (verb, file) for v, f, _ in written())
            if verb == 'wrap':
                self.assertEqual(count, len(took), file)
            else:
                self.assertEqual(count, len(set(took)), file)

    def test_each_file_of_the_tree_took_part(self):
        files = {e.file for e in self.entries}
        for name, path in overlay.tree().items():
            if name.startswith(overlay.TESTS):
                continue
            # One of those that took part imports all others, or a command.
            if overlay.PREFIX + name not in sys.modules:
                self.assertIn('import %s' % name.rpartition('.')[2],
                              inspect.getsource(cli))
            if util.find_spec(name) is not None:
                self.assertIn(path, files)

    def test_a_module_that_is_reloaded_is_extended_again(self):
        before = sorted((e.verb, e.module, e.name) for e in self.entries)
        # NOTE: in a process of its own, as others hold the old classes.
        done = run('''
import importlib, json, sys
from nova_mem_encryption import overlay
overlay.load()
importlib.import_module('nova.tests.fixtures.libvirt')
for name in sorted({e.module for e in overlay.ledger()}):
    importlib.reload(sys.modules[name])
print(json.dumps([(e.verb, e.module, e.name) for e in overlay.ledger()]))
''')
        self.assertEqual('', done.stderr)
        self.assertEqual(before, sorted(map(tuple, json.loads(done.stdout))))


class VerbTest(testtools.TestCase):
    """In a process of its own, as a misfit ends what a process can do."""

    def assert_raises(self, verb, error):
        done = run('from nova_mem_encryption import overlay\n'
                   'overlay.load()\n'
                   'from nova import service\n' + verb)
        self.assertEqual(1, done.returncode)
        self.assertIn(error, done.stderr)

    def test_there_is_no_replace(self):
        self.assert_raises(
            '@overlay.add(service.Service)\n'
            'def stop(self):\n'
            '    pass',
            'Misfit: nova-mem-encryption: nova.service: there is a '
            'Service.stop already.\n')

    def test_what_is_not_there_is_not_wrapped(self):
        self.assert_raises(
            '@overlay.wrap(service.Service)\n'
            'def begin(upstream, self):\n'
            '    pass',
            'AttributeError: nova.service: there is no Service.begin\n')

    def test_what_was_not_checked_is_not_wrapped(self):
        self.assert_raises(
            '@overlay.wrap(service.Service)\n'
            'def stop(upstream, self):\n'
            '    pass',
            "Misfit: nova-mem-encryption: nova.service: Service.stop has no "
            "fingerprint; run 'nova-mem-encryption fingerprints --refresh'")


class OffTest(testtools.TestCase):
    """With NOVA_MEM_ENCRYPTION=off."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        overlay.load()
        importlib.import_module(FIXTURE)
        asked = [(e.module, e.name) for e in overlay.ledger()]
        done = run(f'''
import inspect, json, sys
import nova.monkey_patch
asked = {asked!r}
import nova.compute.api
import nova.tests.fixtures.libvirt
{inspect.getsource(find)}
{inspect.getsource(function_of)}
{inspect.getsource(code_of)}
import importlib
from importlib import util
answers = []
for module, name in asked:
    place, thing = find(module, name)
    if name.rpartition('.')[2] not in place:
        answers.append(None)
        continue
    function = function_of(thing)
    answers.append([code_of(thing).co_filename,
                    code_of(thing).co_firstlineno,
                    function.__code__.co_filename,
                    function.__code__.co_firstlineno])
print(json.dumps([answers, [
    name for name in sys.modules
    if name.startswith('nova_mem_encryption.nova')]]))
''', NOVA_MEM_ENCRYPTION='off')
        assert not done.stderr, done.stderr
        cls.answers, cls.modules = json.loads(done.stdout)

    def test_nova_is_upstreams(self):
        for entry, answer in zip(overlay.ledger(), self.answers):
            expected = None
            if entry.verb == 'wrap':
                codes = [code_of(entry.original),
                         function_of(entry.original).__code__]
                expected = [value for code in codes for value in (
                    code.co_filename, code.co_firstlineno)]
            self.assertEqual(expected, answer,
                             '%s: %s' % (entry.module, entry.name))

    def test_nothing_of_the_tree_is_imported(self):
        self.assertEqual([], self.modules)


def run(code, **variables):
    """Run code in a new interpreter, in an empty folder."""
    variables = {**os.environ, **variables, 'PYTHONWARNINGS': 'ignore'}
    return subprocess.run([sys.executable, '-c', code], text=True, cwd='/',
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=variables)
