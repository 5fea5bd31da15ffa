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

"""Test what nova-compute does for servers when it starts, or stops them."""
from unittest import mock

import ddt
import fixtures

from nova.compute import manager
from nova.compute import power_state
from nova.compute import resource_tracker
from nova.compute import vm_states
from nova import exception
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import test_mem_encryption_driver as base

SECURITY = '<domain><launchSecurity type="sev">%s</launchSecurity></domain>'
# What can be wrong with what is stored of a server that asks for SEV-ES, or
# with what libvirt says of it, by where it is
BROKEN = {
    'field': ['flavor', 'system_metadata'],
    'specs': [{**base.SPECS[base.ES], 'hw:mem_encryption_model': 'garbage'},
              {**base.SPECS[base.ES], 'hw:mem_encryption_model': ''},
              {**base.SPECS[base.ES], 'hw:mem_encryption': 'maybe'},
              {**base.SPECS[base.ES], 'os:secure_boot': 'required'},
              {**base.SPECS[base.ES], 'hw:machine_type': 'none'}],
    'image': [{}, {'image_hw_firmware_type': 'garbage'},
              {'image_hw_machine_type': 'pc',
               'image_hw_firmware_type': 'uefi'},
              {'image_hw_numa_nodes': 'many'}, {'image_min_ram': 'much'},
              {'image_hw_mem_encryption': 'maybe'},
              {'image_hw_mem_encryption_model': 'amd-sev',
               'image_hw_firmware_type': 'uefi'}],
    'definition': ['', 'no XML', '<domain/>', SECURITY % '',
                   SECURITY % '<policy>many</policy>',
                   SECURITY % '<policy/>'],
    'get_guest': [exception.InternalError('it ended'), KeyError('name'),
                  fakelibvirt.libvirtError('it ended'), OSError('it ended'),
                  exception.InstanceNotFound(instance_id='1')],
}


def make_manager(driver):
    """Make what nova-compute has, with nothing but a driver."""
    compute = object.__new__(manager.ComputeManager)
    compute.driver, compute.host = driver, 'host'
    return compute


@ddt.ddt
class InitInstanceTest(base.DriverBase):

    def break_it(self, instance, kind, value):
        if kind == 'field':
            # It is loaded, from a database that does not have it.
            delattr(instance, '_obj_' + value)
        elif kind == 'specs':
            instance.flavor.extra_specs = value
        elif kind == 'image':
            instance.system_metadata = value
        elif kind == 'definition':
            self.connection._sev_counts = None
            self.connection.defineXML(self.make_xml(0x37)).createWithFlags(0)
            self.useFixture(fixtures.MonkeyPatch(
                'nova.tests.fixtures.libvirt.Domain.XMLDesc',
                lambda domain, flags: value))
        else:
            self.useFixture(fixtures.MockPatchObject(
                self.driver._host, kind, side_effect=value))

    @tables.data(*((kind, number) for kind, values in BROKEN.items()
                   for number in range(len(values))))
    @ddt.unpack
    def test_it_starts_whatever_is_stored(self, kind, number):
        instance = self.make_instance(base.ES)
        instance.vm_state = vm_states.ERROR  # which Nova does not touch
        self.break_it(instance, kind, BROKEN[kind][number])
        make_manager(self.driver)._init_instance(self.context, instance)

    def test_what_cannot_be_judged_is_named(self):
        instance = self.make_instance(base.ES)
        instance.vm_state = vm_states.ERROR
        self.break_it(instance, 'field', 'flavor')
        with self.assertLogs(base.LOGGER, 'WARNING') as logs:
            make_manager(self.driver)._init_instance(self.context, instance)
        self.assertIn('Cannot tell whether this server can be started again',
                      logs.records[-1].getMessage())


