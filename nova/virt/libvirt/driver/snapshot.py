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

"""Refuse a cold snapshot of an encrypted guest before its devices are gone."""
from nova import exception
from nova.virt import hardware
from nova.virt.libvirt import driver

from nova_mem_encryption import overlay


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._needs_suspend_resume_for_snapshot',
    'LibvirtDriver._resume_guest_after_snapshot', 'LibvirtDriver.suspend',
    'nova.virt.libvirt.guest:Guest.save_memory_state'])
def _suspend_guest_for_snapshot(upstream, self, context, live_snapshot,
                                current_power_state, instance):
    """Refuse it, as QEMU cannot save the memory, and as it would be started.

    Upstream detaches PCI devices first, and the guest is left without them.
    """
    if self._needs_suspend_resume_for_snapshot(
            live_snapshot, current_power_state) and (
            hardware.get_mem_encryption_constraint(
                instance.flavor, instance.image_meta) is not None):
        raise exception.OperationNotSupportedForSEV(
            instance_uuid=instance.uuid, operation='cold snapshot')
    upstream(self, context, live_snapshot, current_power_state, instance)
