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

"""Test that a reset is told from other ends of a guest, and is counted."""
import contextlib
import sys
import types
from unittest import mock

import ddt
import eventlet
from oslo_utils.fixture import uuidsentinel as uuids

from nova import exception
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption
from nova.virt import event as virtevent

from nova_mem_encryption.nova.mem_encryption.compute import resets

XML = '''
<domain>
  <name>server</name>
  <uuid>%s</uuid>
  <memory>1048576</memory>
  <vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <devices/>
</domain>
''' % uuids.server


def fail(*args, **kwargs):
    raise fakelibvirt.make_libvirtError(
        fakelibvirt.libvirtError, 'it has none of those',
        error_code=fakelibvirt.VIR_ERR_NO_SUPPORT,
        error_domain=fakelibvirt.VIR_FROM_QEMU)


@ddt.ddt
class ResetsTest(mem_encryption.SEVTestCase):

    def setUp(self):
        super().setUp()
        self.events = []
        self.host = self.get_host()
        self.host._queue_event = self.events.append
        self.resets = self.host._mem_encryption_resets

    def connect_events(self):
        """Connect to libvirt, as Host.get_connection does."""
        with mock.patch.object(self.host, '_connect',
                               return_value=self.connection):
            self.assertIs(self.connection, self.host._get_new_connection())

    def make_domain(self):
        """Start a guest; return its domain."""
        domain = self.connection.defineXML(XML)
        domain.createWithFlags(0)
        self.events.clear()
        return domain

    def get_queued(self):
        return [type(event) for event in self.events]

    # Those of QEMU 10.0's qapi/run-state.json
    @ddt.data(
        ('guest-reset', True), ('host-qmp-system-reset', True),
        ('none', False), ('host-error', False), ('host-qmp-quit', False),
        ('host-signal', False), ('host-ui', False), ('guest-shutdown', False),
        ('guest-panic', False), ('subsystem-reset', False),
        ('snapshot-load', False))
    @ddt.unpack
    def test_only_a_reset_is_one(self, reason, queued):
        self.connect_events()
        self.make_domain().end(reason)
        self.assertEqual(
            [resets.ResetEvent] * queued + [virtevent.LifecycleEvent],
            self.get_queued())
        self.assertEqual({uuids.server}, {
            event.uuid for event in self.events})

    @ddt.data(None, '', '{}', '{"guest": true}')
    def test_an_event_without_a_reason(self, details):
        self.connect_events()
        event, callback, opaque = self.connection._monitor_listener
        callback(self.connection, self.make_domain(), event, 0, 0, details,
                 opaque)
        self.assertEqual([], self.events)

    @tables.data(
        (None, 'Python has no module libvirt_qemu'),
        (types.SimpleNamespace(libvirt=types), 'is of another libvirt'),
        (types.SimpleNamespace(libvirt=fakelibvirt,
                               qemuMonitorEventRegister=fail),
         "libvirt does not hand on QEMU's events (it has none of those)"),
        by=1)
    @ddt.unpack
    def test_where_nobody_tells_that_is_said_once(self, module, words):
        self.sev.set_libvirt_qemu(module)
        self.connect_events()
        self.assertIn(words, self.resets.obstacle)
        self.make_domain().end('guest-reset')
        self.assertEqual([virtevent.LifecycleEvent], self.get_queued())
        with self.assertLogs(mem_encryption.LOGGER, 'WARNING') as logs:
            for _ in range(3):
                self.assertTrue(self.host.supports_amd_sev_es)
        said, = logs.records
        self.assertIn('A server with SEV-ES that is rebooted from inside '
                      'stays off', said.getMessage())
        self.assertIn(words, said.getMessage())

    @ddt.data({}, {'libvirt_qemu': types})
    def test_the_module_of_a_test_stays_in_it(self, before):
        with mock.patch.dict(sys.modules):
            sys.modules.pop('libvirt_qemu')
            sys.modules.update(before)
            with fakelibvirt.SEVHosts() as hosts:
                hosts.set_libvirt_qemu(None)
            self.assertEqual(before, {
                name: module for name, module in sys.modules.items()
                if name == 'libvirt_qemu'})

    def test_it_is_not_said_where_there_is_no_such_server(self):
        self.sev.set_libvirt_qemu(None)
        self.connect_events()
        self.sev.set(sev_es='N')
        with self.assert_silence():
            self.assertFalse(self.host.supports_amd_sev_es)

    def test_nothing_is_said_where_somebody_tells_of_one(self):
        self.sev.set_libvirt_qemu(None)
        self.connect_events()
        self.sev.set_libvirt_qemu(types.SimpleNamespace(
            libvirt=fakelibvirt, qemuMonitorEventRegister=mock.Mock()))
        self.connect_events()
        with self.assert_silence():
            self.assertTrue(self.host.supports_amd_sev_es)

    def see_to(self):
        """Return whether it is seen to, and not by somebody else already."""
        if not self.resets.has(uuids.server):
            return None
        with self.resets.see_to(uuids.server) as mine:
            return mine

    def test_it_is_seen_to_once(self):
        self.assertIsNone(self.see_to())
        self.resets.note(uuids.another)
        self.assertIsNone(self.see_to())
        self.resets.note(uuids.server)
        with self.resets.see_to(uuids.server) as mine:
            self.assertTrue(mine)
            self.assertIs(False, self.see_to())
            self.assertIs(False, self.see_to())
        self.assertIsNone(self.see_to())

    def test_it_is_noted_again_while_it_is_seen_to(self):
        self.resets.note(uuids.server)
        with self.resets.see_to(uuids.server):
            self.resets.note(uuids.server)
        self.assertTrue(self.see_to())

    def test_it_is_started_while_it_is_seen_to(self):
        self.resets.note(uuids.server)
        with self.resets.see_to(uuids.server):
            self.resets.forget(uuids.server)
        self.assertIsNone(self.see_to())

    @ddt.data(ValueError, eventlet.Timeout)
    def test_it_is_seen_to_in_vain(self, error):
        """The next look tries again."""
        self.resets.note(uuids.server)

        def fail_to():
            with self.resets.see_to(uuids.server):
                raise error
        self.assertRaises(error, fail_to)
        self.assertTrue(self.see_to())
        self.assertIsNone(self.see_to())

    def test_it_is_seen_to_in_vain_by_another(self):
        self.resets.note(uuids.server)
        with self.resets.see_to(uuids.server):
            with contextlib.suppress(ValueError):
                with self.resets.see_to(uuids.server):
                    raise ValueError
            self.assertIs(False, self.see_to())
        self.assertIsNone(self.see_to())

    def test_it_is_started_before_that_fails(self):
        self.resets.note(uuids.server)
        with contextlib.suppress(ValueError):
            with self.resets.see_to(uuids.server):
                self.resets.forget(uuids.server)
                raise ValueError
        self.assertIsNone(self.see_to())

    def test_five_in_ten_minutes(self):
        with mock.patch.object(resets.time, 'monotonic') as now:
            now.return_value = 1000
            for minute in range(5):
                self.resets.count(uuids.server)
                now.return_value += 60
            for _ in range(2):
                e = self.assertRaises(exception.InstanceRebootFailure,
                                      self.resets.count, uuids.server)
                self.assertIn('5 in 10 minutes', e.format_message())
            self.resets.count(uuids.another)
            now.return_value = 1000 + 599
            self.assertRaises(exception.InstanceRebootFailure,
                              self.resets.count, uuids.server)
            now.return_value += 1  # the first was ten minutes ago
            self.resets.count(uuids.server)
            self.assertRaises(exception.InstanceRebootFailure,
                              self.resets.count, uuids.server)
            now.return_value += 601
            self.resets.count(uuids.another)
            self.assertEqual({uuids.another}, set(self.resets._starts))


