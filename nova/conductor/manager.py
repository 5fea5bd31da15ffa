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
import contextvars

from nova.conductor import manager
from nova import exception as nova_exception
from nova.scheduler import utils
from nova.virt import hardware

from nova_mem_encryption import overlay

# What the last host that was tried said
_reason = contextvars.ContextVar('reason', default=None)


@overlay.wrap(manager.ComputeTaskManager, leans_on=[
    'nova.scheduler.utils:populate_retry',
    'nova.compute.manager:ComputeManager._do_build_and_run_instance'])
def build_instances(upstream, self, context, instances, image,
                    filter_properties, *args, **kwargs):
    """Keep what the last host said, which upstream drops."""
    retry = filter_properties.get('retry') or {}
    token = _reason.set(retry.get('exc_reason'))
    try:
        return upstream(self, context, instances, image, filter_properties,
                        *args, **kwargs)
    finally:
        _reason.reset(token)


@overlay.wrap(manager.ComputeTaskManager)
def _cleanup_when_reschedule_fails(upstream, self, context, instance,
                                   exception, *args, **kwargs):
    """Have the last host's reason for the fault of an encrypted server.

    That all hosts were tried is nothing that a user could act on.
    """
    reason = _reason.get()
    if reason and isinstance(exception, nova_exception.MaxRetriesExceeded):
        with hardware.stored_mem_encryption():
            config = hardware.get_mem_encryption_constraint(
                instance.flavor, instance.image_meta)
        if config is not None:
            exception = nova_exception.MaxRetriesExceeded(reason)
    upstream(self, context, instance, exception, *args, **kwargs)


@overlay.wrap(manager.ComputeTaskManager)
def _recheck_quota(upstream, self, context, flavor, request_spec, *args,
                   **kwargs):
    """Also look at the limit of the slots where the image asks for one."""
    with utils.image_of_flavor(
            lambda: 'image' in request_spec and request_spec.image):
        return upstream(self, context, flavor, request_spec, *args, **kwargs)
