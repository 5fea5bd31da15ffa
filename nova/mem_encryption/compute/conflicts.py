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

"""Refuse what flavor and images of a server do not agree on."""
import typing as ty

from nova import exception
from nova.i18n import _
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption import refusals


def check_image(instance, image_meta, own=None):
    """Refuse an image that asks for another model than that of the server.

    It is one of a rescue, or the server's own, which services read again:
    when it is unshelved, rebuilt, or rescued with a stable device.

    :param nova.objects.Instance instance: the server
    :param nova.objects.ImageMeta image_meta: of the image
    :param nova.objects.ImageMeta own: of the image that the server has, None
        for what is stored of it
    :raises nova.exception.MemEncryptionMismatch: if it does
    :raises nova.exception.MemEncryptionInvalid: if flavor and image do not
        agree
    :raises nova.exception.FlavorImageConflict: if flavor and own image do not
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    asked = hardware.get_mem_encryption_constraint(
        instance.flavor, own or instance.image_meta)
    try:
        found = refusals.get_config(instance.flavor, image_meta)
    except exception.FlavorImageConflict as e:
        raise exception.MemEncryptionInvalid(reason=e.format_message()) from e
    if found != asked:
        raise exception.MemEncryptionMismatch(reason=_(
            'image %(image)s asks for memory encryption %(found)s, and the '
            'server has %(asked)s. Use an image that has the same '
            'hw_mem_encryption and hw_mem_encryption_model.') % {
                'image': properties.name_image(image_meta),
                'found': found.model if found else _('none'),
                'asked': asked.model if asked else _('none')})


def check(instance, flavor, image_meta) -> ty.Optional[str]:
    """Refuse what no host can start.

    :param nova.objects.Instance instance: the server
    :param nova.objects.Flavor flavor: that it is to have
    :param nova.objects.ImageMeta image_meta: that it is started with
    :returns: what the API would refuse of it, and is started all the same, as
        Nova did before this was checked; None if there is nothing
    :raises nova.exception.MemEncryptionInvalid: if it could be less than what
        was asked for, or came through an API that knows no models
    :raises nova.exception.FlavorImageConflict: as Nova does
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    _, refusal = refusals.find_refusal(flavor, image_meta)
    if refusal is None:
        return None
    # NOTE: where the model of the image is unknown, Nova was not asked.
    hardware.get_mem_encryption_constraint(flavor, image_meta)
    asked = refusals.get_models(flavor, image_meta)
    less = len(asked) > 1 and any(
        not models.MODELS[model].native for model in asked
        if model in models.MODELS)
    if less or not instance.obj_attr_is_set('launched_at') or (
            instance.launched_at is None):
        # An API that knows no models may have resized it to a flavor with
        # another.
        raise exception.MemEncryptionInvalid(reason=refusal)
    return refusal
