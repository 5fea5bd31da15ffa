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

"""Test nova-manage placement, where slots are on nested providers."""
import io
import json
from unittest import mock

import ddt
import fixtures
from keystoneauth1 import exceptions

from nova.cmd import manage
from nova.scheduler.client import report
from nova.tests.functional.libvirt import mem_encryption as base

FULL = {'VCPU': 1, 'MEMORY_MB': 256, 'DISK_GB': 1}
REQUESTS = (
    # (extra specs, image properties, provider of the slot)
    (base.SEV_SPECS, {}, 'compute1_amd_sev'),
    (base.ES_SPECS, {}, 'compute1_amd_sev_es'),
    ({}, base.SEV_PROPERTIES, 'compute1_amd_sev'),
    ({}, base.ES_PROPERTIES, 'compute1_amd_sev_es'),
    (base.SEV_SPECS, {'hw_mem_encryption_model': 'amd-sev-es'},
     'compute1_amd_sev_es'),
)


class PlacementCommandsTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.cli = manage.PlacementCommands()

    def manage(self, command, **kwargs):
        """Run a command of nova-manage; return its code and what it says."""
        output = io.StringIO()
        with fixtures.MonkeyPatch('sys.stdout', output):
            code = getattr(self.cli, command)(verbose=True, **kwargs)
        return code, output.getvalue()

    def get_allocations(self, server):
        """Return what a server has of which provider, by its name."""
        uuid = server if isinstance(server, str) else server['id']
        return {
            self.placement.get('/resource_providers/' + provider).body['name']:
            data['resources'] for provider, data in
            self._get_allocations_by_server_uuid(uuid).items()}


@ddt.ddt
class HealTest(PlacementCommandsTestBase):

    def heal(self, server, expected=0, **kwargs):
        code, output = self.manage('heal_allocations',
                                   instance_uuid=server['id'], **kwargs)
        self.assertEqual(expected, code, output)
        return output

    @ddt.data(*REQUESTS)
    @ddt.unpack
    def test_the_slot_is_of_the_model(self, specs, properties, provider):
        self.start_host()
        server = self.boot(specs, properties)
        before = self.get_allocations(server)
        self.assertEqual({'compute1': FULL, provider: {base.SLOT: 1}}, before)
        self._delete_server_allocations(server['id'])

        output = self.heal(server, expected=4, dry_run=True)

        self.assertEqual({}, self.get_allocations(server))
        planned = json.loads(output.split(server['id'] + ': ')[1].split(
            '\n')[0])
        self.assertEqual(
            {self._get_provider_uuid_by_name(name): {'resources': resources}
             for name, resources in before.items()}, planned['allocations'])
        self.heal(server)
        self.assertEqual(before, self.get_allocations(server))
        self.assertIn('up-to-date', self.heal(server, expected=4))
        self._reboot_server(server, hard=True)
        self.assertTrue(self.is_running(server))

    def test_all_servers_of_a_cloud(self):
        self.flags(instances=20, group='quota')
        self.start_host('compute1')
        self.start_host('compute2')
        servers = [self.boot(specs, properties, host=host)
                   for host in ('compute1', 'compute2')
                   for specs, properties, _ in REQUESTS + (({}, {}, None),)]
        servers.append(self.boot_from_volume(base.ES_SPECS))
        before = [self.get_allocations(server) for server in servers]
        for server in servers:
            self._delete_server_allocations(server['id'])
        code, output = self.manage('heal_allocations')
        self.assertEqual(0, code, output)
        self.assertIn('Processed 13 instances.', output)
        self.assertEqual(before, [self.get_allocations(server)
                                  for server in servers])

    def test_a_host_without_the_series_has_the_slots_itself(self):
        self.start_host(plain=True)
        server = self.boot(base.SEV_SPECS)
        self._delete_server_allocations(server['id'])
        self.heal(server)
        self.assertEqual({'compute1': {**FULL, base.SLOT: 1}},
                         self.get_allocations(server))
        self.restart_host()
        self.assert_model(server, 'amd-sev')

    def test_a_plain_server_is_healed_as_by_nova(self):
        self.start_host()
        server = self.boot()
        self._delete_server_allocations(server['id'])
        self.heal(server)
        self.assertEqual({'compute1': FULL}, self.get_allocations(server))

    def test_a_server_without_its_slot(self):
        # Nova heals what has an allocation only if it is forced to.
        self.start_host(max_es_guests=1)
        server = self.boot(base.ES_SPECS)
        right = self.get_allocations(server)
        self.put_slot(server, 'compute1_amd_sev', remove='compute1_amd_sev_es')
        self.heal(server, expected=4)
        self.assertEqual(['compute1_amd_sev'], self.get_slots(server))
        self.heal(server, force=True)
        self.assertEqual(right, self.get_allocations(server))
        # It has the only slot itself now.
        self.heal(server, force=True)
        self.assertEqual(right, self.get_allocations(server))

    def test_a_resize_that_is_not_confirmed(self):
        self.start_host('compute1')
        self.start_host('compute2')
        server = self.boot(base.SEV_SPECS, host='compute1')
        self._resize_server(server, self.create_flavor(base.ES_SPECS))
        self._delete_server_allocations(server['id'])
        self.heal(server)
        self.assertEqual(
            {'compute2': FULL, 'compute2_amd_sev_es': {base.SLOT: 1}},
            self.get_allocations(server))
        self._confirm_resize(server)
        self.assert_model(server, 'amd-sev-es', 'compute2')

    @ddt.data(False, True)
    def test_no_free_slot(self, dry_run):
        self.start_host(max_es_guests=1)
        server = self.boot(base.ES_SPECS)
        self._delete_server_allocations(server['id'])
        other = self.boot({})
        self.put_slot(other, 'compute1_amd_sev_es')
        output = self.heal(server, expected=3, dry_run=dry_run)
        self.assertIn(
            'consumer %s. Error: it has memory encryption model amd-sev-es, '
            'and host compute1 has no free slot of that. Move another server '
            % server['id'], output)
        self.assertEqual({}, self.get_allocations(server))
        self._delete_server(other)
        self.heal(server)
        self.assert_model(server, 'amd-sev-es')

    @ddt.data(False, True)
    def test_no_provider(self, dry_run):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self._delete_server_allocations(server['id'])
        self.sev.set(sev='Y', sev_es='N', sev_snp='N')
        self.restart_host()
        self.assert_tree(sev=100)
        output = self.heal(server, expected=3, dry_run=dry_run)
        self.assertIn(
            'consumer %s. Error: it has memory encryption model amd-sev-es, '
            'and host compute1 has no resource provider for that. Start a '
            'nova-compute there that knows it' % server['id'], output)
        self.assertEqual({}, self.get_allocations(server))

    def test_image_properties_that_do_not_fit(self):
        # As set by nova-manage image_property
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self._delete_server_allocations(server['id'])
        instance = self.get_instance(server)
        instance.system_metadata['image_hw_firmware_type'] = 'bios'
        instance.save()
        output = self.heal(server, expected=3)
        self.assertIn('consumer %s. Error: Memory encryption requested by'
                      % server['id'], output)
        self.assertIn("with 'nova-manage image_property set'", output)

    @ddt.data(
        # (what becomes of a request, the reason)
        (exceptions.ConnectFailure('down'), 'retrieval failed: down'),
        (mock.Mock(status_code=503, text='busy'), 'says: busy'),
    )
    @ddt.unpack
    def test_placement_does_not_answer(self, outcome, reason):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self._delete_server_allocations(server['id'])
        get = report.SchedulerReportClient.get

        def fail(client, url, version=None, **kwargs):
            if 'required=' not in url:
                return get(client, url, version=version, **kwargs)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        with fixtures.MonkeyPatch('nova.scheduler.client.report.'
                                  'SchedulerReportClient.get', fail):
            output = self.heal(server, expected=3)
        self.assertIn(server['id'], output)
        self.assertIn(reason, output)
        self.heal(server)
        self.assert_model(server, 'amd-sev-es')

    def test_a_flavor_that_asks_for_a_bare_slot(self):
        # It is of no model. Nova puts it on the root, which has none.
        self.start_host()
        server = self.boot({'resources:' + base.SLOT: '1'})
        self.heal(server, expected=4)
        self._delete_server_allocations(server['id'])
        self.heal(server, expected=3)
        self.assertEqual({}, self.get_allocations(server))


