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

"""Test that no server is unshelved from a snapshot that does not fit."""
from unittest import mock

import ddt
from oslo_utils.fixture import uuidsentinel as uuids
from oslo_utils import timeutils

from nova.compute import api
from nova.compute import vm_states
from nova import context
from nova import exception
from nova import objects
from nova import test

UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
ES = {'hw_mem_encryption': 'true', 'hw_mem_encryption_model': 'amd-sev-es'}


def make_server(state, properties, **metadata):
    return objects.Instance(
        uuid=uuids.server, image_ref=uuids.own, vm_state=state,
        task_state=None, locked=False, project_id='p', user_id='u',
        launched_at=timeutils.utcnow(),
        flavor=objects.Flavor(name='apple', extra_specs={}),
        system_metadata={**{'image_' + name: value for name, value in
                            {**UEFI, **properties}.items()}, **metadata})


def make_snapshot(properties):
    return {'id': uuids.snapshot, 'properties': {**UEFI, **properties}}


@ddt.ddt
class UnshelveTest(test.NoDBTestCase):

    def unshelve(self, state, own, image, **metadata):
        """Unshelve until Nova goes on."""
        read = {'side_effect': image} if isinstance(image, Exception) else {
            'return_value': image}
        with mock.patch('nova.image.glance.API.get', **read) as get, \
                mock.patch.object(api.API, '_check_quota_unshelve_offloaded'
                                  ), \
                mock.patch.object(objects.RequestSpec, 'get_by_instance_uuid',
                                  side_effect=test.TestingException), \
                mock.patch('nova.network.neutron.API.'
                           'instance_has_extended_resource_request',
                           return_value=False):
            try:
                api.API().unshelve(context.get_admin_context(),
                                   make_server(state, own, **metadata))
            except test.TestingException:
                return get.call_count
        self.fail('it was unshelved')

    @ddt.data(({}, ES), (ES, {}), (ES, {'hw_mem_encryption': 'true'}))
    @ddt.unpack
    def test_a_snapshot_that_does_not_fit(self, own, other):
        e = self.assertRaises(
            exception.InvalidRequest, self.unshelve,
            vm_states.SHELVED_OFFLOADED, own, make_snapshot(other),
            shelved_image_id=uuids.snapshot)
        self.assertIn('Instance %s cannot be unshelved from its snapshot. '
                      'Image %s asks for' % (uuids.server, uuids.snapshot),
                      e.format_message())

    @ddt.data({}, ES)
    def test_one_that_does(self, properties):
        self.assertEqual(1, self.unshelve(
            vm_states.SHELVED_OFFLOADED, properties, make_snapshot(properties),
            shelved_image_id=uuids.snapshot))

    def test_a_server_that_is_still_on_its_host(self):
        self.assertEqual(0, self.unshelve(
            vm_states.SHELVED, ES, make_snapshot({}),
            shelved_image_id=uuids.snapshot))

    def test_a_server_of_a_volume(self):
        self.assertEqual(0, self.unshelve(
            vm_states.SHELVED_OFFLOADED, ES, make_snapshot({})))

    @ddt.data(exception.ImageNotFound(image_id='a'),
              exception.ImageNotAuthorized(image_id='a'))
    def test_what_cannot_be_read_is_for_the_conductor(self, error):
        self.assertEqual(1, self.unshelve(
            vm_states.SHELVED_OFFLOADED, ES, error,
            shelved_image_id=uuids.snapshot))
