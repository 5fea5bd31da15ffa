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

"""The series as patches."""
import ast
import io
import json
import os
import re
import resource
import shutil
import subprocess

import ddt
import fixtures
import testtools

from nova.tests.fixtures import tables

from nova_mem_encryption import cli
from nova_mem_encryption.engine import packages
from nova_mem_encryption.engine import tree
from nova_mem_encryption.export import common
from nova_mem_encryption.export import data
from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import lines
from nova_mem_encryption.export import mail
from nova_mem_encryption.export import report
from nova_mem_encryption.export import series
from nova_mem_encryption.export import target
from nova_mem_encryption.export import words
from nova_mem_encryption.nova.mem_encryption import models

NOVA = packages.open_package(report.find_nova())
OLD = ''.join('line %d\n' % n for n in range(1, 21))
CHANGELOG = os.path.join(tree.root(), 'debian', 'changelog')


def _new(patch):
    """Return the paths of the files that come with a patch."""
    return {change.path for change in patch.changes if change.new}


def _imports(change):
    """Return the paths of what added lines import of the series."""
    text = '\n'.join(line[1:] for hunk in change.hunks
                     for line in hunk.lines if line[0] == '+')
    return {'%s/%s.py' % (module.replace('.', '/'), name)
            for module, name in re.findall(
                r'(?m)^from (nova\.mem_encryption[.\w]*) import [(\s]*(\w+)',
                text)}


