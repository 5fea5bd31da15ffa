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

"""Test hosts of which a provider's name is taken by another provider."""
import ddt
import fixtures

from nova import context
from nova.scheduler.client import report
from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import mem_encryption as base

NAMES = {'amd-sev': 'compute1_amd_sev', 'amd-sev-es': 'compute1_amd_sev_es'}
SPECS = {'amd-sev': base.SEV_SPECS, 'amd-sev-es': base.ES_SPECS}
ONE, OTHER, BOTH = ['amd-sev'], ['amd-sev-es'], ['amd-sev', 'amd-sev-es']


class NamesTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.others = {}

    # -- who has the name ----------------------------------------------------

    def create_provider(self, name, parent=None):
        response = self.placement.post('/resource_providers', {
            'name': name, **({'parent_provider_uuid': parent}
                             if parent is not None else {})}, version='1.20')
        self.assertEqual(200, response.status)
        return response.body['uuid']

    def get_owner(self, owner):
        """Return the parent of a provider that is to have a name.

        :param owner: 'itself' for none: it is the root of a host, say; 'host'
            for another host's root; 'tree' for another provider of this host
        """
        if owner == 'itself':
            return None
        if owner == 'host':
            if 'compute2' not in self.computes:
                self.start_host('compute2')
            return self.get_provider('compute2')['uuid']
        numa = self.get_provider('numa0')
        return numa['uuid'] if numa else self.create_provider(
            'numa0', self.get_provider('compute1')['uuid'])

    def take(self, names, owner='itself'):
        """Let others have names; those that have them lose theirs."""
        parent = self.get_owner(owner)
        for model in names:
            found = self.get_provider(NAMES[model])
            if found is not None:
                response = self.placement.delete(
                    '/resource_providers/' + found['uuid'])
                self.assertEqual(204, response.status)
            self.others[model] = self.create_provider(NAMES[model], parent)

    def release(self):
        """Have those that have the names renamed, or deleted."""
        for number, uuid in enumerate(self.others.values()):
            path = '/resource_providers/' + uuid
            if number:
                response = self.placement.delete(path)
                self.assertEqual(204, response.status)
            else:
                response = self.placement.put(
                    path, {'name': 'renamed'}, version='1.30')
                self.assertEqual(200, response.status)
        if self.get_provider('numa0'):
            # One of its own tree Nova misses until it reads that again.
            self.forget()

    # -- what comes of it ----------------------------------------------------

    def forget(self):
        """Let the time pass after which Nova reads its providers again."""
        self.computes['compute1'].rt.reportclient.\
            _association_refresh_time.clear()

    def update(self):
        """Have nova-compute update its providers, as it does each minute."""
        errors = self.count_errors()
        self.computes['compute1'].manager.update_available_resource(
            context.get_admin_context())
        self.assertEqual(errors, self.count_errors())

    def count_errors(self):
        return self.stdlog.logger.output.count('Error updating resources for')

    def get_told(self):
        return [warning for warning in self.warnings
                if 'This host offers no slots for' in warning]

    def assert_taken(self, kept=0):
        """Check that the host is whole but for the slots of some models.

        :param kept: slots of plain SEV that servers have on the root
        """
        root = self.get_provider('compute1')
        self.assertLessEqual({'VCPU', 'MEMORY_MB', 'DISK_GB'},
                             set(root['inventory']))
        self.assertEqual(kept, root['inventory'].get(
            base.SLOT, {}).get('total', 0))
        self.assertEqual(kept, root['usage'].get(base.SLOT, 0))
        self.assertEqual(set(), root['traits'] & {
            base.SEV_TRAIT, base.ES_TRAIT})
        plain = self.boot(host='compute1')
        self.assert_plain(plain)
        self._delete_server(plain)
        told = self.get_told()
        self.assertEqual(len(self.others), len(told), told)
        for model, name in NAMES.items():
            provider = self.get_provider(name)
            if model in self.others:
                self.assertEqual(self.others[model], provider['uuid'])
                self.assertEqual(({}, set()), (
                    provider['inventory'], provider['traits']))
                server = self.boot(SPECS[model], host='compute1',
                                   expected_state='ERROR')
                self.assertIn('No valid host', server['fault']['message'])
                self._delete_server(server)
                self.assertTrue(any('%s (%s)' % (name, provider['uuid'])
                                    in line for line in told))
            else:
                self.assertEqual(root['uuid'], provider['parent'])
                server = self.boot(SPECS[model], host='compute1')
                self.assert_model(server, model)
                self._delete_server(server)

    def assert_back(self):
        """Check that all slots are there, and not for a new start."""
        self.update()
        self.assert_tree(sev=100, sev_es=15)
        for model, specs in SPECS.items():
            self.assert_model(self.boot(specs, host='compute1'), model)
        self.update()
        self.assertEqual(len(self.others), len(self.get_told()))


