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

"""Let a stored request ask for the model that the server's image has."""
from nova.objects import request_spec

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay


@overlay.wrap(request_spec.RequestSpec)
def ensure_project_and_user_id(upstream, self, instance):
    """Also put in the image's model, which was not stored before the series.

    Called before a server is moved or unshelved. Without, the request would
    go on to ask for a slot that the server cannot be started with.
    """
    upstream(self, instance)
    if 'image' not in self or self.image is None:
        return
    model = instance.system_metadata.get(models.STORED)
    if model in models.MODELS:
        self.image.properties.hw_mem_encryption_model = model
