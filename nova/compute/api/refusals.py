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

"""Refuse what cannot be, where the API looks at flavor and image."""
from oslo_utils import uuidutils

from nova.compute import api
from nova import exception
from nova.i18n import _
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption import overlay

# Image properties that refusals.check looks at
JUDGED = ('hw_firmware_type', 'hw_machine_type', 'hw_mem_encryption',
          'hw_mem_encryption_model', 'os_secure_boot')


@overlay.wrap(api.API, leans_on=[
    '_get_image_meta_obj', 'API._checks_for_create_and_rebuild',
    'API._validate_flavor_image', 'API._validate_flavor_image_nostatus'])
def _validate_flavor_image_numa_pci(upstream, image, flavor,
                                    validate_numa=True, validate_pci=False):
    """Refuse for create, resize and rebuild, with flavor and image by name."""
    image = image or {}
    # That of a server has no id of its own.
    ref = image.get('properties', {}).get('base_image_ref')
    if 'id' not in image and ref:
        image = {**image, 'id': ref}
    check(image, flavor)
    return upstream(image, flavor, validate_numa=validate_numa,
                    validate_pci=validate_pci)


def check(image, flavor):
    """Refuse what flavor and image cannot be together.

    :param dict image: as of get_image_meta
    :param nova.objects.Flavor flavor: the flavor
    :returns: the hardware.MemEncryptionConfig that they ask for, or None
    :raises nova.exception.FlavorImageConflict: with the remedy
    :raises nova.exception.InvalidMachineType: if it is not q35
    :raises nova.exception.InvalidRequest: if a property makes no sense
    """
    return refusals.check(flavor, get_image_meta(image))


def get_image_meta(image):
    """Return of an image what is judged here. Nova judges the rest.

    :param dict image: as Glance has it, or of a server or volume, which may
        lack name and id
    :returns: a nova.objects.ImageMeta
    :raises nova.exception.InvalidRequest: if a property makes no sense
    """
    image_id = image.get('id')
    return api._get_image_meta_obj({
        'name': image.get('name') or image_id or '',
        **({'id': image_id} if uuidutils.is_uuid_like(image_id) else {}),
        'properties': {
            name: value for name, value in image.get('properties', {}).items()
            if name in JUDGED}})


@overlay.wrap(api.API, leans_on=['API._get_image'])
def rebuild(upstream, self, context, instance, image_href, *args, **kwargs):
    """Refuse another model, as a rebuilt server keeps the slot it has.

    It would not start, after its disk was overwritten. The image that it has
    is looked at too, as its properties may have changed. This comes before
    Nova's checks of lock and state, so a locked server, too, is refused for
    its image first.
    """
    image = self._get_image(context, image_href)[1]
    new = check(image, instance.flavor)
    old = hardware.get_mem_encryption_constraint(
        instance.flavor, instance.image_meta)
    if old != new:
        raise exception.FlavorImageConflict(_(
            'A rebuild cannot change the memory encryption of a server: '
            'flavor %(flavor)s and image %(image)s ask for %(new)s, the '
            'server has %(old)s. Rebuild it with an image that has the same '
            'hw_mem_encryption and hw_mem_encryption_model, or create a new '
            'server.') % {
                'flavor': instance.flavor.name,
                'image': image.get('name') or image.get('id'),
                'new': new.model if new else _('none'),
                'old': old.model if old else _('none')})
    return upstream(self, context, instance, image_href, *args, **kwargs)