@ddt.ddt
class NamesTest(NamesTestBase):

    def start_bare(self):
        """Start the host once when it can do nothing, then let it be able."""
        self.sev.set(sev='N')
        self.start_host()
        self.assert_tree()
        self.sev.set(sev='Y')

    @tables.data(('itself', BOTH), ('host', ONE), ('tree', OTHER))
    @ddt.unpack
    def test_when_the_service_starts(self, owner, names):
        self.start_bare()
        self.take(names, owner)
        self.restart_host()
        self.assert_taken()
        self.update()
        self.assert_taken()
        self.release()
        self.assert_back()

    @tables.data(('itself', ONE), ('host', OTHER), ('tree', BOTH))
    @ddt.unpack
    def test_later(self, owner, names):
        self.start_host()
        self.take(names, owner)
        self.forget()
        self.update()
        self.assert_taken()
        self.release()
        self.assert_back()

    @tables.data(ONE, BOTH)
    def test_just_before_it_is_created(self, names):
        """Nobody could have known of it."""
        create = report.SchedulerReportClient._create_resource_provider
        pending = {NAMES[model]: model for model in names}

        def late(client, context, uuid, name, **kwargs):
            if name in pending:
                self.take([pending.pop(name)])
            return create(client, context, uuid, name, **kwargs)
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.client.report.SchedulerReportClient.'
            '_create_resource_provider', late))
        self.start_host()
        self.assertEqual(1, self.count_errors())
        if len(names) > 1:
            self._run_periodics()
        self.update()
        self.assert_taken()
        self.release()
        self.assert_back()

    def test_it_was_of_this_host_and_is_again(self):
        self.start_host()
        uuid = self.get_provider('compute1_amd_sev_es')['uuid']
        path = '/resource_providers/' + uuid
        root = self.get_provider('compute1')['uuid']
        server = self.boot(base.ES_SPECS)
        self.start_host('compute2')
        for parent, failed in ((self.get_provider('compute2')['uuid'], True),
                               (root, False)):
            response = self.placement.put(path, {
                'name': 'compute1_amd_sev_es',
                'parent_provider_uuid': parent}, version='1.37')
            self.assertEqual(200, response.status)
            self.forget()
            self.update()
            self.assertEqual(1, len(self.get_told()))
            self.assert_plain(self.boot(host='compute1'))
            self._reboot_server(server, hard=True)
            self.assert_model(server, 'amd-sev-es')
        self.assert_model(self.boot(base.ES_SPECS, host='compute1'),
                          'amd-sev-es')
        self.assert_tree(sev=100, sev_es=15)

    def test_placement_is_asked_no_more_than_it_has_to_be(self):
        asked = []
        get = report.SchedulerReportClient.get

        def count(client, url, *args, **kwargs):
            asked.extend([url] if 'providers?name=' in url else [])
            return get(client, url, *args, **kwargs)
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.client.report.SchedulerReportClient.get', count))
        self.start_host()
        self.assertEqual(2, len(asked))
        self.boot(base.ES_SPECS)
        self.update()
        self.restart_host()
        self.forget()
        self.update()
        self.assertEqual(2, len(asked))
        self.sev.set(sev='N')
        self.start_host('compute2')
        self.assertEqual(2, len(asked))


@ddt.ddt
class ReshapeTest(NamesTestBase):
    """The slots are on the root, as before the series."""

    def setUp(self):
        super().setUp()
        self.start_host(plain=True)
        self.servers = [self.boot(base.SEV_SPECS) for _ in range(2)]

    @tables.data(('itself', ONE), ('itself', OTHER), ('host', BOTH),
                 ('tree', ONE))
    @ddt.unpack
    def test_a_reshape(self, owner, names):
        self.take(names, owner)
        self.restart_host()
        stays = 'amd-sev' in names
        for again in range(2):
            self.assert_taken(kept=2 if stays else 0)
            for server in self.servers:
                self._reboot_server(server, hard=True)
                self.assert_model(server, 'amd-sev',
                                  slot='compute1' if stays else None)
            self.update()
        self._delete_server(self.servers.pop())
        self.update()
        self.assert_taken(kept=1 if stays else 0)
        self.release()
        self.assert_back()
        self.assert_model(self.servers[0], 'amd-sev')

    def test_those_that_have_slots_of_the_root_go(self):
        self.take(['amd-sev'])
        self.restart_host()
        for server in self.servers:
            self._delete_server(server)
        self.update()
        self.assert_taken()
        self.release()
        self.assert_back()

    def test_they_move_to_another_host(self):
        self.start_host('compute2')
        self.take(['amd-sev'])
        self.restart_host()
        self._migrate_server(self.servers[0])
        self.update()
        self.assert_taken(kept=2)
        self._confirm_resize(self.servers[0])
        self.assert_model(self.servers[0], 'amd-sev', 'compute2')
        self.update()
        self.assert_taken(kept=1)

    def test_a_host_that_lost_sev(self):
        self.take(['amd-sev'])
        self.sev.set(sev='N')
        self.connections['compute1'].unset_sev()
        self.restart_host()
        self.assertEqual(2, self.get_provider('compute1')['inventory'][
            base.SLOT]['total'])
        self.assert_plain(self.boot())
        self.assertEqual(1, len(self.get_told()))
        self.release()
        self.update()
        self.assert_tree(sev=2)
