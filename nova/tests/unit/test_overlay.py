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
import importlib
import inspect
import json
import os
import subprocess
import sys

import fixtures
import nova
import oslo_messaging
import testtools

from nova_mem_encryption import cli
from nova_mem_encryption.engine import declared
from nova_mem_encryption.engine import finder
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import ledger
from nova_mem_encryption.engine import source
from nova_mem_encryption.engine import state
from nova_mem_encryption.engine import tree
from nova_mem_encryption.engine import verbs

NOVA = os.path.dirname(nova.__file__) + os.sep
# Its expected_exceptions hides what it decorates.
MESSAGING = os.path.dirname(oslo_messaging.__file__) + os.sep
FIXTURE = 'nova.tests.fixtures.libvirt'
# What extends nothing and has no place of its own yet


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
        place = (dict(thing) if isinstance(thing, (dict, tuple)) else
                 vars(thing))
    return place, place.get(last)


def function_of(thing):
    return getattr(thing, '__func__', thing)


def code_of(function):
    """Return the code of a function, inside of what decorates it."""
    return inspect.unwrap(function_of(function)).__code__


def written():
    """Return each use of a verb that is written in the tree.

    :returns: a list of (file, declared.Call)
    """
    found = []
    for name, path in tree.tree().items():
        if name.startswith(state.TESTS) and name != FIXTURE:
            continue
        with open(path, encoding='utf-8') as f:
            found += [(path, call) for call in declared.calls(f.read(), name)]
    return found


class LedgerTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        finder.load()
        importlib.import_module(FIXTURE)
        self.entries = ledger.entries()
        self.wraps = [e for e in self.entries if e.verb != 'add']

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
                e.original).__code__.co_filename != verbs.__file__)

    def test_the_original_is_kept_and_is_novas(self):
        self.assert_each(
            self.wraps, lambda e: function_of(e.current).__wrapped__
            is function_of(e.original))
        self.assert_each(
            self.wraps,
            lambda e: code_of(e.original).co_filename.startswith(
                (NOVA, MESSAGING)))

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
                found[module] = source.functions(f.read())
        self.assert_each(
            self.wraps, lambda e: e.fingerprint == found[e.module][e.name])

    def test_all_that_is_leaned_on_is_checked(self):
        known = fingerprints.table()['functions']

        def checked(entry):
            for other in entry.leans_on:
                module, _, name = other.rpartition(':')
                if name not in known.get(module or entry.module, {}):
                    return False
            return True
        self.assert_each(self.entries, checked)
        self.assertIn(True, [bool(e.leans_on) for e in self.wraps])

    def test_all_that_is_written_took_place(self):
        self.assertEqual(
            sorted((call.verb, file, call.module, call.full)
                   for file, call in written()),
            sorted((e.verb, e.file, e.module, e.name) for e in self.entries))

    def test_all_that_is_added_is_checked(self):
        known = fingerprints.table()['additions']
        self.assert_each(
            [e for e in self.entries if e.verb == 'add'],
            lambda e: e.name in known[e.module])

    def test_each_file_of_the_tree_took_part(self):
        files = {e.file for e in self.entries}
        sources = []
        for folder, _, names in os.walk(os.path.dirname(cli.__path__[0])):
            for name in names:
                if name.endswith('.py'):
                    with open(os.path.join(folder, name)) as f:
                        sources.append(f.read())
        for name, path in tree.tree().items():
            if name.startswith('nova.mem_encryption.'):
                with open(path) as f:
                    sources.append(f.read())
        for name, path in tree.tree().items():
            if name.startswith(state.TESTS) or name == tree.DRIVER:
                continue
            # One of those that took part imports all others, or a command.
            if tree.PREFIX + name not in sys.modules:
                self.assertTrue(any(
                    'import %s\n' % name.rpartition('.')[2] in text
                    for text in sources), name)
            if tree.extended(nova.__path__).get(name):
                self.assertIn(path, files)

    def test_each_file_extends_a_module_of_nova_that_is_there(self):
        self.assertIsNone(tree.extended(nova.__path__)[tree.DRIVER])
        for name, module in tree.extended(nova.__path__).items():
            if not name.startswith((state.TESTS, 'nova.mem_encryption.',
                                    tree.DRIVER)):
                self.assertIsNotNone(module, name)

    def test_a_module_that_is_reloaded_is_extended_again(self):
        before = sorted((e.verb, e.module, e.name) for e in self.entries)
        # NOTE: in a process of its own, as others hold the old classes.
        done = run('''
import importlib, json, sys
from nova_mem_encryption.engine import finder, ledger
finder.load()
importlib.import_module('nova.tests.fixtures.libvirt')
for name in sorted({e.module for e in ledger.entries()}):
    importlib.reload(sys.modules[name])
print(json.dumps([(e.verb, e.module, e.name) for e in ledger.entries()]))
''')
        self.assertEqual('', done.stderr)
        self.assertEqual(before, sorted(map(tuple, json.loads(done.stdout))))


