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

"""Know the guests that asked for a reset, and how often each did.

libvirt's events of the life of a guest do not tell a reset that it cannot
have from a power-off: it ends. QEMU's own event does.
"""
import contextlib
import importlib
import json
import time

from nova import exception
from nova.i18n import _
from nova.virt import event as virtevent
from nova.virt.libvirt import host as libvirt_host

# Of QEMU's monitor, and what of ShutdownCause in its qapi/run-state.json is a
# reset: by the guest, and by a command, such as virsh reset
EVENT = 'SHUTDOWN'
REASONS = ('guest-reset', 'host-qmp-system-reset')
# How often a guest is started again, and within how many seconds
LIMIT, PERIOD = 5, 600


class ResetEvent(virtevent.InstanceEvent):
    """A guest has asked for a reset that it cannot have, and ends."""


class Resets:
    """The guests of one host that ended for a reset."""

    def __init__(self):
        # Why nobody tells of them, a clause; None if somebody does
        self.obstacle = None
        # Those that were not started since, by UUID: whether somebody sees to
        # it
        self._asked = {}
        self._starts = {}  # when they were started again, by UUID

    def listen(self, host, connection):
        """Have libvirt hand on QEMU's event, which host then queues.

        :param nova.virt.libvirt.host.Host host: the host
        :param libvirt.virConnect connection: that it has just got
        """
        try:
            libvirt_qemu = importlib.import_module('libvirt_qemu')
        except ImportError as e:
            self.obstacle = 'Python has no module libvirt_qemu (%s)' % e
            return
        # NOTE: it takes whatever it gets for a connection of libvirt's, and so
        # must not get what a test has instead.
        if libvirt_qemu.libvirt is not libvirt_host.libvirt:
            self.obstacle = 'module libvirt_qemu is of another libvirt'
            return
        try:
            # NOTE: in a native thread, as whatever waits for libvirt, and
            # with the connection that is within the proxy of eventlet.
            host._wrap_libvirt_proxy(libvirt_qemu).qemuMonitorEventRegister(
                getattr(connection, '_obj', connection), None, EVENT,
                _queue_reset, host)
        except libvirt_host.libvirt.libvirtError as e:
            self.obstacle = "libvirt does not hand on QEMU's events (%s)" % e
        else:
            self.obstacle = None

    def note(self, uuid):
        """Note that a guest has ended for a reset."""
        self._asked[uuid] = False

    def forget(self, uuid):
        """Note that a guest was started, by whomever."""
        self._asked.pop(uuid, None)

    def has(self, uuid):
        """Tell whether a guest has ended for a reset; :returns: bool."""
        return uuid in self._asked

    @contextlib.contextmanager
    def see_to(self, uuid):
        """Within, see to a guest that has ended for a reset.

        If that fails, or it is noted again meanwhile, it is to be seen to
        again.

        :param str uuid: of the server
        :returns: False if somebody else does so already
        """
        mine = not self._asked[uuid]
        self._asked[uuid] = True
        try:
            yield mine
        except BaseException:  # also a timeout of eventlet's
            if mine and uuid in self._asked:
                self._asked[uuid] = False
            raise
        if mine and self._asked.get(uuid):
            del self._asked[uuid]

    def count(self, uuid):
        """Count that a guest is started again.

        :param str uuid: of the server
        :raises nova.exception.InstanceRebootFailure: if it was too often, and
            is to stay off
        """
        now = time.monotonic()
        recent = {
            other: [start for start in starts if now - start < PERIOD]
            for other, starts in self._starts.items()}
        self._starts = {other: starts for other, starts in recent.items()
                        if starts}  # also of servers that are gone
        starts = self._starts.setdefault(uuid, [])
        if len(starts) >= LIMIT:
            raise exception.InstanceRebootFailure(reason=_(
                'its guest asked for a reset again, after %(count)d in '
                '%(minutes)d minutes. The server stays off until it is '
                'started.') % {'count': LIMIT, 'minutes': PERIOD // 60})
        starts.append(now)


def _queue_reset(connection, domain, event, seconds, microseconds, details,
                 host):
    """Queue a reset, if the event is of one.

    It runs in a native thread, as Host._event_lifecycle_callback, and so must
    not log.
    """
    if json.loads(details or '{}').get('reason') in REASONS:
        host._queue_event(ResetEvent(domain.UUIDString()))
