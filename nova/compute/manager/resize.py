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

"""Tell why a server is not moved; see resource_tracker.resize_claim."""
from nova.compute import manager
from nova import exception

from nova_mem_encryption import overlay


@overlay.wrap(manager.ComputeManager, leans_on=[
    'nova.conductor.tasks.migrate:MigrationTask._reschedule'])
def _reschedule_resize_or_reraise(upstream, self, context, instance, exc_info,
                                  flavor, request_spec, filter_properties,
                                  host_list):
    """Say the reason of the last host, and not that all were tried.

    Without 'retry' that reason is raised.
    """
    last = isinstance(exc_info[1], exception.InstanceFaultRollback) and (
        host_list is not None and not host_list)
    if last:
        filter_properties = {
            name: value
            for name, value in (filter_properties or {}).items()
            if name != 'retry'}
    upstream(self, context, instance, exc_info, flavor, request_spec,
             filter_properties, host_list)
