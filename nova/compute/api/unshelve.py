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

"""Refuse to unshelve a server from a snapshot that asks for something else."""
from nova.compute import api
from nova.compute import vm_states
from nova import exception
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import substitutes
from nova_mem_encryption import overlay


@overlay.wrap(api.API, leans_on=[
    'API._get_image',
    'nova.conductor.manager:ComputeTaskManager.unshelve_instance'])
def unshelve(upstream, self, context, instance, *args, **kwargs):
    """Refuse what the conductor would, where the user can read it.

    What a snapshot has may have changed since it was made, and
    [DEFAULT]/non_inheritable_image_properties can keep properties from it.
    """
    image_ref = instance.system_metadata.get('shelved_image_id')
    if instance.vm_state == vm_states.SHELVED_OFFLOADED and image_ref:
        try:
            image = self._get_image(context, image_ref)[1]
        except (exception.ImageNotFound, exception.ImageNotAuthorized):
            reason = None  # The conductor says so.
        else:
            reason = substitutes.find_refusal(instance, image)
        if reason is not None:
            raise exception.InvalidRequest(_(
                'Instance %(uuid)s cannot be unshelved from its snapshot. '
                '%(reason)s') % {'uuid': instance.uuid, 'reason': reason})
    return upstream(self, context, instance, *args, **kwargs)
