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

"""Test what is built of a checkout, and what installing it leaves."""
import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

from packaging import requirements
from packaging import utils
import testtools

from nova.tests.fixtures import environment
import nova_mem_encryption
from nova_mem_encryption.engine import tree

PROJECT = tree.root()
NAME = 'nova_mem_encryption-%s' % nova_mem_encryption.__version__
# What tools leave in a checkout
LEFT = ('.*_cache', '.git', '.hypothesis', '.pybuild', '.stestr', '.tox',
        '.venv', '.coverage*', '*.egg-info', '*.pyc', '__pycache__', 'build',
        'dist')

# The only tests that the wheel has: what the demo is made of
DEMO = ('nova/tests/fixtures/firmware.py', 'nova/tests/fixtures/libvirt.py')


def files_below(folder):
    """Return the paths of the files below a folder, relative to it."""
    return {os.path.relpath(os.path.join(path, name), folder)
            for path, _folders, names in os.walk(folder) for name in names}


@testtools.skipUnless(
    os.path.isfile(os.path.join(PROJECT, 'setup.cfg')),
    'the installed package cannot be built, a checkout can')
@testtools.skipUnless(
    importlib.util.find_spec('build'), 'build is not installed')
class PackagingTest(testtools.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.checkout = os.path.join(cls.folder, 'checkout')
        shutil.copytree(PROJECT, cls.checkout,
                        ignore=shutil.ignore_patterns(*LEFT))
        cls.files = files_below(cls.checkout)
        # The sdist, and the wheel of what is in the sdist
        cls.built = subprocess.run(
            [sys.executable, '-m', 'build', '--no-isolation', '--outdir',
             cls.folder, cls.checkout], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # The wheel of the checkout itself, in which an older one was built
        stale = os.path.join(cls.checkout, 'build/lib/nova_mem_encryption',
                             'nova/mem_encryption')
        os.makedirs(stale)
        with open(os.path.join(stale, 'gone.py'), 'w'):
            pass
        cls.direct = os.path.join(cls.folder, 'direct')
        subprocess.run(
            [sys.executable, '-m', 'build', '--no-isolation', '--wheel',
             '--outdir', cls.direct, cls.checkout],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.sdist = os.path.join(cls.folder, NAME + '.tar.gz')
        cls.wheel = os.path.join(cls.folder, NAME + '-py3-none-any.whl')

    def setUp(self):
        super().setUp()
        self.assertEqual(0, self.built.returncode, self.built.stdout)

    def test_the_build_has_nothing_to_complain_of(self):
        self.assertNotIn('deprecated', self.built.stdout.lower())

    def test_the_sdist_has_all_that_the_checkout_has(self):
        with tarfile.open(self.sdist) as archive:
            names = {os.path.relpath(name, NAME)
                     for name in archive.getnames()}
        self.assertEqual(set(), self.files - names)

    def test_the_wheel_has_the_tree_below_the_package_and_nothing_else(self):
        tree = {'nova_mem_encryption/' + name for name in self.files
                if name.startswith('nova/') and (
                    not name.startswith('nova/tests/') or name in DEMO)}
        package = {name for name in self.files
                   if name.startswith('nova_mem_encryption/')}
        switches = {'nova_mem_encryption.pth', 'nova_mem_encryption.start'}
        data = {'%s.data/data/share/nova-mem-encryption/%s' % (NAME, name)
                for name in {'troubleshooting.rst'} | {
                    os.path.relpath(name, 'etc') for name in self.files
                    if name.startswith('etc/')}}
        self.assertNotEqual(set(), data)
        with zipfile.ZipFile(self.wheel) as archive:
            names = {name for name in archive.namelist()
                     if not name.startswith(NAME + '.dist-info/')}
            self.assertEqual(tree | package | switches | data, names)
            for name in switches:
                with open(os.path.join(PROJECT, name), 'rb') as f:
                    self.assertEqual(f.read(), archive.read(name))

    def test_the_wheel_of_the_checkout_has_the_same_files(self):
        self.assertEqual(
            self.read_wheel(self.wheel), self.read_wheel(os.path.join(
                self.direct, os.path.basename(self.wheel))))

    def test_the_wheel_does_not_stand_in_the_way_of_an_upgrade(self):
        with zipfile.ZipFile(self.wheel) as archive:
            metadata = archive.read(
                NAME + '.dist-info/METADATA').decode().splitlines()
        self.assertEqual(['Requires-Dist: nova>=31.0.0'], [
            line for line in metadata
            if line.startswith('Requires-Dist: nova')])

    def test_installed_it_is_armed_and_away_it_leaves_nova_as_it_was(self):
        env = self.useFixture(environment.Environment(ours=False))
        # NOTE: a copy, as a bad wheel would write through the link.
        nova = os.path.join(env.site, 'nova')
        source = os.path.realpath(nova)
        os.unlink(nova)
        shutil.copytree(source, nova,
                        ignore=shutil.ignore_patterns('__pycache__'))
        before = self.read_nova(env)
        found = self.list(env)
        self.pip(env, 'install', '--no-index', '--no-deps', self.wheel)
        status = env.command('status')
        self.assertEqual(0, status.returncode, status.stdout)
        self.assertIn('State  applied\n', status.stdout)
        # As operators do
        for command in (['bin/nova-mem-encryption', 'status', '--json'],
                        ['bin/python', '-m', 'nova.cmd.compute',
                         '--version']):
            done = subprocess.run(
                command, cwd=env.path, stderr=subprocess.PIPE,
                stdout=subprocess.PIPE, text=True,
                env={**os.environ, 'PATH': env.search})
            self.assertEqual((0, ''), (done.returncode, done.stderr))
        # The demo finds what it is made of.
        done = env.run('-c', 'import nova_mem_encryption.demo.cloud, sys\n'
                       'print(sys.modules["nova.tests.fixtures.firmware"]'
                       '.__file__)')
        self.assertEqual(
            os.path.join(env.site, 'nova_mem_encryption', DEMO[0]) + '\n',
            done.stdout, done.stderr)
        self.assertEqual(before, self.read_nova(env))
        self.pip(env, 'uninstall', '--yes', 'nova-mem-encryption')
        self.assertEqual(before, self.read_nova(env))
        self.assertEqual(found, self.list(env))
        done = env.run('-c', 'import sys, nova.conf; print(sys.meta_path)')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertNotIn('nova_mem_encryption', done.stdout)

    def list(self, env):
        """Return what is installed, commands included."""
        return (set(os.listdir(env.site)) - {'__pycache__'},
                set(os.listdir(os.path.join(env.path, 'bin'))))

    def read_wheel(self, wheel):
        """Return what is in a wheel: path to digest."""
        with zipfile.ZipFile(wheel) as archive:
            return {name: hashlib.sha256(archive.read(name)).hexdigest()
                    for name in archive.namelist()}

    def pip(self, env, *args):
        done = env.run('-m', 'pip', *args)
        self.assertEqual(0, done.returncode, done.stderr)

    def read_nova(self, env):
        """Return what is installed of Nova: path to digest."""
        folder = os.path.join(env.site, 'nova')
        found = {}
        for name in files_below(folder):
            if not name.endswith('.pyc'):
                with open(os.path.join(folder, name), 'rb') as f:
                    found[name] = hashlib.sha256(f.read()).hexdigest()
        return found


def read_requirements():
    """Return the distributions that the requirements lead to."""
    found, waiting = {}, []
    for name in ('requirements.txt', 'test-requirements.txt'):
        with open(os.path.join(PROJECT, name)) as f:
            waiting += [line for line in f if line[:1].isalpha()]
    while waiting:
        wanted = requirements.Requirement(waiting.pop())
        name = utils.canonicalize_name(wanted.name)
        if name in found or not (wanted.marker is None or
                                 wanted.marker.evaluate({'extra': ''})):
            continue
        found[name] = importlib.metadata.distribution(wanted.name)
        waiting += found[name].requires or ()
    return found.values()


def find_imports(path):
    """Return the packages that a module wants as soon as it is imported."""
    with open(path, encoding='utf-8') as f:
        body = ast.parse(f.read()).body
    return {name.split('.')[0] for node in body for name in (
        [alias.name for alias in node.names]
        if isinstance(node, ast.Import) else
        [node.module] if isinstance(node, ast.ImportFrom) else [])}


@testtools.skipUnless(
    os.path.isfile(os.path.join(PROJECT, 'test-requirements.txt')),
    'the installed package has no requirements of its tests')
@testtools.skipUnless(hasattr(sys, 'stdlib_module_names'),
                      'Python before 3.10 does not know its own modules')
class RequirementsTest(testtools.TestCase):

    def test_each_test_can_be_imported_where_they_are_installed(self):
        there = {'nova', 'nova_mem_encryption', *sys.stdlib_module_names} | {
            name.partition('.')[0] for folder in ('benchmarks', 'tools')
            for name in os.listdir(os.path.join(PROJECT, folder))}
        try:
            distributions = read_requirements()
        except importlib.metadata.PackageNotFoundError as e:
            # Packages of a distribution are tested with those that it has.
            self.skipTest('not all of test-requirements.txt is installed: %s'
                          % e)
        for distribution in distributions:
            there |= {path.parts[0].partition('.')[0]
                      for path in distribution.files or ()}
        folder = os.path.join(PROJECT, 'nova')
        self.assertEqual([], [
            (path, name) for path in sorted(files_below(folder))
            if path.endswith('.py')
            for name in find_imports(os.path.join(folder, path)) - there])
