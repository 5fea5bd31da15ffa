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

"""Define a guest as exactly what its server asks for, or not at all."""
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.mem_encryption.compute import conflicts
from nova_mem_encryption import overlay


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'nova.virt.libvirt.utils:get_machine_type'])
def _sev_enabled(upstream, self, flavor, image_meta):
    """Answer yes or no, and not with the model."""
    return bool(upstream(self, flavor, image_meta))


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._configure_guest_by_virt_type',
    'LibvirtDriver._guest_configure_sev',
    'LibvirtDriver._guest_add_launch_security',
    'LibvirtDriver._find_sev_feature',
    'LibvirtDriver._get_guest_memory_backing_config',
    'LibvirtDriver._set_qemu_guest_agent',
    'LibvirtDriver._get_guest_xml',
    'nova.compute.manager:ComputeManager._build_and_run_instance'])
def _get_guest_config(upstream, self, instance, network_info, image_meta,
                      disk_info, rescue=None, block_device_info=None,
                      context=None, mdevs=None, accel_info=None,
                      share_info=None):
    """Build the guest with the model it asks for, or not at all."""
    planner = self._mem_encryption.guests
    plan = planner.plan(instance, image_meta)
    guest = upstream(
        self, instance, network_info, image_meta, disk_info, rescue=rescue,
        block_device_info=block_device_info, context=context, mdevs=mdevs,
        accel_info=accel_info, share_info=share_info)
    planner.configure(guest, plan, instance)
    return guest


@overlay.wrap(driver.LibvirtDriver)
def _get_guest_xml(upstream, self, context, instance, network_info, disk_info,
                   image_meta, rescue=None, block_device_info=None,
                   mdevs=None, accel_info=None, share_info=None):
    """Refuse an image that asks for another model than the server."""
    conflicts.check_image(instance, image_meta)
    return upstream(
        self, context, instance, network_info, disk_info, image_meta,
        rescue=rescue, block_device_info=block_device_info, mdevs=mdevs,
        accel_info=accel_info, share_info=share_info)
