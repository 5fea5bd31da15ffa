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

"""Test what a cloud is run with; tools/tox -e cloud runs one."""
import importlib.util
import json
import os
import subprocess
import sys

import fixtures
import oslo_messaging
from oslo_messaging.rpc import dispatcher
from oslo_versionedobjects import exception
import testtools

from nova_mem_encryption.engine import tree

CLOUD = os.path.join(tree.root(), 'tools', 'cloud', 'cloud.py')
# Makes the configuration of a cloud of which nothing runs
CONFIGURE = '''
import os, sys
sys.path.insert(0, %r)
import services
cloud = services.Cloud(sys.argv[1], True)
cloud.configure()
cloud.make_home('es1', {'nova': ['nova.conf', 'es1.conf']})
os.makedirs(cloud.path('hosts', 'es1'))
''' % os.path.dirname(CLOUD)
# Prints what a command of a project reads
FIND = '''
import glob, json, sys
from oslo_config import cfg
found = []
for project in ('nova', 'placement', 'glance'):
    found += cfg.find_config_files(project, project + '-manage')
    for folder in cfg.find_config_dirs(project, project + '-manage'):
        found += glob.glob(folder + '/*')
print(json.dumps(found))
'''
# Prints the names of errors that no log of a mixed cloud may have
LOOKED_FOR = '''
import sys
sys.path.insert(0, sys.argv[1])
import mixed_novas
print(*mixed_novas.MISUNDERSTOOD)
'''
# Has two clouds, one after the other, in which a process is started and ended
TWICE = '''
import argparse, signal, subprocess, sys, tempfile
sys.path.insert(0, sys.argv[1])
import cloud, scenario
class Scenario(scenario.Scenario):
    def end(self, step):
        process = subprocess.Popen(['sleep', '60'])
        process.terminate()
        try:
            step.check('it ends', process.wait(5) == -signal.SIGTERM)
        finally:
            process.kill()
    STEPS = [end]
args = argparse.Namespace(
    verbose=False, light=True, json=False, keep=False,
    status={'version': '1', 'nova': '31', 'state': 'applied'})
cloud._heed_signals()
print([cloud.Run(args, tempfile.mkdtemp(), Scenario).run()
       for _ in range(2)])
'''
# Prints how dicts differ
DIFFERENCES = '''
import json, sys
sys.path.insert(0, sys.argv[1])
import there_and_back, upgrade
print(json.dumps([upgrade.get_differences(*map(
    there_and_back.read, each)) for each in (
    ({'a': {'b': 1}}, {'a': {'b': 1}}), ({'a': {'b': 1}}, {'a': {'b': 2}}),
    ({'a': {'b': 1}}, {'a': {}}), ({'a': {'b': []}}, {'a': {'b': ['x']}}),
    ({'a': '{"x": 1, "nova_object.changes": ["p", "q"]}'},
     {'a': '{"nova_object.changes": ["q", "p"], "x": 2}'}))]))
'''