class EmitTest(mem_encryption.SEVTestCase):
    """What nova-compute hears, and when."""

    def setUp(self):
        super().setUp()
        self.host = self.get_host()
        self.heard = []
        self.host._lifecycle_event_handler = self.heard.append
        self.hold_time()

    def hold_time(self):
        """Have what is spawned done at once, and what is delayed never."""
        patch = mock.patch('nova.utils.spawn',
                           lambda function, *args: function(*args))
        patch.start()
        self.addCleanup(patch.stop)
        later = mock.patch('nova.virt.libvirt.host.greenthread.spawn_after')
        self.later = later.start()
        self.addCleanup(later.stop)

    def emit(self, *transitions, uuid=uuids.server):
        for transition in transitions:
            self.host._event_emit_delayed(
                resets.ResetEvent(uuid) if transition is None else
                virtevent.LifecycleEvent(uuid, transition))

    def get_transitions(self):
        return [event.transition for event in self.heard]

    def test_the_end_for_a_reset_is_heard_at_once(self):
        self.emit(None, virtevent.EVENT_LIFECYCLE_STOPPED)
        self.assertEqual([virtevent.EVENT_LIFECYCLE_STOPPED],
                         self.get_transitions())
        # And later, if nothing could be done yet
        self.assertEqual(1, self.later.call_count)

    def test_another_end_is_heard_later(self):
        self.emit(None, uuid=uuids.another)
        self.emit(virtevent.EVENT_LIFECYCLE_STOPPED)
        self.assertEqual([], self.heard)
        self.assertEqual(1, self.later.call_count)

    def test_a_guest_that_was_started_since(self):
        self.emit(None, virtevent.EVENT_LIFECYCLE_STARTED,
                  virtevent.EVENT_LIFECYCLE_STOPPED)
        self.assertEqual([virtevent.EVENT_LIFECYCLE_STARTED],
                         self.get_transitions())
        self.assertFalse(self.host._mem_encryption_resets.has(uuids.server))

    def test_other_events_change_nothing(self):
        self.emit(None, virtevent.EVENT_LIFECYCLE_PAUSED,
                  virtevent.EVENT_LIFECYCLE_RESUMED)
        self.assertTrue(self.host._mem_encryption_resets.has(uuids.server))
