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

"""Test what 'nova-mem-encryption check' has from a real Placement."""
import json

import fixtures

from nova.tests.fixtures import recorded_host as fake
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.check import ask_nova


class CheckPlacementTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.conf = self.write_conf()
        # Nova's tests share one file compute_id for all hosts.
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.nova.mem_encryption.nodes.get_local_node',
            lambda: 'compute1'))

    def ask(self):
        """Ask Placement; return the answer, or the error."""
        found = ask_nova.answer('placement', ['--config-file=' + self.conf])
        return found.get('answer'), found.get('error')

    def check(self):
        """Return the results for a host that is this one, by name."""
        answer, error = self.ask()
        self.assertIsNone(error)
        host = self.useFixture(fake.RecordedHost())
        host.write(fake.CURRENT, 'sev 0\nsev_es 1\n')
        host.update('guests', sev_es=1)
        host.write('commands/cpuid', 'eax=0x0000000f ebx=0x00000073 '
                   'ecx=0x%08x edx=0x%08x' % (115, 16))
        host.write(fake.CAPACITY, 'sev 100\nsev_es 15\n')
        host.replace('commands/domcapabilities', '>907<', '>100<')
        host.replace('commands/domcapabilities', '>99<', '>15<')
        host.write('commands/placement', answer)
        return host.check()

    def test_a_host_with_the_series(self):
        self.start_host()
        self.start_host('compute2')
        self.boot(base.ES_SPECS, host='compute1')
        answer, error = self.ask()
        self.assertEqual({
            'root': {'total': 0, 'reserved': 0, 'used': 0, 'traits': []},
            'amd_sev': {'total': 100, 'reserved': 0, 'used': 0,
                        'traits': [base.SEV_TRAIT]},
            'amd_sev_es': {'total': 15, 'reserved': 0, 'used': 1,
                           'traits': [base.ES_TRAIT]},
            'amd_sev_snp': None, 'taken': {},
            # os-traits of 2025.1 does not know its trait.
            'unknown': ['amd_sev_snp']}, json.loads(answer))
        self.assertEqual({}, {
            result.name: result for result in self.check().values()
            # SEV-SNP is not switched on here.
            if result.verdict != ('SKIP' if 'sev-snp' in result.name or
                                  'amd_sev_snp' in result.name else 'PASS')})

    def test_a_host_without_the_series(self):
        self.start_host(plain=True)
        answer, error = self.ask()
        found = json.loads(answer)
        self.assertEqual((None, None), (found['amd_sev'],
                                        found['amd_sev_es']))
        self.assertEqual(100, found['root']['total'])
        self.assertEqual('FAIL', self.check()['placement'].verdict)

    def test_a_name_that_another_provider_has(self):
        self.start_host(plain=True)
        self.placement.post('/resource_providers',
                            {'name': 'compute1_amd_sev'})
        self.boot(base.SEV_SPECS)
        self.restart_host()
        answer, error = self.ask()
        found = json.loads(answer)
        self.assertEqual({'amd_sev': 'a root provider'}, found['taken'])
        self.assertEqual(
            {'total': 1, 'reserved': 0, 'used': 1, 'traits': []},
            found['root'])
        results = self.check()
        self.assertEqual('PASS', results['placement'].verdict)
        self.assertIn('<node>_amd_sev is a root provider',
                      results['amd_sev'].found)

    def test_a_host_that_placement_does_not_know(self):
        answer, error = self.ask()
        self.assertIsNone(answer)
        self.assertIn('Placement has no provider compute1', error)
