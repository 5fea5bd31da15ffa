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

"""Test that a host can go back to Nova without the series."""
import contextlib
import io
import json
import sys
from unittest import mock

import ddt
from keystoneauth1 import exceptions as ks_exc
import requests

from nova.scheduler.client import report
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption import cli

NOTHING = 'Nothing was written.\n'
AGAIN = 'Then run this again: it goes on where it was stopped.\n'
URI = 'qemu:///system'


class RevertTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.conf = self.write_conf()
        self.here = 'compute1'  # where the command runs
        patches = (
            mock.patch.dict(sys.modules, libvirt=fakelibvirt),
            mock.patch.object(fakelibvirt, 'openReadOnly', self.open_libvirt,
                              create=True))
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)

    def open_libvirt(self, uri):
        """Connect to the libvirt of a host, as libvirt would."""
        host = self.here if uri == URI else uri.split('/')[2]
        if host not in self.connections:
            raise fakelibvirt.make_libvirtError(
                fakelibvirt.libvirtError, 'Failed to connect socket: No such '
                'file', error_code=fakelibvirt.VIR_ERR_SYSTEM_ERROR,
                error_domain=fakelibvirt.VIR_FROM_RPC)
        return self.connections[host]

    def revert(self, *args):
        """Run the command.

        :returns: exit status, and what was written to stdout and stderr
        """
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main(['revert', '--config-file', self.conf,
                             *(args or ['compute1'])])
        return code, out.getvalue(), err.getvalue()

    def stop_and_revert(self, host='compute1'):
        self.computes[host].stop()
        self.here = host
        code, out, err = self.revert(host)
        self.assertEqual((0, ''), (code, err))
        self.assertIn('Node %s: done. ' % host, out)

    def assert_refused(self, *words):
        """Check that nothing is written, for a reason."""
        before = self.get_placement()
        code, out, err = self.revert()
        self.assertEqual((1, ''), (code, out))
        self.assertTrue(err.endswith(NOTHING), err)
        self.assertEqual(1, err.count('\n'))
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(before, self.get_placement())

    def get_allocations(self, consumer):
        """Return all that a consumer has, but for the generations."""
        found = self.placement.get('/allocations/%s' % consumer,
                                   version='1.38').body
        del found['consumer_generation']
        for allocation in found['allocations'].values():
            del allocation['generation']
        return found

    def put_consumer_type(self, server, name):
        found = self.placement.get('/allocations/%s' % server['id'],
                                   version='1.38').body
        response = self.placement.put(
            '/allocations/%s' % server['id'],
            {**found, 'consumer_type': name}, version='1.38')
        self.assertEqual(204, response.status)

    def assert_reverted(self, slots, *consumers, host='compute1'):
        """Check that a host is as Nova without the series has it."""
        for suffix in ('amd_sev', 'amd_sev_es'):
            self.assertIsNone(self.get_provider('%s_%s' % (host, suffix)))
        root = self.get_provider(host)
        self.assertEqual(
            {'total': slots, 'min_unit': 1, 'max_unit': 1, 'step_size': 1,
             'reserved': 0, 'allocation_ratio': 1.0},
            root['inventory'][base.SLOT])
        self.assertIn(base.SEV_TRAIT, root['traits'])
        self.assertEqual(len(consumers), root['usage'][base.SLOT])
        for consumer in consumers:
            self.assertEqual([host], self.get_slots(consumer))


