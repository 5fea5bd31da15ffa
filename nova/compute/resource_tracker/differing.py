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

"""Know which servers run as something else than they ask for."""
from nova.compute import resource_tracker

from nova_mem_encryption.nova.mem_encryption import differing
from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption import overlay


@overlay.wrap(resource_tracker.ResourceTracker, leans_on=[
    'ResourceTracker._copy_resources',
    'ResourceTracker._update_available_resource',
    'ResourceTracker._update_usage_from_instance'])
def _update_usage_from_instances(upstream, self, context, instances,
                                 nodename):
    """Also look at what they run with.

    What is found goes to the node's other statistics, where a controller
    finds it.
    """
    by_uuid = upstream(self, context, instances, nodename)
    mem_encryption = drivers.find(self.driver)
    found = mem_encryption and mem_encryption.differing_servers.find(
        instances)
    if found is not None:
        stats = self.stats[nodename]
        stats[differing.STAT] = differing.write(found)
        self.compute_nodes[nodename].stats = stats
    return by_uuid
