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

"""Test what hosts offer, by what their kernel and libvirt say."""
import ddt

from nova.db import constants as db_const

from nova.tests.functional.libvirt import mem_encryption as base

PARAMETERS = {'sev': 'Y', 'sev_es': 'Y', 'sev_snp': None}
HOSTS = (
    # (kernel parameters, split, slots of SEV, of SEV-ES)
    ({'sev_es': 'N'}, {}, 100, None),
    ({'sev_es': None}, {}, 100, None),
    ({'sev_es': 'maybe'}, {}, 100, None),
    ({'sev': '1', 'sev_es': '1', 'sev_snp': '0'}, {}, 100, 15),
    ({'sev_snp': 'Y'}, {}, 100, None),
    ({'sev': 'N'}, {}, None, None),
    ({}, {'max_es_guests': 0}, 100, None),
    ({}, {'max_es_guests': None}, 100, None),
    ({}, {'max_guests': 0}, None, 15),
    ({}, {'max_guests': None}, db_const.MAX_INT, 15),
    ({}, {'max_guests': 0, 'max_es_guests': 0}, None, None),
)


@ddt.ddt
class HostsTest(base.MemEncryptionTestBase):

    def test_each_model_has_a_provider_of_its_own(self):
        self.start_host()
        self.assert_tree(sev=100, sev_es=15)

    def test_a_model_without_slots_has_no_provider(self):
        for i, (parameters, split, sev, sev_es) in enumerate(HOSTS):
            self.sev.set(**{**PARAMETERS, **parameters})
            self.start_host('host%d' % i, **split)
            self.assert_tree('host%d' % i, sev=sev, sev_es=sev_es)

    def test_a_host_without_sev_offers_nothing(self):
        self.split = None
        self.start_compute()
        self.assert_tree()
        self.assertIn('No valid host', self.boot_fails(base.SEV_SPECS))

    def test_all_asids_for_sev_es(self):
        self.start_host(max_guests=0)
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')
        self.assertIn('No valid host', self.boot_fails(base.SEV_SPECS))

    def test_emulated_guests_have_no_slots(self):
        """Although libvirt says that they can have SEV, as it does."""
        self.flags(virt_type='qemu', group='libvirt')
        self.start_host()
        self._run_periodics(raise_on_error=True)
        self.assert_tree()
        self.assertIn('No AMD SEV-ES: [libvirt] virt_type is qemu, ',
                      self.stdlog.logger.output)
        for specs in (base.SEV_SPECS, base.ES_SPECS):
            self.assertIn('No valid host', self.boot_fails(specs))

        self.flags(virt_type='kvm', group='libvirt')
        self.restart_host()
        self.assert_tree(sev=100, sev_es=15)
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')

    def test_slots_in_use_stay_when_virt_type_changes(self):
        self.start_host()
        servers = {model: self.boot(specs) for model, specs in (
            ('amd-sev', base.SEV_SPECS), ('amd-sev-es', base.ES_SPECS))}
        self.flags(virt_type='qemu', group='libvirt')
        self.restart_host()
        self._run_periodics(raise_on_error=True)
        # As many as are used, so that none is free.
        self.assert_tree(sev=1, sev_es=1)
        for model, server in servers.items():
            # It goes on, and is not stopped for what cannot start it again.
            self.assertIn('[libvirt] virt_type is qemu, ',
                          self.hard_reboot_fails(server))
            self.assert_model(server, model)

        self.flags(virt_type='kvm', group='libvirt')
        self.restart_host()
        self.assert_tree(sev=100, sev_es=15)
        for model, server in servers.items():
            self.assert_model(self._reboot_server(server, hard=True), model)

        self.flags(virt_type='qemu', group='libvirt')
        self.restart_host()
        for server in servers.values():
            self._delete_server(server)
        self._run_periodics()
        self.assert_tree()

    @ddt.data((7, 7), (0, None), (1000, 100))
    @ddt.unpack
    def test_the_option_caps_sev_only(self, option, sev):
        self.flags(num_memory_encrypted_guests=option, group='libvirt')
        self.start_host()
        self.assert_tree(sev=sev, sev_es=15)

    def test_a_second_host_and_a_periodic_task_change_nothing(self):
        self.start_host('compute1')
        self.start_host('compute2', max_guests=9, max_es_guests=490)
        before = self.get_placement()
        self._run_periodics(raise_on_error=True)
        self.assertEqual(before, self.get_placement())
        self.assert_tree('compute1', sev=100, sev_es=15)
        self.assert_tree('compute2', sev=9, sev_es=490)

    def test_another_split_shows_after_a_restart(self):
        self.start_host()
        sev = self.boot(base.SEV_SPECS)
        es = self.boot(base.ES_SPECS)
        self.restart_host(max_guests=1, max_es_guests=508)
        self.assert_tree(sev=1, sev_es=508)
        self.assert_model(sev, 'amd-sev')
        self.assert_model(es, 'amd-sev-es')
        self.assertIn('No valid host', self.boot_fails(base.SEV_SPECS))

    def test_a_restart_writes_nothing(self):
        self.start_host()
        servers = {model: self.boot(specs) for model, specs in (
            ('amd-sev', base.SEV_SPECS), ('amd-sev-es', base.ES_SPECS))}
        before = self.get_placement()
        self.restart_host()
        self.assertEqual(before, self.get_placement())
        for model, server in servers.items():
            self.assert_model(server, model)

    def test_reasons_are_logged_once(self):
        self.sev.set(sev_snp='Y')
        self.start_host()
        self._run_periodics()
        self.boot(base.SEV_SPECS)
        log = self.stdlog.logger.output
        self.assertEqual(1, log.count('No AMD SEV-ES:'))
        self.assertEqual(1, log.count('kvm_amd.sev_snp is on'))
