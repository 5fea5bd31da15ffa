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

"""Refuse what cannot be, and do not refuse what was stored long ago."""
from nova.compute import api
from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.scheduler import utils
from nova.virt import hardware

from nova_mem_encryption import overlay

# Image properties that get_mem_encryption_constraint looks at
JUDGED = ('hw_firmware_type', 'hw_machine_type', 'hw_mem_encryption',
          'hw_mem_encryption_model', 'os_secure_boot')


@overlay.wrap(api.API)
def _validate_and_build_base_options(upstream, self, context, flavor,
                                     boot_meta, *args, **kwargs):
    """Look at the image before an object is made of it."""
    _check_image_model(boot_meta, flavor)
    return upstream(self, context, flavor, boot_meta, *args, **kwargs)


@overlay.wrap(api.API)
def _validate_flavor_image_numa_pci(upstream, image, flavor,
                                    validate_numa=True, validate_pci=False):
    """Name flavor and image, also where the image is that of a server."""
    image = image or {}
    ref = image.get('properties', {}).get('base_image_ref')
    if 'id' not in image and ref:
        image = {**image, 'id': ref}
    _check_image_model(image, flavor)
    return upstream(image, flavor, validate_numa=validate_numa,
                    validate_pci=validate_pci)


def _check_image_model(image, flavor):
    """Name flavor and image, where the image's model is unknown.

    Without, the object made of the image would say no more than that one of
    its values is invalid.
    """
    model = image.get('properties', {}).get('hw_mem_encryption_model')
    if model is not None and model not in fields.MemEncryptionModel.ALL:
        raise exception.FlavorImageConflict(
            hardware.get_mem_encryption_refusal(
                flavor.name,
                flavor.get('extra_specs', {}).get('hw:mem_encryption_model'),
                image.get('name') or image.get('id') or
                _('of the root volume'), model, None))


def get_constraint(image, flavor):
    """Return the memory encryption that a flavor and an image ask for.

    :param dict image: as Glance has it
    :raises nova.exception.FlavorImageConflict: if it is refused
    """
    _check_image_model(image, flavor)
    # NOTE: no more of the image than is judged here. Nova judges the rest.
    return hardware.get_mem_encryption_constraint(
        flavor, api._get_image_meta_obj({
            'name': image.get('name') or image.get('id') or '',
            'properties': {
                name: value
                for name, value in image.get('properties', {}).items()
                if name in JUDGED}}))


@overlay.wrap(api.API, leans_on=['API._get_image'])
def rebuild(upstream, self, context, instance, image_href, *args, **kwargs):
    """Refuse another model, as a rebuilt server keeps the slot it has.

    It would not start, after its disk was overwritten. The image that it has
    is looked at too, as its properties may have changed. This comes before
    Nova's checks of lock and state, so a locked server, too, is refused for
    its image first.
    """
    image = self._get_image(context, image_href)[1]
    new = get_constraint(image, instance.flavor)
    with hardware.stored_mem_encryption():
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


@overlay.wrap(api.API, leans_on=['reject_sev_instances'])
def suspend(upstream, self, context, instance):
    """Judge a server by what it was stored as."""
    with hardware.stored_mem_encryption():
        return upstream(self, context, instance)


@overlay.wrap(api.API, leans_on=['reject_sev_instances'])
def live_migrate(upstream, self, context, instance, *args, **kwargs):
    """Judge a server by what it was stored as."""
    with hardware.stored_mem_encryption():
        return upstream(self, context, instance, *args, **kwargs)


# -- limits ------------------------------------------------------------------
#
# NOTE: what is counted is the flavor's. Nova leaves out the image, which may
# be what asks for memory encryption.

@overlay.wrap(api.API, leans_on=[
    '_get_image_meta_obj',
    'nova.limit.placement:enforce_num_instances_and_flavor'])
def _provision_instances(upstream, self, context, flavor, min_count,
                         max_count, base_options, boot_meta, *args, **kwargs):
    """Count the slot of a new server for which its image asks."""
    with utils.image_of_flavor(
            lambda: api._get_image_meta_obj(boot_meta)):
        return upstream(self, context, flavor, min_count, max_count,
                        base_options, boot_meta, *args, **kwargs)


@overlay.wrap(api.API)
def _check_quota_for_upsize(upstream, context, instance, *args, **kwargs):
    """Count the slot that a server has by its image when it is resized."""
    with utils.image_of_flavor(lambda: instance.image_meta):
        return upstream(context, instance, *args, **kwargs)


@overlay.wrap(api.API)
def _check_quota_unshelve_offloaded(upstream, context, instance,
                                    request_spec):
    """See that the limit of the slots is not exceeded already."""
    with utils.image_of_flavor(lambda: instance.image_meta):
        return upstream(context, instance, request_spec)


@overlay.wrap(api.API)
def restore(upstream, self, context, instance):
    """Count the slot of a server that was deleted softly."""
    with utils.image_of_flavor(lambda: instance.image_meta):
        return upstream(self, context, instance)


# NOTE: it extends the same class, and Nova knows nothing of it.
from nova_mem_encryption.nova.compute import rescue  # noqa: E402,F401
