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
"""Test what proves the patches: how page, patches and tests are read."""
import os
import shutil
import sys

import ddt
import fixtures
import testtools

from nova.tests.fixtures import packages
from nova_mem_encryption.engine import tree

PROJECT = tree.root()
TOOLS = os.path.join(PROJECT, 'tools', 'export')
PATCH = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: Somebody <somebody@localhost>
Subject: [PATCH] Paint houses

--- a line that is no file
---
 nova/house.py | 3 +++

diff --git a/nova/house.py b/nova/house.py
index 1111111..2222222 100644
--- a/nova/house.py
+++ b/nova/house.py
@@ -1,3 +1,4 @@
 one
+colour
 two
 three
@@ -7,3 +8,4 @@ class House:
 seven
 eight
 nine
+paint
diff --git a/nova/tests/unit/test_paint.py b/nova/tests/unit/test_paint.py
new file mode 100644
index 0000000..3333333
--- /dev/null
+++ b/nova/tests/unit/test_paint.py
@@ -0,0 +1,2 @@
+import one
+import two
--%s
2.39.5

""" % ' '
HOUSE = 'one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n'
PAINTED = ('one\ncolour\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n'
           'paint\n')


def load(*names):
    """Import tools by names that other folders of tools have, too."""
    path, modules = sys.path[:], dict(sys.modules)
    folders = [TOOLS, os.path.join(PROJECT, 'tools', 'nova_tests'),
               os.path.join(PROJECT, 'tools')]
    try:
        sys.path[:0] = folders
        for name in ('run', 'test_nova', 'series', 'sources', 'patched'):
            sys.modules.pop(name, None)
        return [__import__(name) for name in names]
    finally:
        sys.path[:] = path
        for name in {*sys.modules} - {*modules}:
            if os.path.dirname(getattr(sys.modules[name], '__file__', None) or
                               '') in folders:
                del sys.modules[name]
        sys.modules.update(modules)


if os.path.isdir(TOOLS):
    series, sources, ways, patched, prove, lint, wheel = load(
        'series', 'sources', 'ways', 'patched', 'prove', 'lint', 'wheel')


@testtools.skipUnless(os.path.isdir(TOOLS),
                      'the installed package has no tools')
class TestCase(testtools.TestCase):

    def patches(self, *names, listed=None):
        """Write a series; return its folder."""
        folder = self.useFixture(fixtures.TempDir()).path
        for name in names:
            with open(os.path.join(folder, name), 'w') as f:
                f.write(PATCH)
        with open(os.path.join(folder, 'series'), 'w') as f:
            f.write('# of one\n\n%s\n' % '\n'.join(listed or names))
        return folder


@ddt.ddt
class PageTest(TestCase):

    def setUp(self):
        super().setUp()
        with open(os.path.join(PROJECT, ways.PAGE), encoding='utf-8') as f:
            self.text = f.read()
        self.commands = ways.get_commands(self.text)

    def test_each_way_is_on_the_page_and_each_of_the_page_is_tried(self):
        self.assertEqual({'write', *ways.WAYS}, {*self.commands})
        self.assertEqual({*ways.WAYS}, {*sources.PLACES})

    def test_the_way_back_is_told_where_there_is_one(self):
        for way in sources.REVERSIBLE:
            self.assertEqual(2, len(self.commands[way]), way)

    def test_what_is_not_run_is_on_the_page(self):
        lines = [line for blocks in self.commands.values()
                 for block in blocks for line in block]
        _, reasons = ways.select(lines, '31.0.0')
        self.assertEqual(len(ways.NOT_RUN), len(reasons))
        self.assertEqual(len({*reasons}), len(reasons))

    def test_commands_are_for_the_release_that_is_asked_for(self):
        lines, _ = ways.select(self.commands['quilt'][0], '31.0.1')
        self.assertEqual('cd nova-31.0.1', lines[0])
        self.assertNotIn(ways.VERSION, '\n'.join(lines))

    def test_debians_sources_are_named_as_they_unpack(self):
        lines, _ = ways.select(self.commands['debian'][0], '31.3.1', None)
        self.assertEqual('cd nova-%s' % sources.RELEASE_OF_DEBIAN, lines[0])
        self.assertEqual('31.0.0', sources.RELEASE_OF_DEBIAN)
        lines, _ = ways.select(self.commands['debian'][0], '31.3.1',
                               sources.RELEASE_OF_DEBIAN)
        self.assertEqual('cd nova-31.3.1', lines[0])

    def test_fuzz_is_forbidden_where_it_could_be_allowed(self):
        for way in ('quilt', 'debian'):
            line, = (line for line in self.commands[way][0]
                     if 'quilt push' in line)
            self.assertIn('--fuzz=0', line)

    def test_a_block_that_is_no_command_is_an_error(self):
        error = self.assertRaises(
            series.Wrong, ways.get_commands,
            '.. _patches-by-hand:\n\nBy hand\n=======\n\n::\n\n    paint it\n')
        self.assertIn('paint it', str(error))

    def test_sections_without_a_label_are_for_readers(self):
        self.assertEqual({'by-hand': [['cd nova']]}, ways.get_commands(
            '.. _patches-by-hand:\n\nBy hand\n=======\n\n::\n\n    cd nova\n\n'
            'Later\n=====\n\n::\n\n    cd elsewhere\n'))


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class SaidTest(TestCase):

    @ddt.data(
        'Hunk #2 succeeded at 31 with fuzz 1 (offset 4 lines).',
        'Hunk #1 succeeded at 1 with fuzz 2.',
        '1 out of 2 hunks FAILED',
        'Reversed (or previously applied) patch detected!')
    def test_fuzz_and_failures_are_seen(self, line):
        error = self.assertRaises(series.Wrong, ways.check, 'a\n%s\nb' % line)
        self.assertEqual(line, str(error))

    @ddt.data('Hunk #2 succeeded at 31 (offset 4 lines).',
              'patching file nova/fuzzy.py', '+ patch -p1 -s --fuzz=0')
    def test_lines_that_moved_are_fine(self, line):
        ways.check(line)

    def test_an_exit_status_is_enough(self):
        error = self.assertRaises(series.Wrong, ways.check, 'no such file', 2)
        self.assertEqual('no such file', str(error))
        self.assertRaises(series.Wrong, ways.check, '', 2)

    def test_a_line_that_fails_ends_the_others(self):
        folder = self.useFixture(fixtures.TempDir()).path
        ways.run(['mkdir a', 'cd a', 'touch b'], folder)
        self.assertTrue(os.path.exists(os.path.join(folder, 'a', 'b')))
        self.assertRaises(series.Wrong, ways.run, ['false', 'touch c'], folder)
        self.assertRaises(series.Wrong, ways.run, ['false | true'], folder)
        self.assertFalse(os.path.exists(os.path.join(folder, 'c')))


class SeriesTest(TestCase):

    def setUp(self):
        super().setUp()
        self.patch = series.Patch('0001-paint.patch', PATCH)

    def test_a_patch_tells_its_files_and_hunks(self):
        self.assertEqual(['nova/house.py', 'nova/tests/unit/test_paint.py'],
                         self.patch.paths)
        self.assertEqual(['nova/tests/unit/test_paint.py'],
                         series.get_new(self.patch))
        self.assertEqual(3, self.patch.hunks)

    def test_modules_and_tests_are_told_apart(self):
        paths = self.patch.paths + ['nova/mem_encryption/__init__.py',
                                    'nova/tests/functional/test_paint.py',
                                    'nova/tests/unit/paint.py', 'doc/a.rst']
        self.assertEqual(['nova.house', 'nova.mem_encryption'],
                         patched.get_modules(paths))
        self.assertEqual(['nova.tests.unit.test_paint'],
                         patched.get_test_modules(paths, 'unit'))

    def test_patches_are_in_the_order_of_the_file_series(self):
        names = ['2.patch', '1.patch', '3.patch']
        self.assertEqual(names, [patch.name for patch in series.read(
            self.patches(*names))])

    def test_a_file_series_that_is_not_of_them_is_an_error(self):
        names = ['1.patch', '2.patch', '3.patch', '4.patch']
        for present, listed in ((names, names[1:]), (names[1:], names)):
            error = self.assertRaises(series.Wrong, series.read, self.patches(
                *present, listed=listed))
            self.assertIn('1.patch', str(error))
        self.assertRaises(series.Wrong, series.read, self.patches())
        self.assertRaises(series.Wrong, series.read,
                          self.useFixture(fixtures.TempDir()).path)

    def test_the_patch_of_the_tests_is_known_by_its_files(self):
        code = series.Patch('1', '+++ b/nova/a.py\n+++ b/nova/tests/b.py\n')
        tests = series.Patch('2', '+++ b/nova/tests/unit/a.py\n')
        pages = series.Patch('3', '+++ b/doc/source/a.rst\n')
        self.assertEqual([True, False, False], [
            patch.runs for patch in (code, tests, pages)])
        self.assertEqual(tests, series.get_tests([code, tests, pages]))
        for wrong in ([code, pages], [tests, tests]):
            self.assertRaises(series.Wrong, series.get_tests, wrong)

    def test_a_wheel_that_is_packed_again_records_what_is_in_it(self):
        folder = self.useFixture(fixtures.TempDir()).path
        made = packages.wheel(folder, '31.3.1', {'nova/house.py': b'one\n'})
        tree = sources.unpack(made, os.path.join(folder, 'tree'))
        record = os.path.join(tree, 'nova-31.3.1.dist-info', 'RECORD')
        with open(record, 'w') as f:
            f.write('old\n')
        wheel.pack(tree, made)
        again = sources.unpack(made, os.path.join(folder, 'again'))
        self.assertEqual(
            ['nova-31.3.1.dist-info/RECORD'],
            series.compare(series.get_texts(tree), series.get_texts(again)))
        with open(os.path.join(
                again, 'nova-31.3.1.dist-info', 'RECORD')) as f:
            lines = f.read().splitlines()
        # printf 'one\n' | sha256sum | xxd -r -p | basenc --base64url
        self.assertIn('nova/house.py,sha256=LIsI2lzmA5jh8Zrw5dzMdE3ydLgmq-WF'
                      '6rpoxSVDSAY,4', lines)
        self.assertEqual('nova-31.3.1.dist-info/RECORD,,', lines[-1])

    @testtools.skipUnless(shutil.which('patch'), 'patch is not installed')
    def test_it_is_applied_whole_and_without_fuzz_and_taken_away(self):
        folder = self.useFixture(fixtures.TempDir()).path
        os.mkdir(os.path.join(folder, 'nova'))
        path = os.path.join(folder, 'nova', 'house.py')
        with open(path, 'w') as f:
            f.write(HOUSE)
        before = series.get_texts(folder)
        series.apply(folder, PATCH)
        with open(path) as f:
            self.assertEqual(PAINTED, f.read())
        self.assertEqual(self.patch.paths, series.compare(
            before, series.get_texts(folder)))
        series.apply(folder, PATCH, '--reverse')
        self.assertEqual(before, series.get_texts(folder))
        # patch would take this with fuzz.
        with open(path, 'w') as f:
            f.write(HOUSE.replace('three', '3'))
        self.assertRaises(series.Wrong, series.apply, folder, PATCH)


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class ProofTest(TestCase):

    @ddt.data('b', 'b.B', 'b.B.test_it')
    def test_tests_that_are_not_in_the_series_need_a_reason(self, name):
        self.assertEqual([], list(prove.compare_ids(
            {'a.A.test_it', 'b.B.test_it_1', 'b.B.test_it'}, {'a.A.test_it'},
            {name: 'of a command'})))

    @ddt.data(
        ({'a.A.test'}, set(), {'a.A.tes': '', 'a.B': '', 'aa': ''},
         'a.A.test is not in the series'),
        ({'a.A.test_it_all'}, set(), {'a.A.test_it': ''},
         'a.A.test_it_all is not in the series'),
        (set(), {'a.A.test'}, {}, 'a.A.test is in the series alone'),
        ({'a.A.test'}, {'a.A.test'}, {'a': 'of a command'}, 'but in the'))
    @ddt.unpack
    def test_a_difference_of_ids_is_told(self, there, here, left_out, said):
        self.assertIn(said, '\n'.join(
            prove.compare_ids(there, here, left_out)))

    @ddt.data('nova', 'nova-31.3.1.dist-info', 'nova_mem_encryption',
              'nova_mem_encryption-1.0.0.dist-info', 'nova_mem_encryption.pth',
              'nova_mem_encryption.start',
              '__editable__.nova_mem_encryption-1.0.0.pth',
              '__editable___nova_mem_encryption_1_0_0_finder.py')
    def test_the_new_environment_has_neither_nova_nor_the_package(self, name):
        self.assertTrue(patched.WITHHELD.match(name), name)

    @ddt.data('novaclient', 'python_novaclient-18.9.0.dist-info', 'placement',
              'oslo_config', 'pbr.pth')
    def test_it_has_all_the_rest(self, name):
        self.assertIsNone(patched.WITHHELD.match(name), name)

    def test_a_finding_of_a_linter_that_moved_is_not_new(self):
        before = {('a.py', 'E1 a'): ['1:1', '2:1']}
        self.assertEqual([], list(lint.compare(
            before, {('a.py', 'E1 a'): ['7:1', '8:1']})))
        self.assertEqual(['a.py:1:1 or 7:1 or 8:1 E1 a', 'b.py:3:1 E1 a'],
                         list(lint.compare(before, {
                             ('a.py', 'E1 a'): ['1:1', '7:1', '8:1'],
                             ('b.py', 'E1 a'): ['3:1']})))

    @ddt.data(('./nova/a.py:3:80: E501 line too long', 'nova/a.py', '3:80:'),
              ('nova/a.py:3: error: No  [misc]', 'nova/a.py', '3:'))
    @ddt.unpack
    def test_findings_of_both_linters_are_read(self, line, path, place):
        found = lint.FOUND.match(line)
        self.assertEqual((path, place), (found['path'], found['place']))


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class HunksTest(TestCase):

    def setUp(self):
        super().setUp()
        self.found = series.split(series.Patch('0001', PATCH))

    def test_a_patch_is_split_into_patches_of_one_hunk(self):
        self.assertEqual([
            ('nova/house.py', ['colour']), ('nova/house.py', ['paint']),
            ('nova/tests/unit/test_paint.py', ['import one', 'import two'])],
            [(hunk.path, hunk.added) for hunk in self.found])
        self.assertTrue(self.found[1].text.startswith('@@ -7,3 +8,4 @@'))
        self.assertIn('--- a/nova/house.py\n', self.found[1].head)

    def test_a_hunk_that_moves_stays_the_same(self):
        moved = series.split(series.Patch('0002', PATCH.replace(
            '@@ -7,3 +8,4 @@ class House:', '@@ -17,3 +18,4 @@')))
        self.assertEqual([hunk.key for hunk in self.found],
                         [hunk.key for hunk in moved])
        self.assertEqual(3, len({hunk.key for hunk in moved}))

    def test_its_lines_are_found_where_they_have_moved_to(self):
        self.assertEqual({11}, series.find_lines(self.found[1], PAINTED))
        self.assertEqual({13}, series.find_lines(
            self.found[1], 'zero\nzero\n' + PAINTED))
        # Another patch has put a line between those of the hunk.
        self.assertEqual({12}, series.find_lines(
            self.found[1], PAINTED.replace('nine', 'nine\nten')))

    @ddt.data(({1}, {1, 4, 5}), ({2}, {2, 4, 5}), ({3}, {3, 10}),
              ({4}, {4}), ({8}, {8, 10, 12}),
              ({1, 8}, {1, 4, 5, 8, 10, 12}))
    @ddt.unpack
    def test_what_lines_decorate(self, lines, found):
        self.assertEqual(found, series.add_uses(
            lines, '@red(\n    1)\ndef f():\n    """Two\n    lines."""\n\n\n'
                   '@blue\ndef g():\n    return f()\n'
                   'def blue(x):\n    return x\n'))

    @ddt.data(({1}, {1, 5}), ({2}, {2, 6}), ({3}, {3, 7}), ({4}, {4, 7}),
              ({8}, {8, 10}))
    @ddt.unpack
    def test_what_lines_are_used_by(self, lines, found):
        self.assertEqual(found, series.add_uses(
            lines, 'from red import one\nfrom red import two as blue\n'
                   'FOUR = 4\nclass Five:\n    five = one(1)\n'
                   '    six = blue\nseven = Five(FOUR)\ndef eight(self):\n'
                   '    pass\nseven.eight()\n'))

    @ddt.data(
        ('', None), ('"""One."""\n', ''), ('"""One."""\n', None),
        ('# One\nX = 1\n', 'X = 1  # Two\n'),
        ('def f():\n    """One."""\n    return 1\n',
         'def f():\n    """Two."""\n    return 1\n'),
        ('class A:\n    """One."""\n    X = 1\n', 'class A:\n    X = 1\n'))
    @ddt.unpack
    def test_what_changes_no_code(self, one, other):
        self.assertEqual(*self.codes(one, other))

    @ddt.data(('X = 1\n', None), ('X = 1\n', ''), ('X = 1\n', 'X = 2\n'),
              ('X = """One."""\n', 'X = """Two."""\n'), ('', 'X = (\n'))
    @ddt.unpack
    def test_what_changes_code(self, one, other):
        self.assertNotEqual(*self.codes(one, other))

    def codes(self, *texts):
        """Return what files do; one of None is not there."""
        for text in texts:
            path = os.path.join(
                self.useFixture(fixtures.TempDir()).path, '__init__.py')
            if text is not None:
                with open(path, 'w') as f:
                    f.write(text)
            yield series.get_code(path)