class RevertTest(RevertTestBase):

    def test_there_and_back_with_servers(self):
        self.start_host()
        plain = self.boot()
        servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]

        self.stop_and_revert()

        self.assert_reverted(100, *[server['id'] for server in servers])
        # ... and as on a host that has never had the series
        reverted = self.get_provider('compute1')
        self.restart_host(plain=True)
        self.start_host('compute2', plain=True)
        for found in (self.get_provider('compute1'),
                      self.get_provider('compute2')):
            self.assertEqual(reverted['inventory'], found['inventory'])
            self.assertEqual(reverted['traits'], found['traits'])
        self._run_periodics(raise_on_error=True)
        self.assertEqual([], self.get_slots(plain))
        servers.append(self.boot(base.SEV_SPECS, host='compute1'))
        for server in servers:
            self._reboot_server(server, hard=True)
            self.assert_model(server, 'amd-sev', slot='compute1')
        self.assert_reverted(100, *[server['id'] for server in servers])

        self.restart_host()

        self.assert_tree(sev=100, sev_es=15)
        for server in servers:
            self.assert_model(server, 'amd-sev')
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')

    def test_a_host_with_sev_snp(self):
        self.upgrade_os_traits()
        self.start_snp_host()
        sev = self.boot(base.SEV_SPECS)
        server = self.boot(base.SNP_SPECS, base.STATELESS)
        self.assert_refused('have slots of SEV-SNP', server['id'])
        self._delete_server(server)
        self.computes['compute1'].stop()
        self.assertEqual(0, self.revert()[0])
        self.assertIsNone(self.get_provider('compute1_amd_sev_snp'))
        self.assert_reverted(100, sev['id'])

    def test_consumers_keep_all_else(self):
        self.start_host('compute1')
        self.start_host('compute2')
        servers = [self.boot(base.SEV_SPECS, host='compute1')
                   for _ in range(2)]
        self._resize_server(servers[0], self.create_flavor(base.SEV_SPECS))
        migration = self.get_migration_uuid_for_instance(servers[0]['id'])
        self.put_consumer_type(servers[1], 'INSTANCE')
        consumers = [migration, servers[0]['id'], servers[1]['id']]
        before = [self.get_allocations(consumer) for consumer in consumers]
        self.assertEqual('INSTANCE', before[2]['consumer_type'])
        source = self.get_provider('compute1_amd_sev')['uuid']
        root = self.get_provider('compute1')['uuid']
        for found in (before[0], before[2]):
            del found['allocations'][source]
            found['allocations'][root]['resources'][base.SLOT] = 1

        self.stop_and_revert()

        self.assertEqual(before, [
            self.get_allocations(consumer) for consumer in consumers])
        self.assert_reverted(100, migration, servers[1]['id'])
        self.restart_host(plain=True)
        self._confirm_resize(servers[0])
        self.assert_model(servers[0], 'amd-sev', host='compute2')
        self.assert_reverted(100, servers[1]['id'])

    def test_the_root_keeps_all_else(self):
        self.start_host()
        self.api.put_service(self.computes['compute1'].service_ref.uuid,
                             {'status': 'disabled'})
        before = self.get_provider('compute1')
        self.assertIn('COMPUTE_STATUS_DISABLED', before['traits'])
        self.stop_and_revert()
        after = self.get_provider('compute1')
        self.assertEqual(before['traits'] | {base.SEV_TRAIT}, after['traits'])
        del after['inventory'][base.SLOT]
        self.assertEqual(before['inventory'], after['inventory'])

    def test_a_host_that_has_no_slots_of_sev(self):
        self.start_host(max_guests=0)
        self.assert_tree(sev_es=15)
        before = self.get_provider('compute1')
        self.stop_and_revert()
        self.assertIsNone(self.get_provider('compute1_amd_sev_es'))
        self.assertEqual(before, self.get_provider('compute1'))

    def test_nova_ran_without_the_series_before(self):
        self.start_host(max_guests=2)
        servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]
        # It has the same slots again, on the root; fewer now than are used.
        self.restart_host(plain=True, max_guests=1)
        self.put_slot(servers[1], 'compute1', remove='compute1_amd_sev')
        sev = self.get_provider('compute1_amd_sev')
        sev['inventory'][base.SLOT]['total'] = 1
        self._update_inventory(sev['uuid'], {
            'inventories': sev['inventory'],
            'resource_provider_generation': sev['generation']})
        self.stop_and_revert()
        self.assert_reverted(2, *[server['id'] for server in servers])

    def test_nova_ran_without_the_series_and_has_more_slots(self):
        self.start_host(max_guests=1)
        self.restart_host(plain=True, max_guests=7)
        self.stop_and_revert()
        self.assert_reverted(7)

    def test_an_installation_that_was_interrupted(self):
        self.start_host(plain=True)
        server = self.boot(base.SEV_SPECS)
        root = self.get_provider('compute1')
        self._set_provider_traits(
            root['uuid'], sorted(root['traits'] - {base.SEV_TRAIT}))
        self.stop_and_revert()
        self.assert_reverted(100, server['id'])

    def test_by_uuid(self):
        self.start_host()
        code, out, _ = self.revert(self.get_provider('compute1')['uuid'])
        self.assertEqual(0, code)
        self.assertIn('Node compute1: done.', out)
        self.assert_reverted(100)

    def test_another_host_is_left_alone(self):
        self.start_host('compute1')
        self.start_host('compute2')
        self.boot(base.ES_SPECS, host='compute2')
        before = self.get_provider('compute2')
        self.stop_and_revert('compute1')
        self.assertEqual(before, self.get_provider('compute2'))
        self.assert_tree('compute2', sev=100, sev_es=15)


