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

"""Test a Nova that carries the series as patches, beside the package."""
import json
import os

import ddt
import testtools

import nova_mem_encryption
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import patched as engine
from nova_mem_encryption.engine import source
from nova_mem_encryption.export import hunks
from nova_mem_encryption import services

from nova.tests.fixtures import environment
from nova.tests.fixtures import patched
from nova.tests.unit import test_mem_encryption_services
from nova.tests.unit import test_overlay_environments as environments
from nova.tests.unit import test_revert

OURS = nova_mem_encryption.__version__
CARRIES = 'this Nova carries nova-mem-encryption %s as patches' % OURS
HALF = ('this Nova carries patches of nova-mem-encryption %s, and not all of '
        'them; missing are ')
# Modules that have been loaded twice, by two names
TWICE = '''
import collections, sys
found = collections.Counter()
for name, module in list(sys.modules.items()):
    file = getattr(module, '__file__', None) or ''
    if module is not None and name == module.__name__ and (
            '/nova/' in file):
        found[file.rpartition('/nova/')[2]] += 1
assert 'mem_encryption/models.py' in found, found
print([file for file, times in found.items() if times > 1])
'''


def judge(files, version='31.3.1'):
    return gate.judge(fingerprints.table(), patched.find(files),
                      lambda: version)


