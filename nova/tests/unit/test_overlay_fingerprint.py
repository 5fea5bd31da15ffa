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

"""Test how functions are told from others of the same name."""
import hashlib
import importlib
import os

import ddt
import fixtures
import testtools

from nova.tests.fixtures import environment
from nova.tests.fixtures import tables
from nova_mem_encryption.engine import declared
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import release
from nova_mem_encryption.engine import source
from nova_mem_encryption.nova.mem_encryption import model

MODULE = b'''"""A module."""

def outer(a):
    return a


class Thing:

    @property
    def colour(self):
        return 'red'
'''


def sha256(text):
    return hashlib.sha256(text).hexdigest()


@ddt.ddt
class FunctionsTest(testtools.TestCase):

    def test_it_is_the_dedented_text_with_decorators(self):
        self.assertEqual({
            'outer': sha256(b'def outer(a):\n    return a\n'),
            'Thing.colour': sha256(b'@property\ndef colour(self):\n'
                                   b"    return 'red'\n"),
        }, source.functions(MODULE))

    @ddt.data(
        (b'# of a distribution\n', b''),
        (b'', b'\n\ndef another():\n    pass\n'),
        (b'TEXT = "\x0c \xe2\x80\xa8"  # what ends a line of str\n', b''))
    @ddt.unpack
    def test_what_is_around_it_does_not_matter(self, before, after):
        found = source.functions(before + MODULE + after)
        for name, value in source.functions(MODULE).items():
            self.assertEqual(value, found[name])

    @ddt.data(
        (b'return a', b'return a  # so'), (b'outer(a)', b'outer(a, b=1)'),
        (b'@property\n', b'@functools.cached_property\n'),
        (b"'red'", b"'green'"))
    @ddt.unpack
    def test_what_is_in_it_matters(self, old, new):
        self.assertIn(old, MODULE)
        self.assertNotEqual(source.functions(MODULE),
                            source.functions(MODULE.replace(old, new)))

    @tables.data('outer = None', 'import os as outer', 'class outer: pass',
              'if True:\n    outer = 1', 'del outer',
              'try:\n    pass\nexcept Exception as outer:\n    pass')
    def test_what_is_bound_again_is_not_there(self, code):
        found = source.functions(MODULE + code.encode() + b'\n')
        self.assertEqual(['Thing.colour'], list(found))

    def test_of_two_the_one_that_counts_is_taken(self):
        twice = MODULE + b'\n\ndef outer(a):\n    return 2 * a\n'
        self.assertEqual(sha256(b'def outer(a):\n    return 2 * a\n'),
                         source.functions(twice)['outer'])


class CheckTest(testtools.TestCase):
    """Against the installed Nova."""

    def setUp(self):
        super().setUp()
        self.known = fingerprints.table()
        self.path = self.useFixture(fixtures.TempDir()).join('module.py')

    def write(self, text):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(text)

    def check(self, module, path):
        return source.check(self.known, module, path, fingerprints.read(path))

    def is_known(self, module, path):
        return fingerprints.is_known(
            self.known, module, fingerprints.read(path))

    def sources(self):
        """Yield each module with its text and the functions in question."""
        for module, functions in self.known['functions'].items():
            file = importlib.import_module(module).__file__
            with open(file, encoding='utf-8') as f:
                yield module, file, f.read(), functions

    def test_each_file_is_known_to_the_byte(self):
        for module, file, text, _ in self.sources():
            # NOTE: not of the table, as a distribution has files of its own;
            # that it has those of all releases, tools/tox -e releases tells.
            data = text.encode()
            self.known = {'distributions': {}, 'files': {module: {
                hashlib.sha256(data).hexdigest(): len(data)}}}
            self.assertTrue(self.is_known(module, file))
            self.write(text + '\n')
            self.assertFalse(self.is_known(module, self.path), module)

    def test_one_more_line_in_each_function_is_told_of_each(self):
        for module, _, text, functions in self.sources():
            self.write(environment.changed(text, *functions))
            misfits, _ = self.check(module, self.path)
            self.assertEqual(
                [(module, name, expected, self.path)
                 for name, expected in functions.items()],
                [(m.module, m.function, m.expected, m.path)
                 for m in misfits])
            for misfit in misfits:
                self.assertNotIn(misfit.found, (None, misfit.expected))

    def test_a_file_that_cannot_be_read_has_no_functions(self):
        for path in (None, self.path, os.path.dirname(self.path)):
            self.assertFalse(self.is_known('nova.service', path))
            misfits, _ = self.check('nova.service', path)
            self.assertEqual(
                sorted(self.known['functions']['nova.service']),
                sorted(m.function for m in misfits))
            self.assertEqual({None}, {m.found for m in misfits})


