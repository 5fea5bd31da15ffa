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

"""Move a server only to a host that would start it."""
from nova.compute import resource_tracker
from nova import exception

from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption import overlay


@overlay.wrap(resource_tracker.ResourceTracker, leans_on=[
    'nova.compute.manager:ComputeManager._error_out_instance_on_exception',
    'nova.compute.manager:ComputeManager._prep_resize',
    'nova.compute.manager:ComputeManager.prep_resize',
    'nova.compute.manager:ComputeManager.prep_snapshot_based_resize_at_dest'])
def resize_claim(upstream, self, context, instance, flavor, nodename,
                 migration, allocations, image_meta=None, limits=None):
    """Refuse a server here, before its guest is stopped on its host.

    The next host is tried then. Where there is none, the server stays in the
    state it has, as such an exception says.
    """
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is not None:
        try:
            mem_encryption.restarts.check(instance, flavor)
        except restarts.REFUSALS as e:
            raise exception.InstanceFaultRollback(inner_exception=e) from e
    return upstream(self, context, instance, flavor, nodename, migration,
                    allocations, image_meta=image_meta, limits=limits)
