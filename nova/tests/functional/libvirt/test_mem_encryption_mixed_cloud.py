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

"""Test a cloud in which one host has the series and another has not yet."""
import time

import fixtures

from nova.scheduler import utils
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.engine import ledger


class MixedCloudTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host('old', plain=True)
        self.start_host('new')

    def test_sev_goes_to_both_and_sev_es_to_the_new_one(self):
        self.assert_model(self.boot(base.SEV_SPECS, host='old'), 'amd-sev',
                          host='old', slot='old')
        self.assert_model(self.boot(base.SEV_SPECS, host='new'), 'amd-sev',
                          host='new')
        self.assertEqual({'new': {'new_amd_sev_es'}}, {
            server['OS-EXT-SRV-ATTR:host']: set(self.get_slots(server))
            for server in [self.boot(base.ES_SPECS) for _ in range(4)]})
        self.assertIn('No valid host',
                      self.boot_fails(base.ES_SPECS, host='old'))

        self.restart_host('old')

        self.assert_tree('old', sev=100, sev_es=15)
        self.assert_model(self.boot(base.ES_SPECS, host='old'), 'amd-sev-es',
                          host='old')

    def test_sev_moves_between_them(self):
        server = self.boot(base.SEV_SPECS, host='old')
        self._migrate_server(server, host='new')
        self._confirm_resize(server)
        self.assert_model(server, 'amd-sev', host='new')
        self._migrate_server(server, host='old')
        self.assert_model(server, 'amd-sev', host='old', slot='old')
        self._revert_resize(server)
        self.assert_model(server, 'amd-sev', host='new')

    def test_no_sev_es_server_moves_to_the_old_one(self):
        server = self.boot(base.ES_SPECS)
        self.assertIn('No valid host', self.act(server, 'migrate'))
        self.assert_model(server, 'amd-sev-es', host='new')
        self.force_down('new')
        self.assertIn('No valid host', self.act(server, 'evacuate', {}))
        self.assertEqual(['new_amd_sev_es'], self.get_slots(server))
        self.assertFalse(self.is_running(server, 'old'))


class PlainSchedulerTest(base.MemEncryptionTestBase):
    """A scheduler without the series, which does not ask for the model.

    The hosts have it: they were upgraded first, against the advice.
    """

    def setUp(self):
        super().setUp()
        name = '_translate_memory_encryption'
        entry, = [entry for entry in ledger.entries()
                  if (entry.target, entry.attribute) ==
                  (utils.ResourceRequest, name)]
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.utils.ResourceRequest.' + name, entry.original))

    def assert_refused(self, specs, words):
        self.assertIn(words, self.boot_fails(specs))
        self.assertEqual({}, self.connections['compute1']._running_vms)

    def test_a_slot_of_the_other_model_is_refused(self):
        self.start_host(max_guests=0)
        self.assert_refused(base.SEV_SPECS,
                            'all its ASIDs are set aside for SEV-ES')
        self.restart_host(max_guests=1, max_es_guests=0)
        self.assert_refused(base.ES_SPECS, 'maxESGuests is 0')

    def test_so_it_is_where_the_host_has_both(self):
        self.start_host(max_guests=2, max_es_guests=2)
        taken = {'amd-sev': 0, 'amd-sev-es': 0}
        for model, specs in (('amd-sev', base.SEV_SPECS),
                             ('amd-sev-es', base.ES_SPECS)) * 2:
            server = self.api.post_server({'server': self._build_server(
                flavor_id=self.create_flavor(specs),
                image_uuid=self.create_image(), networks='none')})
            while server.get('status', 'BUILD') == 'BUILD':
                time.sleep(0.1)
                server = self.api.get_server(server['id'])
            if server['status'] == 'ACTIVE':
                self.assert_model(server, model)
                taken[model] += 1
            else:
                self.assertIn('its slot is on', server['fault']['message'])
        # No guest runs but those, with their own model each.
        self.assertEqual(sum(taken.values()),
                         len(self.connections['compute1']._running_vms))

    def test_the_flavor_that_is_safe(self):
        self.start_host()
        specs = {**base.ES_SPECS, 'trait:' + base.ES_TRAIT: 'required'}
        for _ in range(5):
            self.assert_model(self.boot(specs), 'amd-sev-es')
