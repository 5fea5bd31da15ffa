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

"""Test that a model which is but a row is known wherever models are listed."""
import json
import subprocess
import sys

from nova import test
from nova.tests.fixtures import recorded_host as fake

# What is printed is asserted below.
SCRIPT = r'''
import json
import os
import runpy
import sys

from nova_mem_encryption.engine import tree as engine

engine.tree()
from nova_mem_encryption.nova.mem_encryption import models

row = models.MODELS['amd-sev-es']
models.MODELS['amd-foo'] = row._replace(
    value='amd-foo', title='FOO', trait='CUSTOM_FOO', cpu_flag='foo', cpuid=9,
    parameters_on=('foo',), parameters_off=('bar',), min_kernel=(9, 9),
    min_qemu=(99, 0, 0), reserved='reserved_foo_guests',
    lacks={'secure_boot': 'There is none.'},
    count=row.count._replace(element='maxFooGuests', asids='foo'),
    firmware=row.firmware._replace(features=('amd-foo',)),
    launch_security=row.launch_security._replace(element='foo', marks=()))

from nova_mem_encryption.check import ask_nova
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import libvirt
from nova_mem_encryption.check import questions
from nova_mem_encryption.check import record
from nova_mem_encryption.check import report
from nova_mem_encryption.check import tree
from nova_mem_encryption.cli import parser
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption import nodes
from nova_mem_encryption.nova.mem_encryption import placement
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption.revert import guests
from nova_mem_encryption.nova.mem_encryption.revert import reversal
from nova_mem_encryption.nova.mem_encryption.revert import writes
from nova_mem_encryption.nova.mem_encryption import slots
from nova_mem_encryption.nova.mem_encryption.upgrade import (
    providers as upgrade_providers)
from nova_mem_encryption.nova.mem_encryption.upgrade import specs

PROVIDER = {'uuid': '2', 'name': 'n_amd_foo', 'root_provider_uuid': '1',
            'parent_provider_uuid': '1', 'generation': 0}
ROOT = {'uuid': '1', 'name': 'n', 'root_provider_uuid': '1',
        'parent_provider_uuid': None, 'generation': 0}


class Client:
    """Placement, with a node that has one slot of the model, in use."""

    def get(self, path):
        own = path.startswith('/resource_providers/2/')
        slot = {providers.SLOT: {'total': 1, 'reserved': 0}} if own else {}
        rows = [] if 'required' in path else [ROOT, PROVIDER]
        return {'resource_providers': rows, 'inventories': slot,
                'resource_provider_generation': 0, 'traits': [],
                'usages': {providers.SLOT: 1},
                'allocations': {'server': {'resources': {
                    providers.SLOT: 1}}} if own else {}}


told = {}
host = hosts.Recorded(sys.argv[1])
told['verdicts'] = {
    result.name: [result.verdict, result.found]
    for result in tree.run(report.CHECKS, host)}
told['schemas'] = [
    questions.QUESTIONS[name].schema['required']
    for name in ('guests', 'placement')]
told['counts'] = libvirt.COUNTS
told['recorded'] = [path for path in record.PATHS if path.endswith('/bar')]
told['flags'] = list(record.FLAGS)
told['tree'] = ask_nova.read_tree(providers.Providers(Client().get), '1')
told['asids'] = list(misc_cgroup.read_capacity(host.root).counts)
told['firmware'] = str(selection.choose('amd-foo', 'pc-q35-7.2', host.root))
try:
    reversal.Reversal(Client(), nodes.Node('n', '1'),
                      guests.Guests('none')).get_writes()
except writes.Failed as e:
    told['revert'] = str(e)
told['help'] = parser.COMMANDS['revert'].EPILOG + (
    parser.COMMANDS['check'].EPILOG)
placement.connect = Client
slots._get_foreign = lambda: ({}, None)
told['slots'] = slots.get_slots()[0]
told['checks'] = [
    finding.message for found in (
        specs.judge_specs('Flavor f', {
            'hw:mem_encryption': '1', 'hw:mem_encryption_model': 'amd-foo',
            'os:secure_boot': 'required'}),
        upgrade_providers.check_providers())
    for finding in found]
metadefs = os.path.join(engine.root(), 'tools', 'metadefs.py')
told['metadefs'] = (json.loads(runpy.run_path(metadefs)['make']())
                    if os.path.exists(metadefs) else None)
print(json.dumps(told))
'''


class NewModelTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        host = self.useFixture(fake.RecordedHost())
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', SCRIPT, host.path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(0, done.returncode, done.stderr)
        self.told = json.loads(done.stdout.splitlines()[-1])

    def test_it_is_known_everywhere(self):
        told = self.told
        # check: what is asked, what is recorded, and what is looked at
        self.assertEqual([['sev', 'sev_es', 'foo'],
                          ['root', 'amd_sev', 'amd_sev_es', 'amd_foo']],
                         told['schemas'])
        self.assertIn('maxFooGuests', told['counts'])
        self.assertEqual(['/sys/module/kvm_amd/parameters/bar'],
                         told['recorded'])
        self.assertIn('foo', told['flags'])
        self.assertEqual(['sev', 'sev_es', 'foo'], told['asids'])
        self.assertEqual({'total': 1, 'reserved': 0, 'used': 1, 'traits': []},
                         told['tree']['amd_foo'])
        verdicts = told['verdicts']
        self.assertEqual(['FAIL', 'no FOO, by CPUID 0x8000001F'],
                         verdicts['foo'])
        self.assertEqual(
            ['FAIL', 'Linux 6.8: it has no FOO, and no kernel parameter '
             'kvm_amd.foo'], verdicts['kernel'])
        self.assertEqual(['FAIL', 'QEMU 7.2.22'], verdicts['qemu'])
        self.assertIn('no firmware can start FOO guests',
                      verdicts['firmware'][1])
        for name in ('kvm_amd.foo', 'kvm_amd.bar', 'amd_foo'):
            self.assertEqual('SKIP', verdicts[name][0])
        self.assertIn('its features lack amd-foo', told['firmware'])
        # slots, revert, upgrade checks
        self.assertEqual([
            ['n', 'amd-foo', 1, 1, 0, None, None],
            ['n', 'amd-sev-es', 0, 0, 0, None,
             'there is no provider NODE_amd_sev_es']], told['slots'])
        self.assertIn('have slots of FOO', told['revert'])
        self.assertIn('NODE_amd_foo', told['help'])
        self.assertIn('the host from SEV-ES or FOO', told['help'])
        no_secure_boot, no_trait = told['checks']
        self.assertIn('so it is refused with FOO. There is none.',
                      no_secure_boot)
        self.assertIn('n_amd_foo lacks the trait CUSTOM_FOO', no_trait)
        # metadefs, which a checkout has
        if told['metadefs'] is not None:
            known = told['metadefs']['properties']['mem_encryption_model']
            self.assertIn('amd-foo', known['enum'])
            self.assertIn('amd-foo its registers', known['description'])
