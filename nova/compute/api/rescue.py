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

"""Refuse to rescue an encrypted server with an image that does not fit."""
from nova.compute import api
from nova import exception
from nova.i18n import _
from nova.virt import hardware

from nova_mem_encryption.nova.compute.api import refusals as api_refusals
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption import overlay

STABLE = {'hw_rescue_bus', 'hw_rescue_device'}


@overlay.wrap(api.API, leans_on=[
    'API._get_image',
    'nova.compute.manager:ComputeManager._get_rescue_image',
    'nova.virt.hardware:check_hw_rescue_props'])
def rescue(upstream, self, context, instance, rescue_password=None,
           rescue_image_ref=None, *args, **kwargs):
    """Refuse an image that asks for less than the server has.

    The compute service would, after it has stopped the server. This comes
    before Nova's checks of lock and state, so a locked server, too, is
    refused for its image first.
    """
    old = hardware.get_mem_encryption_constraint(
        instance.flavor, instance.image_meta)
    image_ref = (rescue_image_ref or instance.system_metadata.get(
        'image_base_image_ref') or instance.image_ref)
    if old is not None and image_ref:
        _check_rescue_image(self, context, instance, image_ref, old)
    return upstream(self, context, instance, rescue_password,
                    rescue_image_ref, *args, **kwargs)


def _check_rescue_image(self, context, instance, image_ref, old):
    try:
        image = self._get_image(context, image_ref)[1]
        # Such an image is one disk more, of a server that stays as it is.
        if not STABLE.isdisjoint(image.get('properties', {})):
            return
        reason = _find_reason(image, instance.flavor, old)
    except (exception.ImageNotFound, exception.ImageBadRequest):
        return  # Nova says so itself, if it is an image of the request
    except (exception.FlavorImageConflict, exception.InvalidMachineType,
            exception.InvalidRequest) as e:  # the last if a value is unknown
        reason = e.format_message().rstrip('.') + '.'
    if reason is not None:
        raise exception.InstanceNotRescuable(
            instance_id=instance.uuid, reason=_(
                '%s Rescue it with an image that has the same '
                'hw_mem_encryption, hw_mem_encryption_model, '
                'hw_firmware_type and hw_machine_type as its own.') % reason)


def _find_reason(image, flavor, old):
    """Say why a server cannot be rescued with an image, None if it can.

    Not refusals.check, as a server of old may be what is refused now.
    """
    image_meta = api_refusals.get_image_meta(image)
    new = hardware.get_mem_encryption_constraint(flavor, image_meta)
    of_flavor, of_image = hardware._get_flavor_image_meta(
        'mem_encryption_model', flavor, image_meta)
    name = refusals.name_image(image_meta)
    if of_image not in {None, *models.MODELS}:
        return refusals.find_model_refusal(
            flavor.name, of_flavor, name, of_image, encrypted=True)
    if new == old:
        return None
    return _('image %(image)s asks for memory encryption %(new)s, and the '
             'server has %(old)s.') % {
        'image': name, 'new': new.model if new else _('none'),
        'old': old.model}
