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

"""Ask Placement for a slot of the model, and not for any slot."""
import contextlib
import contextvars
import copy

from nova import objects
from nova.objects import fields
from nova.scheduler import utils
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption import overlay

# What wraps mend that count the slot for which an image asks
MENDS = 'limits leave out the image'
# Returns the image of the server for which a flavor is translated by itself
_get_image = contextvars.ContextVar(
    'get_image', default=lambda: None)
# Of that image only these count, all else is as Nova has it.
COUNTED = models.NEEDED + models.ASKED


@contextlib.contextmanager
def with_image(get_image):
    """Within, a flavor that is translated by itself goes with an image.

    :param get_image: returns the image, a nova.objects.ImageMeta, or None if
        it is not known; called only where a flavor is translated
    """
    token = _get_image.set(get_image)
    try:
        yield
    finally:
        _get_image.reset(token)


@overlay.wrap(utils.ResourceRequest, mends=MENDS,
              leans_on=['_get_resources'])
def from_request_spec(upstream, cls, request_spec, *args, **kwargs):
    """Translate a flavor by itself, too, which has no image to refuse.

    Nova does so for limits, nova-manage and the choice of a CPU model.
    """
    if properties.get_field(request_spec, 'image') is None:
        image = _get_image.get()()
        counted = objects.ImageMetaProps(**(
            {name: getattr(image.properties, name)
             for name in COUNTED
             if name in image.properties} if image else
            {'hw_firmware_type': fields.FirmwareType.UEFI}))
        # NOTE: not a clone, as Nova takes the groups of the request as
        # they are; but what changed is told of each by itself.
        request_spec = copy.copy(request_spec)
        request_spec._changed_fields = set(request_spec._changed_fields)
        request_spec.image = objects.ImageMeta(properties=counted, **(
            {name: getattr(image, name) for name in ('id', 'name')
             if image and name in image}))
    return upstream(cls, request_spec, *args, **kwargs)


@overlay.wrap(utils.ResourceRequest, leans_on=[
    'ResourceRequest._add_resource', 'ResourceRequest._add_trait',
    'ResourceRequest.get_request_group'])
def _translate_memory_encryption(upstream, self, flavor, image):
    """Also require the trait of the model.

    The trait is on the provider that has the slots of that model; where
    nova-compute knows no models it is, for what Nova always had, on the
    root, as the slots are.
    """
    resources = self.get_request_group(None).resources
    # A flavor can ask for a slot alone: that is no memory encryption.
    had = providers.SLOT in resources
    upstream(self, flavor, image)
    # NOTE: most servers ask for no slot, and pay for nothing more. Who asks
    # for one here is not asked again whether that can be.
    if providers.SLOT not in resources or (
            had and not hardware.get_mem_encryption_constraint(flavor, image)):
        return
    self._add_trait(models.MODELS[refusals.get_model(flavor, image)].trait,
                    'required')