class ReleaseTest(testtools.TestCase):

    def test_major_versions(self):
        for text, expected in {
                '31.3.1': 31, '31.0.0.0rc1': 31, '31.0.1.dev5+gabc': 31,
                '1!31.3.1': 31, '2:31.0.0-6+deb13u3': 31, 'v31.1': 31,
                '31.0.0-6+deb13u3': 31, '31': 31, '2025.1': 31,
                '2025.1.0': 31, '2025.2': 32, '2026.1.2': 33, '2024.2': 30,
                '2023.1': 27, '30.2.1': 30, '32.0.0': 32, 'master': None,
                '': None, None: None, '0.0.0': None, '2025': None,
                '2025.3': None, 'x.y': None, '..': None, '!': None,
                '\u0663\u0661.0': None, '9' * 5000: None}.items():
            self.assertEqual(expected, release.major(text), text)

    def test_the_tree_knows_which_comes_next(self):
        # It cannot ask: a patched Nova has no engine.
        self.assertEqual(release.LAST + 1, model.NEXT)


@ddt.ddt
class DeclaredTest(testtools.TestCase):

    IMPORTS = ('from nova.virt.libvirt import host\n'
               'from nova_mem_encryption import overlay\n\n')

    @ddt.data(
        ('overlay.wrap(host.Host)', {'nova.virt.libvirt.host': {'Host.f'}}),
        ('overlay.wrap(host)', {'nova.virt.libvirt.host': {'f'}}),
        ("overlay.wrap(host.Host, leans_on=['Host.g', 'h'])",
         {'nova.virt.libvirt.host': {'Host.f', 'Host.g', 'h'}}),
        ("overlay.wrap(host.Host, leans_on=['nova.utils:g'])",
         {'nova.virt.libvirt.host': {'Host.f'}, 'nova.utils': {'g'}}),
        ('overlay.wrap(host.A)\n@overlay.wrap(host.B)',
         {'nova.virt.libvirt.host': {'A.f', 'B.f'}}),
        ('overlay.add(host.Host)', {}))
    @ddt.unpack
    def test_what_is_written_is_read(self, decorator, expected):
        source = self.IMPORTS + '@%s\ndef f():\n    pass\n' % decorator
        self.assertEqual(expected, declared.functions(
            source, 'nova.virt.libvirt.host'))

    @ddt.data(
        ("overlay.add(host.Host, 'x', 1)",
         {'nova.virt.libvirt.host': {'Host.x'}}),
        ("overlay.add(host, 'x', 1, leans_on=['g'])",
         {'nova.virt.libvirt.host': {'x'}}),
        ("overlay.add(host.Host, 'x', 1, into='fields')",
         {'nova.virt.libvirt.host': {'Host.fields.x'}}),
        ("H = host.Host\noverlay.add(H, 'x', 1)",
         {'nova.virt.libvirt.host': {'Host.x'}}),
        ('@overlay.add(host.Host)\n@property\ndef x(self):\n    pass',
         {'nova.virt.libvirt.host': {'Host.x'}}))
    @ddt.unpack
    def test_what_is_added_is_read(self, code, expected):
        self.assertEqual(expected, declared.additions(
            self.IMPORTS + code + '\n', 'nova.virt.libvirt.host'))

    @ddt.data(
        ("overlay.within(host.Host, 'f', print, leans_on=['g'])",
         {'nova.virt.libvirt.host': {'Host.f', 'g'}}),
        ("overlay.add(host, 'x', 1, leans_on=['g'])",
         {'nova.virt.libvirt.host': {'g'}}),
        ("overlay.within(host, 'f', print, mends='a fault')",
         {'nova.virt.libvirt.host': {'f'}}))
    @ddt.unpack
    def test_what_is_leaned_on_is_read(self, code, expected):
        self.assertEqual(expected, declared.functions(
            self.IMPORTS + code + '\n', 'nova.virt.libvirt.host'))

    @tables.data(
        ('overlay.add(host, NAME, 1)',
         'line 4: name of overlay.add must be a literal'),
        ("for name in 'ab':\n    overlay.add(host, 'x', 1)",
         'line 5: overlay.add must be at top level'),
        ("overlay.add(host, 'x', 1, into=NAME)",
         'line 4: into of overlay.add must be a literal'),
        ('overlay.add(host)', 'line 4: overlay.add has no name to look for'),
        by=0)
    @ddt.unpack
    def test_what_cannot_be_read_is_an_error(self, code, error):
        e = self.assertRaises(ValueError, declared.calls,
                              self.IMPORTS + code + '\n', 'nova.file')
        self.assertEqual('nova.file: ' + error, str(e))

    def test_a_wrap_of_who_knows_what_is_an_error(self):
        source = '@overlay.wrap(anything.Host)\ndef f():\n    pass\n'
        e = self.assertRaises(ValueError, declared.functions, source,
                              'nova.virt.libvirt.host')
        self.assertEqual('nova.virt.libvirt.host: overlay.wrap(anything) '
                         'names no imported module', str(e))
