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

"""Refuse what would not be started again before memory is saved, or lost."""
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
    """Refuse to suspend an encrypted guest, whose memory QEMU cannot save.

    PCI devices are detached first, and the guest is left without them.
    """
    if self._needs_suspend_resume_for_snapshot(
            live_snapshot, current_power_state):
        if hardware.get_mem_encryption_constraint(
                instance.flavor, instance.image_meta) is not None:
            raise exception.OperationNotSupportedForSEV(
                instance_uuid=instance.uuid, operation='cold snapshot')
        self._mem_encryption.restarts.check_definition(instance)
    upstream(self, context, live_snapshot, current_power_state, instance)


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._create_guest_with_network',
    'LibvirtDriver._get_existing_domain_xml'])
def resume(upstream, self, context, instance, network_info,
           block_device_info=None, share_info=None):
    """Refuse a definition that somebody changed while it was suspended.

    A guest that is not started is undefined, and its saved memory goes with
    it. The server stays suspended, as such an exception says: out of
    ERROR it could only be rebooted, with the same loss.
    """
    try:
        self._mem_encryption.restarts.check_definition(instance)
    except exception.MemEncryptionMismatch as e:
        raise exception.InstanceFaultRollback(inner_exception=e) from e
    upstream(self, context, instance, network_info,
             block_device_info=block_device_info, share_info=share_info)
