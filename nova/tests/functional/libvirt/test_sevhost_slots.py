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

"""Test that slots are those of a host with real libvirt and QEMU."""
import os
import signal

import ddt

from nova.tests.functional.libvirt import sevhost as base

from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup

STATE = '/run/libvirt/qemu/foreign'
NAMED = 'Guests that Nova does not know of have ASIDs of this host'


@ddt.ddt
class SlotsTest(base.SevhostTestBase):

    def get_slots(self, provider):
        """Return total, reserved and used, as Placement has them."""
        uuid = self.cloud.placement.get(
            '/resource_providers?name=' + provider).body[
                'resource_providers'][0]['uuid']
        inventory, used = (self.cloud.placement.get(
            '/resource_providers/%s/%s' % (uuid, what)).body[what]
            for what in ('inventories', 'usages'))
        inventory = inventory['MEM_ENCRYPTION_CONTEXT']
        return (inventory['total'], inventory['reserved'],
                used['MEM_ENCRYPTION_CONTEXT'])

    def get_log(self):
        return [line for line in self.cloud.log.output.splitlines()
                if NAMED in line or 'Only servers have' in line]

    @ddt.data((base.SEV, 'amd-sev', 'sev'), (base.ES, 'amd-sev-es', 'sev_es'))
    @ddt.unpack
    def test_a_foreign_guest(self, specs, model, key):
        self.start_cloud('--sev-asids', '2', '--es-asids', '2')
        provider = 'host1_amd_' + key
        server = self.cloud.boot('server', specs)
        guest = self.start_foreign_guest(base.POLICIES[model])
        for _ in range(3):
            self.update()
        self.assertEqual((2, 1, 1), self.get_slots(provider))
        self.assertEqual(
            2, misc_cgroup.read_current().counts[key])
        named, = self.get_log()
        self.assertIn('foreign (%s)' % guest.UUIDString(), named)
        self.assertNotIn(server['id'], named)
        another = self.cloud.boot('another', specs)
        self.assertIn('No valid host', another['fault']['message'])

        guest.destroy()
        self.update()
        self.assertEqual((2, 0, 1), self.get_slots(provider))
        self.assert_runs(self.cloud.boot('third', specs), model)
        self.assertEqual(2, len(self.get_log()))

    def test_one_of_nova_without_the_series_is_not_foreign(self):
        self.start_cloud(compute=False)
        with self.cloud.plain_compute():
            self.cloud.start_compute()
            self.cloud.boot('server', base.SEV)
        self.cloud.start_compute()
        self.update()
        self.assertEqual((410, 0, 1), self.get_slots('host1_amd_sev'))
        self.assertEqual([], self.get_log())

    def test_one_that_libvirt_forgot(self):
        """Its process holds the ASID, whatever libvirt says."""
        self.start_cloud('--es-asids', '3')
        server = self.cloud.boot('server', base.ES)
        self.start_foreign_guest(base.POLICIES['amd-sev-es'])
        with open(STATE + '.pid') as f:
            pid = int(f.read())
        self.addCleanup(self._kill, pid)
        os.unlink(STATE + '.xml')
        base.kill('libvirtd')
        self.wait_for_libvirtd()
        self.assertEqual([server['id']], [
            domain.UUIDString()
            for domain in self.cloud.connection.listAllDomains()])
        for expected in (0, 1, 1):
            self.update()
            self.assertEqual((3, expected, 1),
                             self.get_slots('host1_amd_sev_es'))
        said, = self.get_log()
        self.assertIn('this host: 1 that libvirt does not know of', said)
        self.assert_runs(server, 'amd-sev-es')
        self._kill(pid)
        self.update()
        self.assertEqual((3, 0, 1), self.get_slots('host1_amd_sev_es'))

    def _kill(self, pid):
        """Kill a process, and wait until it is gone."""
        if os.path.exists('/proc/%d' % pid):
            os.kill(pid, signal.SIGKILL)
            self.wait_until(lambda: not os.path.exists('/proc/%d' % pid))
