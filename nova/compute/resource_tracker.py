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


"""Reshape when Placement answers, and know which guests are servers."""
from nova.compute import resource_tracker

from nova_mem_encryption import overlay

STAT = 'mem_encryption_foreign_%s'

overlay.add(resource_tracker.ResourceTracker, '_reported', frozenset())


@overlay.wrap(resource_tracker.ResourceTracker, leans_on=[
    'nova.compute.manager:ComputeManager._update_available_resource_for_node'])
def _update_to_placement(upstream, self, context, compute_node, startup):
    """Take the first update that succeeds for the one at the start.

    Upstream moves slots only when nova-compute starts. Were Placement away
    then, every update would fail until nova-compute is started again.
    """
    first = compute_node.uuid not in self._reported
    upstream(self, context, compute_node, startup or first)
    self._reported |= {compute_node.uuid}


@overlay.wrap(resource_tracker.ResourceTracker, leans_on=[
    'ResourceTracker._copy_resources',
    'ResourceTracker._update_available_resource',
    'ResourceTracker._update_usage_from_instance'])
def _update_usage_from_migrations(upstream, self, context, migrations,
                                  nodename):
    """Also count the guests that are not servers, once all these are known.

    The counts go to the node's other statistics, where a controller finds
    them.
    """
    upstream(self, context, migrations, nodename)
    count = getattr(self.driver, '_count_foreign_guests', None)
    if count is None:
        return  # the driver is not libvirt's
    found = count(self.tracked_instances.union(
        migration.instance_uuid for migration in migrations
        if migration.status != 'error'))
    if found:
        stats = self.stats[nodename]
        stats.update((STAT % suffix, number)
                     for suffix, number in found.items())
        self.compute_nodes[nodename].stats = stats
