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

"""Say what cannot be asked for, for the user who does."""
from oslo_utils import uuidutils

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import vgpus

# What a property of flavor or image asks for, and a model may lack: prefix and
# name, the values that do, what it is, and the remedy
PROPERTIES = {
    'secure_boot': ('os', 'secure_boot', {fields.SecureBoot.REQUIRED},
                    _('with secure boot'),
                    _('Do not require it, or ask for model %s.') %
                    ' or '.join(model for model, row in models.MODELS.items()
                                if 'secure_boot' not in row.lacks)),
    'viommu': ('hw', 'viommu_model', set(fields.VIOMMUModel.ALL),
               _('with a virtual IOMMU'), _('Remove the property.')),
}
# Image properties that check looks at
JUDGED = (*models.NEEDED, *models.ASKED, *(
    '_'.join(row[:2]) for row in PROPERTIES.values()))


def get_judged(image):
    """Return of an image what is judged here. Nova judges the rest.

    :param dict image: as Glance has it, or of a server or volume, which may
        lack name and id
    :returns: a dict, of which ImageMeta.from_dict makes an object
    """
    image_id = image.get('id')
    return {
        'name': image.get('name') or image_id or '',
        **({'id': image_id} if uuidutils.is_uuid_like(image_id) else {}),
        'properties': {
            name: value for name, value in image.get('properties', {}).items()
            if name in JUDGED}}


def get_models(flavor, image_meta):
    """Return the models that a server asks for.

    What is no model of an image is none: Nova did not look at it before the
    series came, so servers may be stored with it.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :returns: a set; its members may be unknown, those of a flavor
    """
    of_flavor, of_image = hardware._get_flavor_image_meta(
        'mem_encryption_model', flavor, image_meta)
    return {of_flavor, of_image if of_image in models.MODELS else None} - {
        None}


def get_config(flavor, image_meta):
    """Return the memory encryption that is asked for, if that is of one kind.

    :param nova.objects.Flavor flavor: of a server
    :param nova.objects.ImageMeta image_meta: that it has, or is to have
    :returns: a hardware.MemEncryptionConfig or None
    :raises nova.exception.FlavorImageConflict: if they ask for two models, or
        as Nova does
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    if len(get_models(flavor, image_meta)) > 1:
        check(flavor, image_meta)
    return hardware.get_mem_encryption_constraint(flavor, image_meta)


def check(flavor, image_meta):
    """Refuse what a new server cannot be.

    The specification "AMD SEV-ES support" says so of models that conflict, or
    that come without memory encryption.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :returns: the hardware.MemEncryptionConfig that it asks for, or None
    :raises nova.exception.FlavorImageConflict: with the remedy
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    of_flavor, of_image = hardware._get_flavor_image_meta(
        'mem_encryption_model', flavor, image_meta)
    unknown = of_image is not None and of_image not in models.MODELS
    # Before all else of the image, which is not for this series then
    config = None if unknown else hardware.get_mem_encryption_constraint(
        flavor, image_meta)
    refusal = find_model_refusal(
        flavor.name, of_flavor, name_image(image_meta), of_image,
        config is not None)
    if refusal is None and config is not None:
        refusal = find_property_refusal(flavor, image_meta, config.model) or (
            vgpus.find_refusal(flavor, config.model))
    if refusal:
        raise exception.FlavorImageConflict(refusal)
    return config


def find_model_refusal(flavor, flavor_model, image, image_model, encrypted):
    """Say why the models of flavor and image cannot be.

    :param str flavor: name of the flavor
    :param str flavor_model: its hw:mem_encryption_model, or None
    :param str image: what to call the image
    :param str image_model: its hw_mem_encryption_model, or None
    :param bool encrypted: whether memory encryption is requested
    :returns: the reason with the remedy, None if they can
    """
    given = {flavor_model, image_model} - {None}
    if not given.issubset(models.MODELS):
        problem = _('Unknown memory encryption model')
        remedy = _('Allowed are %s.') % ', '.join(models.MODELS)
    elif len(given) > 1:
        problem = _('Conflicting memory encryption models')
        remedy = _('Set the model in one of them, or the same in both.')
    elif given and not encrypted:
        problem = _('A memory encryption model without memory encryption')
        remedy = _('Set hw:mem_encryption=true in the flavor or '
                   'hw_mem_encryption=true in the image, or remove the model.')
    else:
        return None
    both = _('flavor %(flavor)s has hw:mem_encryption_model %(flavor_val)s, '
             'image %(image)s has hw_mem_encryption_model %(image_val)s') % {
        'flavor': flavor, 'flavor_val': quote(flavor_model),
        'image': image, 'image_val': quote(image_model)}
    return '%s: %s. %s' % (problem, both, remedy)


def find_property_refusal(flavor, image_meta, model, lacks=tuple(PROPERTIES)):
    """Say why a model cannot be had with what a property asks for.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :param str model: the model
    :param lacks: which of PROPERTIES to look at
    :returns: the reason with the remedy; None if it can
    """
    row = models.MODELS[model]
    for lack in (lack for lack in lacks if lack in row.lacks):
        prefix, name, values, what, remedy = PROPERTIES[lack]
        of_flavor, of_image = hardware._get_flavor_image_meta(
            name, flavor, image_meta, prefix=prefix)
        if not values.intersection((of_flavor, of_image)):
            continue
        return _(
            'Memory encryption model %(model)s %(what)s: flavor '
            '%(flavor)s has %(prefix)s:%(name)s %(flavor_val)s, image '
            '%(image)s has %(prefix)s_%(name)s %(image_val)s. %(why)s '
            '%(remedy)s') % {
                'model': model, 'what': what, 'why': row.lacks[lack],
                'prefix': prefix, 'name': name, 'flavor': flavor.name,
                'flavor_val': quote(of_flavor), 'remedy': remedy,
                'image': name_image(image_meta), 'image_val': quote(of_image)}
    return None


def name_image(image_meta):
    """Return what to call an image, which for a volume has no name or id."""
    for attribute in ('name', 'id'):
        if attribute in image_meta and getattr(image_meta, attribute):
            return getattr(image_meta, attribute)
    return _('of the root volume')


def quote(value):
    """Return what to call the value of a property, None if it is unset."""
    return _('unset') if value is None else "'%s'" % value
