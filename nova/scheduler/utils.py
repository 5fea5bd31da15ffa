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

import os_traits

from nova import objects
from nova.objects import fields
from nova.scheduler import utils
from nova.virt import hardware

from nova_mem_encryption import overlay

TRAITS = {
    fields.MemEncryptionModel.AMD_SEV: os_traits.HW_CPU_X86_AMD_SEV,
    fields.MemEncryptionModel.AMD_SEV_ES: os_traits.HW_CPU_X86_AMD_SEV_ES,
}

# Tells the image of the server for which a flavor is translated by itself
_known = contextvars.ContextVar('known', default=lambda: None)
# What stands in for the image of the request that is translated
_image = contextvars.ContextVar('image', default=None)


@overlay.add(utils)
@contextlib.contextmanager
def image_of_flavor(get_image):
    """Within, a flavor that is translated by itself goes with an image.

    :param get_image: returns the image, a nova.objects.ImageMeta, or None if
        it is not known; called only where a flavor is translated. Of the
        image only memory encryption counts, all else is as Nova has it.
    """
    token = _known.set(get_image)
    try:
        yield
    finally:
        _known.reset(token)


@overlay.wrap(utils.ResourceRequest, leans_on=['_get_resources'])
def from_request_spec(upstream, cls, request_spec, *args, **kwargs):
    """Translate a flavor by itself, too, which has no image to refuse.

    Nova does so for limits, nova-manage and the choice of a CPU model.
    """
    if 'image' in request_spec and request_spec.image is not None:
        return upstream(cls, request_spec, *args, **kwargs)
    image = _known.get()() or objects.ImageMeta(
        properties=objects.ImageMetaProps(
            hw_firmware_type=fields.FirmwareType.UEFI))
    token = _image.set(image)
    try:
        return upstream(cls, request_spec, *args, **kwargs)
    finally:
        _image.reset(token)


@overlay.wrap(utils.ResourceRequest, leans_on=['ResourceRequest._add_trait'])
def _translate_memory_encryption(upstream, self, flavor, image):
    """Also require the trait of the model.

    The trait is on the provider that has the slots of that model; in a host
    without the series it is, for SEV, on the root, as the slots are.
    """
    # NOTE: new servers were checked by the API; of others, what they are
    # stored as counts.
    image = _image.get() or image
    with hardware.stored_mem_encryption() as asked:
        upstream(self, flavor, image)
    if asked.config is not None:
        self._add_trait(TRAITS[asked.config.model], 'required')
