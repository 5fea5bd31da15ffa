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

"""Test what becomes of servers on a host with real libvirt and QEMU."""
import hashlib
import os

import ddt
from lxml import etree

from nova.tests.functional.libvirt import sevhost as base


@ddt.ddt
class LaunchTest(base.SevhostTestBase):
    """What servers get, from the API down to the kernel."""

    @ddt.data(('plain', {}, {}, None, None),
              ('sev-by-flavor', base.SEV, {}, 'amd-sev', 'sev'),
              ('sev-by-image', {}, base.SEV_IMAGE, 'amd-sev', 'sev'),
              ('es-by-flavor', base.ES, {}, 'amd-sev-es', 'sev_es'),
              ('es-by-image', {}, base.ES_IMAGE, 'amd-sev-es', 'sev_es'))
    @ddt.unpack
    def test_it_is_what_was_asked_for(self, name, specs, properties, model,
                                      key):
        self.start_cloud('--sev-asids', '5', '--es-asids', '3')
        server = self.cloud.boot(name, specs, properties)
        self.assert_runs(server, model)
        used = {'sev': 0, 'sev_es': 0}
        if key:
            used[key] = 1
        self.assertEqual(
            ({'host1_amd_' + key: count for key, count in used.items()},
             used), self.get_used())
        self.delete(server)
        self.assertEqual([], self.cloud.connection.listAllDomains())
        self.assertEqual(
            ({'host1_amd_sev': 0, 'host1_amd_sev_es': 0},
             {'sev': 0, 'sev_es': 0}), self.get_used())

    def test_input_devices_that_use_virtio(self):
        self.start_cloud()
        # A card and a keyboard come with a screen. The ports of one address
        # are those of all hosts of this machine.
        self.cloud.flags('vnc', enabled=True, server_listen='127.%d.%d.%d' % (
            *hashlib.sha256(os.environ['SEVHOST'].encode()).digest()[:3],))
        server = self.cloud.boot('server', base.ES,
                                 {'hw_input_bus': 'virtio'})
        self.assert_runs(server, 'amd-sev-es')
        root = etree.fromstring(self.get_domain(server).XMLDesc(0))
        self.assertEqual(['on', 'on'], [
            driver.get('iommu') for driver in root.findall(
                "devices/input[@bus='virtio']/driver")])

    @ddt.data((base.SEV, 'amd-sev'), (base.ES, 'amd-sev-es'))
    @ddt.unpack
    def test_it_stays_what_it_is(self, specs, model):
        self.start_cloud()
        server = self.cloud.boot('server', specs)
        self.assert_runs(server, model)

        server = self.act(server, 'os-stop')
        self.assertEqual('SHUTOFF', server['status'])
        self.assertFalse(self.get_domain(server).isActive())
        self.assertEqual({'sev': 0, 'sev_es': 0}, self.get_used()[1])

        launches = 1
        for action, body, words in (
                ('os-start', None, 'Instance rebooted successfully'),
                ('reboot', {'type': 'SOFT'},
                 'Instance soft rebooted successfully'),
                ('reboot', {'type': 'HARD'},
                 'Instance destroyed successfully')):
            logged = len(self.cloud.log.output)
            server = self.act(server, action, body)
            launches += 1
            self.assert_runs(server, model)
            self.assertEqual(launches, len(
                self.get_calls(server, 'KVM_SEV_LAUNCH_FINISH')))
            self.assertIn(words, self.cloud.log.output[logged:])

    def test_it_outlives_nova_compute_and_libvirtd(self):
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        self.cloud.start_compute()
        base.kill('libvirtd')
        self.wait_for_libvirtd()
        self.assert_runs(self.cloud.user.get_server(server['id']),
                         'amd-sev-es')
        self.assertEqual(1, len(self.get_calls(server, base.LAUNCH_START)))
        # nova-compute goes on, with the libvirtd that was started again.
        self.assert_runs(self.cloud.boot('another', base.ES), 'amd-sev-es')

    def test_it_is_not_touched_when_the_series_comes(self):
        self.start_cloud(compute=False)
        with self.cloud.plain_compute():
            self.cloud.start_compute()
            server = self.cloud.boot('server', base.SEV)
            self.assertEqual(['server'], self.cloud.get_tree()[0]['used by'])
        self.cloud.start_compute()
        self.assertEqual(
            [('host1', 0, []), ('host1_amd_sev', 410, ['server']),
             ('host1_amd_sev_es', 99, [])],
            [(rp['provider'], rp['slots'], rp['used by'])
             for rp in self.cloud.get_tree()])
        self.assert_runs(server, 'amd-sev')
        self.assertEqual(1, len(self.get_calls(server, base.LAUNCH_START)))
