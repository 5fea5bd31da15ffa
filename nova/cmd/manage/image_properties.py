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

"""Store no memory encryption model of a server that is none."""
from nova.cmd import manage
from nova.objects import fields

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

# In which Nova goes on to look at what is given
STATES = (
    fields.InstanceState.STOPPED, fields.InstanceState.SHELVED,
    fields.InstanceState.SHELVED_OFFLOADED)


@overlay.wrap(manage.ImagePropertyCommands)
def _update_image_properties(upstream, self, ctxt, instance,
                             image_properties):
    """Refuse what is no model, as Nova does with other properties."""
    if instance.vm_state in STATES:
        model = self._validate_image_properties(image_properties).get(
            models.PROPERTY, models.NATIVE.value)
        if model not in models.MODELS:
            raise ValueError('%s: %r is not one of %s' % (
                models.PROPERTY, model, ', '.join(models.MODELS)))
    return upstream(self, ctxt, instance, image_properties)
