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

"""Let an image say which model of memory encryption it wants."""
import functools

from oslo_log import log as logging

from nova import exception
from nova.objects import base
from nova.objects import fields
from nova.objects import image_meta

from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)
PROPERTY = 'hw_mem_encryption_model'
STORED = 'image_' + PROPERTY  # in the system metadata of an instance

overlay.add(image_meta.ImageMetaProps, PROPERTY,
            fields.MemEncryptionModelField(), into='fields')
# NOTE: registered again, which makes the property, at the version that it
# has. A peer without the series ignores a field that it does not know, but
# refuses a version; and 1.40 to 1.42 mean other fields to Nova 32.
base.NovaObjectRegistry.register(image_meta.ImageMetaProps)


@overlay.wrap(image_meta.ImageMeta,
              leans_on=['nova.utils:instance_sys_meta',
                        'nova.utils:get_image_from_system_metadata'])
def from_instance(upstream, cls, instance):
    """Read the image of a server that was stored with an unknown model.

    Nova did not look at the property before the series came. Such a server
    has what it always had, and must not keep a service from starting.
    """
    value = instance.system_metadata.get(STORED)
    if value is not None and value not in fields.MemEncryptionModel.ALL:
        _warn(instance.uuid, value)
        instance = instance.obj_clone()
        del instance.system_metadata[STORED]
    return upstream(cls, instance)


@overlay.wrap(image_meta.ImageMeta)
def from_image_ref(upstream, cls, context, image_api, image_ref):
    """Say which image cannot be used, as for a rescue, and why."""
    try:
        return upstream(cls, context, image_api, image_ref)
    except ValueError as e:
        raise exception.ImageBadRequest(image_id=image_ref, response=str(e)
                                        ) from e


@functools.lru_cache(maxsize=1000)
def _warn(uuid, value):
    """Warn, once a server and not each time that it is looked at."""
    LOG.warning("Server %(uuid)s was stored with image property %(property)s="
                "'%(value)s', which is not one of %(allowed)s. It is ignored, "
                "as it was before.",
                {'uuid': uuid, 'property': PROPERTY, 'value': value,
                 'allowed': ', '.join(fields.MemEncryptionModel.ALL)})
