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

"""Say why a server cannot be started with another image than its own.

Rescue, unshelve and rebuild take an image of Glance that is not what is
stored of the server, or not any more.
"""
import copy

from nova import exception
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption import refusals


def find_refusal(instance, image):
    """Say why a server cannot be started with an image.

    It can if, with the server's flavor, the image asks for exactly what the
    server has. Not refusals.check, as a server of old may be what is refused
    now.

    :param nova.objects.Instance instance: the server
    :param dict image: as Glance or Cinder has it; what Cinder has has no id
    :returns: the reason with the remedy, None if it can
    """
    flavor, own = instance.flavor, instance.image_meta
    try:
        old = refusals.get_config(flavor, own)
    except (exception.FlavorImageConflict, exception.InvalidMachineType) as e:
        return e.format_message()  # it cannot be started with any
    try:
        other = refusals.read_image(image, name=_name(image))
        new = refusals.get_config(flavor, other)
    except ValueError as e:
        return _('Image %(image)s: %(error)s') % {
            'image': _name(image), 'error': str(e).rstrip('.') + '.'}
    except (exception.FlavorImageConflict, exception.InvalidMachineType) as e:
        return '%s.%s' % (e.format_message().rstrip('.'), _find_remedy(
            image, own.properties, other.properties,
            models.ASKED + models.NEEDED))
    if new != old:
        request, model = (properties.quote(_get(other.properties, name))
                          for name in models.ASKED)
        # NOTE: of faults and events Nova keeps 255 characters.
        return _(
            'Image %(image)s asks for memory encryption %(new)s, the server '
            'has %(old)s.%(remedy)s With flavor %(flavor)s that is what '
            'hw_mem_encryption %(request)s and hw_mem_encryption_model '
            '%(model)s ask for.') % {
                'image': _name(image), 'flavor': flavor.name,
                'request': request, 'model': model,
                'new': new.model if new else _('none'),
                'old': old.model if old else _('none'),
                'remedy': _find_remedy(
                    image, own.properties, other.properties, models.ASKED)}
    return new and properties.find_refusal(flavor, other, new.model)


def find_unknown(instance, image):
    """Say which model of an image is none; see ImageMeta.from_image_ref.

    :param nova.objects.Instance instance: the server
    :param dict image: as Glance has it
    :returns: the reason with the remedy, None if there is no such
    """
    value = image.get('properties', {}).get(models.PROPERTY)
    if value is None or value in models.MODELS:
        return None
    of_flavor = instance.flavor.get('extra_specs', {}).get(
        'hw:mem_encryption_model')
    return refusals.find_model_refusal(
        instance.flavor.name, of_flavor, _name(image), value, encrypted=True)


def _find_remedy(image, own, other, names):
    """Say in commands how an image gets what the server's own has.

    :returns: a sentence, '' where none can be given
    """
    given = [(name, _get(own, name)) for name in names
             if _get(own, name) != _get(other, name)]
    image_id = image.get('id')
    commands = [
        'openstack image %s %s %s' % (verb, ' '.join(
            '--property %s' % option for option in options), image_id)
        for verb, options in (
            ('set', ['%s=%s' % pair for pair in given if pair[1] is not None]),
            ('unset', [name for name, value in given if value is None]))
        if options]
    if not image_id or not commands:
        return ''
    return _(' Correct it: %s.') % _(' and ').join(commands)


def _get(properties, name):
    """Return a property as Glance has it, None if it is unset."""
    value = properties.get(name)
    return str(value).lower() if isinstance(value, bool) else value


def _name(image):
    return image.get('id') or _('of the root volume')


def judging(service, image_ref, judge):
    """Return a service that reads an image only to have it judged.

    What was judged is then what the service goes on with; read by somebody
    else before, it may have changed meanwhile.

    :param service: an object of Nova that has an image_api
    :param str image_ref: of the image
    :param judge: is called with the image, and raises if it is refused
    """
    service = copy.copy(service)
    service.image_api = _JudgedImages(service.image_api, image_ref, judge)
    return service


class _JudgedImages:
    """An image API of Nova that has one image judged when it is read."""

    def __init__(self, image_api, image_ref, judge):
        self._image_api = image_api
        self._image_ref = image_ref
        self._judge = judge

    def __getattr__(self, name):
        return getattr(self._image_api, name)

    def get(self, context, id_or_uri, *args, **kwargs):
        image = self._image_api.get(context, id_or_uri, *args, **kwargs)
        if id_or_uri == self._image_ref:
            self._judge(image)
        return image