class SeriesTest(testtools.TestCase):
    """That of the Nova that is installed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.series = series.Series(NOVA.read)
        cls.patches = list(cls.series.make_all())

    def test_each_verb_is_exported_and_nothing_reads_wrong(self):
        self.series.check()
        self.assertEqual(set(), self.series.unknown)

    def test_what_exposes_the_feature_comes_last(self):
        slugs = [patch.slug for patch in self.patches]
        code = [subject.slug for subject in decisions.SUBJECTS]
        self.assertEqual('switch', code[-1])
        self.assertEqual(code + ['tests', 'docs'] * data.is_checkout(), slugs)
        self.assertEqual(self.series.total, len(slugs))

    def test_what_is_left_out_has_a_reason(self):
        for left_out in (self.series.left_out(), self.series.tests_left_out):
            self.assertNotEqual({}, left_out)
            for name, reason in left_out.items():
                self.assertNotEqual('', reason, name)

    def test_it_is_python_and_imports_nothing_of_the_package(self):
        for path, text in self.series.texts().items():
            if path.endswith('.py'):
                for node in ast.walk(ast.parse(text)):
                    self.assertNotIn('nova_mem_encryption', str(getattr(
                        node, 'module', '')), path)

    def test_few_lines_of_nova_are_taken_away(self):
        taken = [line for patch in self.patches for change in patch.changes
                 for hunk in change.hunks for line in hunk.lines
                 if line[0] == '-']
        self.assertEqual(12, len(taken), taken)

    def test_the_values_that_are_written_out_are_those_of_the_table(self):
        text = lines.text_of(self.series._lines['nova/objects/fields.py'])
        found = {}
        for node in ast.walk(ast.parse(text)):
            if getattr(node, 'name', None) == 'MemEncryptionModel':
                exec(compile(ast.Module(node.body, []), 'x', 'exec'), found)
        values = list(models.MODELS)
        self.assertEqual(values, list(found['ALL']))
        for value in values:
            self.assertEqual(value, found[value.upper().replace('-', '_')])

    def test_each_patch_has_what_it_imports(self):
        there = set()
        for patch in self.patches[:len(decisions.SUBJECTS)]:
            there |= _new(patch)
            for change in patch.changes:
                self.assertLessEqual(_imports(change), there, change.path)

    def test_tests_can_be_run_from_the_first_patch_on(self):
        # All of Nova's tests import all fixtures.
        there = _new(self.patches[0])
        tests = [patch for patch in self.patches if patch.slug == 'tests']
        self.assertEqual(data.is_checkout(), bool(tests))
        for change in (change for patch in tests for change in patch.changes):
            if change.path.startswith('nova/tests/fixtures/'):
                self.assertLessEqual(_imports(change), there, change.path)

    def test_it_is_the_same_each_time(self):
        again = series.Series(NOVA.read)
        style = mail.make_style('git')
        for number, patch in enumerate(again.make(), 1):
            self.assertEqual(
                mail.write(self.patches[number - 1], number, 13, style),
                mail.write(patch, number, 13, style))

    @testtools.skipUnless(data.is_checkout(), 'it is no checkout')
    def test_a_nova_whose_tests_are_in_another_package(self):
        def read(path):
            if path.startswith('nova/tests/'):
                raise KeyError(path)
            return NOVA.read(path)

        made = series.Series(read)
        slugs = [patch.slug for patch in made.make_all()]
        self.assertEqual('docs', slugs[-1])
        self.assertEqual(
            {'tests': 'this Nova has none: name a wheel or a source'},
            made.not_made)
        self.assertNotIn('tests', slugs)
        self.assertEqual(made.total, len(slugs))
        made.check()

    def test_patches_make_what_is_meant(self):
        if shutil.which('patch') is None:
            self.skipTest('there is no patch')
        folder = self.useFixture(fixtures.TempDir()).path
        style = mail.make_style('git')
        for path in self.series._lines:
            text = self.series.bytes_of(path)
            if text is not None:
                os.makedirs(os.path.dirname(os.path.join(folder, path)),
                            exist_ok=True)
                with open(os.path.join(folder, path), 'wb') as f:
                    f.write(text)
        for number, patch in enumerate(self.patches, 1):
            subprocess.run(
                ['patch', '-p1', '-F0', '-s'], cwd=folder, check=True,
                input=mail.write(patch, number, 13, style).encode())
        for path, found in self.series._lines.items():
            with open(os.path.join(folder, path), encoding='utf-8') as f:
                self.assertEqual(lines.text_of(found), f.read(), path)


@ddt.ddt
class LinesTest(testtools.TestCase):

    def hunks(self, old, edits, blocks):
        return [str(hunk) for hunk in lines.hunks(
            lines.lay(old, []), lines.lay(old, edits), blocks)]

    def put(self, line):
        return target.Edit(line, 0, 0, 'new\n')

    def test_a_hunk(self):
        self.assertEqual(
            ['@@ -7,6 +7,7 @@\n line 7\n line 8\n line 9\n+new\n line 10\n'
             ' line 11\n line 12\n'], self.hunks(OLD, [self.put(10)], ()))

    def test_one_text_for_two_releases(self):
        """There is less around it, and the numbers are of the newest."""
        other = OLD.replace('line 3\n', 'three\nmore\n').replace(
            'line 12\n', 'twelve\n')
        found = common.collect([OLD.encode(), other.encode()])
        newest, older = (found[digest] for digest in found)
        self.assertEqual(
            self.hunks(OLD, [self.put(11)], newest),
            self.hunks(other, [self.put(12)], older))
        self.assertEqual(
            ['@@ -10,2 +10,3 @@\n line 10\n+new\n line 11\n'],
            self.hunks(OLD, [self.put(11)], newest))

    def test_nothing_is_the_same_around_it(self):
        other = OLD.replace('line 10\n', 'ten\n').replace(
            'line 11\n', 'eleven\n')
        found = common.collect([OLD.encode(), other.encode()])
        e = self.assertRaises(ValueError, self.hunks, OLD, [self.put(11)],
                              list(found.values())[0])
        self.assertIn('no line around it is in all releases', str(e))

    def test_lines_that_are_taken_away_come_first(self):
        hunk, = self.hunks(OLD, [target.Edit(10, 1, 0, 'new\n')], ())
        self.assertIn('-line 10\n+new\n', hunk)

    def test_a_second_patch_counts_the_first(self):
        first, second = self.put(5), self.put(15)
        hunk, = lines.hunks(lines.lay(OLD, [first]),
                            lines.lay(OLD, [first, second]), ())
        self.assertEqual((13, 13), (hunk.old, hunk.new))

    @tables.data(('spec = json.load(f)', 'spec = jsonutils.loads(f.read())'),
                 ('json.load(sys.stdin)',
                  'jsonutils.loads(sys.stdin.read())'),
                 ('f(json.loads(x))', 'f(jsonutils.loads(x))'),
                 ('json.dump(x, f)', 'jsonutils.dump(x, f)'),
                 ('import json', 'from oslo_serialization import jsonutils'),
                 by=0)
    @ddt.unpack
    def test_json_is_oslos_inside_nova(self, one, other):
        # Its load fails with a file of text.
        self.assertEqual(other, words.inside(one))

    @tables.data('Upstream does it.', 'of the series', 'import overlay',
                 'from nova_mem_encryption import x', 'laid over Nova',
                 'Nothing of Nova is imported.', 'that Nova 31 lacks',
                 'x' * 80)
    def test_what_reads_wrong_inside_nova(self, line):
        self.assertEqual(1, len(list(words.find_wrong('x.py', [line]))))

    @ddt.data('the package', 'This\n    package', 'with ``check``',
              'the operator\'s guide', 'in the guide for\n    operators',
              'installed, unmodified', '``prometheus-client`` is required')
    def test_what_is_of_the_package_in_a_note(self, text):
        said = ['  - |\n', *('    %s\n' % line for line in text.split('\n'))]
        self.assertEqual([], list(words.find_wrong('doc/x.rst', said)))
        self.assertEqual(1, len(list(words.find_wrong(
            'releasenotes/notes/x.yaml', said))))
        self.assertEqual('fixes:\n  - |\n    One.\n', words.inside_notes(
            'fixes:\n%s  - |\n    One.\n' % ''.join(said)))

    def test_a_prelude_is_written_anew(self):
        self.assertEqual('---\n' + words.PRELUDE, words.inside_notes(
            '---\nprelude: >\n    For an installed, unmodified Nova.\n'))

    @ddt.data('a series of steps', 'from nova.mem_encryption import x',
              'mem_encryption.LibvirtDriver')
    def test_what_does_not(self, line):
        self.assertEqual([], list(words.find_wrong('x.py', [line])))

    def test_notes_lose_what_is_of_the_package(self):
        self.assertEqual(
            'features:\n  - |\n    One.\n', words.inside_notes(
                'features:\n  - |\n    One.\n  - |\n    nova-mem-encryption x'
                '\nupgrade:\n  - |\n    The series.\n'))


@ddt.ddt
class CommandTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def run_export(self, *args):
        """Run the command.

        :returns: exit status, and what went to stdout and stderr
        """
        out, err = io.StringIO(), io.StringIO()
        with fixtures.MonkeyPatch('sys.stdout', out), fixtures.MonkeyPatch(
                'sys.stderr', err):
            code = cli.main(['export', *args])
        return code, out.getvalue(), err.getvalue()

    def make_nova(self, **files):
        """Return a folder with a Nova that has some files."""
        folder = os.path.join(self.folder, 'site')
        for path, text in {'__init__': '', **files}.items():
            path = os.path.join(folder, 'nova', path.replace('.', '/') + '.py')
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as f:
                f.write(text)
        return folder

    def test_git(self):
        folder = os.path.join(self.folder, 'patches')
        code, out, err = self.run_export(folder, '--json')
        self.assertEqual((0, ''), (code, err))
        said = json.loads(out)
        with open(os.path.join(folder, 'series')) as f:
            names = f.read().split()
        self.assertEqual([patch['file'] for patch in said['patches']], names)
        self.assertEqual(sorted([*names, 'series']),
                         sorted(os.listdir(folder)))
        with open(os.path.join(folder, names[0])) as f:
            text = f.read()
        for field in ('Description: ', 'Origin: ', 'Forwarded: ',
                      'Last-Update: ', 'Date: ', 'Subject: [PATCH 01/'):
            self.assertIn('\n' + field, text)
        self.assertIn('31.3.1', said['releases'])

    def test_kolla(self):
        code, out, err = self.run_export(
            self.folder, '--style', 'kolla', '--python', '3.11')
        self.assertEqual((0, ''), (code, err))
        self.assertIn('Apply to: 31.0.0, ', out)
        self.assertIn('  tests: an image has none\n'
                      '  docs: an image has none\n', out)
        folder = os.path.join(self.folder, 'nova-base')
        site = 'var/lib/kolla/venv/lib/python3.11/site-packages/'
        names = sorted(os.listdir(folder))
        self.assertEqual(len(decisions.SUBJECTS) + 1, len(names))
        for name in names[:-1]:
            with open(os.path.join(folder, name)) as f:
                text = f.read()
            self.assertIn('/%d] ' % len(decisions.SUBJECTS), text)
            for path in re.findall(r'(?m)^\+\+\+ (\S+)', text):
                self.assertTrue(path.startswith(site + 'nova/'), path)
                self.assertFalse(path.startswith(site + 'nova/tests/'), path)

    def test_a_folder_that_is_not_empty(self):
        path = os.path.join(self.folder, 'x')
        with open(path, 'w'):
            pass
        code, out, err = self.run_export(self.folder)
        self.assertEqual((2, ''), (code, out))
        self.assertIn('is not empty', err)
        self.assertEqual(['x'], os.listdir(self.folder))

    def test_a_folder_that_is_a_file(self):
        path = os.path.join(self.folder, 'x')
        with open(path, 'w'):
            pass
        os.symlink('nowhere', os.path.join(self.folder, 'y'))
        for name, said in (
                ('x', '%s/x is no folder'), ('y', '%s/y is no folder'),
                ('x/z', '%s/x/z cannot be made, as %s/x is no folder')):
            code, _, err = self.run_export(os.path.join(self.folder, name))
            self.assertEqual(2, code)
            self.assertIn(said.replace('%s', self.folder) + '; name a folder '
                          'that is empty, or a new one.', err)

    def test_a_folder_that_cannot_be_written(self):
        # NOTE: root may write everywhere.
        self.useFixture(fixtures.MonkeyPatch(
            'os.access', lambda path, mode: path != self.folder))
        code, _, err = self.run_export(os.path.join(self.folder, 'x', 'y'))
        self.assertEqual(2, code)
        self.assertIn('%s/x/y cannot be written, as nothing can be made in %s;'
                      % (self.folder, self.folder), err)

    @ddt.data('', 'nova-base')
    def test_a_disk_that_is_full(self, below):
        folder = os.path.join(self.folder, 'x')
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        texts = {'one': 'x', 'two': 'x' * (2 << 20)}
        try:
            e = self.assertRaises(OSError, report.write, folder, below, texts)
            self.assertEqual(os.path.join(folder, below), e.filename)
            self.assertFalse(os.path.exists(folder))
            os.mkdir(folder)
            self.assertRaises(OSError, report.write, folder, below, texts)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual([], os.listdir(folder))

    def test_a_nova_that_it_does_not_fit(self):
        code, out, err = self.run_export(
            os.path.join(self.folder, 'new'), '--nova', self.make_nova())
        self.assertEqual(1, code)
        self.assertIn('refused', err)
        self.assertFalse(os.path.exists(os.path.join(self.folder, 'new')))

    def test_a_nova_that_is_patched(self):
        nova = self.make_nova(**{
            'mem_encryption.__init__': "VERSION = '1.2.3'\n"})
        code, _, err = self.run_export(
            os.path.join(self.folder, 'new'), '--nova', nova)
        self.assertEqual(1, code)
        self.assertIn('patched already, by nova-mem-encryption 1.2.3', err)

    def test_no_nova(self):
        code, _, err = self.run_export(
            os.path.join(self.folder, 'new'), '--nova', self.folder)
        self.assertEqual(2, code)
        self.assertIn('--nova: %s: no Nova in it; name a wheel of Nova, '
                      % self.folder, err)

    def test_no_file(self):
        code, _, err = self.run_export(
            os.path.join(self.folder, 'new'), '--nova', '31.3.1')
        self.assertEqual(2, code)
        self.assertIn('--nova: 31.3.1: No such file or directory; name a wheel'
                      ' of Nova, ', err)

    @ddt.data('3', '4.1', '3.x', '../3.12')
    def test_no_version_of_python(self, version):
        code, _, err = self.run_export(
            os.path.join(self.folder, 'new'), '--style', 'kolla',
            '--python', version)
        self.assertEqual(2, code)
        self.assertIn(version, err)

    def test_a_python_that_nothing_asks_for(self):
        code, _, err = self.run_export(
            os.path.join(self.folder, 'new'), '--python', '3.11')
        self.assertEqual(2, code)
        self.assertIn('--python is for --style kolla', err)

    @testtools.skipUnless(os.path.isfile(CHANGELOG), 'it is no checkout')
    def test_the_date_is_that_of_the_package(self):
        with open(CHANGELOG) as f:
            self.assertIn(' -- %s  %s\n' % (mail.AUTHOR, mail.DATE), f.read())
