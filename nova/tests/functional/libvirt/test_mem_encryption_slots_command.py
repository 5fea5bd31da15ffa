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

"""Test the command that tells of the slots of a cloud."""
import json
from unittest import mock

from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc
from oslo_db import exception as db_exc
from oslo_utils import uuidutils
from prometheus_client import parser
import requests
from sqlalchemy import exc as sql_exc

from nova import context
from nova import exception
from nova import objects
from nova.scheduler.client import report
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.nova.mem_encryption import providers

GUEST = '''<domain type='kvm'><name>guest</name><uuid>%s</uuid>
<memory>1024</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices/>
<launchSecurity type='sev'><policy>0x37</policy></launchSecurity></domain>'''


class SlotsCommandTest(base.CommandTestBase):

    command = 'slots'

    def ask(self):
        """Return what it tells machines."""
        code, out, err = self.run_command('--json')
        self.assertEqual((0, ''), (code, err))
        return json.loads(out)

    def get_rows(self):
        return [tuple(row[name] for name in (
            'host', 'model', 'total', 'used', 'reserved', 'foreign', 'free'))
            for row in self.ask()['slots'] if row['reason'] is None]

    def get_reasons(self):
        """Return why hosts have no slots: host and model to the reason."""
        return {(row['host'], row['model']): row['reason']
                for row in self.ask()['slots'] if row['reason'] is not None}

    def start_cloud(self):
        """Start a host with a foreign guest, one without SEV-ES and others."""
        self.flags(reserved_sev_es_guests=3, group='libvirt')
        self.start_host(max_es_guests=9)
        self.start_host('compute2', max_es_guests=0, max_guests=7)
        self.start_host('compute3', plain=True, max_guests=5)
        self.sev.set(sev='N')
        self.start_host('compute4')
        self.boot(base.ES_SPECS, host='compute1')
        self.boot(base.SEV_SPECS, host='compute2')
        self.boot(base.SEV_SPECS, host='compute3')
        self.boot(host='compute4')
        self.connections['compute1'].createXML(
            GUEST % uuidutils.generate_uuid(), 0)
        self._run_periodics()

    def test_a_name_that_another_provider_has(self):
        self.start_host(plain=True)
        self.placement.post('/resource_providers',
                            {'name': 'compute1_amd_sev'})
        self.boot(base.SEV_SPECS)
        self.restart_host()
        code, out, err = self.run_command('--json')
        self.assertEqual(0, code)
        self.assertEqual(
            [('compute1', 'amd-sev', 1, 1, 0), ('compute1', 'amd-sev-es', 15,
                                                0, 0)],
            [tuple(row.values())[:5] for row in json.loads(out)['slots']])
        self.assertEqual([], json.loads(out)['files'])
        self.assertIn('Host compute1 offers no slots for SEV, should it be '
                      'able to, as provider compute1_amd_sev (', err)

    def test_a_cloud(self):
        self.start_cloud()
        rows = [
            # host, model, total, used, reserved, foreign, free
            ('compute1', 'amd-sev', 100, 0, 0, 0, 100),
            ('compute1', 'amd-sev-es', 9, 1, 3, 1, 5),
            ('compute2', 'amd-sev', 7, 1, 0, 0, 6),
            ('compute3', 'amd-sev', 5, 1, 0, None, 4)]
        self.assertEqual(rows, self.get_rows())

        code, out, err = self.run_command()
        self.assertEqual((0, ''), (code, err))
        sums = [('3 hosts', 'amd-sev', 112, 2, 0, 0, 110),
                ('1 hosts', 'amd-sev-es', 9, 1, 3, 1, 5)]
        self.assertEqual(
            [['Host', 'Model', 'Total', 'Used', 'Reserved', 'Free',
              'Foreign']] +
            [[str('-' if value is None else value)
              for value in (*row[:5], row[6], row[5])]
             for row in rows + sums],
            [[cell.strip() for cell in line.strip('|').split('|')]
             for line in out.splitlines() if line.startswith('|')])
        self.assertTrue(' '.join(out.split()).endswith(
            ' No amd-sev-es, as there is no provider NODE_amd_sev_es: '
            'compute2, compute3, compute4'), out)
        self.assertEqual(sums, [tuple(
            '%d hosts' % row[name] if name == 'hosts' else row[name]
            for name in ('hosts', 'model', 'total', 'used', 'reserved',
                         'foreign', 'free')) for row in self.ask()['sums']])

        code, out, err = self.run_command('--prometheus')
        self.assertEqual((0, ''), (code, err))
        self.assertTrue(out.endswith('\n'))
        families = {family.name: family for family
                    in parser.text_string_to_metric_families(out)}
        # To have none is a value, which can be seen to change.
        rows += [(host, 'amd-sev-es', 0, 0, 0, None, 0)
                 for host in ('compute2', 'compute3', 'compute4')]
        for name, column in (('slots', 2), ('slots_used', 3),
                             ('slots_reserved', 4), ('foreign_guests', 5),
                             ('slots_free', 6)):
            family = families.pop('nova_mem_encryption_' + name)
            self.assertEqual('gauge', family.type)
            self.assertTrue(family.documentation)
            self.assertEqual(
                {(row[0], row[1]): row[column] for row in rows
                 if row[column] is not None},
                {(sample.labels['host'], sample.labels['model']): sample.value
                 for sample in family.samples})
        self.assertEqual({}, families)

    def test_a_cloud_without_slots(self):
        self.sev.set(sev='N')
        self.start_host()
        self.assertEqual([], self.get_rows())
        self.assertEqual([], self.ask()['sums'])
        self.assertEqual({('compute1', 'amd-sev-es'): 'there is no provider '
                          'NODE_amd_sev_es'}, self.get_reasons())

    def test_what_is_no_compute_host_lacks_nothing(self):
        self.start_host()
        self.placement.post('/resource_providers', {'name': 'storage'})
        self.assertEqual({}, self.get_reasons())

    def test_a_provider_without_slots(self):
        self.start_host()
        uuid = self._get_provider_uuid_by_name('compute1_amd_sev_es')
        self.placement.delete('/resource_providers/%s/inventories/%s' % (
            uuid, providers.SLOT))
        self.assertEqual({('compute1', 'amd-sev-es'): 'provider '
                          'NODE_amd_sev_es has no slots'}, self.get_reasons())
        self.assertEqual(['amd-sev'], [row[1] for row in self.get_rows()])

    def test_a_host_whose_provider_cannot_be_made(self):
        self.start_host(plain=True)
        self.placement.post('/resource_providers',
                            {'name': 'compute1_amd_sev_es'})
        self.assertEqual(
            {('compute1', 'amd-sev-es'): 'another provider is called '
             'NODE_amd_sev_es'}, {
                 (row['host'], row['model']): row['reason']
                 for row in json.loads(self.run_command('--json')[1])['slots']
                 if row['reason'] is not None})

    def test_a_resize_that_waits_has_two(self):
        self.start_host()
        self.start_host('compute2')
        self._migrate_server(self.boot(base.ES_SPECS))
        self.assertEqual([0, 1, 0, 1], [row[3] for row in self.get_rows()])

    def test_nothing_is_free_where_more_is_used(self):
        self.start_host(max_es_guests=2)
        for _ in range(2):
            self.boot(base.ES_SPECS)
        self.restart_host(max_es_guests=1)
        self.assertEqual(('compute1', 'amd-sev-es', 1, 2, 0, 0, 0),
                         self.get_rows()[1])

    def test_without_the_database(self):
        """As on a compute host."""
        self.start_host()
        self.stub_out('nova.context.CELLS', [])  # what it knows already
        with mock.patch.object(
                objects.CellMappingList, 'get_all',
                side_effect=db_exc.CantStartEngineError('No connection.')):
            code, out, err = self.run_command('--json')
        self.assertEqual([None, None],
                         [row['foreign'] for row in json.loads(out)['slots']])
        self.assertEqual(0, code)
        self.assertIn('No connection. The database has them; run this on a '
                      'controller.', err)

    def test_a_cell_that_does_not_answer(self):
        self.start_host()
        with mock.patch.object(
                objects.ComputeNodeList, 'get_all',
                side_effect=exception.DBNotAllowed('no')):
            code, out, err = self.run_command('--json')
        self.assertEqual([None, None],
                         [row['foreign'] for row in json.loads(out)['slots']])
        self.assertIn('does not answer', err)

    def test_a_cell_that_is_too_slow_is_named(self):
        self.start_host()
        cell = context.CELLS[-1].uuid
        self.stub_out('nova.context.scatter_gather_skip_cell0',
                      lambda *args: {cell: context.did_not_respond_sentinel})
        code, out, err = self.run_command('--json')
        self.assertEqual(0, code)
        self.assertIn('cell %s has not answered in 60 seconds' % cell, err)
        self.assertNotIn('object object', err)

    def test_no_password_is_told(self):
        self.start_host()
        cell = context.CELLS[-1].uuid
        for error in (sql_exc.ArgumentError('no url:secret'),
                      ValueError('no integer: secret')):
            with mock.patch.object(objects.CellMappingList, 'get_all',
                                   side_effect=error):
                self.stub_out('nova.context.CELLS', [])
                code, out, err = self.run_command('--json')
            self.assertEqual(0, code)
            self.assertIn('is no URL', err)
            self.assertNotIn('secret', err)
            with mock.patch.object(context, 'scatter_gather_skip_cell0',
                                   return_value={cell: error}):
                code, out, err = self.run_command('--json')
            self.assertIn('cell %s does not answer' % cell, err)
            self.assertNotIn('secret', err)

    def test_a_proxy_answers_instead_of_placement(self):
        self.start_host()
        answer = requests.Response()
        answer.status_code = 200
        answer._content = b'<html>Log in</html>'
        with mock.patch.object(report.SchedulerReportClient, 'get',
                               return_value=answer):
            code, out, err = self.run_command()
        self.assertEqual((1, ''), (code, out))
        self.assertIn('no JSON, maybe by a proxy. See [placement]', err)

    def test_without_placement(self):
        self.start_host()
        for error in (ks_exc.ConnectFailure('nobody there'),
                      ks_exc.MissingAuthPlugin('nobody there'),
                      sdk_exc.SDKException('nobody there')):
            with mock.patch.object(report.SchedulerReportClient, 'get',
                                   side_effect=error):
                code, out, err = self.run_command()
            self.assertEqual((1, ''), (code, out))
            self.assertIn('nobody there. See [placement]', err)
