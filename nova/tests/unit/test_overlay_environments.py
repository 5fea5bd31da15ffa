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

"""Test what becomes of the series in good and bad environments."""
from importlib import metadata
import json
import os

import ddt
import testtools

from nova.tests.fixtures import environment
from nova.tests.fixtures import tables

from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import release
from nova_mem_encryption.engine import source

WHAT_TO_DO = ("Nothing was applied. Run 'nova-mem-encryption status'; to run "
              'without, set NOVA_MEM_ENCRYPTION=off.\n')
# What a service does first, by and large
START = 'import nova.cmd.compute, nova.cmd.conductor, nova.cmd.scheduler\n'
# What was done to Nova
DONE = '''
import sys
from nova_mem_encryption.engine import ledger, state
print(state.state().name)
print(len(ledger.entries()), len([
    name for name in sys.modules
    if name.startswith('nova_mem_encryption.nova')]))
'''
NOTHING = '0 0\n'
# What is imported that takes locks, and what takes long
IS_QUICK = (
    'import sys\n'
    'before = set(sys.modules)\n'
    'import nova\n'
    'from nova_mem_encryption.engine import state\n'
    'print(state.state().name, sorted(\n'
    "    {'ast', 'collections', 'contextlib', 'enum', 'fnmatch',\n"
    "     'functools', 'importlib.metadata', 'inspect', 'json',\n"
    "     'logging', 're', 'tempfile', 'textwrap', 'threading',\n"
    "     'typing', 'weakref', 'zipfile',\n"
    "     'nova_mem_encryption.engine.source'} &\n"
    '    (set(sys.modules) - before)))')


