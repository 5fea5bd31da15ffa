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
from nova import exception
from nova.objects import base
from nova.objects import fields
from nova.objects import image_meta

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

# NOTE: any string. Nova did not always look at the property, so
# servers may be stored with what is no model, and must not keep a
# service from starting. What is asked for is judged by refusals.check.
# The version stays: a peer ignores a field that it does not know, but
# refuses a version; and 1.40 to 1.42 mean other fields to Nova 32.
overlay.add(image_meta.ImageMetaProps, 'hw_mem_encryption_model',
            fields.StringField(), into='fields')
# Registered again, which makes the property, at the version that it has
base.NovaObjectRegistry.register(image_meta.ImageMetaProps)


@overlay.wrap(image_meta.ImageMeta)
def from_image_ref(upstream, cls, context, image_api, image_ref):
    """Refuse an image of Glance that asks for what is no model, and say why.

    The compute service reads images so that servers were not stored with, as
    for a rescue.
    """
    try:
        image = upstream(cls, context, image_api, image_ref)
        model = image.properties.get(models.PROPERTY)
        if model is not None and model not in models.MODELS:
            raise ValueError('%s: %r is not one of %s' % (
                models.PROPERTY, model, ', '.join(models.MODELS)))
    except ValueError as e:
        raise exception.ImageBadRequest(image_id=image_ref, response=str(e)
                                        ) from e
    return image
