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
from nova import objects
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import devices
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties

# Image properties that check looks at
JUDGED = (*models.NEEDED, *models.ASKED, *(
    row.of_images for row in properties.PROPERTIES.values() if row.of_image))

# What extra specs are called, of models.ASKED
SPECS = tuple(name.replace('_', ':', 1) for name in models.ASKED)
_ASKED, _ASKED_SPECS = frozenset(models.ASKED), frozenset(SPECS)
_KNOWN = frozenset((None, *models.MODELS))


def read_image(image, **names):
    """Return of an image what is judged here. Nova judges the rest.

    :param dict image: as Glance has it, or of a server or volume, which may
        lack name and id
    :param names: fields that it has instead of its own
    :returns: a nova.objects.ImageMeta with no other properties than JUDGED
    :raises ValueError: if one has a value that it cannot have
    """
    image_id, given = image.get('id'), image.get('properties', {})
    fields = {'name': image.get('name') or image_id or '', **names}
    if uuidutils.is_uuid_like(image_id):
        fields['id'] = image_id
    return objects.ImageMeta(
        properties=objects.ImageMetaProps(
            **{name: given[name] for name in JUDGED if name in given}),
        **fields)


def ask_for_nothing(flavor, image):
    """Tell whether flavor and image do not speak of memory encryption.

    Of most servers they do not, and there is nothing to be refused then.

    :param nova.objects.Flavor flavor: of a server
    :param dict image: as of read_image
    :returns: bool
    """
    return _ASKED.isdisjoint(image.get('properties', ())) and (
        _ASKED_SPECS.isdisjoint(
            properties.get_field(flavor, 'extra_specs') or ()))


def _get_given(flavor, image_meta):
    """Return the models that flavor and image name."""
    specs = properties.get_field(flavor, 'extra_specs') or {}
    return (specs.get(SPECS[1]),
            properties.get_field(image_meta.properties, models.PROPERTY))


def get_models(flavor, image_meta):
    """Return the models that a server asks for.

    What is no model of an image is none: Nova did not always look at it, so
    servers may be stored with it.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :returns: a set; its members may be unknown, those of a flavor
    """
    of_flavor, of_image = _get_given(flavor, image_meta)
    return {of_flavor, of_image if of_image in models.MODELS else None} - {
        None}


def get_model(flavor, image_meta):
    """Return the model of a server that asks for memory encryption.

    Nova did not always look at models, so servers may be stored with what
    is refused of new ones (see check). They go on as they were: with what
    Nova always had.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :returns: str, one of models.MODELS
    """
    model, of_image = _get_given(flavor, image_meta)
    if of_image in models.MODELS and of_image != model:
        # Of two, neither
        model = of_image if model is None else None
    return model if model in models.MODELS else models.NATIVE.value


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


def check(flavor, image_meta, constraint=None):
    """Refuse what a new server cannot be.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :param constraint: as of find_refusal
    :returns: the model that it asks for, one of models.MODELS, or None
    :raises nova.exception.FlavorImageConflict: with the remedy
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    model, refusal = find_refusal(flavor, image_meta, constraint)
    if refusal:
        raise exception.FlavorImageConflict(refusal)
    return model


def find_refusal(flavor, image_meta, constraint=None):
    """Say which model a new server asks for, or why it cannot be.

    The specification "AMD SEV-ES support" says so of models that conflict, or
    that come without memory encryption.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :param constraint: what tells whether memory encryption is requested, None
        for hardware.get_mem_encryption_constraint
    :returns: one of models.MODELS, or None; and the reason with the remedy,
        or None
    :raises nova.exception.FlavorImageConflict: as Nova does
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    of_flavor, of_image = _get_given(flavor, image_meta)
    # Before all else of the image, which is not for this Nova then
    unknown = of_image is not None and of_image not in models.MODELS
    encrypted = not unknown and bool((
        constraint or hardware.get_mem_encryption_constraint)(
            flavor, image_meta))
    if of_flavor is not None or of_image is not None:
        refusal = find_model_refusal(
            properties.get_field(flavor, 'name'), of_flavor,
            properties.name_image(image_meta), of_image, encrypted)
        if refusal is not None:
            return None, refusal
    if not encrypted:
        return None, None
    model = of_flavor or of_image or models.NATIVE.value
    return model, properties.find_refusal(
        flavor, image_meta, model) or devices.find_refusal(flavor, model)


def find_model_refusal(flavor, flavor_model, image, image_model, encrypted):
    """Say why the models of flavor and image cannot be.

    :param str flavor: name of the flavor
    :param str flavor_model: its hw:mem_encryption_model, or None
    :param str image: what to call the image
    :param str image_model: its hw_mem_encryption_model, or None
    :param bool encrypted: whether memory encryption is requested
    :returns: the reason with the remedy, None if they can
    """
    given = {flavor_model, image_model}
    if not given <= _KNOWN:
        problem = _('Unknown memory encryption model')
        remedy = _('Allowed are %s.') % ', '.join(models.MODELS)
    elif len(given) > 1 and None not in given:
        problem = _('Conflicting memory encryption models')
        remedy = _('Set the model in one of them, or the same in both.')
    elif not encrypted and given != {None}:
        problem = _('A memory encryption model without memory encryption')
        remedy = _('Set hw:mem_encryption=true in the flavor or '
                   'hw_mem_encryption=true in the image, or remove the model.')
    else:
        return None
    both = _('flavor %(flavor)s has hw:mem_encryption_model %(flavor_val)s, '
             'image %(image)s has hw_mem_encryption_model %(image_val)s') % {
        'flavor': flavor, 'flavor_val': properties.quote(flavor_model),
        'image': image, 'image_val': properties.quote(image_model)}
    return '%s: %s. %s' % (problem, both, remedy)