class EnvironmentTestCase(testtools.TestCase):

    def make(self, **kwargs):
        self.env = self.useFixture(environment.Environment(**kwargs))
        return self.env

    def assert_status(self, code, *lines, **variables):
        """Assert what the command says, to people and to machines.

        :param lines: what people are to read
        :returns: what it says to machines
        """
        done = self.env.command('status', '--json', **variables)
        self.assertEqual((code, ''), (done.returncode, done.stderr))
        if lines:
            told = self.env.command('status', **variables)
            self.assertEqual(code, told.returncode)
            self.assertNotIn('Traceback', told.stderr)
            for line in lines:
                self.assertIn(line + '\n', told.stdout)
            brief = self.env.command('status', '--brief', **variables)
            self.assertEqual((code, 1, ''), (
                brief.returncode, brief.stdout.count('\n'), brief.stderr))
            self.assertIn(': ' + json.loads(done.stdout)['state'],
                          brief.stdout)
            for line in lines:
                self.assertIn(line.partition(': ')[2], brief.stdout)
        return json.loads(done.stdout)

    def assert_fits_a_screen(self):
        """Assert that of what people read; return the rest, of --all."""
        done = self.env.command('status')
        rows = sum(max(1, -(-len(line) // 80)) for line in
                   (done.stdout + done.stderr).splitlines())
        self.assertLessEqual(rows, 23, done.stdout)  # and the prompt
        told = self.env.command('status', '--all')
        self.assertEqual(done.returncode, told.returncode)
        return told.stdout + told.stderr

    def assert_runs(self, code, stdout='', stderr='', **kwargs):
        done = self.env.run('-c', code, **kwargs)
        self.assertEqual((0, stdout, stderr),
                         (done.returncode, done.stdout, done.stderr))

    def assert_fails(self, code, error):
        """Assert that code ends with a Misfit, and did nothing to Nova."""
        done = self.env.run('-c', code)
        self.assertEqual((1, ''), (done.returncode, done.stdout))
        self.assertTrue(
            done.stderr.endswith('nova_mem_encryption.engine.state.Misfit: ' +
                                 error + WHAT_TO_DO), done.stderr)
        self.assert_runs(
            'from nova_mem_encryption.engine import state\n'
            'try:\n'
            '    import nova.conf.libvirt\n'
            'except state.Misfit:\n'
            '    pass\n'
            'else:\n'
            "    print('imported')\n" + DONE, 'refused\n' + NOTHING)


class FitTest(EnvironmentTestCase):

    def test_an_unchanged_nova(self):
        self.make()
        told = self.assert_status(0, 'State  applied')
        self.assertEqual('applied', told['state'])
        self.assertTrue(told['armed'])
        self.assertEqual([], told['misfits'])
        self.assertIn(
            ('wrap', 'nova.service', 'setup_profiler'),
            [(e['verb'], e['module'], e['name']) for e in told['ledger']])
        shown = self.assert_fits_a_screen()
        for entry in told['ledger']:
            self.assertIn(entry['name'], shown)

    def test_a_distributions_patch_of_something_else(self):
        env = self.make()
        for module in fingerprints.table()['functions']:
            path = module.replace('.', '/') + '.py'
            env.write(path, '# Changed by a distribution.\n' +
                      env.read(path) + '\n\ndef patched():\n    pass\n')
        self.assertNotEqual([], self.assert_status(0)['ledger'])
        self.assert_runs(START + 'nova.service.patched()')

    def test_a_nova_whose_version_nobody_tells(self):
        env = self.make()
        # So that the files alone do not decide.
        env.write('nova/service.py', env.read('nova/service.py') + '\n')
        env.release('31.3.1')
        os.unlink(os.path.join(env.site, 'nova-31.3.1.dist-info/METADATA'))
        self.assertEqual('applied', self.assert_status(0)['state'])


@ddt.ddt
class MisfitTest(EnvironmentTestCase):

    def found(self, module, function):
        """Return the fingerprint of what is there."""
        text = self.env.read(module.replace('.', '/') + '.py')
        return source.functions(text.encode())[function]

    @tables.data(
        ('wrapped', 'nova.service', 'setup_profiler'),
        ('leaned on', 'nova.limit.placement',
         'enforce_num_instances_and_flavor'), by=0)
    @ddt.unpack
    def test_one_more_line_in_a_function(self, _how, module, function):
        path = self.make().change(module, function)
        found = self.found(module, function)
        error = ('%s: %s is not the one of Nova 31.0.0-31.3.1 (found %s).\n'
                 % (module, function, found[:8]))

        self.assert_fails('import nova.conf.libvirt', error)
        self.assert_fails(START, error)
        # Uses of Nova's metadata go on.
        self.assert_runs('import nova, nova.version\n' + DONE,
                         'refused\n' + NOTHING)

        version = metadata.version('nova')
        expected = fingerprints.table()['functions'][module][function]
        told = self.assert_status(
            1, 'Nova   ' + version, 'State  refused',
            '%s: %s' % (module, function), '  expected  ' + expected,
            '  found     ' + found, '  file      ' + path)
        self.assertEqual('refused', told['state'])
        self.assertEqual(version, told['nova'])
        self.assertEqual([], told['ledger'])
        self.assertEqual(
            [{'module': module, 'function': function, 'expected': expected,
              'found': found, 'path': path}], told['misfits'])

    def test_all_misfits_are_named(self):
        env = self.make()
        env.change('nova.service', 'setup_profiler')
        env.write('nova/scheduler/utils.py', 'class ResourceRequest: pass')
        env.write('nova/virt/hardware.py', 'This is not Python.')
        told = self.assert_status(1, '  found     nothing of that name')
        self.assertEqual(
            {('nova.service', 'setup_profiler')} |
            {(module, name)
             for module in ('nova.scheduler.utils', 'nova.virt.hardware')
             for name in fingerprints.table()['functions'][module]},
            {(m['module'], m['function']) for m in told['misfits']})
        shown = self.assert_fits_a_screen()
        for misfit in told['misfits']:
            self.assertIn('%s: %s\n' % (misfit['module'], misfit['function']),
                          shown)

    def test_a_name_that_the_series_adds_is_taken(self):
        env = self.make()
        path = 'nova/objects/fields.py'
        env.write(path, env.read(path) + '\nMemEncryptionModel = None\n')
        reason = ('nova.objects.fields: there is a MemEncryptionModel '
                  'already')
        told = self.assert_status(1, 'State  refused: ' + reason)
        self.assertEqual('refused', told['state'])
        done = env.run('-c', START)
        self.assertEqual(1, done.returncode)
        self.assertIn('Misfit: nova-mem-encryption: %s.\n' % reason,
                      done.stderr)

    @tables.data(
        ('nova/exception.py', 'MemEncryptionUnavailable = None',
         'nova.exception: there is a MemEncryptionUnavailable already'),
        ('nova/cmd/status.py', None,
         'nova.cmd.status: there is a UpgradeCommands._upgrade_checks.Memory '
         'encryption: servers already'),
        ('nova/objects/image_meta.py', None,
         'nova.objects.image_meta: there is a ImageMetaProps.fields.'
         'hw_mem_encryption_model already'),
        ('nova/virt/libvirt/host.py', None,
         'nova.virt.libvirt.host: there is a Host.supports_amd_sev_es '
         'already'), by=0)
    @ddt.unpack
    def test_where_a_name_is_taken(self, path, line,
                                                      reason):
        env = self.make()
        text = env.read(path)
        if line is None:
            for before, after in (
                    ('    _upgrade_checks = (\n',
                     "        (_('Memory encryption: servers'), None),\n"),
                    ("    fields = {\n        # name of guest hardware",
                     "        'hw_mem_encryption_model': None,\n"),
                    ('class Host(object):\n',
                     '    supports_amd_sev_es = None\n')):
                at = text.find(before)
                if at >= 0:
                    at = text.index('\n', at) + 1
                    text = text[:at] + after + text[at:]
        env.write(path, text + (line or ''))
        self.assert_fails('import nova.conf.libvirt',
                          'nova-mem-encryption: %s.\n' % reason)
        self.assertEqual([], self.assert_status(
            1, 'State  refused: ' + reason)['ledger'])

    def test_off_is_a_way_out(self):
        self.make().change('nova.service', 'setup_profiler')
        self.assert_runs(START + DONE, 'off\n' + NOTHING,
                         NOVA_MEM_ENCRYPTION='off')

    def test_the_privsep_daemon_runs(self):
        # NOTE: sudo starts it, and hands no variable down to it. It has to
        # run where Nova was told to run without the series.
        self.make().change('nova.service', 'setup_profiler')
        self.assert_runs('''
import importlib, pkgutil
import nova.privsep
for module in pkgutil.iter_modules(nova.privsep.__path__):
    importlib.import_module('nova.privsep.' + module.name)
''' + DONE, 'refused\n' + NOTHING)


@ddt.ddt
class OtherReleaseTest(EnvironmentTestCase):

    def test_nova_30(self):
        env = self.make()
        env.change('nova.service', 'setup_profiler')
        env.release('30.0.0')
        reason = ('Nova 30.0.0 is older than Nova 31, which the series is '
                  'for')
        self.assert_fails(START, 'nova-mem-encryption: %s.\n' % reason)
        told = self.assert_status(1, 'Nova   30.0.0',
                                  'State  refused: ' + reason)
        self.assertEqual(('refused', reason), (told['state'], told['reason']))

    def test_nova_32(self):
        env = self.make()
        env.change('nova.service', 'setup_profiler')
        env.release('32.0.0')
        reason = ('Nova 32.0.0 has SEV-ES itself; nova-mem-encryption can be '
                  'uninstalled')
        # Said once
        self.assert_runs(START + DONE, 'not needed\n' + NOTHING,
                         reason + '\n')
        self.assert_runs('import nova, nova.version')
        told = self.assert_status(0, 'Nova   32.0.0',
                                  'State  not needed: ' + reason)
        self.assertEqual(('not needed', reason, []),
                         (told['state'], told['reason'], told['ledger']))

    @ddt.data(
        ('1!31.3.1', 'applied'), ('2025.1.0', 'applied'),
        ('2:31.0.0-6+deb13u3', 'applied'), ('master', 'applied'),
        ('', 'applied'), ('2025.2', 'not needed'), ('2024.2.0', 'refused'))
    @ddt.unpack
    def test_a_version_of_many_a_form(self, version, expected):
        env = self.make()
        # So that the files alone do not decide.
        env.write('nova/service.py', env.read('nova/service.py') + '\n')
        # As Debian has it, and of any name
        env.release('of Nova')
        info = os.path.join(env.site, 'nova-of Nova.dist-info')
        os.rename(os.path.join(info, 'METADATA'),
                  os.path.join(info, 'PKG-INFO'))
        os.rename(info, os.path.join(env.site, 'nova-31.0.0.egg-info'))
        env.write('nova-31.0.0.egg-info/PKG-INFO',
                  'Metadata-Version: 1.1\nName: nova\nVersion: %s\n'
                  % version)
        told = self.assert_status(int(expected == 'refused'))
        self.assertEqual((expected, version or None),
                         (told['state'], told['nova']))


@ddt.ddt
class BackportTest(EnvironmentTestCase):
    """A Nova 2025.1 that has SEV-ES by patches of its own."""

    @ddt.data(False, True)
    def test_services_do_not_start(self, changed):
        env = self.make()
        path = 'nova/objects/fields.py'
        env.write(path, env.read(path) + '\n\nclass MemEncryptionModel('
                  "BaseNovaEnum):\n    AMD_SEV = 'amd-sev'\n")
        if changed:
            env.change('nova.virt.libvirt.driver',
                       'LibvirtDriver._sev_enabled')
        reason = ('this Nova %s has SEV-ES itself, by a backport; '
                  'uninstall nova-mem-encryption' % release.version())
        done = env.run('-c', START)
        self.assertEqual(1, done.returncode)
        self.assertIn('Misfit: nova-mem-encryption: %s.\n%s' % (
            reason, WHAT_TO_DO), done.stderr)
        told = self.assert_status(1, 'State  backported: ' + reason)
        self.assertEqual(('backported', [], []), (
            told['state'], told['ledger'], told['misfits']))
        self.assert_runs('import nova, nova.version\n' + DONE,
                         'backported\n' + NOTHING)
        self.assert_runs(START + DONE, 'off\n' + NOTHING,
                         NOVA_MEM_ENCRYPTION='off')


class NoNovaTest(EnvironmentTestCase):

    def test_status_says_so(self):
        self.make(nova=False)
        told = self.assert_status(
            1, 'Nova   none', 'State  no nova: Nova is not installed')
        self.assertIsNone(told['nova'])

    def test_the_folder_of_a_checkout_is_not_nova(self):
        env = self.make(nova=False)
        os.makedirs(os.path.join(env.path, 'nova/virt'))
        with open(os.path.join(env.path, 'nova/virt/hardware.py'), 'w'):
            pass
        self.assert_status(1, 'State  no nova: Nova is not installed')

    def test_other_programs_run(self):
        self.make(nova=False)
        self.assert_runs(
            'import json\n'
            'try:\n'
            '    import nova\n'
            'except ModuleNotFoundError as e:\n'
            '    print(e.name)\n', 'nova\n')


class EditableTest(EnvironmentTestCase):
    """An environment whose Nova is a checkout, used as it is."""

    def setUp(self):
        super().setUp()
        env = self.make()
        self.checkout = os.path.join(env.path, 'checkout')
        os.mkdir(self.checkout)
        os.rename(os.path.join(env.site, 'nova'),
                  os.path.join(self.checkout, 'nova'))
        # Our own checkout, which must not be taken for Nova.
        os.makedirs(os.path.join(env.path, 'ours/nova/virt'))

    def assert_applied(self):
        self.assertEqual('applied', self.assert_status(0)['state'])
        for cwd in (self.env.path, os.path.join(self.env.path, 'ours')):
            self.assert_runs(
                'import nova.conf, nova\n'
                'from nova_mem_encryption.engine import state\n'
                'print(nova.__file__)\n'
                'print(state.state().name)',
                os.path.join(self.checkout, 'nova/__init__.py\napplied\n'),
                cwd=cwd)

    def test_by_a_line_in_a_pth_file(self):
        self.env.write('__editable__.nova-31.3.1.pth', self.checkout + '\n')
        self.assert_applied()

    def test_by_a_finder(self):
        # As those are that setuptools makes.
        self.env.write('__editable__.nova-31.3.1.pth',
                       'import nova_finder; nova_finder.install()\n')
        self.env.write('nova_finder.py', '''
import sys
from importlib.util import spec_from_file_location

class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == 'nova':
            return spec_from_file_location(
                name, %r, submodule_search_locations=[%r])

def install():
    sys.meta_path.append(Finder)
''' % (os.path.join(self.checkout, 'nova/__init__.py'),
       os.path.join(self.checkout, 'nova')))
        self.assert_applied()

    def test_with_a_changed_line(self):
        self.env.write('__editable__.nova-31.3.1.pth', self.checkout + '\n')
        path = os.path.join(self.checkout, 'nova', 'service.py')
        with open(path) as f:
            text = environment.changed(f.read(), 'setup_profiler')
        # NOTE: a link to a folder of links, to keep this one's Nova as it is.
        os.rename(os.path.join(self.checkout, 'nova'),
                  os.path.join(self.env.site, 'nova'))
        self.env.write('nova/service.py', text)
        os.rename(os.path.join(self.env.site, 'nova'),
                  os.path.join(self.checkout, 'nova'))
        told = self.assert_status(1, 'nova.service: setup_profiler')
        self.assertEqual([path], [m['path'] for m in told['misfits']])


@ddt.ddt
class SwitchTest(EnvironmentTestCase):

    @tables.data(
        ('off', 3, 'off: NOVA_MEM_ENCRYPTION=off is set'),
        (' OFF\n', 3, 'off: NOVA_MEM_ENCRYPTION=off is set'),
        ('On', 0, 'applied'),
        ('false', 1, "refused: NOVA_MEM_ENCRYPTION is 'false', which is "
                     "neither 'on' nor 'off'"),
        ('', 1, "refused: NOVA_MEM_ENCRYPTION is '', which is neither 'on' "
                "nor 'off'"), by=0)
    @ddt.unpack
    def test_the_variable(self, value, code, state):
        self.make()
        self.assert_status(code, 'State  ' + state,
                           NOVA_MEM_ENCRYPTION=value)

    def test_garbage_stops_services(self):
        self.make()
        done = self.env.run('-c', START, NOVA_MEM_ENCRYPTION='false')
        self.assertEqual(1, done.returncode)
        self.assertIn("Misfit: nova-mem-encryption: NOVA_MEM_ENCRYPTION is "
                      "'false'", done.stderr)

    def test_a_missing_pth_file_is_told(self):
        env = self.make()
        os.unlink(os.path.join(env.site, 'nova_mem_encryption.pth'))
        told = self.assert_status(
            1, 'State  applied: nova_mem_encryption.pth did not arm the '
            'engine when this interpreter started, so services run without '
            'the series. Install the package into the environment of Nova '
            'with pip.')
        self.assertFalse(told['armed'])


class ArmTest(EnvironmentTestCase):

    UNARM = '''
import sys
from nova_mem_encryption import bootstrap
from nova_mem_encryption.engine import ledger, state
sys.meta_path.remove(bootstrap.Finder)
'''

    def setUp(self):
        super().setUp()
        self.make()

    def test_it_is_first_and_there_once(self):
        count = ('import sys\n'
                 'from nova_mem_encryption import bootstrap\n'
                 'def count():\n'
                 '    print(sys.meta_path.index(bootstrap.Finder),\n'
                 '          sys.meta_path.count(bootstrap.Finder))\n')
        self.assert_runs(count + 'count()\n'
                         'bootstrap.arm()\n'
                         'bootstrap.arm()\n'
                         'count()', '0 1\n0 1\n')

    def test_after_nova_itself_it_is_in_time(self):
        self.assert_runs(
            self.UNARM + 'import nova\n'
            'bootstrap.arm()\n'
            'import nova.conf\n'
            'print(state.state().name)\n'
            'print([e.name for e in ledger.entries()\n'
            "       if e.module == 'nova.conf.libvirt'])",
            "applied\n['register_opts']\n")

    def test_after_a_module_that_the_series_extends_it_is_too_late(self):
        reason = ('nova.conf.libvirt was imported before the engine was '
                  'armed; see that nova_mem_encryption.pth is in '
                  'site-packages')
        self.assert_runs(
            self.UNARM + 'import nova.conf\n'
            'for again in (bootstrap.arm,\n'
            "              lambda: __import__('nova.scheduler.utils')):\n"
            '    try:\n'
            '        again()\n'
            '    except state.Misfit as e:\n'
            '        print(e)\n' + DONE,
            2 * ('nova-mem-encryption: %s.\n%s' % (reason, WHAT_TO_DO)) +
            'refused\n' + NOTHING)

    def test_where_it_is_off_late_is_early_enough(self):
        self.assert_runs(self.UNARM + 'import nova.conf\n'
                         'bootstrap.arm()\n'
                         'import nova.scheduler.utils\n' + DONE,
                         'off\n' + NOTHING, NOVA_MEM_ENCRYPTION='off')

    def test_a_file_of_the_tree_alone_does_nothing_where_it_is_off(self):
        self.assert_runs(
            'import nova\n'
            'from nova_mem_encryption.engine import state\n'
            'from nova_mem_encryption.engine import tree\n'
            'tree.tree()\n'
            'try:\n'
            '    import nova_mem_encryption.nova.objects.fields\n'
            'except state.Misfit as e:\n'
            '    print(e)\n'
            'from nova.objects import fields\n'
            "print(hasattr(fields, 'MemEncryptionModel'))",
            'The series is not applied: NOVA_MEM_ENCRYPTION=off is set\n'
            'False\n', NOVA_MEM_ENCRYPTION='off')


class StartTest(EnvironmentTestCase):
    """What it costs those who do not ask for it."""

    def setUp(self):
        super().setUp()
        self.make()

    def test_the_bootstrap_imports_nothing(self):
        done = self.env.run('-I', '-S', '-c', '''
import sys
before = set(sys.modules)
sys.path.insert(0, %r)
import nova_mem_encryption.bootstrap
nova_mem_encryption.bootstrap.arm()
import colorsys  # as any program imports what it needs
print(sorted(set(sys.modules) - before))
''' % os.path.dirname(os.path.dirname(os.path.dirname(
            fingerprints.__file__))))
        self.assertEqual(
            "['colorsys', 'nova_mem_encryption', "
            "'nova_mem_encryption.bootstrap']\n",
            done.stdout, done.stderr)

    def test_nothing_takes_locks_before_eventlet_has_patched_them(self):
        self.assert_runs('import sys\n'
                         'before = set(sys.modules)\n'
                         'import nova\n'
                         'from nova_mem_encryption.engine import state\n'
                         'print(state.state().name, sorted(\n'
                         "    {'threading', 'logging', 'queue', 'socket',\n"
                         "     'urllib3', 'oslo_context.context'} &\n"
                         '    (set(sys.modules) - before)))', 'applied []\n')

    def test_it_is_quick_also_where_all_files_are_unknown(self):
        self.assert_runs(IS_QUICK, 'applied []\n')
        for module in fingerprints.table()['files']:
            path = module.replace('.', '/') + '.py'
            self.env.write(path, self.env.read(path) + '# Another\n')
        self.assert_runs(IS_QUICK, 'applied []\n')

    def test_it_runs_without_docstrings(self):
        self.assert_runs(
            'import nova.conf, nova.objects\n'
            'nova.objects.register_all()\n' +
            DONE.partition('print(len')[0] +
            "print('register_opts' in [e.name for e in ledger.entries()])",
            'applied\nTrue\n', PYTHONOPTIMIZE='2')
        for args in (['--help'], ['status', '--help']):
            done = self.env.command(*args, PYTHONOPTIMIZE='2')
            self.assertEqual((0, ''), (done.returncode, done.stderr))
        # NOTE: pycparser before 3, which oslo.privsep needs, wants its own
        # docstrings; without them no nova-compute starts.
        if self.env.run('-OO', '-c', 'import oslo_privsep.capabilities'
                        ).returncode == 0:
            self.assert_status(0, 'State  applied', PYTHONOPTIMIZE='2')

    def test_services_have_no_more_to_complain_of(self):
        self.assert_runs(START, NOVA_MEM_ENCRYPTION='off')
        self.assert_runs(START, NOVA_MEM_ENCRYPTION='on')
