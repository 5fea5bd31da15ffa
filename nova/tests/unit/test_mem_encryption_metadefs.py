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

"""Test that the metadata definitions for Glance say what the series does."""
import glob
import json
import os
import runpy

import ddt

from nova.api.validation.extra_specs import validators
from nova.objects import fields
from nova.objects import image_meta
from nova import test

from nova_mem_encryption.engine import tree

FOLDER = os.path.join(tree.root(), 'etc', 'metadefs')


@ddt.ddt
class MetadefsTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        if not os.path.isdir(FOLDER):
            self.skipTest('only a checkout has the definitions')
        self.path, = glob.glob(os.path.join(FOLDER, '*.json'))
        with open(self.path, encoding='utf-8') as f:
            self.namespace = json.load(f)
        self.property, = self.namespace['properties'].values()

    def get_names(self, resource_type):
        """Return the full names of the properties of a resource type."""
        prefix, = (each['prefix'] for each in
                   self.namespace['resource_type_associations']
                   if each['name'] == resource_type)
        return [prefix + name for name in self.namespace['properties']]

    def test_it_is_as_it_is_made(self):
        make = runpy.run_path(os.path.join(
            tree.root(), 'tools', 'metadefs.py'))['make']
        with open(self.path, encoding='utf-8') as f:
            self.assertEqual(make(), f.read())

    def test_values_are_those_of_the_field(self):
        self.assertEqual(list(fields.MemEncryptionModel.ALL),
                         self.property['enum'])

    def test_values_are_those_of_the_extra_spec(self):
        name, = self.get_names('OS::Nova::Flavor')
        self.assertEqual(validators.VALIDATORS[name].value['enum'],
                         self.property['enum'])

    @ddt.data('OS::Glance::Image', 'OS::Cinder::Volume')
    def test_images_and_volumes_have_that_property(self, kind):
        name, = self.get_names(kind)
        for value in self.property['enum']:
            props = image_meta.ImageMeta.from_dict(
                {'properties': {name: value}}).properties
            self.assertEqual(value, props.get(name))

    def test_the_property_of_a_volume_is_that_of_its_image(self):
        self.assertEqual(['image'], [
            each['properties_target'] for each in
            self.namespace['resource_type_associations']
            if each['name'] == 'OS::Cinder::Volume'])

    def test_the_namespace_is_none_of_openstack(self):
        # Glance's loader leaves a namespace alone that is there already.
        self.assertFalse(self.namespace['namespace'].startswith('OS::'))

    def test_its_text_names_all_that_is_needed(self):
        for word in self.property['enum'] + [
                'hw:mem_encryption', 'hw_mem_encryption', 'hw_firmware_type',
                'hw_machine_type']:
            self.assertIn(word, self.property['description'])
