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

"""Say which properties of flavor and image a model cannot be had with."""
import dataclasses
import functools
import typing as ty

from oslo_utils import strutils
from oslo_versionedobjects import base

from nova.i18n import _
from nova.objects import fields

from nova_mem_encryption.nova.mem_encryption import models

SMALL = 4096  # bytes of the pages that are not large
_get_attribute = functools.lru_cache(base._get_attrname)


@dataclasses.dataclass(frozen=True)
class Property:
    """A property of image and flavor, of which some values are refused."""

    prefix: str
    name: str
    refuses: ty.Callable[[ty.Any], bool]
    what: str    # the values that are refused
    remedy: str
    of_flavor: bool = True  # False: only an image can have it
    of_image: bool = True   # False: only a flavor can

    @functools.cached_property
    def extra_spec(self):
        """What a flavor calls it."""
        return '%s:%s' % (self.prefix, self.name)

    @functools.cached_property
    def of_images(self):
        """What an image calls it."""
        return '%s_%s' % (self.prefix, self.name)


def _is_large(value):
    if value in (None, 'small'):
        return False
    try:
        # Without a unit it is of KiB.
        return strutils.string_to_bytes(
            value + 'KB' * value.isdigit(), return_int=True) > SMALL
    except ValueError:
        return True  # large, any; Nova itself refuses the rest


def _name_others(lack):
    return ' or '.join(model for model, row in models.MODELS.items()
                       if lack not in row.lacks)


# By what a model may lack. What cannot be asked of a guest that was started
# before this was checked comes first.
PROPERTIES = {
    'secure_boot': Property(
        'os', 'secure_boot', {fields.SecureBoot.REQUIRED}.__contains__,
        _('with secure boot'), _('Do not require it, or ask for model %s.')
        % _name_others('secure_boot')),
    'stateful_firmware': Property(
        'hw', 'firmware_stateless', lambda value: not value,
        _('without stateless firmware'),
        _('Set hw_firmware_stateless=true in the image.'), of_flavor=False),
    'viommu': Property(
        'hw', 'viommu_model', set(fields.VIOMMUModel.ALL).__contains__,
        _('with a virtual IOMMU'), _('Remove the property.')),
    'large_pages': Property(
        'hw', 'mem_page_size', _is_large, _('with large pages'),
        _('Set it to small, or remove it.')),
    'locked_memory': Property(
        'hw', 'locked_memory', strutils.bool_from_string,
        _('with locked memory'), _('Remove the property.')),
    'realtime': Property(
        'hw', 'cpu_realtime', strutils.bool_from_string,
        _('with realtime CPUs, whose memory is locked'),
        _('Remove the property.'), of_image=False),
}
# Of these no guest was ever started.
VITAL = ('secure_boot', 'stateful_firmware', 'locked_memory', 'realtime')


def find_refusal(flavor, image_meta, model, lacks=tuple(PROPERTIES)):
    """Say why a model cannot be had with what a property asks for.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :param str model: the model
    :param lacks: which of PROPERTIES to look at
    :returns: the reason with the remedy; None if it can
    """
    lacks = models.get_lacking(model, lacks)
    specs = lacks and get_field(flavor, 'extra_specs') or {}
    given = lacks and image_meta.properties
    for lack in lacks:
        found = PROPERTIES[lack]
        if found.of_flavor and found.refuses(specs.get(found.extra_spec)) or (
                found.of_image and found.refuses(
                    get_field(given, found.of_images))):
            return _explain(flavor, image_meta, models.MODELS[model], lack)
    return None


def _explain(flavor, image_meta, row, lack):
    found, words = PROPERTIES[lack], []
    if found.of_flavor:
        words.append(_('flavor %(who)s has %(name)s %(value)s') % {
            'who': flavor.name, 'name': found.extra_spec,
            'value': quote(flavor.extra_specs.get(found.extra_spec))})
    if found.of_image:
        words.append(_('image %(who)s has %(name)s %(value)s') % {
            'who': name_image(image_meta), 'name': found.of_images,
            'value': quote(get_field(
                image_meta.properties, found.of_images))})
    return _('Memory encryption model %(model)s %(what)s: %(both)s. '
             '%(why)s %(remedy)s') % {
        'model': row.value, 'what': found.what, 'both': ', '.join(words),
        'why': row.lacks[lack], 'remedy': found.remedy}


def get_field(versioned, name):
    """Return a field of a versioned object, None if it is not set.

    For what each request passes: to ask such an object takes ten times as
    long.

    :param nova.objects.base.NovaObject versioned: which loads no such field
        when it is read
    :param str name: of the field
    """
    return getattr(versioned, _get_attribute(name), None)


def name_image(image_meta):
    """Return what to call an image, which for a volume has no name or id."""
    return (get_field(image_meta, 'name') or get_field(image_meta, 'id') or
            _('of the root volume'))


def quote(value):
    """Return what to call the value of a property, None if it is unset."""
    return _('unset') if value is None else "'%s'" % value
