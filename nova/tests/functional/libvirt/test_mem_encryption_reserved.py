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

"""Test slots that no server gets, and guests that Nova does not know of."""
from oslo_utils import uuidutils

from nova import context
from nova import objects
from nova.tests.functional.libvirt import mem_encryption as base

XML = '''<domain type='kvm'><name>%s</name><uuid>%s</uuid>
<memory>1024</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices/>
<launchSecurity type='sev'><policy>0x%x</policy></launchSecurity></domain>'''


class ReservedTest(base.MemEncryptionTestBase):

    def start_guest(self, name='foreign', model='amd-sev-es',
                    host='compute1'):
        """Start a guest past Nova."""
        return self.connections[host].createXML(XML % (
            name, uuidutils.generate_uuid(), base.POLICIES[model]), 0)

    def get_slots_of(self, model='amd-sev-es', host='compute1'):
        """Return total, reserved and used of a host."""
        provider = self.get_provider('%s_%s' % (
            host, model.replace('-', '_')))
        inventory = provider['inventory'][base.SLOT]
        return (inventory['total'], inventory['reserved'],
                provider['usage'][base.SLOT])

    def update(self):
        """Have nova-compute look at its host, on each."""
        for service in self.computes.values():
            service.manager.update_available_resource(
                context.get_admin_context())

    def get_foreign(self, host='compute1'):
        """Return what a controller finds of foreign guests."""
        stats = objects.ComputeNode.get_by_host_and_nodename(
            context.get_admin_context(), host, host).stats
        return [stats.get('mem_encryption_foreign_' + suffix)
                for suffix in ('amd_sev', 'amd_sev_es')]

    def get_named(self):
        return [warning for warning in self.warnings
                if 'Guests that Nova does not know of' in warning]

    def test_foreign_guests(self):
        self.start_host(max_es_guests=2)
        server = self.boot(base.ES_SPECS)
        plain = self.boot()
        guest = self.start_guest()
        self.assertEqual((2, 0, 1), self.get_slots_of())
        for _ in range(2):
            self.update()
        self.assertEqual((2, 1, 1), self.get_slots_of())
        self.assertEqual((100, 0, 0), self.get_slots_of('amd-sev'))
        self.assertEqual(['0', '1'], self.get_foreign())
        warning, = self.get_named()
        self.assertIn('foreign (%s)' % guest.UUIDString(), warning)
        for known in (server, plain):
            self.assertNotIn(known['id'], warning)
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))
        # A claim does not forget of it.
        self.boot(base.SEV_SPECS)
        self.assertEqual((2, 1, 1), self.get_slots_of())
        guest.destroy()
        self.update()
        self.assertEqual((2, 0, 1), self.get_slots_of())
        self.assertEqual(['0', '0'], self.get_foreign())
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')

    def test_plain_sev_too(self):
        self.start_host(max_guests=1)
        self.start_guest(model='amd-sev')
        self.update()
        self.assertEqual((1, 1, 0), self.get_slots_of('amd-sev'))
        self.assertIn('No valid host', self.boot_fails(base.SEV_SPECS))

    def test_they_are_there_when_the_service_starts(self):
        self.start_host()
        self.start_guest()
        self.restart_host()
        self.assertEqual((15, 1, 0), self.get_slots_of())

    def test_the_option(self):
        self.flags(reserved_sev_es_guests=2, group='libvirt')
        self.start_host(max_es_guests=3)
        self.assertEqual((3, 2, 0), self.get_slots_of())
        self.assertEqual((100, 0, 0), self.get_slots_of('amd-sev'))
        self.boot(base.ES_SPECS)
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))
        # The operator's own guests use what is kept for them.
        for name in 'ab':
            self.start_guest(name)
            self.update()
            self.assertEqual((3, 2, 1), self.get_slots_of())

    def test_the_option_takes_no_slot_from_a_server(self):
        self.start_host(max_es_guests=3)
        servers = [self.boot(base.ES_SPECS) for _ in range(2)]
        self.flags(reserved_sev_es_guests=9, group='libvirt')
        self.restart_host()
        self.assertEqual((3, 1, 2), self.get_slots_of())
        for server in servers:
            self._reboot_server(server, hard=True)
        # Nor does it keep one from being moved away.
        self.start_host('compute2', max_es_guests=15)
        self.update()
        self.assertEqual((3, 1, 2), self.get_slots_of())
        self.assertEqual((15, 9, 0), self.get_slots_of(host='compute2'))
        self._migrate_server(servers[0])
        self._confirm_resize(servers[0])
        self.assert_model(servers[0], 'amd-sev-es', 'compute2')
        self.update()
        self.assertEqual((3, 2, 1), self.get_slots_of())

    def test_all_slots_are_kept(self):
        self.flags(reserved_sev_es_guests=15, group='libvirt')
        self.start_host()
        self.assertEqual((15, 15, 0), self.get_slots_of())
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))

    def test_a_reshape(self):
        """Placement takes no more than fits, foreign guests or not."""
        self.start_host(plain=True, max_guests=3)
        servers = [self.boot(base.SEV_SPECS) for _ in range(2)]
        self.assertEqual([None, None], self.get_foreign())
        for name in 'ab':
            domain = self.start_guest(name, 'amd-sev-es')
            domain._launch_security.find('policy').text = '0x0033'
        self.restart_host()
        for server in servers:
            self.assert_model(server, 'amd-sev')
        self.assertEqual((3, 1, 2), self.get_slots_of('amd-sev'))

    def test_servers_that_move_are_not_foreign(self):
        for host in ('compute1', 'compute2', 'compute3'):
            self.start_host(host)
        first, second = (self.boot(base.ES_SPECS, host='compute1')
                         for _ in range(2))
        self._migrate_server(first)
        self.update()
        self._revert_resize(first)
        self.update()
        self._migrate_server(first)
        self.update()
        self._confirm_resize(first)
        self.update()
        self._shelve_server(second)
        self.update()
        self._unshelve_server(second)
        host = self.api.get_server(second['id'])['OS-EXT-SRV-ATTR:host']
        self.force_down(host)
        self.computes.pop(host)
        self._evacuate_server(second)
        self.update()
        self.assertEqual([], self.get_named())
        self.assertEqual({0}, {
            self.get_slots_of(host='compute%d' % number)[1]
            for number in (1, 2, 3)})

    # -- the kernel ----------------------------------------------------------

    def test_the_kernel_has_fewer(self):
        self.sev.set_misc(capacity={'sev': 40, 'sev_es': 1},
                          current={'sev': 0, 'sev_es': 0})
        self.start_host()
        self.assert_tree(sev=40, sev_es=1)
        self.boot(base.ES_SPECS)
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))
        self.assertEqual(1, len([
            warning for warning in self.warnings
            if 'libvirt and the kernel do not agree' in warning]))

    def test_guests_that_libvirt_does_not_know_of(self):
        self.sev.set_misc(capacity={'sev': 100, 'sev_es': 15},
                          current={'sev': 0, 'sev_es': 3})
        self.start_host()
        self.update()
        self.assertEqual((15, 3, 0), self.get_slots_of())
        self.boot(base.ES_SPECS)  # the kernel does not count it yet
        self.update()
        self.assertEqual((15, 2, 1), self.get_slots_of())
        self.sev.set_misc(current={'sev': 0, 'sev_es': 1})
        self.update()
        self.assertEqual((15, 0, 1), self.get_slots_of())
