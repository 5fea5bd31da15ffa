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

"""Refuse to rescue a server with an image that asks for something else."""
from nova import block_device
from nova.compute import api
from nova import exception
from nova.i18n import _
from nova import objects

from nova_mem_encryption.nova.mem_encryption import substitutes
from nova_mem_encryption import overlay

# An image with one of these only adds a disk, to boot from.
STABLE = {'hw_rescue_bus', 'hw_rescue_device'}


@overlay.wrap(api.API, leans_on=[
    'API._get_image',
    'nova.block_device:get_bdm_image_metadata',
    'nova.compute.manager:ComputeManager._get_rescue_image',
    'nova.objects.image_meta:ImageMeta.from_image_ref',
    'nova.virt.hardware:check_hw_rescue_props',
    'nova.virt.libvirt.driver:LibvirtDriver.rescue'])
def rescue(upstream, self, context, instance, rescue_password=None,
           rescue_image_ref=None, *args, **kwargs):
    """Refuse what the compute service would after it has stopped the server.

    Less than the server has would be its disk in a guest with less
    protection; more takes what nobody gave it.
    """
    def judge(image):
        reason = _find_reason(self, context, instance, image)
        if reason is not None:
            raise exception.InstanceNotRescuable(
                instance_id=instance.uuid, reason=_(
                    '%s Rescue it with an image that has the same '
                    'hw_mem_encryption, hw_mem_encryption_model, '
                    'hw_firmware_type and hw_machine_type as its own.'
                ) % reason)

    image_ref = (rescue_image_ref or instance.system_metadata.get(
        'image_base_image_ref') or instance.image_ref)
    judging = substitutes.judging(self, image_ref, judge)
    if image_ref and not rescue_image_ref:
        # NOTE: Nova reads it in the compute service only. So a locked
        # server, too, is refused for its image first.
        try:
            objects.ImageMeta.from_image_ref(
                context, judging.image_api, image_ref)
        except (exception.ImageNotFound, exception.ImageNotAuthorized,
                exception.ImageBadRequest):
            pass  # The compute service says so.
    return upstream(judging, context, instance, rescue_password,
                    rescue_image_ref, *args, **kwargs)


def _find_reason(self, context, instance, image):
    """Say why the guest of the rescue could not be, None if it can."""
    reason = substitutes.find_unknown(instance, image)
    if reason is None and not STABLE.isdisjoint(
            image.get('properties', {})):
        image = _get_image_of_guest(self, context, instance)
        if image is None:
            return None
        reason = instance.image_ref and substitutes.find_unknown(
            instance, image)
    return reason or substitutes.find_refusal(instance, image)


def _get_image_of_guest(self, context, instance):
    """Return what else the guest of such a rescue is made of.

    It is the server's own image, not as stored of the server, but as it is
    now.

    :returns: a dict; None if it cannot be read. What is stored is used
        then, or Nova says so itself.
    """
    try:
        if instance.image_ref:
            return self._get_image(context, instance.image_ref)[1]
        return block_device.get_bdm_image_metadata(
            context, self.image_api, self.volume_api,
            objects.BlockDeviceMappingList.get_by_instance_uuid(
                context, instance.uuid), legacy_bdm=False)
    except (exception.ImageNotFound, exception.InvalidBDM):
        return None