@ddt.ddt
class GateTest(testtools.TestCase):
    """What is made of a Nova, by its text."""

    def setUp(self):
        super().setUp()
        self.known, self.files = fingerprints.table(), patched.texts()
        self.nova, self.carried = patched.find({}), patched.find(self.files)

    def test_all_patches(self):
        self.assertEqual(('patched', CARRIES, []), judge(patched.texts()))

    def test_no_patch(self):
        self.assertEqual(('applied', '', []), judge({}))

    def test_all_that_come_before_one(self):
        for number, (slug, _) in enumerate(patched.steps()[:-1], 1):
            state, reason, misfits = judge(patched.texts(patches=number))
            self.assertEqual(('refused', []), (state, misfits), slug)
            self.assertIn(HALF % OURS, reason)

    def test_all_but_the_first(self):
        # It is what the others need, and what says which version they are.
        files = patched.texts()
        first = patched.steps()[0][1]
        for path in first:
            if path.startswith('nova/mem_encryption/'):
                files[path] = None
            else:
                del files[path]
        state, reason, _ = judge(files)
        self.assertEqual('refused', state)
        self.assertIn(HALF % 'of unknown version' +
                      'nova.mem_encryption: VERSION, ', reason)
        self.assertTrue(reason.endswith(' more'), reason)

    def test_the_version_alone(self):
        for version in (OURS, '0.0.1'):
            state, reason, _ = judge({
                patched.PACKAGE: patched.texts(version)[patched.PACKAGE]})
            self.assertEqual('refused', state)
            self.assertIn(HALF % version, reason)

    def test_a_package_of_that_name_that_is_another(self):
        self.assertEqual(
            ('refused', 'nova: there is a mem_encryption already', []),
            judge({patched.PACKAGE: ''}))

    def test_patches_of_another_version(self):
        files = patched.texts('0.9.0')
        # Of which not all that is here has to be there.
        del files['nova/compute/manager.py']
        state, reason, _ = judge(files)
        self.assertEqual(
            ('patched', 'this Nova carries nova-mem-encryption 0.9.0 as '
             'patches, and the package is %s: install 0.9.0 of it, whose '
             'commands know them' % OURS), (state, reason))

    def test_a_patch_of_somebody_else_beside(self):
        files = {path: text + '\n# A line more\n'
                 for path, text in patched.texts().items()}
        self.assertEqual('patched', judge(files)[0])

    @ddt.data(('32.0.0', 'not needed'), ('30.0.0', 'refused'))
    @ddt.unpack
    def test_another_release(self, version, state):
        self.assertEqual(state, judge(patched.texts(), version)[0])
        self.assertEqual(state, judge(
            patched.texts(patches=3), version)[0])

    def test_each_function_that_is_as_it_was_is_seen(self):
        functions = self.known['patched']['functions']
        self.assertGreater(len(functions), 10)
        for module, names in functions.items():
            text = self.carried(module)[1]
            before = source.Source(self.nova(module)[1])
            after = source.Source(text)
            lines = list(after.lines)
            for name in names:
                ours, theirs = after.functions[name], before.functions[name]
                first, last = _first(ours) - 1, ours.end_lineno
                old = before.lines[_first(theirs) - 1:theirs.end_lineno]
                self.assertFalse(fingerprints.carries(
                    self.known, module, b''.join(
                        after.lines[:first] + old + after.lines[last:])), name)
                lines[first:last] = [b''.join(old)] + [b''] * (
                    last - first - 1)
            self.assert_unpatched(module, b''.join(lines), names)

    def test_each_name_that_is_not_there_is_seen(self):
        for module, names in self.known['patched']['additions'].items():
            text = self.carried(module)[1]
            for name in names:
                word = name.rpartition('.')[2].encode()
                self.assert_unpatched(
                    module, text.replace(word, b'another'), [name])

    def test_each_module_that_is_not_there_is_seen(self):
        modules = self.known['patched']['modules']
        self.assertIn('nova.virt.mem_encryption', modules)
        self.assertEqual(modules, list(engine.find_lacking(
            self.known, patched.find({**self.files, **{
                module.replace('.', '/') + '.py': None
                for module in modules}}))))

    def test_each_hunk_by_hand_that_is_not_there_is_seen(self):
        for by_hand in hunks.load():
            path, text = self.carried(by_hand.module)
            for hunk in by_hand.hunks:
                with_it, without = (''.join(
                    line[1:] + '\n' for line in hunk if line[0] != sign)
                    for sign in '-+')
                self.assertEqual(1, text.decode().count(with_it), with_it)
                text = text.replace(with_it.encode(), without.encode())
                if by_hand.elsewhere:
                    self.assert_half({path: text.decode()}, by_hand)
            self.assert_half({path: text.decode()}, by_hand)

    def assert_half(self, files, by_hand):
        state, reason, _ = judge({**self.files, **files})
        self.assertEqual('refused', state, by_hand.name)
        self.assertIn('missing are %s: ' % by_hand.module, reason)

    def assert_unpatched(self, module, text, names):
        self.assertFalse(fingerprints.carries(self.known, module, text))
        lines = [line.strip() for line in self.known['patched']['lines'].get(
            module, ())]
        self.assertEqual(names, [
            name for name in source.find_unpatched(self.known, module, text)
            if name not in lines])


