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

"""Test the command that tells which servers run with what."""
import contextlib
import csv
import gc
import json
import operator
from unittest import mock

import ddt
from keystoneauth1 import exceptions as ks_exc
from oslo_db import exception as db_exc
from oslo_utils.fixture import uuidsentinel as uuids
from prometheus_client import parser

from nova import context
from nova import objects
from nova.scheduler.client import report
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.nova.mem_encryption import cells
from nova_mem_encryption.nova.mem_encryption import differing
from nova_mem_encryption.nova.mem_encryption.servers import formats
from nova_mem_encryption.nova.mem_encryption.servers import problems
from nova_mem_encryption.nova.mem_encryption.upgrade import (
    servers as upgrade_servers)

PLAIN = 'plain'
ES, SEV = 'amd-sev-es 0x0037', 'amd-sev 0x0033'


@ddt.ddt
class ServersTest(base.CommandTestBase):

    command = 'servers'

    def ask(self, *args, code=None):
        """Return what it tells machines."""
        found_code, out, err = self.run_command('--json', *args)
        self.assertNotEqual('', out, (found_code, err))
        found = json.loads(out)
        self.assertEqual('', err)
        self.assertEqual(int(found['differing'] > 0) if code is None else code,
                         found_code)
        return found

    def get_rows(self, *args):
        """Return what matters of servers, by UUID, in their order."""
        return {row['uuid']: (
            row['asked'], row['slots'], row['runs'],
            [problem['kind'] for problem in row['problems']])
            for row in self.ask(*args)['servers']}

    def get_kinds(self, server, *args):
        """Return what does not agree of a server."""
        return self.get_rows(*args)[server['id']][-1]

    def update(self, host='compute1'):
        """Have nova-compute look at its guests."""
        self.computes[host].manager.update_available_resource(
            context.get_admin_context())

    def run_as(self, server, policy, host='compute1', update=True):
        """Have a guest of a server run with another policy, behind Nova.

        :param policy: None for no memory encryption
        """
        domain = self.get_domain(server, host)
        domain.destroy()
        domain.edit(policy)
        domain.create()
        if update:
            self.update(host)

    def drop_slots(self, server):
        """Take the slots of a server away, and nothing else."""
        found = self.placement.get('/allocations/%s' % server['id'],
                                   version='1.28').body
        found['allocations'] = {
            uuid: {'resources': data['resources']}
            for uuid, data in found['allocations'].items()
            if base.SLOT not in data['resources']}
        self.assertEqual(204, self.placement.put(
            '/allocations/%s' % server['id'], found, version='1.28').status)

    # -- what agrees ---------------------------------------------------------

    def test_a_cloud_in_which_all_agrees(self):
        self.start_host()
        self.start_host('compute2')
        sev = self.boot(base.SEV_SPECS, host='compute1')
        es = self.boot({}, base.ES_PROPERTIES, host='compute2')
        plain = self.boot()
        for host in self.computes:
            self.update(host)
        expected = {
            sev['id']: ('amd-sev', ['compute1_amd_sev'], SEV, []),
            es['id']: ('amd-sev-es', ['compute2_amd_sev_es'], ES, [])}
        self.assertEqual(expected, self.get_rows())
        expected[plain['id']] = (PLAIN, [], PLAIN, [])
        self.assertEqual(expected, self.get_rows('--all'))
        self.assertEqual({}, self.get_rows('--differing', '--all'))

    def test_what_a_row_has(self):
        self.start_host()
        server = self.boot(base.ES_SPECS, name='web-1')
        row, = self.ask()['servers']
        self.assertEqual({
            'uuid': server['id'], 'name': 'web-1',
            'project': self.api.project_id, 'host': 'compute1',
            'state': 'active', 'asked': 'amd-sev-es',
            'slots': ['compute1_amd_sev_es'], 'runs': ES, 'problems': []},
            row)

    def test_a_server_that_does_not_run(self):
        self.start_host()
        server = self._stop_server(self.boot(base.ES_SPECS))
        self.update()
        self.assertEqual(
            ('amd-sev-es', ['compute1_amd_sev_es'], '-', []),
            self.get_rows()[server['id']])

    def test_one_that_is_shelved_needs_no_slot(self):
        self.start_host()
        self.flags(shelved_offload_time=0)
        server = self._shelve_server(self.boot(base.ES_SPECS))
        self.assertEqual({server['id']: ('amd-sev-es', [], '-', [])},
                         self.get_rows())

    def test_a_resize_that_waits(self):
        self.start_host()
        self.start_host('compute2')
        server = self._resize_server(
            self.boot(base.ES_SPECS, host='compute1'),
            self.create_flavor(base.SEV_SPECS))
        for host in self.computes:
            self.update(host)
        self.assertEqual({server['id']: (
            'amd-sev', ['compute2_amd_sev'], SEV, [])}, self.get_rows())

    def test_no_server(self):
        self.start_host()
        self.assertEqual([], self.ask()['servers'])
        code, out, err = self.run_command()
        self.assertEqual((0, ''), (code, err))
        self.assertIn('0 servers, 0 with something', out)

    # -- what does not -------------------------------------------------------

    @ddt.data(
        (base.ES_SPECS, None, PLAIN, 'less'),
        (base.ES_SPECS, 0x33, SEV, 'less'),
        (base.ES_SPECS, 0x36, 'amd-sev-es 0x0036', 'less'),
        (base.SEV_SPECS, 0x37, ES, 'more'),
        ({}, 0x33, SEV, 'more'))
    @ddt.unpack
    def test_it_runs_as_another(self, specs, policy, runs, kind):
        self.start_host()
        server, other = self.boot(specs), self.boot(base.ES_SPECS)
        self.run_as(server, policy)
        rows = self.get_rows()
        self.assertEqual((runs, [kind]), rows[server['id']][2:])
        self.assertEqual((ES, []), rows[other['id']][2:])
        # What does not agree comes first.
        self.assertEqual(server['id'], list(rows)[0])
        self._reboot_server(server, hard=True)
        self.update()
        self.assertNotIn(kind, str(self.get_rows('--all')[server['id']][-1]))

    def test_where_the_host_has_no_sev(self):
        """There nobody looked at guests, before."""
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self.run_as(server, None, update=False)
        self.sev.set(sev='N')
        self.restart_host()
        self.update()
        self.assertIn('less', self.get_kinds(server))

    def test_one_that_something_is_done_with(self):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        instance = self.get_instance(server)
        instance.task_state = 'rebuilding'
        instance.save()
        self.run_as(server, None)
        self.drop_slots(server)
        row, = self.ask()['servers']
        self.assertEqual(
            ('active (rebuilding)', 'unknown', []),
            (row['state'], row['runs'], row['problems']))
        instance.task_state = None
        instance.save()
        self.update()
        self.assertEqual(['less', 'no-slot'], self.get_kinds(server))

    def test_one_that_differed_and_is_busy(self):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self.run_as(server, None)
        instance = self.get_instance(server)
        instance.task_state = 'image_uploading'
        instance.save()
        for _ in range(2):
            row, = self.ask()['servers']
            self.assertEqual((PLAIN, 'less', 'Wait until image_uploading is '
                              'over, then reboot it hard.'), (
                row['runs'], *operator.itemgetter('kind', 'remedy')(
                    row['problems'][0])))
            self.update()

    def test_one_that_waits_for_the_end_of_its_resize(self):
        self.start_host()
        self.start_host('compute2')
        server = self._resize_server(
            self.boot(base.ES_SPECS, host='compute1'),
            self.create_flavor({**base.ES_SPECS, 'a': 'b'}))
        self.run_as(server, None, host='compute2')
        problem, = self.ask()['servers'][0]['problems']
        self.assertEqual(
            ('less', 'Confirm or revert its resize, then reboot it hard.'),
            (problem['kind'], problem['remedy']))
        self._confirm_resize(server)
        problem, = self.ask()['servers'][0]['problems']
        self.assertEqual(('less', 'Reboot it hard.'),
                         (problem['kind'], problem['remedy']))
        self._reboot_server(server, hard=True)
        self.update('compute2')
        self.assertEqual([], self.get_kinds(server))

    # -- what changes while it is looked at ----------------------------------

    @contextlib.contextmanager
    def before_servers_are_read(self, act):
        """Within, do something when the slots have been read."""
        upstream = cells.read_servers

        def read(*args):
            act()
            yield from upstream(*args)
        with mock.patch.object(cells, 'read_servers', read):
            yield

    def test_one_that_is_built_meanwhile(self):
        self.start_host()
        built = []

        def build():
            self.start_host('compute2')
            built.extend(self.boot(base.ES_SPECS, host=host)
                         for host in ('compute1', 'compute2'))
        with self.before_servers_are_read(build):
            rows = self.get_rows()
        self.assertEqual([
            ('amd-sev-es', ['compute1_amd_sev_es'], ES, []),
            # Of a host that has just come it is not known yet.
            ('amd-sev-es', ['compute2_amd_sev_es'], 'unknown', ['untold'])],
            [rows[server['id']] for server in built])

    def test_one_that_is_resized_meanwhile(self):
        """upgrade-check looks in the same way."""
        self.start_host()
        self.start_host('compute2')
        server = self.boot(base.ES_SPECS, host='compute1')
        flavors = [self.create_flavor(specs)
                   for specs in (base.SEV_SPECS, base.ES_SPECS)]

        def resize():
            self._confirm_resize(self._resize_server(
                server, flavors.pop(0)))
        with self.before_servers_are_read(resize):
            self.assertEqual({server['id']: (
                'amd-sev', ['compute2_amd_sev'], SEV, [])}, self.get_rows())
        with self.before_servers_are_read(resize):
            self.assertEqual([], [
                finding for finding in upgrade_servers.check_servers()
                if 'cannot be started there' in finding.problem])
        self.assertEqual([], flavors)

    def test_one_that_moves_or_is_deleted_meanwhile(self):
        self.start_host()
        servers = [self.boot(base.ES_SPECS) for _ in range(2)]
        for server in servers:
            self.drop_slots(server)
        upstream = objects.Instance.refresh

        def refresh(instance, *args, **kwargs):
            stored = self.get_instance({'id': instance.uuid})
            if instance.uuid == servers[0]['id']:
                stored.destroy()
            else:
                stored.host = stored.node = 'compute2'
                stored.compute_id = 9
                stored.save()
            upstream(instance, *args, **kwargs)
        with mock.patch.object(objects.Instance, 'refresh', refresh):
            self.assertEqual({}, self.get_rows('--host', 'compute1'))

    def test_one_that_can_still_be_restored(self):
        """It keeps its slot."""
        self.flags(reclaim_instance_interval=3600)
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self.api.delete_server(server['id'])
        self._wait_for_state_change(server, 'SOFT_DELETED')
        row, = self.ask()['servers']
        self.assertEqual(
            ('soft-delete', ['compute1_amd_sev_es'], '-', []),
            tuple(row[name] for name in (
                'state', 'slots', 'runs', 'problems')))

    def test_hosts_of_another_driver(self):
        """They have no servers that could be asked about."""
        self.start_host()
        node, = objects.ComputeNodeList.get_all(context.get_admin_context())
        other = objects.ComputeNode(
            context.get_admin_context(), **{
                name: getattr(node, name) for name in (
                    'vcpus', 'memory_mb', 'local_gb', 'vcpus_used',
                    'memory_mb_used', 'local_gb_used', 'cpu_info',
                    'hypervisor_version')},
            host='ironic', hypervisor_hostname=uuids.metal, uuid=uuids.metal,
            hypervisor_type='ironic', stats={})
        other.create()
        self.assertEqual([{'host': 'compute1', 'tells': True}],
                         self.ask()['hosts'])
        self.assertEqual([], self.ask('--host', 'ironic')['servers'])

    def test_a_host_that_does_not_tell(self):
        self.start_host('compute1', plain=True)
        sev, plain = self.boot(base.SEV_SPECS), self.boot()
        self.assertEqual({sev['id']: ('amd-sev', ['compute1'], 'unknown',
                                      ['untold'])}, self.get_rows())
        self.assertEqual(('unknown', []),
                         self.get_rows('--all')[plain['id']][2:])
        self.restart_host()
        self.update()
        self.assertEqual([], self.get_kinds(sev))

    def test_more_than_can_be_named(self):
        self.start_host()
        servers = [self.boot(base.ES_SPECS) for _ in range(3)]
        with mock.patch.object(differing, 'MOST', 1):
            self.run_as(servers[0], None)
            self.run_as(servers[1], None)
        self.assertEqual(
            [('plain', ['less']), ('unknown', ['untold'])],
            sorted({(row[2], tuple(row[3])): row[2:]
                    for row in self.get_rows().values()}.values()))

    def test_without_a_slot(self):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self.drop_slots(server)
        self.assertEqual(['no-slot'], self.get_kinds(server))
        problem, = self.ask()['servers'][0]['problems']
        self.assertEqual(
            ('asks for amd-sev-es and has no slot.', 'nova-manage placement '
             'heal_allocations --force --instance ' + server['id']),
            (problem['text'], problem['remedy']))

    def test_on_a_wrong_provider(self):
        self.start_host()
        self.start_host('compute2')
        first = self.boot(base.ES_SPECS, host='compute1')
        self.put_slot(first, 'compute1_amd_sev', remove='compute1_amd_sev_es')
        second = self.boot(base.ES_SPECS, host='compute1')
        self.put_slot(second, 'compute2_amd_sev_es',
                      remove='compute1_amd_sev_es')
        rows = {row['uuid']: row['problems']
                for row in self.ask()['servers']}
        for server, words in (
                (first, 'asks for amd-sev-es, but has a slot on '
                 'compute1_amd_sev, so'),
                (second, 'is on compute1, but has its slot on '
                 'compute2_amd_sev_es.')):
            problem, = rows[server['id']]
            self.assertEqual('wrong-provider', problem['kind'])
            self.assertIn(words, problem['text'])

    def test_a_slot_that_nobody_asked_for(self):
        self.start_host()
        plain = self.boot({'resources1:' + base.SLOT: '1',
                           'group_policy': 'none'})
        both = self.boot(base.ES_SPECS)
        self.put_slot(both, 'compute1_amd_sev')
        rows = self.get_rows()
        self.assertEqual((PLAIN, ['spare-slot']), (
            rows[plain['id']][0], rows[plain['id']][-1]))
        problem, = [row['problems'][0] for row in self.ask()['servers']
                    if row['uuid'] == plain['id']]
        self.assertIn('Resize it to a flavor without ' + base.SLOT,
                      problem['remedy'])
        self.assertEqual(
            ('amd-sev-es', ['compute1_amd_sev', 'compute1_amd_sev_es'], ES,
             ['spare-slot']), rows[both['id']])

    def test_one_that_cannot_be_read(self):
        self.start_host()
        first, second = self.boot(base.ES_SPECS), self.boot(base.ES_SPECS)
        instance = self.get_instance(first)
        instance.system_metadata['image_hw_firmware_type'] = 'none-such'
        instance.save()
        self.update()
        rows = self.get_rows()
        self.assertEqual(('unknown', ['unreadable']), (
            rows[first['id']][0], rows[first['id']][-1]))
        self.assertEqual([], rows[second['id']][-1])

    # -- which are told of ---------------------------------------------------

    def test_filters(self):
        self.start_host()
        self.start_host('compute2')
        one = self.boot(base.ES_SPECS, host='compute1')['id']
        two = self.boot(base.SEV_SPECS, host='compute2')['id']
        self.drop_slots({'id': two})
        for args, expected in (
                ((), [two, one]), (('--host', 'compute1'), [one]),
                (('--model', 'amd-sev'), [two]),
                (('--model', 'amd-sev-snp'), []), (('--differing',), [two]),
                (('--project', self.api.project_id), [two, one]),
                (('--project', 'another'), []),
                (('--host', 'compute1', '--differing'), [])):
            self.assertEqual(expected, list(self.get_rows(*args)), args)

    def test_a_host_that_is_none(self):
        self.start_host()
        code, out, err = self.run_command('--host', 'compute9')
        self.assertEqual((2, ''), (code, out))
        self.assertIn('There is no host compute9, there are: compute1', err)

    @ddt.data(1, 2, 3, 4)
    def test_pages(self, size):
        self.start_host()
        uuids = [self.boot(base.ES_SPECS)['id'] for _ in range(3)]
        self._delete_server(self.boot(base.ES_SPECS))
        with mock.patch.object(cells, 'PAGE', size), mock.patch.object(
                formats, 'ROWS', size):
            self.assertEqual(uuids, list(self.get_rows()))
            code, out, err = self.run_command()
        lines = [line for line in out.splitlines() if line[:1] in '|+']
        self.assertEqual(1, len({len(line) for line in lines}))
        self.assertEqual(3, len([line for line in lines if '+' in line[:1]]))
        self.assertEqual(uuids, [line.split()[1] for line in lines[3:-1]])

    def test_one_page_is_held_while_the_next_is_read(self):
        self.start_host()
        for _ in range(4):
            self.boot(base.ES_SPECS)
        upstream, alive = objects.InstanceList.get_by_filters, []
        frozen = []

        def get(*args, **kwargs):
            frozen.append(gc.get_freeze_count() > 0)
            alive.append(sum(isinstance(found, objects.Instance)
                             for found in gc.get_objects()))
            return upstream(*args, **kwargs)
        gc.collect()
        gc.disable()  # but for who asks for it
        self.addCleanup(gc.enable)
        with mock.patch.object(cells, 'PAGE', 1), mock.patch.object(
                objects.InstanceList, 'get_by_filters', get):
            self.get_rows()
        self.assertEqual([0, 1, 1, 1], alive)
        self.assertEqual([True] * 4, frozen)
        self.assertEqual(0, gc.get_freeze_count())

    # -- how -----------------------------------------------------------------

    def test_for_people(self):
        self.start_host()
        server, _ = self.boot(base.ES_SPECS, name='web-1'), self.boot(
            base.SEV_SPECS)
        self.run_as(server, 0x33)
        code, out, err = self.run_command()
        self.assertEqual((1, ''), (code, err))
        self.assertTrue(' '.join(out.split()).startswith(
            'Server %s (web-1) runs with less than it asks for: amd-sev '
            '0x0033 in place of amd-sev-es. Reboot it hard. +---'
            % server['id']), out)
        self.assertRegex(
            out, r'\| %s \| web-1 .* \| less    \|\n' % server['id'])
        self.assertIn('2 servers, 1 with something that does not agree.', out)

    def test_csv(self):
        self.start_host()
        server = self.boot(base.ES_SPECS, name='a "name", with')
        self.run_as(server, None)
        code, out, err = self.run_command('--csv')
        self.assertEqual((1, ''), (code, err))
        row, = csv.DictReader(out.splitlines())
        self.assertEqual(
            (server['id'], 'a "name", with', 'compute1_amd_sev_es', 'plain',
             'less'), tuple(row[name] for name in (
                 'uuid', 'name', 'slots', 'runs', 'differs')))

    def test_metrics(self):
        self.start_host()
        self.start_host('compute2', plain=True)
        servers = [self.boot(base.ES_SPECS, host='compute1')
                   for _ in range(3)]
        self.run_as(servers[0], None)
        self.drop_slots(servers[1])
        self.put_slot(servers[2], 'compute1_amd_sev',
                      remove='compute1_amd_sev_es')
        code, out, err = self.run_command('--prometheus')
        self.assertEqual((1, ''), (code, err))
        families = {family.name: family for family
                    in parser.text_string_to_metric_families(out)}
        found = {
            name: {tuple(sample.labels.values()): sample.value
                   for sample in families.pop(
                       'nova_mem_encryption_' + name).samples}
            for name in formats.METRICS}
        self.assertEqual({}, families)
        self.assertEqual({('compute1', 'amd-sev-es'): 3}, {
            key: value for key, value in found['servers'].items() if value})
        # To have none is a value, which can be seen to change.
        self.assertEqual({
            (host, kind): int(host == 'compute1' and kind in (
                'less', 'no-slot', 'wrong-provider'))
            for host in ('compute1', 'compute2') for kind in problems.KINDS},
            found['servers_differing'])
        self.assertEqual({('compute1',): 1, ('compute2',): 0},
                         found['host_tells'])
        flavors = len(self.api.get_flavors())  # tests have some of Nova's
        self.assertEqual({('image',): flavors - 3, ('flavor',): 3},
                         found['open_flavors'])

    # -- what cannot be looked at --------------------------------------------

    def test_a_cell_that_fails_in_between(self):
        self.start_host()
        first, _ = self.boot(base.ES_SPECS), self.boot(base.ES_SPECS)
        upstream, calls = objects.InstanceList.get_by_filters, []

        def get(*args, **kwargs):
            calls.append(args)
            if len(calls) > 1:
                raise db_exc.DBConnectionError('gone')
            return upstream(*args, **kwargs)
        with mock.patch.object(cells, 'PAGE', 1), mock.patch.object(
                objects.InstanceList, 'get_by_filters', get):
            code, out, err = self.run_command('--json')
        found = json.loads(out)
        self.assertEqual(255, code)
        self.assertEqual([first['id']],
                         [row['uuid'] for row in found['servers']])
        self.assertIn('Not all is looked at: cell ', err)
        self.assertIn('gone', found['not_looked_at'][0])

    def test_without_placement(self):
        self.start_host()
        with mock.patch.object(
                report.SchedulerReportClient, 'get',
                side_effect=ks_exc.ConnectFailure('nobody there')):
            code, out, err = self.run_command()
        self.assertEqual((255, ''), (code, out))
        self.assertIn('nobody there. See [placement], ', err)

    def test_without_the_database(self):
        self.start_host()
        self.stub_out('nova.context.CELLS', [])
        with mock.patch.object(
                objects.CellMappingList, 'get_all',
                side_effect=db_exc.CantStartEngineError('No connection.')):
            code, out, err = self.run_command()
        self.assertEqual((255, ''), (code, out))
        self.assertIn('No connection. See [placement], ', err)
