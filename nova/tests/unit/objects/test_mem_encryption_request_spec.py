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

"""Test that a stored request asks for what the server's image asks for."""
import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova import objects
from nova import test


@ddt.ddt
class EnsureTest(test.NoDBTestCase):

    def ensure(self, model, image, request=None):
        """Return the request of a server that is about to be moved."""
        stored = {name: value for name, value in (
            ('image_hw_mem_encryption_model', model),
            ('image_hw_mem_encryption', request)) if value is not None}
        instance = objects.Instance(
            uuid=uuids.server, project_id='p', user_id='u',
            system_metadata=stored)
        spec = objects.RequestSpec(image=image)
        spec.ensure_project_and_user_id(instance)
        self.assertEqual(('p', 'u'), (spec.project_id, spec.user_id))
        return spec

    def make_image(self, **properties):
        return objects.ImageMeta(
            properties=objects.ImageMetaProps.from_dict(
                {'hw_firmware_type': 'uefi', **properties}))

    @ddt.data('amd-sev', 'amd-sev-es')
    def test_a_model_that_was_not_stored_is_put_in(self, model):
        properties = self.ensure(model, self.make_image()).image.properties
        self.assertEqual(model, properties.hw_mem_encryption_model)
        self.assertEqual('uefi', properties.hw_firmware_type)

    @ddt.data(None, '', 'amd-tdx')
    def test_nothing_else_is(self, model):
        properties = self.ensure(model, self.make_image()).image.properties
        self.assertNotIn('hw_mem_encryption_model', properties)

    def test_a_model_that_is_there_stays(self):
        image = self.make_image(hw_mem_encryption_model='amd-sev-es')
        self.assertEqual(
            'amd-sev-es', self.ensure('amd-sev-es', image).image.properties
            .hw_mem_encryption_model)

    @ddt.data(('True', {}, True), ('true', {'hw_mem_encryption': False}, True),
              ('False', {}, False), (None, {'hw_mem_encryption': True}, None))
    @ddt.unpack
    def test_what_was_rebuilt_is_asked_for(self, stored, old, expected):
        image = self.make_image(hw_machine_type='q35', **old)
        properties = self.ensure(None, image, stored).image.properties
        self.assertIs(expected, properties.get('hw_mem_encryption'))
        self.assertEqual(('uefi', 'q35'), (properties.hw_firmware_type,
                                           properties.hw_machine_type))

    def test_a_model_that_the_image_had_is_asked_for_no_more(self):
        image = self.make_image(hw_mem_encryption_model='amd-sev-es')
        self.assertNotIn('hw_mem_encryption_model',
                         self.ensure(None, image).image.properties)

    def test_a_request_that_is_right_stays(self):
        image = self.make_image(hw_mem_encryption='true',
                                hw_mem_encryption_model='amd-sev')
        properties = image.properties
        self.assertIs(properties, self.ensure(
            'amd-sev', image, 'True').image.properties)

    def test_a_request_without_an_image(self):
        self.assertIsNone(self.ensure('amd-sev-es', None).image)
