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

"""Give each model of memory encryption a provider with slots of its own."""
import copy

from nova import exception
from nova.virt.libvirt import driver

from nova_mem_encryption import overlay


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._get_cpu_traits',
    'LibvirtDriver._get_memory_encrypted_slots',
    'LibvirtDriver._update_provider_tree_for_vgpu',
    'LibvirtDriver._is_reshape_needed_vgpu_on_root',
    'nova.compute.provider_tree:ProviderTree.add_traits',
    'nova.compute.provider_tree:ProviderTree.data',
    'nova.compute.provider_tree:ProviderTree.exists',
    'nova.compute.provider_tree:ProviderTree.new_child',
    'nova.compute.provider_tree:ProviderTree.remove',
    'nova.compute.provider_tree:ProviderTree.remove_traits',
    'nova.compute.provider_tree:ProviderTree.update_inventory',
    'nova.compute.resource_tracker:ResourceTracker._update_to_placement',
    'nova.scheduler.client.report:SchedulerReportClient.clear_provider_cache',
    'nova.scheduler.client.report:SchedulerReportClient.'
    'get_allocations_for_resource_provider'])
def update_provider_tree(upstream, self, provider_tree, nodename,
                         allocations=None):
    """Move the slots from the root to a provider for each model."""
    # NOTE: before Nova writes its slots to the root again.
    plan = self._mem_encryption.plans.make(
        provider_tree, nodename, self._get_memory_encrypted_slots,
        again=allocations is not None)
    if allocations is None and plan.moves:
        raise exception.ReshapeNeeded()
    upstream(self, provider_tree, nodename, allocations=allocations)
    self._mem_encryption.providers.update(
        provider_tree, nodename, plan, allocations)
    self.provider_tree = copy.deepcopy(provider_tree)
