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

"""Know which guests are servers, and have slots."""
from nova.compute import resource_tracker

from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay


@overlay.wrap(resource_tracker.ResourceTracker, leans_on=[
    'ResourceTracker._copy_resources',
    'ResourceTracker._update_available_resource',
    'ResourceTracker._update_usage_from_instance'])
def _update_usage_from_migrations(upstream, self, context, migrations,
                                  nodename):
    """Also count the guests without slots, once all servers are known."""
    upstream(self, context, migrations, nodename)
    _count_foreign_guests(self, migrations, nodename)


def _count_foreign_guests(self, migrations, nodename):
    """Count the guests that have no slots.

    The counts go to the node's other statistics, where a controller finds
    them.

    :param migrations: those that the host is part of
    :param str nodename: the node
    """
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is None:
        return  # the driver is not libvirt's
    found = mem_encryption.foreign_guests.count(
        self.tracked_instances.union(
            migration.instance_uuid for migration in migrations
            if migration.status != 'error'),
        self.compute_nodes[nodename].uuid,
        {migration.uuid: migration.instance_uuid
         for migration in migrations})
    if found:
        stats = self.stats[nodename]
        stats.update((models.MODELS[model].foreign_stat, number)
                     for model, number in found.items())
        self.compute_nodes[nodename].stats = stats