@testtools.skipUnless(os.path.isfile(CLOUD), 'only a checkout has the cloud')
class ExecTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = os.path.realpath(
            self.useFixture(fixtures.TempDir()).path)
        subprocess.run([sys.executable, '-c', CONFIGURE, self.folder],
                       check=True)

    def exec(self, *words, folder=None):
        return subprocess.run(
            [sys.executable, CLOUD, 'exec', folder or self.folder, *words],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore'})

    def find(self, *node):
        """Return the names of the files that Nova and others read there."""
        done = self.exec(*node, 'python', '-c', FIND)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return [os.path.relpath(os.path.realpath(path), self.folder)
                for path in json.loads(done.stdout)]

    def test_each_project_finds_its_configuration_on_the_controller(self):
        expected = ['etc/nova.conf', 'etc/nova-databases.conf',
                    'etc/placement.conf', 'etc/glance-api.conf']
        self.assertEqual(expected, self.find())
        self.assertEqual(expected, self.find('controller'))

    def test_it_has_the_path_of_the_cloud_and_who_to_be(self):
        names = ('PATH', 'OS_CLOUD', 'OS_CLIENT_CONFIG_FILE', 'PYTHONPATH',
                 'NOVA_MEM_ENCRYPTION_CLOUD')
        found = self.exec('sh', '-c', ' '.join(
            ['echo'] + ['"$%s"' % name for name in names])).stdout.split()
        self.assertEqual(os.path.dirname(sys.executable),
                         found[0].split(':')[0])
        self.assertEqual(
            ['cloud', self.folder + '/etc/clouds.yaml', self.folder + '/lib',
             self.folder], found[1:])

    def test_nothing_comes_from_the_environment_outside(self):
        self.useFixture(fixtures.EnvironmentVariable(
            'NOVA_MEM_ENCRYPTION', 'off'))
        self.assertEqual('\n', self.exec(
            'sh', '-c', 'echo $NOVA_MEM_ENCRYPTION').stdout)

    def test_exit_status_is_that_of_the_command(self):
        self.assertEqual(7, self.exec('sh', '-c', 'exit 7').returncode)

    def test_of_a_host_that_does_not_run_it_is_told(self):
        done = self.exec('es1', 'true')
        self.assertEqual(1, done.returncode)
        self.assertIn('no host runs in ' + self.folder, done.stderr)

    def test_what_is_neither_node_nor_command_is_named_with_the_nodes(self):
        done = self.exec('es3', 'true')
        self.assertEqual(
            (2, 'cloud.py: es3 is neither a command nor a node; these are: '
                'controller, es1\n'), (done.returncode, done.stderr))

    def test_without_a_command_it_is_asked_for(self):
        for node in ([], ['controller'], ['es1']):
            done = self.exec(*node)
            self.assertEqual(2, done.returncode)
            self.assertIn('say what to run on ', done.stderr)

    def test_where_no_cloud_is_it_says_so(self):
        folder = self.useFixture(fixtures.TempDir()).path
        done = self.exec('true', folder=folder)
        self.assertEqual((2, 'cloud.py: there is no cloud in %s\n' %
                          os.path.realpath(folder)),
                         (done.returncode, done.stderr))


@testtools.skipUnless(os.path.isfile(CLOUD), 'only a checkout has the cloud')
class EnvironmentsTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.environments = _load('environments')
        folder = self.useFixture(fixtures.TempDir()).path
        self.source, self.target = (
            os.path.join(folder, name) for name in ('own', 'copy'))
        for path, text in (
                ('bin/nova-api', '#!%s/bin/python\npass\n' % self.source),
                ('lib/nova.py', 'pass\n'), ('nova-32/bin/x', '')):
            path = os.path.join(self.source, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w') as f:
                f.write(text)
        os.symlink('/usr/bin/python3', self.source + '/bin/python')
        self.environments.copy(self.source, self.target)

    def read(self, folder, path):
        with open(os.path.join(folder, path)) as f:
            return f.read()

    def test_commands_of_a_copy_are_run_by_its_python(self):
        for folder in (self.source, self.target):
            self.assertEqual('#!%s/bin/python\npass\n' % folder,
                             self.read(folder, 'bin/nova-api'))
        self.assertEqual('/usr/bin/python3',
                         os.readlink(self.target + '/bin/python'))

    def test_what_is_no_command_is_not_there_twice(self):
        self.assertTrue(os.path.samefile(
            *(folder + '/lib/nova.py'
              for folder in (self.source, self.target))))

    def test_environments_inside_are_not_copied(self):
        self.assertEqual(['bin', 'lib'], sorted(os.listdir(self.target)))

    def test_this_is_none_of_a_patched_nova(self):
        self.assertEqual(sys.prefix, self.environments.OVERLAID)
        self.assertFalse(self.environments.is_patched())


@testtools.skipUnless(os.path.isfile(CLOUD), 'only a checkout has the cloud')
class MixedNovasTest(testtools.TestCase):

    def test_errors_that_are_looked_for_are_those_of_oslo(self):
        found = subprocess.run(
            [sys.executable, '-c', LOOKED_FOR, os.path.dirname(CLOUD)],
            stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        self.assertEqual([], [name for name in found if not any(
            hasattr(module, name) for module in (
                oslo_messaging, dispatcher, exception))])
        self.assertIn('IncompatibleObjectVersion', found)

    def test_processes_of_the_second_cloud_can_be_ended_too(self):
        done = subprocess.run(
            [sys.executable, '-c', TWICE, os.path.dirname(CLOUD)],
            stdout=subprocess.PIPE, text=True)
        self.assertEqual('[0, 0]', done.stdout.splitlines()[-1], done.stdout)

    def test_the_difference_of_two_answers_names_what_became_what(self):
        found = json.loads(subprocess.run(
            [sys.executable, '-c', DIFFERENCES, os.path.dirname(CLOUD)],
            stdout=subprocess.PIPE, text=True, check=True).stdout)
        self.assertEqual([
            [], ['a b: 1 becomes 2'], ['a b: 1 becomes None'],
            ['a b: x is new'], ['a x: 1 becomes 2']], found)


def _load(name):
    """Return a module of tools/cloud."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(
        os.path.dirname(CLOUD), name + '.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
