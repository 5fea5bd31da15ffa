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

"""Test what becomes of a server whose real guest asks for a reset."""
import contextlib
import time

import ddt

from nova.tests.functional.libvirt import sevhost as base
from nova.virt.libvirt import driver

LAUNCH_FINISH = 'KVM_SEV_LAUNCH_FINISH'


@ddt.ddt
class ResetTest(base.SevhostTestBase):

    def start(self, specs=base.ES):
        """Start a cloud and a server in it; return that."""
        self.start_cloud()
        return self.cloud.boot('server', specs)

    def hurry(self):
        """Have Nova wait less until it believes that a guest has stopped."""
        self.cloud.compute.manager.driver._host._lifecycle_delay = 2

    def get_launches(self, server):
        return len(self.get_calls(server, LAUNCH_FINISH))

    def get_actions(self, server):
        """Return what was done with a server, the first first."""
        return [action['action'] for action in reversed(
            self.cloud.user.get_instance_actions(server['id']))]

    def wait_for_reboot(self, server, launches):
        """Wait until a server has been started so often; return it."""
        self.wait_until(lambda: self.get_launches(server) == launches)
        return self.wait(server)

    def wait_until_off(self, server):
        """Wait until the API says that a server is off."""
        self.wait_until(lambda: self.cloud.user.get_server(
            server['id'])['status'] == 'SHUTOFF')
        self.wait(server)
        self.assert_off(server)

    @ddt.data('inside', 'virsh')
    def test_it_runs_again(self, by):
        server = self.start()
        if by == 'inside':
            self.reboot_inside(server)
        else:
            # QEMU ends, and may not come to an answer.
            with contextlib.suppress(driver.libvirt.libvirtError):
                self.get_domain(server).reset()
        server = self.wait_for_reboot(server, 2)
        self.assert_runs(server, 'amd-sev-es')
        self.assertEqual(['create', 'reboot'], self.get_actions(server))
        self.assertEqual(({'host1_amd_sev': 0, 'host1_amd_sev_es': 1},
                          {'sev': 0, 'sev_es': 1}), self.get_used())
        # That the first guest has stopped is not told any more.
        self.assertEqual(
            {}, self.cloud.compute.manager.driver._host._events_delayed)

    @ddt.data(('shutdown', base.ES), ('destroy', base.ES),
              ('destroy', base.SEV))
    @ddt.unpack
    def test_another_end_stays_one(self, command, specs):
        server = self.start(specs)
        self.hurry()
        getattr(self.get_domain(server), command)()
        self.wait_until_off(server)
        self.assertEqual(['create', 'stop'], self.get_actions(server))
        self.assertEqual(1, self.get_launches(server))

    def test_a_shutdown_after_a_reset_stays_one(self):
        server = self.start()
        self.hurry()
        self.reboot_inside(server)
        self.assert_runs(self.wait_for_reboot(server, 2), 'amd-sev-es')
        self.get_domain(server).shutdown()
        self.wait_until_off(server)
        self.assertEqual(['create', 'reboot', 'stop'],
                         self.get_actions(server))

    def test_a_guest_with_sev_is_reset(self):
        server = self.start(base.SEV)
        self.reboot_inside(server)
        time.sleep(3)
        self.assert_runs(self.wait(server), 'amd-sev')
        self.assertEqual(1, self.get_launches(server))
        self.assertEqual(['create'], self.get_actions(server))

    def test_it_is_not_started_without_end(self):
        server = self.start()
        for launches in range(2, 7):
            self.reboot_inside(server)
            self.assert_runs(self.wait_for_reboot(server, launches),
                             'amd-sev-es')
        self.reboot_inside(server)
        self.wait_until_off(server)
        self.assertEqual(6, self.get_launches(server))
        self.assertEqual(['create'] + ['reboot'] * 6 + ['stop'],
                         self.get_actions(server))
        self.assertIn('after 5 in 10 minutes. The server stays off until it '
                      'is started.', self.get_details(server, 'reboot'))
        self.assert_runs(self.act(server, 'os-start'), 'amd-sev-es')

    def test_it_is_heard_of_by_a_new_libvirtd(self):
        server = self.start()
        base.kill('libvirtd')
        self.wait_for_libvirtd()
        self.update()
        self.reboot_inside(server)
        self.assert_runs(self.wait_for_reboot(server, 2), 'amd-sev-es')