class NothingToDoTest(RevertTestBase):

    def assert_nothing_to_do(self):
        before = self.get_placement()
        code, out, err = self.revert()
        self.assertEqual(
            (0, 'Placement was looked at, and the %d guests of libvirt at '
             'qemu:///system.\nNode compute1: nothing to do. It is as Nova '
             'without the series has it.\n' % len(
                 self.connections['compute1']._vms), ''), (code, out, err))
        self.assertEqual(before, self.get_placement())

    def test_a_host_that_was_reverted(self):
        self.start_host()
        self.boot(base.SEV_SPECS)
        self.stop_and_revert()
        self.assert_nothing_to_do()

    def test_a_host_that_never_had_the_series(self):
        self.start_host(plain=True)
        self.assert_nothing_to_do()


class DryRunTest(RevertTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()
        self.server = self.boot(base.SEV_SPECS)
        self.computes['compute1'].stop()

    def test_it_shows_and_writes_nothing(self):
        before = self.get_placement()
        code, out, err = self.revert('--dry-run', 'compute1')
        self.assertEqual((0, ''), (code, err))
        self.assertEqual(before, self.get_placement())
        rows = [[cell.strip() for cell in line.split('|')[1:-1]]
                for line in out.splitlines() if line.startswith('|')]
        self.assertEqual([
            ['Write', 'Provider', 'Has then'],
            ['1', 'compute1', '100 slots'],
            ['1', 'compute1_amd_sev', 'no slots'],
            ['1', 'compute1_amd_sev_es', 'no slots'],
            ['1', 'compute1', 'slot of %s, from compute1_amd_sev'
             % self.server['id']],
            ['2', 'compute1', base.SEV_TRAIT],
            ['3', 'compute1_amd_sev', 'deleted'],
            ['4', 'compute1_amd_sev_es', 'deleted']], rows)
        self.assertTrue(out.endswith(
            'Node compute1: nothing was written. Stop its nova-compute, then '
            'run this without --dry-run.\n'), out)

    def test_what_it_shows_is_what_is_done(self):
        root = self.get_provider('compute1')['uuid']
        code, out, _ = self.revert('--dry-run', '--json', 'compute1')
        shown = json.loads(out)
        self.assertEqual(
            (0, 'compute1', root, True, None),
            (code, shown['node'], shown['uuid'], shown['dry_run'],
             shown['error']))
        self.assertEqual('POST /reshaper', shown['writes'][0]['request'])
        self.assertIn({'provider': 'compute1', 'has': '100 slots'},
                      shown['writes'][0]['changes'])
        code, out, err = self.revert('--json', 'compute1')
        self.assertEqual((0, ''), (code, err))
        self.assertEqual({**shown, 'dry_run': False}, json.loads(out))
        self.assert_reverted(100, self.server['id'])

    def test_machines_are_told_of_nothing_to_do(self):
        self.revert()
        code, out, _ = self.revert('--json', 'compute1')
        self.assertEqual((0, []), (code, json.loads(out)['writes']))


class Killed(BaseException):
    """The end of the command, as nothing catches it."""


@ddt.ddt
class InterruptedRevertTest(RevertTestBase):

    WRITES = ['post', 'put', 'delete', 'delete']

    def setUp(self):
        super().setUp()
        self.start_host()
        self.servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]
        self.totals = self.get_totals()
        self.computes['compute1'].stop()

    def get_totals(self):
        """Return the resources that each server has, wherever they are."""
        return [sorted(
            resource for data in self.get_allocations(
                server['id'])['allocations'].values()
            for resource in data['resources'].items())
            for server in self.servers]

    def interrupt(self, stop):
        """Let the command write once, and then stop it.

        :returns: what was written
        """
        written = []

        def patch(verb):
            upstream = getattr(report.SchedulerReportClient, verb)

            def write(client, *args, **kwargs):
                if written and stop != 'lost':
                    return self.stop(stop)
                written.append(verb)
                response = upstream(client, *args, **kwargs)
                return self.stop(stop) if stop == 'lost' else response
            return mock.patch.object(report.SchedulerReportClient, verb, write)

        with patch('post'), patch('put'), patch('delete'):
            try:
                code, _, err = self.revert()
            except Killed:
                return written
        if code:
            self.assertEqual(1, code)
            self.assertTrue(err.endswith(AGAIN), err)
        return written

    def stop(self, stop):
        if stop == 'kill':
            raise Killed()
        if stop == 'lost':
            raise ks_exc.ConnectFailure('no answer')
        response = requests.Response()
        response.status_code = 503
        return response

    def get_givers(self, *traits):
        """Return the names of the providers that a request gets slots of."""
        query = '/allocation_candidates?resources=VCPU:1,%s:1' % base.SLOT
        if traits:
            query += '&required=' + ','.join(traits)
        names = {data['uuid']: name
                 for name, data in self.get_placement().items()}
        return {
            names[uuid] for candidate in self.placement.get(
                query, version='1.39').body['allocation_requests']
            for uuid, allocation in candidate['allocations'].items()
            if base.SLOT in allocation['resources']}

    @ddt.data('kill', 'unavailable', 'lost')
    def test_each_run_goes_on(self, stop):
        written = []
        for number in range(len(self.WRITES)):
            shown = json.loads(self.revert(
                '--dry-run', '--json', 'compute1')[1])['writes']
            self.assertEqual(
                self.WRITES[number:],
                [write['request'].split()[0].lower() for write in shown])
            written += self.interrupt(stop)
            self.assertEqual(self.totals, self.get_totals())
            # With the series: nothing, until the root has the trait
            self.assertEqual({'compute1'} if number else set(),
                             self.get_givers(base.SEV_TRAIT))
            self.assertEqual(set(), self.get_givers(base.ES_TRAIT))
            # Without
            self.assertEqual({'compute1'}, self.get_givers())
        self.assertEqual(self.WRITES, written)
        self.assertEqual([], self.interrupt(stop))
        self.assert_reverted(100, *[server['id'] for server in self.servers])
        self.restart_host(plain=True)
        for server in self.servers:
            self._reboot_server(server, hard=True)
            self.assert_model(server, 'amd-sev', slot='compute1')

    def test_nova_compute_with_the_series_goes_on_too(self):
        self.interrupt('kill')
        self.restart_host()
        self.assert_tree(sev=100, sev_es=15)
        for server in self.servers:
            self.assert_model(server, 'amd-sev')


