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

"""Test that images hold a model, and that peers without the series do not.

What is compared with Nova's own record of its objects shows that nothing
else was touched.
"""
from unittest import mock

import ddt
from oslo_serialization import jsonutils
from oslo_utils.fixture import uuidsentinel as uuids
from oslo_versionedobjects import fixture as ovo_fixture

from nova import exception
from nova.notifications.objects import image as image_payload
from nova import objects
from nova.objects import base
from nova.objects import fields
from nova.objects import image_meta
from nova import test
from nova.tests.unit.notifications.objects import test_notification
from nova.tests.unit.objects import test_objects

FIELD = 'hw_mem_encryption_model'
STORED = 'image_hw_mem_encryption_model'
LOGGER = 'nova_mem_encryption'


@ddt.ddt
class FieldTest(test.NoDBTestCase):

    def test_the_models(self):
        self.assertEqual(('amd-sev', 'amd-sev-es', 'amd-sev-snp'),
                         fields.MemEncryptionModel.ALL)

    @ddt.data('amd-sev', 'amd-sev-es', 'amd-sev-snp')
    def test_an_image_holds_a_model(self, model):
        props = objects.ImageMetaProps.from_dict({FIELD: model})
        self.assertEqual(model, props.hw_mem_encryption_model)
        self.assertEqual(model, props.get(FIELD))
        self.assertEqual({FIELD: model}, props.to_dict())

    def test_an_image_need_not_hold_a_model(self):
        props = objects.ImageMetaProps.from_dict({'hw_mem_encryption': 'true'})
        self.assertNotIn(FIELD, props)
        self.assertIsNone(props.get(FIELD))

    @ddt.data('', 'amd-tdx', 'AMD-SEV')
    def test_an_image_holds_what_is_no_model_too(self, value):
        # It may be that of a server that was stored before anybody looked.
        props = objects.ImageMetaProps.from_dict({FIELD: value})
        self.assertEqual(value, props.hw_mem_encryption_model)

    def test_the_version_is_the_one_of_nova_31(self):
        self.assertEqual('1.39', image_meta.ImageMetaProps.VERSION)
        self.assertEqual('1.8', image_meta.ImageMeta.VERSION)


@ddt.ddt
class PeerTest(test.NoDBTestCase):
    """What goes over the wire."""

    def make(self, **properties):
        return objects.ImageMeta.from_dict({
            'id': uuids.image, 'name': 'pear',
            'properties': {'hw_firmware_type': 'uefi', **properties}})

    def send(self, image):
        """Return what is sent, as text."""
        return jsonutils.dumps(
            base.NovaObjectSerializer().serialize_entity(None, image))

    def receive(self, text):
        return base.NovaObjectSerializer().deserialize_entity(
            None, jsonutils.loads(text))

    def without_the_series(self):
        """Take the field from the class, as it is at an unpatched peer."""
        peer = dict(image_meta.ImageMetaProps.fields)
        del peer[FIELD]
        return mock.patch.object(image_meta.ImageMetaProps, 'fields', peer)

    @ddt.data('amd-sev', 'amd-sev-es')
    def test_a_peer_with_the_series_reads_the_model(self, model):
        sent = self.send(self.make(hw_mem_encryption_model=model))
        image = self.receive(sent)
        self.assertEqual(model, image.properties.hw_mem_encryption_model)
        self.assertEqual('pear', image.name)

    def test_a_peer_without_the_series_reads_the_rest(self):
        sent = self.send(self.make(hw_mem_encryption_model='amd-sev-es',
                                   hw_mem_encryption='true'))
        with self.without_the_series():
            image = self.receive(sent)
            self.assertNotIn(FIELD, image.properties)
            self.assertTrue(image.properties.hw_mem_encryption)
            self.assertEqual('uefi', image.properties.hw_firmware_type)
            sent = self.send(image)
        self.assertNotIn(FIELD, sent)

    def test_what_a_peer_without_the_series_sends_is_read(self):
        with self.without_the_series():
            sent = self.send(self.make(hw_mem_encryption='true'))
        image = self.receive(sent)
        self.assertIsNone(image.properties.get(FIELD))
        self.assertTrue(image.properties.hw_mem_encryption)

    def test_without_a_model_what_is_sent_is_what_nova_sends(self):
        image = self.make(hw_mem_encryption='true')
        ours = self.send(image)
        with self.without_the_series():
            self.assertEqual(self.send(image), ours)

    def test_a_request_keeps_the_model(self):
        spec = objects.RequestSpec(
            image=self.make(hw_mem_encryption_model='amd-sev-es'))
        spec = self.receive(self.send(spec))
        self.assertEqual('amd-sev-es',
                         spec.image.properties.hw_mem_encryption_model)

    def test_each_older_version_can_be_made(self):
        props = self.make(hw_mem_encryption_model='amd-sev-es').properties
        plain = self.make().properties
        for minor in range(40):
            version = '1.%d' % minor
            primitive = props.obj_to_primitive(target_version=version)
            self.assertEqual(version, primitive['nova_object.version'])
            # A peer of that version ignores what it does not know.
            self.assertEqual(
                {**plain.obj_to_primitive(target_version=version)[
                    'nova_object.data'], FIELD: 'amd-sev-es'},
                primitive['nova_object.data'])