class PatchedTestCase(environments.EnvironmentTestCase):
    """With one environment for all that do not change it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env = environment.Environment()
        cls.env.setUp()
        cls.addClassCleanup(cls.env.cleanUp)
        patched.put(cls.env, patched.texts())

    def make_patched(self, files, **kwargs):
        patched.put(self.make(**kwargs), files)
        return self.env


@ddt.ddt
class StateTest(PatchedTestCase):
    """What becomes of the series in an environment."""

    def test_the_engine_stands_down(self):
        told = self.assert_status(0, 'State  patched: ' + CARRIES)
        self.assertEqual(
            ('patched', OURS, OURS, [], []),
            (told['state'], told['version'], told['patches'],
             told['misfits'], told['ledger']))
        self.assert_runs(environments.START + environments.DONE,
                         'patched\n' + environments.NOTHING)

    def test_it_costs_no_more_than_to_lay_it_over(self):
        self.assert_runs(environments.IS_QUICK, 'patched []\n')

    @ddt.data('off', 'false')
    def test_it_cannot_be_switched_off(self, value):
        self.assert_status(
            0, 'State  patched: %s, which NOVA_MEM_ENCRYPTION does not switch '
            'off' % CARRIES, NOVA_MEM_ENCRYPTION=value)

    def test_patches_of_another_version(self):
        self.make_patched(patched.texts('0.9.0'))
        told = self.assert_status(
            0, 'State  patched: %s' % CARRIES.replace(OURS, '0.9.0') +
            ', and the package is %s: install 0.9.0 of it, whose commands '
            'know them' % OURS)
        self.assertEqual((OURS, '0.9.0'), (told['version'], told['patches']))
        # What the commands know is then what they come with.
        self.assert_runs('from nova_mem_encryption.engine import aliases\n'
                         'aliases.arm()\n'
                         'from nova_mem_encryption.nova.mem_encryption import '
                         'models\n'
                         'print(models.__name__)',
                         'nova_mem_encryption.nova.mem_encryption.models\n')

    def test_with_some_of_the_patches_services_do_not_start(self):
        env = self.make_patched(patched.texts(patches=7))
        told = self.assert_status(1)
        self.assertEqual('refused', told['state'])
        self.assertTrue(told['reason'].startswith(HALF % OURS))
        self.assertIn('State  refused: ' + told['reason'] + '\n',
                      env.command('status').stdout)
        done = env.run('-c', environments.START)
        self.assertEqual(1, done.returncode)
        self.assertIn('Misfit: nova-mem-encryption: %s.\n%s' % (
            told['reason'], environments.WHAT_TO_DO), done.stderr)
        self.assert_runs(environments.START + environments.DONE,
                         'off\n' + environments.NOTHING,
                         NOVA_MEM_ENCRYPTION='off')

    def test_nobody_needs_to_arm_it(self):
        env = self.make_patched(patched.texts())
        os.unlink(os.path.join(env.site, 'nova_mem_encryption.pth'))
        self.assertFalse(self.assert_status(0)['armed'])
        done = env.command('slots')
        self.assertIn('Placement cannot be asked', done.stderr)

    def test_the_driver_is_there_without_the_package(self):
        env = self.make_patched(patched.texts(), ours=False)
        done = env.run('-c', 'import importlib.util\n'
                       'from nova.virt import mem_encryption\n'
                       'from nova.virt.libvirt import driver\n'
                       'print(mem_encryption.LibvirtDriver is '
                       'driver.LibvirtDriver)\n'
                       "print(importlib.util.find_spec('nova_mem_encryption')"
                       ')')
        self.assertEqual('True\nNone\n', done.stdout, done.stderr)

    def test_services_have_no_more_to_complain_of(self):
        self.assert_runs(environments.START)


@ddt.ddt
class CommandsTest(PatchedTestCase):
    """The commands of the package, which know the tree of that Nova."""

    def setUp(self):
        super().setUp()
        self.placement = self.useFixture(test_revert.Placement())
        self.conf = os.path.join(self.env.path, 'nova.conf')
        with open(self.conf, 'w') as f:
            f.write('[DEFAULT]\nstate_path = %s\n'
                    'compute_driver = mem_encryption.LibvirtDriver\n'
                    '[placement]\nauth_type = none\n'
                    'endpoint_override = %s\n'
                    % (self.env.path, self.placement.url))

    def call(self, *args):
        """Run a command, and assert that no module was there twice.

        :returns: exit status, and what was written to stdout and stderr
        """
        done = self.env.run(
            '-c', 'import sys\n'
            'from nova_mem_encryption import cli\n'
            'cli.os._exit = lambda code: None\n'
            'code = cli.main(sys.argv[1:])\n' + TWICE +
            'sys.exit(code)', *args, no_proxy='*')
        out, _, last = done.stdout.rstrip('\n').rpartition('\n')
        self.assertEqual('[]', last, done.stderr)
        return done.returncode, out, done.stderr

    def test_check(self):
        code, out, err = self.call('check', '--json', '--config-file',
                                   self.conf)
        self.assertIn(code, (0, 1, 2), err)
        told = {check['name']: check for check in json.loads(out)['checks']}
        nova = told['nova']
        self.assertEqual('PASS', nova['verdict'])
        self.assertTrue(nova['found'].endswith(': patched'), nova)
        # All is asked that the environment of Nova can tell.
        self.assertNotIn('SKIP', [told[name]['verdict'] for name in (
            'nova.conf', 'machine-type', 'cpu-model', 'deprecated')], told)

    def test_slots(self):
        code, out, err = self.call('slots', '--json', '--config-file',
                                   self.conf)
        self.assertEqual((0, []), (code, json.loads(out)['slots']), err)

    def test_upgrade_check(self):
        code, out, err = self.call('upgrade-check', '--json', '--config-file',
                                   self.conf)
        self.assertEqual(1, code, err)
        # There are neither a database nor Glance.
        self.assertEqual(
            ['flavors', 'images', 'servers'],
            [finding['check'] for finding in json.loads(out)['findings']])

    def test_revert(self):
        code, out, err = self.call('revert', '--config-file', self.conf, 'one')
        self.assertEqual((1, ''), (code, out))
        self.assertIn('Placement has no provider one.', err)

    def test_explain(self):
        path = os.path.join(self.env.path, 'log')
        with open(path, 'w') as f:
            f.write('nothing\n')
        self.assertEqual((1, 'Nothing of this is known.', ''),
                         self.call('explain', path))

    def test_measure(self):
        code, out, err = self.call('measure', '--from', self.conf)
        self.assertEqual((2, ''), (code, out))
        self.assertIn(self.conf, err)

    def test_fits(self):
        code, out, err = self.call('fits', '--json', self.env.site)
        told, = json.loads(out)
        self.assertEqual((0, 'patched', OURS), (
            code, told['state'], told['patches']), err)

    def test_demo(self):
        code, out, err = self.call('demo')
        self.assertEqual((1, ''), (code, out))
        self.assertIn('the series is not applied: ' + CARRIES, err)

    def test_nova_status(self):
        done = self.env.run('-c', environments.START + """
