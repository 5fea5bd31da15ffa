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

PROPERTY = 'hw_mem_encryption_model'


@overlay.wrap(manager.ComputeManager)
def _unshelve_instance(upstream, self, context, instance, image, *args,
                       **kwargs):
    """Leave out an unknown model that the server, or its snapshot, has.

    A server that was booted from a volume has no snapshot; of that one Nova
    reads the metadata past ImageMeta.from_instance. Other images are checked
    by the API.
    """
    if image:
        image = {**image, 'properties': dict(image.get('properties', {}))}
        _drop_unknown(image['properties'], PROPERTY)
    else:
        # It has been ignored all the time.
        _drop_unknown(instance.system_metadata, 'image_' + PROPERTY)
    return upstream(self, context, instance, image, *args, **kwargs)


def _drop_unknown(values, key):
    if key in values and values[key] not in fields.MemEncryptionModel.ALL:
        del values[key]
