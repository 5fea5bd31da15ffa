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

"""Test the command nova-mem-encryption demo, as it is run."""
import json
import os
import signal
import subprocess
import sys

import ddt
import fixtures
from oslotest import base

DEMO = [sys.executable, '-m', 'nova_mem_encryption.cli', 'demo']


@ddt.ddt
class DemoTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        # It is to be quiet by itself.
        self.env = {name: value for name, value in os.environ.items()
                    if name != 'NOVA_MEM_ENCRYPTION'}
        self.env.update(TMPDIR=self.folder, HOME=self.folder,
                        PYTHONWARNINGS='always')

    def run_demo(self, *options, command=DEMO, **env):
        """Run it; return exit status and what it printed."""
        done = subprocess.run(
            [*command, *options], cwd='/', env={**self.env, **env},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True)
        self.assertEqual([], os.listdir(self.folder))
        return done.returncode, done.stdout, done.stderr

    def test_all_goes_as_expected_and_quietly(self):
        code, out, err = self.run_demo()
        self.assertEqual((0, ''), (code, err))
        self.assertIn('AMD SEV-ES support detected: 2 guests', out)
        self.assertRegex(
            out, 'host1 +- +100 +old +HW_CPU_X86_AMD_SEV\n')
        self.assertRegex(
            out, 'host1_amd_sev +host1 +100 +old +HW_CPU_X86_AMD_SEV\n')
        for name in ('es-by-flavor', 'es-by-image'):
            self.assertRegex(
                out, name + ' +ACTIVE +host1_amd_sev_es +0x0037 +0x0037\n')
        self.assertIn('<policy>0x0037</policy>', out)
        self.assertIn('NODEBG | NOKS | ES | DOMAIN | SEV', out)
        self.assertRegex(
            out, 'conflicting +HTTP 400 +Conflicting memory encryption models')
        self.assertRegex(
            out, 'unencrypted +HTTP 400 +A memory encryption model without')
        self.assertRegex(out, 'one-too-many +ERROR +No valid host')
        self.assertNotIn('FAILED', out)
        self.assertIn('guest runs.', out)
        self.assertTrue(out.endswith('\nAll as expected.\n'))
        self.assertEqual([], [line for line in out.splitlines()
                              if len(line) > 79])

    def test_sev_snp(self):
        code, out, err = self.run_demo('--snp')
        self.assertEqual((0, ''), (code, err))
        self.assertIn('AMD SEV-SNP support detected: 2 guests', out)
        for name in ('snp-by-flavor', 'snp-by-image'):
            self.assertRegex(out, name + ' +ACTIVE +host1_amd_sev_snp '
                             '+0x30000 +0x30000\n')
        self.assertRegex(out, 'sev +ACTIVE +host1_amd_sev +0x0033 +0x0033\n')
        self.assertIn('<launchSecurity type="sev-snp">', out)
        self.assertRegex(out, 'with-nvram +HTTP 400 ')
        self.assertRegex(out, '\n +es +ERROR +No valid host')
        self.assertTrue(out.endswith('\nAll as expected.\n'))

    @ddt.data(('--no-es', 'sev_es=1'), ('--es-slots=0', 'BIOS'))
    @ddt.unpack
    def test_without_es_the_remedy_is_told_and_sev_works(self, option, remedy):
        code, out, err = self.run_demo('--json', option)
        self.assertEqual((0, ''), (code, err))
        found = json.loads(out)
        self.assertTrue(found['ok'])
        host, before, after, servers, refusals = found['steps']
        self.assertIn(remedy, host['facts']['nova-compute'])
        self.assertEqual(['host1', 'host1_amd_sev'], [
            rp['provider'] for rp in after['facts']['providers']])
        self.assertEqual(
            [['sev', 'ACTIVE', ['host1_amd_sev'], '0x0033', '0x0033'],
             ['es-by-flavor', 'ERROR', [], None, None],
             ['es-by-image', 'ERROR', [], None, None]],
            [list(row.values()) for row in servers['facts']['servers']])
        self.assertIn('No valid host', servers['facts']['message'])

    @ddt.data((1, ['ACTIVE', 'ERROR']), (16, ['ACTIVE', 'ACTIVE']))
    @ddt.unpack
    def test_no_more_servers_than_slots(self, slots, statuses):
        code, out, err = self.run_demo(
            '--json', '--verbose', '--es-slots', str(slots))
        self.assertEqual(0, code)
        self.assertIn('INFO nova.service Starting compute node', err)
        facts = [step['facts'] for step in json.loads(out)['steps']]
        self.assertEqual(slots, facts[2]['providers'][2]['slots'])
        self.assertEqual(statuses, [
            row['status'] for row in facts[3]['servers'][1:]])
        self.assertEqual('ERROR', facts[4]['requests'][2]['outcome'])

    def test_a_weaker_policy_fails(self):
        """Break the series: the guest gets less than was asked for."""
        script = (
            'import sys\n'
            'from nova_mem_encryption import cli\n'
            'from nova_mem_encryption.engine import tree\n'
            'tree.tree()\n'
            # It expects what the table says before it is broken.
            'from nova_mem_encryption.demo import steps\n'
            'from nova_mem_encryption.nova.mem_encryption import models\n'
            "row = models.MODELS['amd-sev-es']\n"
            "models.MODELS['amd-sev-es'] = row._replace(\n"
            '    launch_security=row.launch_security._replace(policy=\n'
            "        models.MODELS['amd-sev'].launch_security.policy))\n"
            "sys.exit(cli.main(['demo']))")
        # This imports Nova before the demo can see to its warnings, and to
        # where stevedore keeps its cache.
        cache = self.useFixture(fixtures.TempDir()).path
        code, out, err = self.run_demo(
            command=[sys.executable, '-c', script],
            PYTHONWARNINGS='ignore', XDG_CACHE_HOME=cache)
        self.assertEqual((1, ''), (code, err))
        self.assertIn('FAILED es-by-flavor is ACTIVE on host1_amd_sev_es with '
                      'policy 0x0037\n', out)
        self.assertIn('\nFAILED: es-by-flavor', out)
        self.assertNotIn('All as expected', out)

    @ddt.data('-1', '17', '1.5', 'x', '')
    def test_a_bad_number_of_slots_is_refused(self, number):
        code, out, err = self.run_demo('--es-slots', number)
        self.assertEqual((2, ''), (code, out))
        self.assertIn("--es-slots: '%s' is not a number from 0 to 16" % number,
                      err)

    @ddt.data(('off', 'NOVA_MEM_ENCRYPTION=off is set'),
              ('maybe', 'Nothing was applied'))
    @ddt.unpack
    def test_without_the_series_there_is_no_demo(self, switch, reason):
        code, out, err = self.run_demo(NOVA_MEM_ENCRYPTION=switch)
        self.assertEqual((1, ''), (code, out))
        self.assertIn('the series is not applied: ', err)
        self.assertIn(reason, err)

    @ddt.data('placement', 'fixtures')
    def test_what_is_missing_is_named(self, module):
        shadow = self.useFixture(fixtures.TempDir()).path
        with open(os.path.join(shadow, module + '.py'), 'w') as f:
            f.write("raise ModuleNotFoundError(\"No module named '{0}'\", "
                    "name='{0}')".format(module))
        code, out, err = self.run_demo(PYTHONPATH=shadow,
                                       PYTHONDONTWRITEBYTECODE='1')
        self.assertEqual((2, ''), (code, out))
        self.assertRegex(
            err, r"^[^\n]*No module named '%s'[^\n]*pip install "
            r"'\.\[demo\]'[^\n]*\n$" % module)

    @ddt.data(signal.SIGINT, signal.SIGTERM)
    def test_a_signal_ends_it_cleanly(self, number):
        demo = subprocess.Popen(
            DEMO, cwd='/', env=self.env, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True)
        self.addCleanup(demo.stdout.close)
        self.addCleanup(demo.stderr.close)
        for line in demo.stdout:
            if line.startswith('1/5'):
                break
        self.assertNotEqual([], os.listdir(self.folder))
        demo.send_signal(number)
        self.assertEqual(128 + number, demo.wait())
        self.assertEqual('\nInterrupted.\n', demo.stderr.read())
        self.assertEqual([], os.listdir(self.folder))
