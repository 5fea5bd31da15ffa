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

"""Test which fault a server has that no host could start."""
from unittest import mock

import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova.conductor import manager
from nova import context
from nova import exception
from nova import objects
from nova import test

UEFI = {'image_hw_firmware_type': 'uefi', 'image_hw_machine_type': 'q35'}
SEV = {'hw:mem_encryption': 'true'}
REASON = 'what the last host said'
EXHAUSTED = 'Exhausted all hosts available for retrying build failures'


@ddt.ddt
class BuildInstancesTest(test.NoDBTestCase):

    def get_fault(self, specs, image, retry):
        """Build a server that no host is left for; return its fault."""
        task = object.__new__(manager.ComputeTaskManager)
        flavor = objects.Flavor(name='f', extra_specs=specs)
        instance = objects.Instance(
            uuid=uuids.server, flavor=flavor, image_ref=uuids.image,
            system_metadata={**UEFI, **image})
        with mock.patch.object(task, '_set_vm_state_and_notify') as notify, \
                mock.patch.object(task, '_cleanup_allocated_networks'), \
                mock.patch.object(task, '_destroy_build_request'), \
                mock.patch('nova.compute.utils.delete_arqs_if_needed'), \
                mock.patch('nova.scheduler.utils.build_request_spec',
                           return_value={}), \
                mock.patch.object(objects.RequestSpec, 'from_primitives'):
            task.build_instances(
                context.get_admin_context(), [instance], {},
                {'retry': retry}, 'pw', [], None, [], host_lists=[[]])
        fault = notify.call_args.args[4]
        self.assertIsInstance(fault, exception.MaxRetriesExceeded)
        return fault.format_message()

    @ddt.data((SEV, {}), ({}, {'image_hw_mem_encryption': 'true'}))
    @ddt.unpack
    def test_of_an_encrypted_one_it_is_the_last_hosts(self, specs, image):
        self.assertEqual(REASON, self.get_fault(specs, image, {
            'num_attempts': 1, 'hosts': [], 'exc_reason': REASON}))

    def test_also_if_there_were_too_many_attempts(self):
        self.assertEqual(REASON, self.get_fault(SEV, {}, {
            'num_attempts': 3, 'hosts': [], 'exc_reason': REASON}))

    def test_a_plain_one_has_nova_s(self):
        self.assertIn(EXHAUSTED, self.get_fault({}, {}, {
            'num_attempts': 1, 'hosts': [], 'exc_reason': REASON}))

    def test_so_has_one_whose_host_said_nothing(self):
        self.assertIn(EXHAUSTED, self.get_fault(SEV, {}, {
            'num_attempts': 1, 'hosts': []}))

    def test_one_reason_is_not_taken_for_another_s(self):
        self.get_fault(SEV, {}, {'num_attempts': 1, 'hosts': [],
                            'exc_reason': REASON})
        self.assertIn(EXHAUSTED, self.get_fault(SEV, {}, {
            'num_attempts': 1, 'hosts': []}))
