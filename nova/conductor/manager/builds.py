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

"""Tell why no host started an encrypted server, and count its slot."""
from nova.conductor import manager
from nova import exception
from nova.virt import hardware

from nova_mem_encryption.nova.scheduler import utils as scheduler_utils
from nova_mem_encryption import overlay

MENDS = 'of hosts that fail, no reason is told'


@overlay.wrap(manager.ComputeTaskManager, mends=MENDS, leans_on=[
    'nova.scheduler.utils:populate_retry',
    'nova.compute.manager:ComputeManager._do_build_and_run_instance'])
def build_instances(upstream, self, context, instances, image,
                    filter_properties, *args, **kwargs):
    """Keep what the last host said, which is not handed on."""
    retry = filter_properties.get('retry') or {}
    for instance in instances:
        # NOTE: _find_fault reads it of the same object. It is no field, so
        # it goes nowhere else.
        instance._last_reason = retry.get('exc_reason')
    return upstream(self, context, instances, image, filter_properties,
                    *args, **kwargs)


@overlay.wrap(manager.ComputeTaskManager, mends=MENDS)
def _cleanup_when_reschedule_fails(upstream, self, context, instance,
                                   exception, *args, **kwargs):
    """Have the last host's reason for the fault of an encrypted server."""
    exception = _find_fault(self, instance, exception)
    upstream(self, context, instance, exception, *args, **kwargs)


def _find_fault(self, instance, error):
    """Return the fault that a server gets, for which no host was found.

    That all hosts were tried is nothing that a user could act on; of an
    encrypted server it is what the last of them said.
    """
    reason = getattr(instance, '_last_reason', None)
    if reason and isinstance(error, exception.MaxRetriesExceeded):
        if hardware.get_mem_encryption_constraint(
                instance.flavor, instance.image_meta) is not None:
            return exception.MaxRetriesExceeded(reason)
    return error


# Where the limits are looked at once more
overlay.within(
    manager.ComputeTaskManager, '_recheck_quota',
    lambda self, context, flavor, request_spec, *args, **kwargs:
        scheduler_utils.with_image(
            lambda: 'image' in request_spec and request_spec.image),
    mends=scheduler_utils.MENDS)
