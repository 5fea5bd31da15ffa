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

"""Refuse what will not be started again before it is stopped."""
from nova import block_device
from nova.compute import manager
from nova.compute import power_state
from nova.compute import utils as compute_utils
from nova.compute import vm_states
from nova import exception
from nova import objects
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption import overlay


# In which there is no guest that could be left
OFF = (
    power_state.NOSTATE, power_state.SHUTDOWN, power_state.CRASHED)


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager._get_power_state', 'ComputeManager.reboot_instance'])
def _reboot_instance(upstream, self, context, instance, block_device_info,
                     reboot_type):
    """Refuse a reboot after which the server could not run on.

    One that is off, and should not be, is refused by the driver, and is in
    ERROR then.
    """
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is not None and (
            instance.vm_state == vm_states.STOPPED or
            self._get_power_state(instance) not in OFF):
        mem_encryption.restarts.check(instance)
    upstream(self, context, instance, block_device_info, reboot_type)


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager.rescue_instance',
    'nova.block_device:get_bdm_image_metadata',
    'nova.virt.libvirt.driver:LibvirtDriver.rescue'])
def _get_rescue_image(upstream, self, context, instance,
                      rescue_image_ref=None):
    """Refuse an image that the server would not be started with.

    It is read for the rescue alone, before anything is stopped.
    """
    image_meta = upstream(self, context, instance, rescue_image_ref)
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is not None:
        mem_encryption.restarts.check(instance, image_meta=(
            _get_own_image(self, context, instance)
            if hardware.check_hw_rescue_props(image_meta) else image_meta))
    return image_meta


def _get_own_image(self, context, instance):
    """Return what a server starts with in a stable-device rescue.

    That is its image as it is now, and not as the server is stored with.
    """
    try:
        if instance.image_ref:
            return objects.ImageMeta.from_image_ref(
                context, self.image_api, instance.image_ref)
        return objects.ImageMeta.from_dict(
            block_device.get_bdm_image_metadata(
                context, self.image_api, self.volume_api,
                objects.BlockDeviceMappingList.get_by_instance_uuid(
                    context, instance.uuid), legacy_bdm=False))
    except exception.ImageNotFound:
        return instance.image_meta


@overlay.wrap(manager.ComputeManager, leans_on=[
    'reverts_task_state', 'wrap_instance_fault',
    'nova.virt.libvirt.driver:LibvirtDriver.unrescue',
    'nova.virt.libvirt.utils:get_instance_path',
    'nova.virt.libvirt.utils:load_file'])
def unrescue_instance(upstream, self, context, instance):
    """Refuse to end a rescue after which the server could not be started."""
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is not None:
        try:
            mem_encryption.restarts.check_unrescue(instance)
        except Exception as e:
            # NOTE: also that it cannot be told, or the server would stay
            # in its task state.
            refuse(self, context, instance, e)
    return upstream(self, context, instance)


@manager.wrap_exception()
@manager.reverts_task_state
@manager.wrap_instance_event(prefix='compute')
@manager.wrap_instance_fault
def refuse(self, context, instance, error):
    """Refuse as a failed action does, but for the state of the server.

    :param nova.context.RequestContext context: of the request
    :param nova.objects.Instance instance: the server
    :param Exception error: the reason, which is raised
    """
    raise error


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager.shelve_instance', 'nova.compute.utils:delete_image'])
def _shelve_instance(upstream, self, context, instance, image_id,
                     clean_shutdown, accel_uuids=None):
    """Refuse to shelve a server that no host would start again."""
    try:
        _check_request(self, instance)
    except restarts.REFUSALS:
        compute_utils.delete_image(
            context, instance, self.image_api, image_id)
        raise
    upstream(self, context, instance, image_id, clean_shutdown, accel_uuids)


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager.shelve_offload_instance'])
def _shelve_offload_instance(upstream, self, context, instance, clean_shutdown,
                             bdms=None, accel_uuids=None):
    """Refuse to offload a server of a volume that no host would start."""
    if instance.vm_state != vm_states.SHELVED:
        _check_request(self, instance)
    upstream(self, context, instance, clean_shutdown, bdms=bdms,
             accel_uuids=accel_uuids)


def _check_request(self, instance):
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is not None:
        mem_encryption.restarts.check_request(instance)
