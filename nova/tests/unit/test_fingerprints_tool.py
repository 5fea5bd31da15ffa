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

"""Test what makes the table of fingerprints."""
import contextlib
import functools
import hashlib
from importlib import metadata
from importlib import util
import io
import json
import os
import zipfile

import ddt
import fixtures
import testtools

from nova.tests.fixtures import environment
from nova.tests.fixtures import packages
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import source
from nova_mem_encryption.engine import tree

PATH = os.path.join(tree.root(), 'tools', 'fingerprints.py')
# A test reads few files that are not Nova's as it is installed.
READ_ONCE = functools.lru_cache(maxsize=200)(source.Source)
if os.path.isfile(PATH):
    spec = util.spec_from_file_location('fingerprints_tool', PATH)
    TOOL = util.module_from_spec(spec)
    spec.loader.exec_module(TOOL)


@testtools.skipUnless(os.path.isfile(PATH),
                      'the installed package has no tools')
class ToolTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.engine.source.Source', READ_ONCE))

    def call(self, *args):
        """Run it.

        :returns: exit status, and what was written to stdout and stderr
        """
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = TOOL.main(args)
        return code, out.getvalue(), err.getvalue()


@ddt.ddt
class FingerprintsTest(ToolTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def release(self, version, module=None, change=None):
        return packages.wheel(self.folder, version,
                              packages.contents(module, change))

    def test_it_prints_the_table_of_the_installed_nova(self):
        version = metadata.version('nova')
        code, out, err = self.call(self.release(version))
        self.assertEqual((0, ''), (code, err))
        made = json.loads(out)
        self.assertEqual(fingerprints.table()['functions'],
                         made['functions'])
        self.assertEqual([version], made['releases'])
        # NOTE: a distribution's files need not be those of the table.
        self.assertEqual(fingerprints.table()['files'].keys(),
                         made['files'].keys())
        for module, (file,) in made['files'].items():
            path = os.path.join(packages.SITE,
                                module.replace('.', '/') + '.py')
            with open(path, 'rb') as f:
                self.assertEqual(hashlib.sha256(f.read()).hexdigest(), file)

    def test_a_wheel_and_a_folder_are_as_good(self):
        wheel = self.release('31.0.0')
        folder = os.path.join(self.folder, 'installed')
        with zipfile.ZipFile(wheel) as opened:
            opened.extractall(folder)
        self.assertEqual(self.call(wheel),
                         self.call(folder))

    def test_a_function_that_differs_is_named_with_its_release(self):
        first = self.release('31.0.0')
        other = self.release(
            '31.9.0', 'nova.service',
            lambda text: environment.changed(text, 'setup_profiler'))
        for option in ([], ['--check'], ['--refresh']):
            self.assertEqual(
                (1, '', 'Nova 31.9.0: nova.service: setup_profiler is not '
                 'that of Nova 31.0.0\n'),
                self.call(first, other, *option))

    def test_a_function_that_is_missing_is_named_with_its_release(self):
        first = self.release('31.0.0')
        other = self.release(
            '31.9.0', 'nova.limit.placement',
            lambda text: text.replace(
                'def enforce_num_instances_and_flavor', 'def gone'))
        self.assertEqual(
            (1, '', 'Nova 31.9.0: nova.limit.placement has no '
             'enforce_num_instances_and_flavor\n'),
            self.call(other, first, '--check'))

    def test_a_module_that_is_missing_is_named_with_its_release(self):
        other = self.release(
            '31.9.0', 'nova.limit.placement', lambda text: None)
        expected = 1, '', 'Nova 31.9.0 has no nova.limit.placement\n'
        self.assertEqual(expected, self.call(other))
        folder = os.path.join(self.folder, 'installed')
        with zipfile.ZipFile(other) as opened:
            opened.extractall(folder)
        self.assertEqual(expected, self.call(folder))

    def test_a_path_of_no_nova_is_named(self):
        missing = os.path.join(self.folder, 'missing.whl')
        code, out, err = self.call(missing)
        self.assertEqual((1, ''), (code, out))
        self.assertIn("No such file or directory: '%s'\n" % missing, err)

        text = os.path.join(self.folder, 'text.whl')
        with open(text, 'w') as f:
            f.write('no wheel')
        self.assertEqual(
            (1, '', '%s: cannot be read: neither a folder, nor a wheel, nor '
             'a .deb\n' % text),
            self.call(text))

        self.assertEqual(
            (1, '', '%s: no Nova in it\n' % self.folder),
            self.call(self.folder))

    def test_what_refresh_writes_check_accepts(self):
        releases = [
            self.release('31.0.0'),
            self.release('31.10.0', 'nova.service', lambda text: text + '\n'),
            self.release('31.9.0')]
        table = os.path.join(self.folder, 'fingerprints.json')
        functions = sum(
            map(len, fingerprints.table()['functions'].values()))
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.engine.fingerprints.TABLE', table))
        self.assertEqual(
            (0, '%s: %d functions of Nova 31.0.0, 31.9.0, 31.10.0\n'
             % (table, functions), ''),
            self.call('--refresh', *releases))
        self.assertEqual(2, len(fingerprints.table()['files']['nova.service']))
        code, out, err = self.call('--check', *releases)
        self.assertEqual((0, ''), (code, err))
        self.assertEqual(
            ['31.0.0   known', '31.9.0   known', '31.10.0  known',
             'The series fits: %d functions are the same in all of them.'
             % functions], out.splitlines())

        # A release more, and one less
        added = self.release('31.11.0')
        code, out, err = self.call('--check', added,
                                   *releases)
        self.assertEqual(1, code)
        self.assertIn('31.11.0  not in the table\n', out)
        self.assertIn('make it again with --refresh', err)
        self.assertEqual(
            1, self.call('--check', *releases[1:])[0])

    def test_check_notices_a_table_of_another_series(self):
        table = fingerprints.table()
        del table['functions']['nova.service']['setup_profiler']
        path = os.path.join(self.folder, 'fingerprints.json')
        with open(path, 'w') as f:
            json.dump(table, f)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.engine.fingerprints.TABLE', path))
        code, _, err = self.call('--check',
                                 self.release(metadata.version('nova')))
        self.assertEqual(1, code)
        self.assertIn('The table is not that of these releases', err)


@ddt.ddt
class CollectTest(ToolTestCase):
    """The files of a distribution, as they are kept."""

    def setUp(self):
        super().setUp()
        self.known = fingerprints.table()

    def collect(self):
        return TOOL.collect(tree.tree(), [packages.SITE], self.known)

    def test_what_is_known_of_distributions_is_kept(self):
        self.assertIn('python3-nova 2:31.0.0-6+deb13u3',
                      self.known['distributions'])
        self.assertEqual(self.known['distributions'],
                         self.collect()['distributions'])

    @ddt.data('functions', 'additions')
    def test_a_file_of_which_more_is_wanted_now_is_forgotten(self, kind):
        # NOTE: nobody has looked at the new one.
        names = self.known[kind]['nova.virt.libvirt.driver']
        if kind == 'functions':
            names.pop('LibvirtDriver._hard_reboot')
        else:
            names.pop()
        for files in self.collect()['distributions'].values():
            self.assertNotIn('nova.virt.libvirt.driver', files)

    def test_a_package_of_a_distribution(self):
        files = packages.contents(
            'nova.service', lambda text: text + '# Of a distribution\n')
        text = files['nova/service.py']
        path = packages.deb(self.useFixture(fixtures.TempDir()).path,
                            'nova-too', '31.0.0-1', files)
        made = TOOL.collect(tree.tree(), [packages.SITE, path])
        self.assertEqual(
            {'nova-too 31.0.0-1': {'nova.service': {
                hashlib.sha256(text).hexdigest(): len(text)}}},
            made['distributions'])
        self.assertEqual(self.known['functions'], made['functions'])