@ddt.ddt
class AuditTest(PlacementCommandsTestBase):

    def audit(self, expected, **kwargs):
        code, output = self.manage('audit', **kwargs)
        self.assertEqual(expected, code, output)
        return output

    def test_slots_of_servers_and_migrations_are_no_orphans(self):
        self.start_host('compute1')
        self.start_host('compute2')
        self.start_host('old', plain=True)
        for specs, properties, _ in REQUESTS:
            self.boot(specs, properties, host='compute1')
        self.boot(base.SEV_SPECS, host='old')
        moved = self.boot(base.ES_SPECS, host='compute1')
        self._migrate_server(moved, host='compute2')
        migration = self.get_migration_uuid_for_instance(moved['id'])
        self.assertEqual(['compute1_amd_sev_es'], self.get_slots(migration))
        before = self.get_placement()
        self.audit(expected=0, delete=True)
        self.assertEqual(before, self.get_placement())
        self._revert_resize(moved)
        self.assert_model(moved, 'amd-sev-es', 'compute1')

    def orphan(self, server, allocations):
        """Delete a server, but have Placement keep what it had."""
        self._delete_server(server)
        found = {self._get_provider_uuid_by_name(name):
                 {'resources': resources}
                 for name, resources in allocations.items()}
        response = self.placement.put(
            '/allocations/%s' % server['id'],
            {'allocations': found, 'project_id': self.api.project_id,
             'user_id': 'admin', 'consumer_generation': None}, version='1.28')
        self.assertEqual(204, response.status)

    @ddt.data(base.SEV_SPECS, base.ES_SPECS)
    def test_orphans_are_found_and_deleted(self, specs):
        self.start_host()
        kept = self.boot(specs)
        server = self.boot(specs)
        before = self.get_allocations(server)
        provider, = self.get_slots(server)
        self.orphan(server, before)
        output = self.audit(expected=3)
        self.assertIn('Processed 2 allocations', output)
        self.assertIn('Allocations for consumer UUID %s on Resource Provider '
                      '%s can be deleted' % (
                          server['id'], self.get_provider(provider)['uuid']),
                      output)
        self.assertEqual(before, self.get_allocations(server))
        self.audit(expected=4, delete=True)
        self.assertEqual({}, self.get_allocations(server))
        self.assertEqual({kept['id']},
                         self.get_provider(provider)['consumers'])
        self.audit(expected=0)

    def test_orphans_of_one_provider(self):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        before = self.get_allocations(server)
        self.orphan(server, before)
        self.audit(expected=4, delete=True, provider_uuid=self.get_provider(
            'compute1_amd_sev_es')['uuid'])
        self.assertEqual({'compute1': before['compute1']},
                         self.get_allocations(server))
