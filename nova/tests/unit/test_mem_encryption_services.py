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

"""Test that status sees the series as the services of the machine do."""
import json
import os
import shutil

import ddt
import testtools

from nova.tests.fixtures import environment
from nova_mem_encryption.engine import tree
from nova_mem_encryption import services

SCRIPT = '%s\nfrom nova.cmd.compute import main\nmain()\n'
NAMES = ('.pth', '', '-1.dist-info', '/nova/virt', '/engine/finder.py')


class ServicesTestCase(testtools.TestCase):

    def make(self, **kwargs):
        return self.useFixture(environment.Environment(**kwargs))

    def write(self, env, line, name='nova-compute'):
        """Write a command of an environment; return its path."""
        path = os.path.join(env.path, 'bin', name)
        with open(path, 'w') as f:
            f.write(SCRIPT % line)
        os.chmod(path, 0o755)
        return path

    def ask(self, env, path=None):
        """Return what status says, and its exit status.

        :param path: the PATH, if another than that of the environment
        """
        done = env.command('status', '--json', PATH=(path or env).search)
        self.assertEqual('', done.stderr)
        return json.loads(done.stdout), done.returncode


@ddt.ddt
class InterpreterTest(ServicesTestCase):
    """By what Python a service runs."""

    def assert_absent(self, found, code, command, python):
        self.assertEqual(
            (1, 'applied', '%s is run by %s, where the series is absent. '
             'Install the package there (%s -m pip install PATH).' % (
                 command, python, python)),
            (code, found['state'], found['reason']))

    def test_the_same(self):
        env = self.make()
        command = self.write(env, '#!' + env.python)
        found, code = self.ask(env)
        self.assertEqual((0, None), (code, found['reason']))
        self.assertEqual([{'command': command, 'python': env.python,
                           'state': 'applied'}], found['services'])
        self.assertIn('By     %s (%s): applied\n' % (command, env.python),
                      env.command('status').stdout)

    @ddt.data('nova-compute', 'nova-api')
    def test_another_that_does_not_have_it(self, name):
        # As in a virtual environment with --system-site-packages
        env, system = self.make(), self.make(ours=False)
        command = self.write(system, '#!' + system.python, name)
        self.assert_absent(*self.ask(env, system), command, system.python)

    def test_another_does_not_have_it_and_is_not_the_only_one(self):
        env, system = self.make(), self.make(ours=False)
        self.write(env, '#!' + env.python)
        self.write(system, '#!' + system.python)
        found, code = self.ask(env, system)
        self.assertEqual((0, None), (code, found['reason']))
        self.assertEqual(['applied', 'absent'], [
            service['state'] for service in found['services']])

    def test_its_options(self):
        env = self.make()
        command = self.write(env, '#!%s -S' % env.python)
        self.assert_absent(*self.ask(env), command, env.python)

    def test_env(self):
        self.assertEqual('/usr/bin/env python3', services._get_python(
            ['/usr/bin/env', 'python3', '-s']))

    def test_a_first_line_that_would_be_too_long(self):
        env, system = self.make(), self.make(ours=False)
        command = self.write(
            system, '#!/bin/sh\n\'\'\'exec\' "%s" "$0" "$@"\n\' \'\'\''
            % system.python)
        self.assert_absent(*self.ask(env, system), command, system.python)

    def test_pythonpath_is_not_that_of_services(self):
        env = self.make(ours=False)
        self.write(env, '#!' + env.python)
        done = env.command('status', '--json', PYTHONPATH=tree.root(),
                           PATH=env.search)
        found = json.loads(done.stdout)
        self.assertEqual((1, 'absent'), (
            done.returncode, found['services'][0]['state']))

    @ddt.data('#!/bin/sh', '', '#!/nonexistent/python3', '#!"', '\0')
    def test_it_cannot_be_told(self, line):
        env = self.make()
        self.write(env, line)
        found, code = self.ask(env)
        self.assertEqual((0, None, None), (
            code, found['reason'], found['services'][0]['state']))


@ddt.ddt
class ReadableTest(ServicesTestCase):
    """Who can read the package."""

    def setUp(self):
        super().setUp()
        if os.geteuid():
            self.skipTest('any other user but root sees for itself')
        self.env = self.make(ours=False)
        os.chmod(self.env.path, 0o755)
        folder = os.path.join(self.env.site, 'nova_mem_encryption')
        package = os.path.dirname(services.__file__)
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(package, folder, ignore=ignored)
        if not os.path.exists(folder + '/nova'):
            shutil.copytree(os.path.join(tree.root(), 'nova'),
                            folder + '/nova', ignore=ignored)
        self.env.write('nova_mem_encryption.pth',
                       'import nova_mem_encryption.bootstrap; '
                       'nova_mem_encryption.bootstrap.arm()\n')
        os.mkdir(folder + '-1.dist-info')
        self.env.write('nova_mem_encryption-1.dist-info/METADATA', '')
        for path, _folders, files in os.walk(self.env.site):
            if 'mem_encryption' in path:
                os.chmod(path, 0o755)
                for name in files:
                    os.chmod(os.path.join(path, name), 0o644)
        os.chmod(folder + '.pth', 0o644)

    def test_all_can(self):
        found, code = self.ask(self.env)
        self.assertEqual((0, None, None), (
            code, found['reason'], found['unreadable']))

    @ddt.data(*NAMES)
    def test_only_its_owner_can(self, name):
        path = os.path.join(self.env.site, 'nova_mem_encryption' + name)
        os.chmod(path, 0o700 if os.path.isdir(path) else 0o600)
        found, code = self.ask(self.env)
        self.assertEqual((1, 'applied', path), (
            code, found['state'], found['unreadable'][0]))
        self.assertEqual(
            '%s cannot be read by %s, so their services run without the '
            'series. Install the package again with umask 022.' %
            tuple(found['unreadable']), found['reason'])
        # Who cannot enter the environment runs no services by it.
        os.chmod(self.env.path, 0o700)
        self.assertEqual(0, self.ask(self.env)[1])

    def test_modes(self):
        path = os.path.join(self.env.path, 'file')
        with open(path, 'w'):
            pass
        os.chown(path, 7, 8)
        for mode, user, group, other in (
                (0o400, True, False, False), (0o040, False, True, False),
                (0o004, False, False, True), (0o222, False, False, False)):
            os.chmod(path, mode)
            for uid, gid, expected in ((7, 8, user), (9, 8, group),
                                       (9, 9, other), (0, 0, True)):
                reader = services.Reader('', uid, frozenset([gid]))
                self.assertIs(expected, reader.may(os.stat(path), 4))
