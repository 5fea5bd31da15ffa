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

"""Find flavors and images that ask for what their model cannot have."""
from nova.i18n import _
from nova import objects

from nova_mem_encryption.nova.mem_encryption import devices
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption.upgrade import findings


def judge(name, specs, model, of_image):
    """Yield what is refused with a model.

    :param str name: what to call the flavor or image
    :param dict specs: its extra specs; those of an image are called alike
    :param model.Model model: what it asks for
    :param bool of_image: whether they are those of an image
    """
    for lack, why in model.lacks.items():
        if lack in devices.DEVICES:
            found = devices.find_request(specs, lack)
            remedy = _('Remove one of them.')
        elif lack not in properties.PROPERTIES:
            continue  # a host has it, or not
        else:
            found = _find(specs, properties.PROPERTIES[lack], of_image)
            remedy = properties.PROPERTIES[lack].remedy
        if found:
            yield findings.Finding(
                findings.WARNING, name, _(
                    'has %(found)s beside memory encryption, so it is refused '
                    'with %(model)s. %(why)s') % {
                        'found': found, 'model': model.title, 'why': why},
                remedy)


def _find(specs, row, of_image):
    """Return a property with its value, if that is refused."""
    if not of_image and not row.of_flavor:
        return None
    value = specs.get(row.extra_spec)
    key = row.of_images if of_image else row.extra_spec
    read = value
    if of_image and value is not None:
        try:
            read = objects.ImageMetaProps.fields[key].coerce(None, key, value)
        except ValueError:
            return None  # Nova makes no server of such an image.
    return '%s %s' % (key, properties.quote(value)) if row.refuses(
        read) else None
