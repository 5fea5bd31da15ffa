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

"""Hear of resets of guests, from QEMU."""
import functools

from nova import utils
from nova.virt import event as virtevent
from nova.virt.libvirt import host

from nova_mem_encryption.nova.mem_encryption.compute import resets
from nova_mem_encryption import overlay


@overlay.add(host.Host)
@functools.cached_property
def _mem_encryption_resets(self):
    """The guests that ended for a reset: a compute.resets.Resets."""
    return resets.Resets()


@overlay.wrap(host.Host, leans_on=[
    'Host._queue_event', 'Host._wrap_libvirt_proxy'])
def _get_new_connection(upstream, self):
    """Hear of resets by each connection."""
    connection = upstream(self)
    self._mem_encryption_resets.listen(self, connection)
    return connection


@overlay.wrap(host.Host, leans_on=[
    'Host._dispatch_events', 'Host._event_emit',
    'Host._event_lifecycle_callback', 'nova.utils:spawn'])
def _event_emit_delayed(upstream, self, event):
    """Tell at once that a guest has ended for a reset.

    Else it is waited whether it starts again by itself, which it does not. It
    is told then too, as a server that is just being made is not looked at.
    """
    known = self._mem_encryption_resets
    if isinstance(event, resets.ResetEvent):
        known.note(event.uuid)  # that it has stopped comes next
        return
    if isinstance(event, virtevent.LifecycleEvent):
        if event.transition == virtevent.EVENT_LIFECYCLE_STARTED:
            known.forget(event.uuid)
        elif (event.transition == virtevent.EVENT_LIFECYCLE_STOPPED and
                known.has(event.uuid)):
            utils.spawn(self._event_emit, event)
    upstream(self, event)
