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

"""Test that a server whose guest asks for a reset is started again."""
import contextlib
from unittest import mock

import ddt
import eventlet
from oslo_db import exception as db_exc

from nova.compute import vm_states
from nova import context
from nova import exception
from nova import objects
from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import mem_encryption as base

RESET = ('guest-reset', 'host-signal')


@ddt.ddt
class ResetTest(base.MemEncryptionTestBase):

    # One that waited would wait for itself: Nova looks at a server under the
    # lock that stops it.
    CAST_AS_CALL = False

    def setUp(self):
        super().setUp()
        self.start_host()
        self.hear()

    def hear(self):
        """Have nova-compute hear of libvirt's and QEMU's events.

        Nova's fixture has no thread that listens. What that would do is done
        by dispatch.
        """
        self.manager = self.computes['compute1'].manager
        self.host = self.manager.driver._host
        self.host._lifecycle_delay = 0.2
        self.host._init_events_pipe()
        with mock.patch.object(self.host, '_connect',
                               return_value=self.connections['compute1']):
            self.host._get_new_connection()

    def dispatch(self, seconds=0):
        """Have Nova see to the events that there are, and wait."""
        self.host._dispatch_events()
        eventlet.sleep(seconds)

    def end(self, server, *reasons):
        """Have a guest end by itself; return its server when that is done."""
        actions = self.get_actions(server)
        self.get_domain(server).end(*reasons)
        self.dispatch()
        return self.wait(server, actions)

    def look(self):
        """Have Nova look at all servers, as it does every ten minutes."""
        self.manager._sync_power_states(context.get_admin_context())

    def wait(self, server, actions):
        """Wait until more was done with a server than these; return it."""
        for _ in range(200):
            eventlet.sleep(0.05)
            begun = self.get_actions(server) != actions
            found = self.api.get_server(server['id'])
            if begun and found['OS-EXT-STS:task_state'] is None:
                return found
        self.fail('Nothing was done: %s' % found)

    def get_actions(self, server):
        """Return what was done with a server, the first first."""
        return [action['action'] for action in reversed(
            self.api.get_instance_actions(server['id']))]

    def get_error(self, server, name):
        """Return why an action failed, as the server's user sees."""
        action = next(
            action for action in self.api.get_instance_actions(server['id'])
            if action['action'] == name)
        return '\n'.join(
            event['details'] for event in
            self.api.get_instance_action_details(
                server['id'], action['request_id'])['events']
            if event['result'] == 'Error')

    def assert_off(self, server, actions):
        self._wait_for_state_change(server, 'SHUTOFF')
        self.assertFalse(self.is_running(server))
        self.assertEqual(['create', *actions], self.get_actions(server))

    @tables.data(RESET, ('host-qmp-system-reset', 'host-signal'),
                 ('guest-reset',))
    def test_it_runs_again(self, reasons):
        server = self.boot(base.ES_SPECS)
        for number in (1, 2):
            server = self.end(server, *reasons)
            self.assertEqual('ACTIVE', server['status'])
            self.assert_model(server, 'amd-sev-es')
            self.assertEqual(['create'] + ['reboot'] * number,
                             self.get_actions(server))
        self.assertEqual([], [warning for warning in self.warnings
                              if 'reset' in warning])

    @tables.data(('guest-shutdown', 'host-signal'), ('host-signal',),
                 ('guest-panic',), ())
    def test_another_end_stays_one(self, reasons):
        server = self.end(self.boot(base.ES_SPECS), *reasons)
        self.assert_off(server, ['stop'])

    def test_a_shutdown_after_a_reset_stays_one(self):
        server = self.end(self.boot(base.ES_SPECS), *RESET)
        self.dispatch()  # that it was started
        server = self.end(server, 'guest-shutdown')
        self.assert_off(server, ['reboot', 'stop'])

    @ddt.data({}, base.SEV_SPECS)
    def test_a_server_that_can_be_reset(self, specs):
        """So QEMU was told to end where it asks for that (on_reboot)."""
        server = self.end(self.boot(specs), *RESET)
        self.assert_off(server, ['stop'])

    def test_it_is_not_started_without_end(self):
        server = self.boot(base.ES_SPECS)
        for _ in range(5):
            server = self.end(server, *RESET)
            self.assert_model(server, 'amd-sev-es')
        server = self.end(server, *RESET)
        self.assert_off(server, ['reboot'] * 6 + ['stop'])
        self.assertIn('5 in 10 minutes', self.get_error(server, 'reboot'))
        self.assertIn(
            'is not started again. Failed to reboot instance: its guest asked '
            'for a reset again', '\n'.join(self.warnings))
        self.assertEqual(['compute1_amd_sev_es'], self.get_slots(server))

    def test_a_host_that_cannot_any_more(self):
        server = self.boot(base.ES_SPECS)
        self.restart_host(max_es_guests=0)
        self.hear()
        server = self.end(server, *RESET)
        self.assert_off(server, ['reboot', 'stop'])
        self.assertIn('maxESGuests is 0', self.get_error(server, 'reboot'))

    def test_a_server_that_ends_at_its_end(self):
        """shutdown_terminate would have it deleted."""
        server = self.boot(base.ES_SPECS)
        instance = self.get_instance(server)
        instance.shutdown_terminate = True
        instance.save()
        self.assertEqual('ACTIVE', self.end(server, *RESET)['status'])
        self.dispatch()
        self.get_domain(server).end('guest-shutdown')
        self.dispatch()
        self._wait_until_deleted(server)

    def test_it_is_seen_to_once(self):
        """Though Nova also looks at all servers now and then."""
        server = self.boot(base.ES_SPECS)
        self.get_domain(server).end(*RESET)
        self.host._dispatch_events()
        self.look()
        server = self.wait(server, ['create'])
        eventlet.sleep(1)
        self.assert_model(server, 'amd-sev-es')
        self.assertEqual(['create', 'reboot'], self.get_actions(server))

    @contextlib.contextmanager
    def while_admitted(self, act):
        """Within, do something while it is asked whether it may run here.

        At the end, wait until that is done, and whatever follows from it.
        """
        launches = self.manager.driver._mem_encryption.launches
        admit, acts, looks = launches.admit, [act], []
        upstream = self.manager._stop_unexpected_shutdown_instance

        def admit_slowly(instance):
            if acts:
                acts.pop()()
            return admit(instance)

        def look(*args):
            looks.append(args)
            try:
                upstream(*args)
            finally:
                looks.pop()

        with mock.patch.object(launches, 'admit', admit_slowly), (
                mock.patch.object(
                    self.manager, '_stop_unexpected_shutdown_instance',
                    look)):
            yield
            for _ in range(400):
                if not acts and not looks:
                    return
                eventlet.sleep(0.05)
        self.fail('Nobody has seen to it')

    def test_it_is_seen_to_by_one(self):
        """Though Nova looks at it again while Placement is slow."""
        server = self.boot(base.ES_SPECS)
        with self.while_admitted(lambda: eventlet.sleep(1)):
            self.get_domain(server).end(*RESET)
            self.dispatch(0.5)  # when what was delayed has been told, too
            self.look()
            self.wait(server, ['create'])
        self.assert_model(server, 'amd-sev-es')
        self.assertEqual(['create', 'reboot'], self.get_actions(server))

    def test_its_user_stops_it_meanwhile(self):
        server = self.boot(base.ES_SPECS)
        with self.while_admitted(lambda: self._stop_server(server)):
            self.get_domain(server).end(*RESET)
            self.dispatch()
        self.assert_off(server, ['stop'])
        self.look()
        self.assert_off(server, ['stop'])

    def test_its_user_stops_one_that_cannot_run_here(self):
        server = self.boot(base.ES_SPECS)
        self.restart_host(max_es_guests=0)
        self.hear()
        with self.while_admitted(lambda: self._stop_server(server)):
            self.get_domain(server).end(*RESET)
            self.dispatch()
        self.assert_off(server, ['stop'])

    def test_its_user_starts_it_meanwhile(self):
        server = self.boot(base.ES_SPECS)

        def start():
            self._start_server(self._stop_server(server))
            self.dispatch()
        with self.while_admitted(start):
            self.get_domain(server).end(*RESET)
            self.dispatch()
        self.assert_model(server, 'amd-sev-es')
        self.assertEqual(['create', 'stop', 'start'],
                         self.get_actions(server))

    @ddt.data({}, {'max_es_guests': 0})
    def test_something_is_begun_meanwhile(self, split):
        """It goes on, and then the server is seen to."""
        server = self.boot(base.ES_SPECS)
        if split:
            self.restart_host(**split)
            self.hear()

        def begin(state='image_uploading'):
            instance = self.get_instance(server)
            instance.task_state = state
            instance.save()
        resets = self.manager.driver._mem_encryption.resets
        with self.while_admitted(begin), mock.patch.object(
                resets, 'count', wraps=resets.count) as count:
            self.get_domain(server).end(*RESET)
            self.dispatch()
        count.assert_not_called()
        self.assertEqual('image_uploading',
                         self.get_instance(server).task_state)
        self.assertEqual(['create'], self.get_actions(server))
        begin(None)
        self.look()
        self.wait(server, ['create'])
        if split:
            self.assert_off(server, ['reboot', 'stop'])
        else:
            self.assert_model(server, 'amd-sev-es')

    def test_it_is_seen_to_in_vain(self):
        """The next look tries again."""
        server = self.boot(base.ES_SPECS)

        def fail():
            raise db_exc.DBConnectionError('gone')
        self.host._lifecycle_delay = 60
        with self.while_admitted(fail):
            self.get_domain(server).end(*RESET)
            self.dispatch()
        self.look()
        self.wait(server, ['create'])
        self.assert_model(server, 'amd-sev-es')
        self.assertEqual(['create', 'reboot'], self.get_actions(server))

    def test_a_deleted_disk_stays_deleted(self):
        """As the swap of a server is that was resized."""
        server = self.boot(base.ES_SPECS)
        disk = objects.BlockDeviceMapping(
            context.get_admin_context(), instance_uuid=server['id'],
            source_type='blank', destination_type='local',
            guest_format='swap', device_type='disk', disk_bus='virtio',
            boot_index=-1, volume_size=512, device_name='/dev/vdc',
            delete_on_termination=True, no_device=False, tag=None)
        disk.create()
        disk.destroy()
        self.end(server, *RESET)
        self.assert_model(server, 'amd-sev-es')
        self.assertNotIn('disk.swap', self.get_domain(server).XMLDesc(0))

    def test_without_lifecycle_events(self):
        """[workarounds] handle_virt_lifecycle_events = false"""
        server = self.boot(base.ES_SPECS)
        self.manager.driver.register_event_listener(None)
        self.get_domain(server).end(*RESET)
        self.dispatch(0.5)
        self.assertFalse(self.is_running(server))
        self.look()
        self.wait(server, ['create'])
        self.assert_model(server, 'amd-sev-es')

    def test_something_else_is_done_with_it(self):
        """It is rebooted when that is over."""
        server = self.boot(base.ES_SPECS)
        instance = self.get_instance(server)
        instance.task_state = 'image_uploading'
        instance.save()
        self.get_domain(server).end(*RESET)
        self.dispatch(0.5)
        self.assertFalse(self.is_running(server))
        instance.task_state = None
        instance.save()
        self.look()
        self.wait(server, ['create'])
        self.assert_model(server, 'amd-sev-es')

    def test_something_else_is_begun_with_it(self):
        """Just before the API is asked for the reboot."""
        server = self.boot(base.ES_SPECS)
        reboot, calls = self.manager.compute_api.reboot, []

        def begin(ctxt, instance, kind):
            calls.append(kind)
            if len(calls) == 1:
                raise exception.UnexpectedTaskStateError(
                    instance_uuid=instance.uuid, expected=None, actual='x')
            reboot(ctxt, instance, kind)

        # When what was delayed is told, the first time may not be over.
        self.host._lifecycle_delay = 60
        with mock.patch.object(self.manager.compute_api, 'reboot', begin):
            self.get_domain(server).end(*RESET)
            self.dispatch()
            for _ in range(200):
                if calls:
                    break
                eventlet.sleep(0.05)
            self.look()
            self.wait(server, ['create'])
        self.assertEqual(['HARD', 'HARD'], calls)
        self.assert_model(server, 'amd-sev-es')

    def test_its_user_stops_it(self):
        """A guest that answers by a reset does not run on."""
        server = self.boot(base.ES_SPECS)
        instance = self.get_instance(server)
        instance.task_state = 'powering-off'
        instance.save()
        self.get_domain(server).end(*RESET)
        self.dispatch(0.5)
        instance.task_state, instance.vm_state = None, vm_states.STOPPED
        instance.save()
        self.look()
        eventlet.sleep(0.5)
        self.assertFalse(self.is_running(server))
        self.api.post_server_action(server['id'], {'os-start': None})
        self._wait_for_state_change(server, 'ACTIVE')
        self.dispatch()
        server = self.end(server, 'guest-shutdown')
        self.assertEqual('SHUTOFF', server['status'])

    def test_nobody_tells_of_it(self):
        self.sev.set_libvirt_qemu(None)
        self.connections['compute1']._monitor_listener = None
        self.hear()
        server = self.end(self.boot(base.ES_SPECS), *RESET)
        self.assert_off(server, ['stop'])
