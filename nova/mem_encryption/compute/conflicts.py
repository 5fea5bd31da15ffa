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
from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import refusals

LOG = logging.getLogger(__name__)


def check_image(instance, image_meta):
    """Refuse an image that asks for another model than that of the server.

    It is one of a rescue, or the server's own, which services read again:
    when it is unshelved, rebuilt, or rescued with a stable device.
    """
    asked = hardware.get_mem_encryption_constraint(
        instance.flavor, instance.image_meta)
    found = hardware.get_mem_encryption_constraint(instance.flavor, image_meta)
    if found != asked:
        raise exception.MemEncryptionMismatch(reason=_(
            'image %(image)s asks for memory encryption %(found)s, and the '
            'server has %(asked)s. Use an image that has the same '
            'hw_mem_encryption and hw_mem_encryption_model.') % {
                'image': refusals.name_image(image_meta),
                'found': found.model if found else _('none'),
                'asked': asked.model if asked else _('none')})


def check(instance, image_meta):
    """Refuse, or for a server of old warn of, what the API now refuses."""
    try:
        refusals.check(instance.flavor, image_meta)
    except exception.FlavorImageConflict as e:
        asked = refusals.get_models(instance.flavor, image_meta)
        less = len(asked) > 1 and any(
            not models.MODELS[model].native for model in asked
            if model in models.MODELS)
        if less or not instance.obj_attr_is_set('launched_at') or (
                instance.launched_at is None):
            # It came through an API without the series. There it may have
            # been resized too, to a flavor with another model.
            raise exception.MemEncryptionInvalid(
                reason=e.format_message()) from e
        LOG.warning('%s It is started all the same, as Nova did before this '
                    'was checked.', e.format_message(), instance=instance)
