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

"""Unshelve what was stored long ago as it was."""
from nova.compute import manager
from nova.objects import fields

from nova_mem_encryption import overlay


@overlay.wrap(manager.ComputeManager)
def _unshelve_instance(upstream, self, context, instance, image, *args,
                       **kwargs):
    """Leave out an unknown model that the snapshot has of the server.

    That of the server itself is left out, with a warning, where its image is
    read from the database. Other images are checked by the API.
    """
    properties = (image or {}).get('properties', {})
    model = properties.get('hw_mem_encryption_model')
    if model is not None and model not in fields.MemEncryptionModel.ALL:
        properties = {name: value for name, value in properties.items()
                      if name != 'hw_mem_encryption_model'}
        image = {**image, 'properties': properties}
    return upstream(self, context, instance, image, *args, **kwargs)