from nova.cmd import status
print([str(name) for name, _ in status.UpgradeCommands._upgrade_checks])
""")
        for name in ('flavors', 'images', 'resource providers', 'servers'):
            self.assertIn("'Memory encryption: %s'" % name, done.stdout)


class ServicesTest(test_mem_encryption_services.ServicesTestCase):
    """What status says of services that are run by a patched Nova."""

    def test_one_that_has_no_package(self):
        env, system = self.make(), self.make(ours=False)
        patched.put(system, patched.texts())
        self.write(system, '#!' + system.python)
        found, code = self.ask(env, system)
        self.assertEqual((0, None, ['patched']), (code, found['reason'], [
            service['state'] for service in found['services']]))

    def test_one_that_has_no_package_and_some_of_the_patches(self):
        env, system = self.make(), self.make(ours=False)
        for files in ({patched.PACKAGE: patched.texts()[patched.PACKAGE]},
                      patched.texts(patches=7)):
            patched.put(system, files)
            self.write(system, '#!' + system.python)
            found, code = self.ask(env, system)
            self.assertEqual((1, ['patched in part']), (code, [
                service['state'] for service in found['services']]))
            self.assertIn('where the series is patched in part',
                          found['reason'])

    def test_one_that_cannot_read_the_package(self):
        service = services.Service('/bin/nova-compute', '/bin/python3',
                                   'patched')
        self.assertEqual([], list(services.get_faults(
            [service], ('/a.pth', 'user nova'))))
        for other in ('applied', None):
            self.assertEqual(1, len(list(services.get_faults(
                [service, service._replace(state=other)],
                ('/a.pth', 'user nova')))))


def _first(node):
    return min([node.lineno] + [d.lineno for d in node.decorator_list])