@ddt.ddt
class KeyboardInterruptTest(RevertTestBase):
    """Ctrl-C, at whatever the command asks or writes."""

    TIMEOUT_SCALING_FACTOR = 2
    VERBS = ('get', 'post', 'put', 'delete')

    def setUp(self):
        super().setUp()
        self.start_host()
        self.servers = [self.boot(base.SEV_SPECS), self.boot(base.SEV_SPECS)]

    @contextlib.contextmanager
    def interrupt(self, number, after):
        """Interrupt the command.

        :param number: of the call at which it is; None for never
        :param after: whether what is called has been done then
        :returns: the calls, by name
        """
        calls = []

        def patch(target, name):
            upstream = getattr(target, name)

            def call(*args, **kwargs):
                calls.append(name)
                hit = len(calls) == number
                if hit and not after:
                    raise KeyboardInterrupt
                found = upstream(*args, **kwargs)
                if hit:
                    raise KeyboardInterrupt
                return found
            return mock.patch.object(target, name, call)

        with contextlib.ExitStack() as stack:
            for verb in self.VERBS:
                stack.enter_context(patch(report.SchedulerReportClient, verb))
            for target, name in (
                    (fakelibvirt, 'openReadOnly'),
                    (fakelibvirt.Connection, 'listAllDomains'),
                    (fakelibvirt.Domain, 'XMLDesc')):
                stack.enter_context(patch(target, name))
            yield calls

    def assert_interrupted(self, number, after):
        """Check one interruption, and that it can be run again."""
        with self.interrupt(number, after):
            code, out, err = self.revert('--json', 'compute1')
        where = '%d, %s' % (number, 'after' if after else 'before')
        self.assertEqual(130, code, where)
        self.assertEqual('It was interrupted. Run this again: it goes on '
                         'where it was stopped.\n', err, where)
        self.assertEqual('It was interrupted.', json.loads(out)['error'])
        for server in self.servers:
            self.assertEqual(1, len(self.get_slots(server)), where)
        code, _, err = self.revert()
        self.assertEqual((0, ''), (code, err), where)
        self.assert_reverted(100, *[server['id'] for server in self.servers])

    @ddt.data(False, True)
    def test_at_each_call(self, after):
        self.computes['compute1'].stop()
        with self.interrupt(None, after) as calls:
            self.assertEqual(0, self.revert()[0])
        self.assertEqual({*self.VERBS, 'openReadOnly', 'listAllDomains',
                          'XMLDesc'}, set(calls))
        self.assertLess(30, len(calls))
        for number, call in enumerate(calls, 1):
            # What only asks changes nothing, before or after.
            if not after or call not in ('get', 'XMLDesc'):
                self.restart_host()
                self.computes['compute1'].stop()
                self.assert_interrupted(number, after)