class RecordTest(test.NoDBTestCase):
    """What differs from Nova's own record of its objects."""

    def test_only_the_properties_of_images_are_another_object(self):
        checker = ovo_fixture.ObjectVersionChecker(
            test_objects.get_nova_objects())
        expected, actual = checker.test_hashes(test_objects.object_data)
        self.assertEqual(['ImageMetaProps'], sorted(actual))
        self.assertEqual('1.39', actual['ImageMetaProps'].split('-')[0])

    def test_only_their_payload_is_another_notification(self):
        base.NovaObjectRegistry.register_notification_objects()
        checker = ovo_fixture.ObjectVersionChecker(
            test_objects.get_nova_objects())
        record = {**test_notification.notification_object_data,
                  **test_objects.object_data}
        expected, actual = checker.test_hashes(
            record, extra_data_func=test_notification.get_extra_data)
        self.assertEqual(['ImageMetaProps', 'ImageMetaPropsPayload'],
                         sorted(actual))
        self.assertEqual('1.15',
                         actual['ImageMetaPropsPayload'].split('-')[0])

    def test_without_the_field_nothing_differs(self):
        peer = dict(image_meta.ImageMetaProps.fields)
        del peer[FIELD]
        with mock.patch.object(image_meta.ImageMetaProps, 'fields', peer):
            checker = ovo_fixture.ObjectVersionChecker(
                test_objects.get_nova_objects())
            expected, actual = checker.test_hashes(test_objects.object_data)
        self.assertEqual(expected, actual)

    def test_the_payload_of_a_notification_has_the_model(self):
        payload = image_payload.ImageMetaPropsPayload(
            image_meta_props=objects.ImageMetaProps.from_dict(
                {FIELD: 'amd-sev-es'}))
        data = payload.obj_to_primitive()['nova_object.data']
        self.assertEqual('amd-sev-es', data[FIELD])


class FromImageRefTest(test.NoDBTestCase):

    def get(self, **properties):
        image_api = mock.MagicMock()
        image_api.get.return_value = {
            'name': 'pear', 'properties': properties}
        return objects.ImageMeta.from_image_ref(
            None, image_api, uuids.image)

    def test_an_image_that_cannot_be_used_is_named(self):
        e = self.assertRaises(exception.ImageBadRequest, self.get,
                              hw_mem_encryption_model='tdx')
        self.assertIn(uuids.image, e.format_message())
        self.assertIn('tdx', e.format_message())

    def test_any_other_is_read(self):
        image = self.get(hw_mem_encryption_model='amd-sev-es')
        self.assertEqual(('amd-sev-es', uuids.image),
                         (image.properties.hw_mem_encryption_model, image.id))
