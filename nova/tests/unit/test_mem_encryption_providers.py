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

"""Test the names of providers, and how they are read."""
import os_resource_classes as orc

from nova import test

from nova_mem_encryption.nova.mem_encryption import providers

ROWS = [{'uuid': uuid, 'name': name, 'root_provider_uuid': root,
         'parent_provider_uuid': parent} for uuid, name, root, parent in (
             ('4', 'node_amd_sev_es', '1', '1'), ('1', 'node', '1', None),
             ('2', 'node_amd_sev', '1', '1'), ('3', 'node_pci', '1', '1'),
             ('5', 'other', '5', None), ('6', 'other_amd_sev', '6', None))]


class ProvidersTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.asked = []

    def get(self, path):
        """Answer as Placement does."""
        self.asked.append(path)
        return {
            '/resource_providers': {'resource_providers': ROWS},
            '/resource_providers?in_tree=1': {'resource_providers': ROWS[:4]},
            '/resource_providers?required=T': {
                'resource_providers': [ROWS[4], {'uuid': 'new'}]},
            '/resource_providers/2/inventories': {
                'resource_provider_generation': 7,
                'inventories': {orc.MEM_ENCRYPTION_CONTEXT: {'total': 3}}},
            '/resource_providers/2/usages': {
                'usages': {orc.MEM_ENCRYPTION_CONTEXT: 2}},
            '/resource_providers/2/traits': {'traits': ['T']},
            '/resource_providers/2/allocations': {'allocations': {
                'a': {'resources': {orc.MEM_ENCRYPTION_CONTEXT: 1}},
                'b': {'resources': {orc.VGPU: 1}}}},
            '/resource_providers/1/inventories': {
                'resource_provider_generation': 1, 'inventories': {}},
            '/resource_providers/1/usages': {'usages': {}},
        }[path]

    def test_a_name_and_its_model(self):
        for model, name in (('amd-sev', 'n_amd_sev'),
                            ('amd-sev-es', 'n_amd_sev_es')):
            self.assertEqual(name, providers.name_of('n', model))
            self.assertEqual(model, providers.model_of(name, 'n'))

    def test_a_provider_that_is_of_no_model(self):
        for name, parent in (('n', None), ('n_amd_sev', None),
                             ('n_amd_sev', 'm'), ('n_pci', 'n')):
            self.assertIsNone(providers.model_of(name, parent))

    def test_a_cloud(self):
        found = providers.Providers(self.get)
        self.assertEqual([('2', 'amd-sev'), ('4', 'amd-sev-es')],
                         [(p.uuid, p.model) for p in found.nested])
        self.assertEqual(['5'], [p.uuid for p in found.find('T')])

    def test_a_node(self):
        found = providers.Providers(self.get, '1')
        self.assertEqual(['/resource_providers?in_tree=1'], self.asked)
        self.assertEqual(
            [('amd-sev', '2'), ('amd-sev-es', '4')],
            [(m, p.uuid) for m, p in found.get_children('1').items()])
        self.assertEqual({}, found.get_children('5'))

    def test_a_provider(self):
        found = providers.Providers(self.get).by_uuid['2']
        self.assertEqual(
            (7, {'total': 3}, 2, ['T'], {'a'}),
            (found.generation, found.slots, found.used, found.traits,
             found.consumers))
        self.assertEqual(len(self.asked), len(set(self.asked)))

    def test_a_provider_without_slots(self):
        found = providers.Providers(self.get).by_uuid['1']
        self.assertEqual((None, 0), (found.slots, found.used))
