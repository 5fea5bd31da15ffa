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

"""Test that services with and without the series understand each other."""
import os
import subprocess
import sys

import ddt
from oslo_serialization import jsonutils
from oslo_utils.fixture import uuidsentinel as uuids

from nova import context
from nova import objects
from nova.objects import base
from nova import test
from nova.tests.unit import fake_flavor

# A service without the series: what it gets it hands on. It prints what it
# sees of the model, too.
PEER = '''
import sys
from oslo_serialization import jsonutils
from nova import context, objects
from nova.objects import base
objects.register_all()
given = base.NovaObjectSerializer().deserialize_entity(
    context.get_admin_context(), jsonutils.loads(sys.stdin.read()))
image = given.image if hasattr(given, 'image') else given.image_meta
print(jsonutils.dumps({
    'seen': 'hw_mem_encryption_model' in image.properties,
    'encrypted': image.properties.hw_mem_encryption,
    'specs': given.flavor.extra_specs,
    'back': base.NovaObjectSerializer().serialize_entity(None, given)}))
'''
SPECS = {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es'}


@ddt.ddt
class PeersTest(test.NoDBTestCase):

    def make_request(self):
        return objects.RequestSpec(
            instance_uuid=uuids.server, project_id='p', user_id='u',
            flavor=fake_flavor.fake_flavor_obj(
                context.get_admin_context(), extra_specs=SPECS,
                expected_attrs=['extra_specs']),
            image=objects.ImageMeta(
                id=uuids.image,
                properties=objects.ImageMetaProps.from_dict({
                    'hw_mem_encryption': 'true',
                    'hw_mem_encryption_model': 'amd-sev-es'})))

    def make_instance(self):
        return objects.Instance(
            uuid=uuids.server, image_ref=uuids.image,
            flavor=self.make_request().flavor,
            system_metadata={'image_hw_mem_encryption': 'true',
                             'image_hw_mem_encryption_model': 'amd-sev-es'})

    def send(self, entity, switch):
        """Send an object to a service, and take it back.

        :param switch: NOVA_MEM_ENCRYPTION of the service
        :returns: what it sees, and the object
        """
        done = subprocess.run(
            [sys.executable, '-c', PEER], text=True,
            input=jsonutils.dumps(
                base.NovaObjectSerializer().serialize_entity(None, entity)),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'NOVA_MEM_ENCRYPTION': switch})
        self.assertEqual(0, done.returncode, done.stderr)
        answer = jsonutils.loads(done.stdout)
        return answer, base.NovaObjectSerializer().deserialize_entity(
            context.get_admin_context(), answer['back'])

    @ddt.data(('on', True), ('off', False))
    @ddt.unpack
    def test_a_request(self, switch, known):
        """Without the series the image's model is dropped, and nothing else.

        The flavor's is not, nor is that encryption is asked for.
        """
        answer, back = self.send(self.make_request(), switch)
        self.assertEqual(known, answer['seen'])
        self.assertTrue(answer['encrypted'])
        self.assertEqual(SPECS, answer['specs'])
        self.assertEqual(known, 'hw_mem_encryption_model' in
                         back.image.properties)
        self.assertEqual(SPECS, back.flavor.extra_specs)

    @ddt.data(('on', True), ('off', False))
    @ddt.unpack
    def test_an_instance(self, switch, known):
        """It carries the image as metadata, so nothing is dropped."""
        answer, back = self.send(self.make_instance(), switch)
        self.assertEqual(known, answer['seen'])
        self.assertTrue(answer['encrypted'])
        self.assertEqual('amd-sev-es',
                         back.image_meta.properties.hw_mem_encryption_model)
        self.assertEqual(SPECS, back.flavor.extra_specs)

    def test_what_a_service_without_it_sends(self):
        request = self.make_request()
        sent = base.NovaObjectSerializer().serialize_entity(None, request)
        image = sent['nova_object.data']['image']['nova_object.data']
        del image['properties']['nova_object.data']['hw_mem_encryption_model']
        got = base.NovaObjectSerializer().deserialize_entity(
            context.get_admin_context(), sent)
        self.assertNotIn('hw_mem_encryption_model', got.image.properties)
        self.assertIsNone(
            got.image.properties.get('hw_mem_encryption_model'))
