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

"""Unshelve no server from a snapshot that asks for something else."""
from oslo_log import log as logging

from nova.compute import utils as compute_utils
from nova.conductor import manager
from nova import exception

from nova_mem_encryption.nova.mem_encryption import substitutes
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)


@overlay.wrap(manager.ComputeTaskManager, leans_on=[
    'nova.compute.utils:add_instance_fault_from_exc', 'targets_cell'])
def unshelve_instance(upstream, self, context, instance, *args, **kwargs):
    """Judge the snapshot that the compute service gets.

    The API has judged it, but it may have changed since. Refused before a
    host is chosen, the server stays as it was, and the fault is not of a
    host.
    """
    def judge(image):
        reason = substitutes.find_refusal(instance, image)
        if reason is None:
            return
        error = exception.UnshelveException(reason)
        LOG.error('It cannot be unshelved. %s', reason, instance=instance)
        instance.task_state = None
        instance.save()
        compute_utils.add_instance_fault_from_exc(context, instance, error)
        raise error

    return upstream(substitutes.judging(
        self, instance.system_metadata.get('shelved_image_id'), judge),
        context, instance, *args, **kwargs)
