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

"""Test hosts that have fewer slots than are asked for, or lose them."""
import ddt

from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import mem_encryption as base

PARAMETERS = {'sev': 'Y', 'sev_es': 'Y', 'sev_snp': 'N'}
LOSSES = {
    # (kernel parameters, split; slots left of SEV, of SEV-ES)
    'SEV-ES, by the kernel': ({'sev_es': 'N'}, {}, 100, None),
    'SEV-ES, for SEV-SNP': ({'sev_snp': 'Y'}, {}, 100, None),
    'SEV-ES, by the BIOS': ({}, {'max_es_guests': 0}, 100, None),
    'SEV, by the BIOS': ({}, {'max_guests': 0}, None, 15),
    'both, by the kernel': ({'sev': 'N'}, {}, None, None),
}


class SlotsTest(base.MemEncryptionTestBase):

    def test_a_server_more_goes_elsewhere_or_nowhere(self):
        self.start_host('compute1', max_es_guests=1)
        first = self.boot(base.ES_SPECS)
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))
        self.boot(base.SEV_SPECS)  # which has slots of its own
        self.start_host('compute2', max_es_guests=1)
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es', 'compute2')
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))
        self._delete_server(first)
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')

    def test_asids_that_somebody_else_uses(self):
        self.start_host()
        self.connections['compute1']._sev_counts = (100, 1)
        self.boot(base.ES_SPECS)
        server = self.boot(base.ES_SPECS, expected_state='ERROR')
        self.assertEqual([], self.get_slots(server))
        self.assertEqual(1, len(self.connections['compute1']._vms))


@ddt.ddt
class LostTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()

    def lose(self, what):
        """Start the host again, with less; return how many slots it has."""
        parameters, split, sev, sev_es = LOSSES[what]
        self.sev.set(**{**PARAMETERS, **parameters})
        self.restart_host(**{**base.SPLIT, **split})
        return sev, sev_es

    def assert_not_started(self, server, reason):
        """Check that a guest is not started, by whatever action."""
        self.assertIn(reason, self.hard_reboot_fails(server))
        self.assertTrue(self.is_running(server))
        # As a user would go on
        self._stop_server(server)
        self.assertIn(reason, self.act(server, 'os-start'))
        self.assertIn(reason, self.act(server, 'rescue'))
        self.assertFalse(self.is_running(server))

    def test_a_provider_that_is_not_used_goes(self):
        for what in LOSSES:
            sev, sev_es = self.lose(what)
            self.assert_tree(sev=sev, sev_es=sev_es)
            self.sev.set(**PARAMETERS)
            self.restart_host(**base.SPLIT)
            self.assert_tree(sev=100, sev_es=15)

    @tables.data(*LOSSES)
    def test_a_used_one_stays(self, what):
        servers = [self.boot(base.SEV_SPECS), self.boot(base.ES_SPECS)]
        left = self.lose(what)
        self.assert_tree(sev=left[0] or 1, sev_es=left[1] or 1)
        self._run_periodics(raise_on_error=True)
        self.assert_tree(sev=left[0] or 1, sev_es=left[1] or 1)

        for server, total, model, specs in zip(
                servers, left, ('amd-sev', 'amd-sev-es'),
                (base.SEV_SPECS, base.ES_SPECS)):
            warnings = [warning for warning in self.warnings
                        if 'has no slots' in warning and
                        server['id'] in warning]
            if total:
                self.assertEqual([], warnings)
                self._reboot_server(server, hard=True)
                self.assert_model(server, model)
                continue
            self.assertEqual(1, len(warnings))
            self.assertTrue(self.is_running(server))
            self.assertIn('No valid host', self.boot_fails(specs))
            self.assert_not_started(
                server, 'Memory encryption model %s was requested, and the '
                'server was not started because this host cannot give it'
                % model)
            self._delete_server(server)

        self._run_periodics()
        self.assert_tree(sev=left[0], sev_es=left[1])

    def test_a_server_can_be_moved_away(self):
        first, second = [self.boot(base.ES_SPECS) for _ in range(2)]
        self.start_host('compute2')
        self.lose('SEV-ES, by the kernel')
        self._migrate_server(first)
        self._confirm_resize(first)
        self.assert_model(first, 'amd-sev-es', 'compute2')
        self._run_periodics(raise_on_error=True)
        self.assert_tree(sev=100, sev_es=1)
        self._shelve_server(second)
        self._unshelve_server(second)
        self.assert_model(second, 'amd-sev-es', 'compute2')
        self._run_periodics(raise_on_error=True)
        self.assert_tree(sev=100)

    def test_no_server_can_be_moved_there(self):
        self.start_host('compute2')
        self.lose('SEV-ES, by the kernel')
        server = self.boot(base.ES_SPECS)
        self.assert_model(server, 'amd-sev-es', 'compute2')
        for action in ('migrate', 'evacuate'):
            if action == 'evacuate':
                self.force_down('compute2')
            self.assertIn('No valid host', self.act(server, action, {}))
        self.assertFalse(self.is_running(server, 'compute1'))

    def test_one_that_waits_for_its_resize_cannot_be_reverted(self):
        self.start_host('compute2')
        server = self.boot(base.ES_SPECS, host='compute1')
        self._migrate_server(server)
        migration = self.get_migration_uuid_for_instance(server['id'])
        self.lose('SEV-ES, by the kernel')
        self.assertEqual(['compute1_amd_sev_es'], self.get_slots(migration))
        self.assertIn('kvm_amd.sev_es is off',
                      self.act(server, 'revertResize'))
        self.assertFalse(self.is_running(server, 'compute1'))

    def get_named(self):
        """Return the servers that nova-compute names when it starts."""
        return sorted(line.split()[0] for line in self.warnings
                      if 'cannot be started again on this host' in line)

    @tables.data(('SEV-ES, by the kernel', 1), ('both, by the kernel', 2),
                 by=0)
    @ddt.unpack
    def test_a_start_names_those_that_cannot(self, what, count):
        servers = [self.boot(specs) for specs in (
            base.ES_SPECS, base.SEV_SPECS, None)]
        shelved = self.boot(base.ES_SPECS)
        self._shelve_server(shelved)
        self.lose(what)
        self.assertEqual(sorted(server['id'] for server in servers[:count]),
                         self.get_named())
        for server in servers:
            self.assertTrue(self.is_running(server))
        self.warnings.clear()
        self.sev.set(**PARAMETERS)
        self.restart_host()
        self.assertEqual([], self.get_named())

    def test_a_start_names_those_that_are_less(self):
        """Somebody started the guest with another policy."""
        server = self.boot(base.ES_SPECS)
        domain = self.get_domain(server)
        domain._launch_security.find('policy').text = '0x0033'
        self.restart_host()
        self.assertEqual([], self.get_named())
        self.assertIn(
            '%s This server runs with less than it asked for: the guest '
            'policy is 0x0033 and not 0x0037. Reboot it hard.' % server['id'],
            self.warnings)
        self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev-es')

    def test_a_host_that_boots_starts_no_guest_as_less(self):
        server = self.boot(base.ES_SPECS)
        self.get_domain(server).destroy()
        self.flags(resume_guests_state_on_host_boot=True)
        self.lose('SEV-ES, by the kernel')
        self.assertFalse(self.is_running(server))
        self.assertIn('kvm_amd.sev_es is off', self.stdlog.logger.output)
        self.sev.set(**PARAMETERS)
        self.restart_host()
        self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev-es')