class FolderTest(testtools.TestCase):
    """A tree of two files in a folder, laid over the installed Nova."""

    LAY = '''
import sys
from nova_mem_encryption.engine import tree
modules = tree.tree()
modules.clear()
tree._folders.clear()
for name in sys.argv[2:]:
    modules[name] = '%s/%s.py' % (sys.argv[1], name.replace('.', '/'))
    tree._folders.setdefault(name.rpartition('.')[0], []).append(name)
sys.modules['nova_mem_encryption'].__path__.insert(0, sys.argv[1])
'''

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def write(self, name, text):
        path = os.path.join(self.folder, name.replace('.', '/') + '.py')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write('from nova_mem_encryption import overlay\n' + text)

    def assert_says(self, expected, code, **files):
        for name, text in files.items():
            self.write('nova.' + name.replace('__', '.'), text)
        done = run(self.LAY + code, self.folder, *(
            'nova.' + name.replace('__', '.') for name in files))
        self.assertEqual((expected, ''), (done.stdout, done.stderr))

    def test_all_of_its_files_follow_the_module_in_order(self):
        self.assert_says(
            'late\nearly\nlater\n', 'import nova.version\n',
            version__early='from nova_mem_encryption.nova.version import late'
                           "\nprint('early')\n",
            version__late='from nova import version\n'
                          'version.version_string\n'
                          "print('late')\n",
            version__later="print('later')\n")

    def test_one_at_the_path_of_a_package_extends_nothing(self):
        self.assert_says(
            "['nova.virt']\n", 'import nova, nova.virt\n'
            'print([module for module in tree.extended(nova.__path__)\n'
            "       .values() if module])\n",
            virt='', virt__colours="raise ValueError('imported')")


class VerbTest(testtools.TestCase):
    """In a process of its own, as a misfit ends what a process can do."""

    def assert_raises(self, verb, error):
        done = run('from nova_mem_encryption.engine import finder\n'
                   'from nova_mem_encryption import overlay\n'
                   'finder.load()\n'
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
            'Misfit: nova-mem-encryption: nova.service: Service.stop has no '
            'fingerprint; run tools/fingerprints.py --refresh')


class OffTest(testtools.TestCase):
    """With NOVA_MEM_ENCRYPTION=off."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        finder.load()
        importlib.import_module(FIXTURE)
        asked = [(e.module, e.name) for e in ledger.entries()]
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
        for entry, answer in zip(ledger.entries(), self.answers):
            expected = None
            if entry.verb != 'add':
                codes = [code_of(entry.original),
                         function_of(entry.original).__code__]
                expected = [value for code in codes for value in (
                    code.co_filename, code.co_firstlineno)]
            self.assertEqual(expected, answer,
                             '%s: %s' % (entry.module, entry.name))

    def test_nothing_of_the_tree_is_imported(self):
        self.assertEqual([], self.modules)


def run(code, *args, **variables):
    """Run code in a new interpreter, in an empty folder."""
    variables = {**os.environ, **variables, 'PYTHONWARNINGS': 'ignore'}
    return subprocess.run([sys.executable, '-c', code, *args], text=True,
                          cwd='/', stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=variables)