@ddt.ddt
class ResizeClaimTest(base.DriverBase):
    """The host that a server is to move to is asked before it is stopped."""

    def claim(self, instance, flavor):
        tracker = object.__new__(resource_tracker.ResourceTracker)
        tracker.driver = self.driver
        with mock.patch.object(tracker, '_move_claim') as claim:
            tracker.resize_claim(self.context, instance, flavor, 'compute1',
                                 None, {})
        return claim.call_count

    @tables.data(([], 'no provider'),
                 (['compute1_amd_sev'], 'compute1_amd_sev'), by=1)
    @ddt.unpack
    def test_the_slot_is_of_the_new_flavor(self, names, said):
        self.set_slots(names)
        flavor = self.make_instance(base.ES).flavor
        e = self.assertRaises(exception.InstanceFaultRollback, self.claim,
                              self.make_instance(), flavor)
        self.assertIn('its slot is on %s and not' % said,
                      str(e.inner_exception))
        self.set_slots(['compute1_amd_sev_es'])
        self.assertEqual(1, self.claim(self.make_instance(), flavor))

    @ddt.data('amd-sev-ES', 'garbage')
    def test_a_new_flavor_of_no_model(self, model):
        self.set_slots(['compute1_amd_sev'])
        instance = self.make_instance(base.SEV)
        flavor = self.make_instance(specs={
            **instance.flavor.extra_specs,
            'hw:mem_encryption_model': model}).flavor
        e = self.assertRaises(exception.InstanceFaultRollback, self.claim,
                              instance, flavor)
        self.assertIn('Unknown memory encryption model',
                      str(e.inner_exception))

    def test_the_flavor_that_it_leaves_does_not_matter(self):
        self.assertEqual(1, self.claim(self.make_instance(base.ES),
                                       self.make_instance().flavor))

    @ddt.data(([], 1), (['another'], 0), (None, 0))
    @ddt.unpack
    def test_the_last_host_tells_its_reason(self, hosts, told):
        """Without a retry upstream raises what it was given."""
        compute = make_manager(self.driver)
        compute.compute_task_api = mock.Mock()
        error = exception.InstanceFaultRollback(
            exception.MemEncryptionUnavailable(model=base.ES, reason='it.'))
        with mock.patch.multiple(
                compute, _instance_update=mock.DEFAULT,
                _log_original_error=mock.DEFAULT,
                _notify_about_instance_usage=mock.DEFAULT), (
                mock.patch.multiple('nova.compute.utils', **dict.fromkeys(
                    ('add_instance_fault_from_exc',
                     'notify_about_instance_action'), mock.DEFAULT))):
            try:
                compute._reschedule_resize_or_reraise(
                    self.context, self.make_instance(base.ES),
                    (type(error), error, None), None, None,
                    {'retry': {'num_attempts': 1}}, hosts)
            except exception.InstanceFaultRollback as e:
                self.assertIs(error, e)
                self.assertEqual(1, told)
            else:
                self.assertEqual(0, told)
        self.assertEqual(1 - told,
                         compute.compute_task_api.resize_instance.call_count)


@ddt.ddt
class SnapshotTest(base.DriverBase):
    """Where a snapshot needs the guest to be saved, and started again."""

    def suspend(self, model, live, state):
        with mock.patch.object(self.driver, 'suspend') as suspend:
            self.driver._suspend_guest_for_snapshot(
                self.context, live, state, self.make_instance(model))
        return suspend.call_count

    @ddt.data(base.SEV, base.ES)
    def test_an_encrypted_guest_is_not_touched(self, model):
        for state in (power_state.RUNNING, power_state.PAUSED):
            self.assertRaises(exception.OperationNotSupportedForSEV,
                              self.suspend, model, False, state)
            self.assertEqual(0, self.suspend(model, True, state))
        self.assertEqual(0, self.suspend(model, False, power_state.SHUTDOWN))

    def test_a_plain_one_is_suspended(self):
        self.connection.defineXML(self.make_xml(None))
        self.assertEqual(1, self.suspend(None, False, power_state.RUNNING))

    def test_one_that_would_not_be_started_again_is_not(self):
        self.connection.defineXML(self.make_xml(0x37))
        self.assertRaises(exception.MemEncryptionMismatch, self.suspend,
                          None, False, power_state.RUNNING)
        self.assertEqual(0, self.suspend(None, True, power_state.RUNNING))

    def test_nor_is_saved_memory_dropped(self):
        domain = self.connection.defineXML(self.make_xml(0x37))
        e = self.assertRaises(
            exception.InstanceFaultRollback, self.driver.resume, self.context,
            self.make_instance(), [], None)
        self.assertIn('Nothing was stopped.', str(e.inner_exception))
        self.assertEqual([domain], list(self.connection._vms.values()))
