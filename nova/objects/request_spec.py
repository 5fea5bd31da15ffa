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

"""Let a stored request ask for what the server's image asks for."""
from nova import objects
from nova.objects import request_spec

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay


@overlay.wrap(request_spec.RequestSpec)
def ensure_project_and_user_id(upstream, self, instance):
    """Also have the image ask for what is stored of the server."""
    upstream(self, instance)
    _ensure_mem_encryption(self, instance)


def _ensure_mem_encryption(self, instance):
    """Have the image ask for what is stored of a server.

    The model was not always stored, and a rebuild with the image that the
    server has, though that was changed, is not stored in the request.
    Without this a request to move or unshelve a server would ask for a
    slot that it cannot be started with.

    :param nova.objects.Instance instance: the server
    """
    if 'image' not in self or self.image is None or (
            'properties' not in self.image):
        return
    # NOTE: not instance.image_meta, of which all must make sense.
    stored = {name: instance.system_metadata.get('image_' + name)
              for name in models.ASKED}
    if stored[models.PROPERTY] not in models.MODELS:
        stored[models.PROPERTY] = None  # which asks for nothing
    now = self.image.properties
    asked = objects.ImageMetaProps(**{
        name: value for name, value in stored.items()
        if value is not None})
    if any(now.get(name) != asked.get(name) for name in models.ASKED):
        for name in now.fields:
            if name in now and name not in models.ASKED:
                setattr(asked, name, getattr(now, name))
        self.image.properties = asked
