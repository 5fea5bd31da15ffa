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

"""Test who has names that are meant for others."""
from nova import test

from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption import taken_names

ROWS = [{'uuid': uuid, 'name': name, 'root_provider_uuid': root,
         'parent_provider_uuid': parent} for uuid, name, root, parent in (
             ('1', 'node', '1', None), ('2', 'node_amd_sev', '1', '1'),
             ('3', 'node_amd_sev_es', '4', '4'), ('4', 'other', '4', None),
             ('5', 'other_amd_sev', '5', None),
             ('6', 'other+_amd_sev', '1', '2'), ('7', 'other+', '7', None))]
OTHERS = {('1', 'amd-sev-es'): ('node_amd_sev_es', '3', '4'),
          ('4', 'amd-sev'): ('other_amd_sev', '5', None),
          ('7', 'amd-sev'): ('other+_amd_sev', '6', '2')}


class TakenNamesTest(test.NoDBTestCase):

    def get(self, path):
        """Answer as Placement does."""
        _, _, name = path.replace('%2B', '+').partition('?name=')
        return {'resource_providers': [
            row for row in ROWS if row['name'] == name or not name]}

    def test_who_has_a_name(self):
        found = taken_names.find_by_name(self.get, 'node_amd_sev_es')
        self.assertEqual('a child of another provider', found.kind)
        self.assertEqual('node_amd_sev_es (3), which is a child of provider '
                         '4,', str(found))
        found = taken_names.find_by_name(self.get, 'other_amd_sev')
        self.assertEqual('a root provider', found.kind)
        self.assertEqual('other_amd_sev (5), which is a root provider,',
                         str(found))
        self.assertIsNone(taken_names.find_by_name(self.get, 'none'))

    def test_those_of_a_cloud(self):
        self.assertEqual(OTHERS, taken_names.list_taken(
            providers.Providers(self.get)))

    def test_those_of_a_node(self):
        tree = providers.Providers(self.get)
        for node in '147':
            self.assertEqual(
                {model: other for (uuid, model), other in OTHERS.items()
                 if uuid == node},
                taken_names.find_taken(self.get, tree, node))