class GuestsTest(RevertTestBase):
    """What libvirt has, and Placement has not."""

    def setUp(self):
        super().setUp()
        self.start_host()
        self.good = self.boot(base.SEV_SPECS)

    def lose_allocation(self, specs, **kwargs):
        """Return a server whose allocation is gone."""
        server = self.boot(specs, **kwargs)
        response = self.placement.delete('/allocations/' + server['id'])
        self.assertEqual(204, response.status)
        return server

    def test_a_server_that_lost_its_allocation(self):
        running = self.lose_allocation(base.ES_SPECS)
        stopped = self.lose_allocation(base.ES_SPECS)
        self._stop_server(stopped)
        plain, sev = self.lose_allocation({}), self.lose_allocation(
            base.SEV_SPECS)
        for server in (running, stopped):
            self.assert_refused(
                'Of node compute1, libvirt has guests that Nova without the '
                'series would start as plain SEV', '%s (%s, SEV-ES)' % (
                    self.get_domain(server).name(), server['id']),
                'Move these to another host or delete them')
        code, out, err = self.revert('--dry-run', 'compute1')
        self.assertEqual((1, ''), (code, out))
        for server in (plain, sev, self.good):
            self.assertNotIn(server['id'], err)
        for server in (running, stopped):
            self._delete_server(server)
        self.stop_and_revert()
        self.assert_reverted(100, self.good['id'])

    def test_it_is_not_looked_at_where_that_is_asked_for(self):
        self.lose_allocation(base.ES_SPECS)
        self.here = 'controller'
        code, out, err = self.revert('--libvirt', 'none', 'compute1')
        self.assertEqual((0, ''), (code, err))
        self.assertTrue(out.startswith(
            'Placement was looked at, and not the guests.\n'), out)

    def test_a_machine_without_libvirt(self):
        self.here = 'controller'
        self.assert_refused(
            'The guests of node compute1 cannot be looked at by libvirt at '
            'qemu:///system: Failed to connect socket: No such file. Run '
            'this on that host', '--libvirt URI', '--libvirt none. ')

    def test_a_machine_without_libvirts_library(self):
        with mock.patch.dict(sys.modules, libvirt=None):
            self.assert_refused('cannot be looked at', 'libvirt')

    def test_the_libvirt_of_another_host(self):
        self.start_host('compute2')
        self.here = 'compute2'
        self.assert_refused('at qemu:///system: that libvirt is of host '
                            'compute2. Run this on that host')

    def test_libvirt_from_afar(self):
        self.start_host('compute2')
        server = self.lose_allocation(base.ES_SPECS, host='compute2')
        uri = 'qemu+ssh://compute2/system'
        code, _, err = self.revert('--libvirt', uri, 'compute2')
        self.assertEqual(1, code)
        self.assertIn(server['id'], err)
        self._delete_server(server)
        code, out, _ = self.revert('--libvirt', uri, '--json', 'compute2')
        told = json.loads(out)
        self.assertEqual((0, uri, len(self.connections['compute2']._vms)),
                         (code, told['libvirt'], told['guests']))

    def test_another_libvirt_by_nova_conf(self):
        self.flags(connection_uri='qemu+tcp://compute1/system',
                   group='libvirt')
        self.here = 'controller'
        code, out, _ = self.revert()
        self.assertEqual(0, code)
        self.assertIn('libvirt at qemu+tcp://compute1/system.', out)

    def test_a_guest_that_ends_meanwhile(self):
        def gone(domain, flags):
            raise fakelibvirt.make_libvirtError(
                fakelibvirt.libvirtError, 'Domain not found',
                error_code=fakelibvirt.VIR_ERR_NO_DOMAIN,
                error_domain=fakelibvirt.VIR_FROM_QEMU)
        with mock.patch.object(fakelibvirt.Domain, 'XMLDesc', gone):
            self.assertEqual(0, self.revert()[0])

    def test_libvirt_fails_meanwhile(self):
        def fail(domain, flags):
            raise fakelibvirt.make_libvirtError(
                fakelibvirt.libvirtError, 'End of file while reading data',
                error_code=fakelibvirt.VIR_ERR_SYSTEM_ERROR,
                error_domain=fakelibvirt.VIR_FROM_RPC)
        with mock.patch.object(fakelibvirt.Domain, 'XMLDesc', fail):
            self.assert_refused('cannot be looked at', 'End of file')


