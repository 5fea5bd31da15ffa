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

"""Reshape when Placement answers."""
from nova.compute import resource_tracker

from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption import overlay


@overlay.wrap(resource_tracker.ResourceTracker, leans_on=[
    'nova.compute.manager:ComputeManager._update_available_resource_for_node'])
def _update_to_placement(upstream, self, context, compute_node, startup):
    """Take the first update that succeeds for the one at the start.

    Slots are moved only when nova-compute starts. Were Placement away then,
    every update would fail until nova-compute is started again. Of another
    driver than libvirt's all is as it was.
    """
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is None:  # the driver is not libvirt's
        return upstream(self, context, compute_node, startup)
    first = compute_node.uuid not in mem_encryption.reported
    upstream(self, context, compute_node, startup or first)
    # Slots may have to wait for the name of their provider.
    waiting = mem_encryption.providers.waiting
    if compute_node.hypervisor_hostname not in waiting:
        mem_encryption.reported.add(compute_node.uuid)
