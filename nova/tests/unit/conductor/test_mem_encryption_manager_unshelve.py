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

from nova.compute import task_states
from nova.compute import vm_states
from nova.conductor import manager
from nova import context
from nova import exception
from nova import objects
from nova import test

UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
ES = {'hw_mem_encryption': 'true', 'hw_mem_encryption_model': 'amd-sev-es'}


def make_server(properties):
    return objects.Instance(
        uuid=uuids.server, image_ref=uuids.own,
        vm_state=vm_states.SHELVED_OFFLOADED,
        task_state=task_states.UNSHELVING,
        flavor=objects.Flavor(name='apple', extra_specs={}),
        system_metadata={**{'image_' + name: value for name, value in
                            {**UEFI, **properties}.items()},
            'shelved_image_id': uuids.snapshot})


def make_snapshot(properties):
    return {'id': uuids.snapshot, 'properties': {**UEFI, **properties}}


@ddt.ddt
class UnshelveTest(test.NoDBTestCase):

    def unshelve(self, own, image):
        task = object.__new__(manager.ComputeTaskManager)
        task.host = 'a'
        task.image_api = mock.Mock()
        task.image_api.get.return_value = image
        instance = make_server(own)
        request = mock.Mock()
        # That is what Nova does next.
        request.reset_forced_destinations.side_effect = test.TestingException
        with mock.patch('nova.compute.utils.EventReporter'), \
                mock.patch.object(objects.Instance, 'save'), \
                mock.patch('nova.compute.utils.add_instance_fault_from_exc'
                           ) as fault, \
                mock.patch.object(
                    objects.InstanceMapping, 'get_by_instance_uuid',
                    side_effect=exception.InstanceMappingNotFound(
                        uuid=uuids.server)):
            try:
                task.unshelve_instance(context.get_admin_context(), instance,
                                       request)
            except exception.UnshelveException as e:
                return instance, e, fault
            except test.TestingException:
                return instance, None, fault

    @ddt.data(({}, ES), (ES, {}), (ES, {'hw_mem_encryption': 'true'}))
    @ddt.unpack
    def test_a_snapshot_that_does_not_fit(self, own, other):
        instance, error, fault = self.unshelve(own, make_snapshot(other))
        self.assertTrue(error.format_message().startswith(
            'Image %s asks for' % uuids.snapshot))
        self.assertEqual((vm_states.SHELVED_OFFLOADED, None),
                         (instance.vm_state, instance.task_state))
        self.assertIs(error, fault.call_args.args[2])

    @ddt.data({}, ES)
    def test_one_that_does(self, properties):
        _, error, fault = self.unshelve(properties, make_snapshot(properties))
        self.assertIsNone(error)
        fault.assert_not_called()