class RefusalsTest(RevertTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()
        self.good = self.boot(base.SEV_SPECS)

    def test_a_server_with_sev_es(self):
        servers = [self.boot(base.ES_SPECS), self.boot(base.ES_SPECS)]
        self.assert_refused(
            'Of node compute1, these servers or migrations have slots of '
            'SEV-ES', ', '.join(sorted(server['id'] for server in servers)),
            'Move the servers to another host or delete them')
        for server in servers:
            self._delete_server(server)
        self.stop_and_revert()
        self.assert_reverted(100, self.good['id'])

    def test_a_migration_of_a_server_with_sev_es(self):
        self.start_host('compute2')
        server = self.boot(base.ES_SPECS, host='compute1')
        self._resize_server(server, self.create_flavor(base.ES_SPECS))
        self.assert_refused(
            self.get_migration_uuid_for_instance(server['id']),
            'confirm or revert their resizes')
        self._confirm_resize(server)
        # NOTE: Nova does it, by CONF.host, which all hosts share here.
        self.get_domain(server).undefine()
        self.stop_and_revert()

    def test_machines_are_told_why(self):
        server = self.boot(base.ES_SPECS)
        code, out, err = self.revert('--json', 'compute1')
        told = json.loads(out)
        self.assertEqual((1, 'compute1', []),
                         (code, told['node'], told['writes']))
        self.assertIn(server['id'], told['error'])
        self.assertIn(server['id'], err)

    def test_a_dry_run_refuses_too(self):
        server = self.boot(base.ES_SPECS)
        code, out, err = self.revert('--dry-run', 'compute1')
        self.assertEqual((1, ''), (code, out))
        self.assertIn(server['id'], err)

    def test_a_consumer_with_two_slots(self):
        bad = self.boot(base.SEV_SPECS)
        sev = self.get_provider('compute1_amd_sev')
        sev['inventory'][base.SLOT]['max_unit'] = 2
        self._update_inventory(sev['uuid'], {
            'inventories': sev['inventory'],
            'resource_provider_generation': sev['generation']})
        self.put_slot(bad, 'compute1_amd_sev', amount=2)
        self.assert_refused(
            'Server or migration %s has 2 slots (MEM_ENCRYPTION_CONTEXT) of '
            'provider compute1_amd_sev, and 0 of compute1' % bad['id'],
            'Correct its allocations.')
        self.put_slot(bad, 'compute1_amd_sev')
        self.stop_and_revert()
        self.assert_reverted(100, self.good['id'], bad['id'])

    def test_a_consumer_that_has_one_there_already(self):
        self.restart_host(plain=True)
        self.put_slot(self.good, 'compute1')
        self.assert_refused(
            '%s has 1 slots (MEM_ENCRYPTION_CONTEXT) of provider '
            'compute1_amd_sev, and 1 of compute1' % self.good['id'])

    def test_what_is_not_of_the_series(self):
        sev = self.get_provider('compute1_amd_sev')
        self.placement.put('/resource_classes/CUSTOM_LICENCE', None,
                           version='1.7')
        self._update_inventory(sev['uuid'], {
            'inventories': {**sev['inventory'], 'CUSTOM_LICENCE': {
                'total': 1}},
            'resource_provider_generation': sev['generation']})
        self.assert_refused('Provider compute1_amd_sev, which is to be '
                            'deleted, also has CUSTOM_LICENCE')

    def test_a_node_that_is_none(self):
        code, out, err = self.revert('compute3')
        self.assertEqual((1, ''), (code, out))
        self.assertEqual(
            "Placement has no provider compute3. Give the name of the node as "
            "'openstack hypervisor list' has it. " + NOTHING, err)

    def test_a_part_of_a_node(self):
        code, out, err = self.revert('compute1_amd_sev')
        self.assertEqual((1, ''), (code, out))
        self.assertIn('Provider compute1_amd_sev is a part of a node', err)
        self.assertIn('Give the name of the node as ', err)

    def test_no_node_where_no_nova_compute_has_run(self):
        # The fixtures of Nova keep it from reading and writing that file.
        code, out, err = self.revert('--dry-run')
        self.assertEqual((1, ''), (code, out))
        self.assertIn('there is no file compute_id in ', err)
        self.assertIn('Give the name of the node as ', err)


@ddt.ddt
class TroubleTest(RevertTestBase):
    """What Placement, or something else, does to it."""

    def setUp(self):
        super().setUp()
        self.start_host()
        self.server = self.boot(base.SEV_SPECS)

    def meanwhile(self, verb, act):
        """Have something done right before the command uses a verb."""
        upstream = getattr(report.SchedulerReportClient, verb)

        def call(client, *args, **kwargs):
            answer = act()
            if answer is None:
                answer = upstream(client, *args, **kwargs)
            return answer
        return mock.patch.object(report.SchedulerReportClient, verb, call)

    def answer(self, status, text):
        def act():
            response = requests.Response()
            response.status_code = status
            response._content = text.encode()
            return response
        return act

    def assert_trouble(self, *words):
        code, out, err = self.revert()
        self.assertEqual((1, ''), (code, out))
        self.assertEqual(1, err.count('\n'))
        for word in words:
            self.assertIn(word, err)

    def test_a_slot_of_sev_es_that_is_taken_meanwhile(self):
        def take():
            self.put_slot(self.server, 'compute1_amd_sev_es',
                          remove='compute1_amd_sev')
        with self.meanwhile('post', take):
            self.assert_trouble(
                'Something else changed node compute1 in Placement at the '
                'same time. Stop its nova-compute', AGAIN)
        self.assert_tree(sev=100, sev_es=15)
        self.assert_refused(self.server['id'])
        self.put_slot(self.server, 'compute1_amd_sev',
                      remove='compute1_amd_sev_es')
        self.stop_and_revert()
        self.assert_reverted(100, self.server['id'])

    def test_a_slot_that_is_freed_meanwhile(self):
        upstream = report.SchedulerReportClient.get

        def free(client, url, *args, **kwargs):
            path = '/allocations/' + self.server['id']
            if url == path:
                found = self.placement.get(path, version='1.28').body
                self.placement.put(path, {**found, 'allocations': {}},
                                   version='1.28')
            return upstream(client, url, *args, **kwargs)
        with mock.patch.object(report.SchedulerReportClient, 'get', free):
            self.assert_trouble('Something else changed node compute1',
                                NOTHING)
        self.stop_and_revert()
        self.assert_reverted(100)

    @ddt.data(1, 2)
    def test_nova_compute_that_starts_meanwhile(self, number):
        deleted = []

        def start():
            deleted.append(1)
            if len(deleted) == number:
                self.restart_host()
        with self.meanwhile('delete', start):
            self.assert_trouble('Something else changed node compute1', AGAIN)
        self.stop_and_revert()
        self.assert_reverted(100, self.server['id'])

    def test_no_right_to_reshape(self):
        with self.meanwhile('post', self.answer(403, json.dumps({
                'errors': [{'detail': 'Not\nallowed.'}]}))):
            self.assert_trouble(
                'Placement answered POST /reshaper with 403: Not allowed. '
                'The user in [placement] of nova.conf needs the role service')

    def test_an_answer_that_is_not_placements(self):
        with self.meanwhile('get', self.answer(502, '<html>Bad</html>')):
            self.assert_trouble(
                'Placement answered GET /resource_providers?name=compute1 '
                'with 502: <html>Bad</html>', NOTHING)

    def test_no_placement(self):
        def act():
            raise ks_exc.ConnectFailure('no route to it.')
        with self.meanwhile('get', act):
            self.assert_trouble(
                'Placement cannot be reached: no route to it. See '
                '[placement] in nova.conf (read: %s). ' % self.conf + NOTHING)
