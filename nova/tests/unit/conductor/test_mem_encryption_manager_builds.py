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

    def setUp(self):
        super().setUp()
        self.task = object.__new__(manager.ComputeTaskManager)

    def make_instance(self, specs, image):
        flavor = objects.Flavor(name='f', extra_specs=specs)
        return objects.Instance(
            uuid=uuids.server, flavor=flavor, image_ref=uuids.image,
            system_metadata={**UEFI, **image})

    def get_fault(self, specs, image, retry, hosts=((),)):
        """Build a server that no host is left for; return its fault.

        :param hosts: None where the scheduler, which finds none, is asked
        """
        task, instance = self.task, self.make_instance(specs, image)
        with mock.patch.object(task, '_set_vm_state_and_notify') as notify, \
                mock.patch.object(task, '_schedule_instances', side_effect=(
                    exception.NoValidHost(reason='there is none'))), \
                mock.patch.object(task, '_cleanup_allocated_networks'), \
                mock.patch.object(task, '_destroy_build_request'), \
                mock.patch('nova.compute.utils.delete_arqs_if_needed'), \
                mock.patch('nova.scheduler.utils.build_request_spec',
                           return_value={}), \
                mock.patch.object(objects.RequestSpec, 'from_primitives'):
            task.build_instances(
                context.get_admin_context(), [instance], {},
                {'retry': retry}, 'pw', [], None, [], host_lists=hosts)
        fault = notify.call_args.args[4]
        self.assertIsInstance(
            fault, exception.MaxRetriesExceeded if hosts
            else exception.NoValidHost)
        return fault.format_message()

    @ddt.data((SEV, {}), ({}, {'image_hw_mem_encryption': 'true'}))
    @ddt.unpack
    def test_of_an_encrypted_one_it_is_the_last(self, specs, image):
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

    def test_another_fault_stays(self):
        self.assertEqual(
            'No valid host was found. there is none',
            self.get_fault(SEV, {}, {'num_attempts': 1, 'hosts': [],
                                     'exc_reason': REASON}, hosts=None))

    def test_no_reason_is_left_behind(self):
        self.get_fault(SEV, {}, {'num_attempts': 1, 'hosts': [],
                                 'exc_reason': REASON})
        fault = exception.MaxRetriesExceeded(reason='of another build')
        with mock.patch.object(
                self.task, '_set_vm_state_and_notify') as notify, \
                mock.patch.object(self.task, '_cleanup_allocated_networks'), \
                mock.patch('nova.compute.utils.delete_arqs_if_needed'):
            self.task._cleanup_when_reschedule_fails(
                context.get_admin_context(), self.make_instance(SEV, {}),
                fault, {}, None)
        self.assertIs(fault, notify.call_args.args[4])


class RecheckTest(test.NoDBTestCase):

    @mock.patch('oslo_limit.limit.Enforcer')
    @mock.patch('nova.compute.utils.check_num_instances_quota')
    def test_the_slot_of_an_image_has_a_limit(self, _check, enforcer):
        self.flags(driver='nova.quota.UnifiedLimitsDriver', group='quota')
        flavor = objects.Flavor(
            name='f', vcpus=1, memory_mb=1024, root_gb=1, ephemeral_gb=0,
            swap=0, extra_specs={})
        image = objects.ImageMeta(properties=objects.ImageMetaProps(
            hw_firmware_type='uefi', hw_machine_type='q35',
            hw_mem_encryption=True))
        task = object.__new__(manager.ComputeTaskManager)
        for spec, counted in (({'image': image}, True), ({}, False)):
            task._recheck_quota(
                context.get_admin_context(), flavor,
                objects.RequestSpec(flavor=flavor, is_bfv=False, **spec), 1,
                project_id='p', user_id='u')
            (_project, deltas), _ = (
                enforcer.return_value.enforce.call_args)
            self.assertEqual(
                counted, 'class:MEM_ENCRYPTION_CONTEXT' in deltas)
