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

"""Count the slot for which a server's image asks.

What is counted is the flavor's. Nova leaves out the image, which may be what
asks for memory encryption.
"""
from nova.compute import api
from nova import utils

from nova_mem_encryption.nova.compute.api import refusals
from nova_mem_encryption.nova.scheduler import utils as scheduler_utils
from nova_mem_encryption import overlay


def _with_image_of_server(context, instance, *args, **kwargs):
    return scheduler_utils.with_image(lambda: instance.image_meta)


overlay.within(
    api.API, '_provision_instances',
    lambda self, context, flavor, min_count, max_count, base_options,
    boot_meta, *args, **kwargs:
        scheduler_utils.with_image(lambda: api._get_image_meta_obj(boot_meta)),
    leans_on=['_get_image_meta_obj',
              'nova.limit.placement:enforce_num_instances_and_flavor'],
    mends=scheduler_utils.MENDS)
overlay.within(api.API, '_check_quota_unshelve_offloaded',
               _with_image_of_server, mends=scheduler_utils.MENDS)
# Of a server that was deleted softly
overlay.within(
    api.API, 'restore',
    lambda self, context, instance:
        _with_image_of_server(context, instance),
    mends=scheduler_utils.MENDS)


@overlay.wrap(api.API, mends=scheduler_utils.MENDS)
def _check_quota_for_upsize(upstream, context, instance, current_flavor,
                            new_flavor, is_bfv, is_revert):
    """Count the slot of a resize, if the server's ports allow it one.

    Of what a resize calls, this alone has both the server and its new flavor.
    """
    if not is_revert:
        refusals.check_ports(
            utils.get_image_from_system_metadata(instance.system_metadata),
            new_flavor, lambda: instance.pci_requests)
    with _with_image_of_server(context, instance):
        return upstream(context, instance, current_flavor, new_flavor,
                        is_bfv, is_revert)
