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

"""Test what 'nova-status upgrade check' says of memory encryption."""
import contextlib
import io
from unittest import mock

import ddt
from oslo_db import exception as db_exc
from oslo_upgradecheck import upgradecheck

from nova.cmd import status
from nova import context
from nova import objects
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.nova.mem_encryption import cells
from nova_mem_encryption.nova.mem_encryption.upgrade import providers
from nova_mem_encryption.nova.mem_encryption.upgrade import servers
from nova_mem_encryption.nova.mem_encryption.upgrade import specs as judge


@ddt.ddt
class UpgradeCheckTest(base.MemEncryptionTestBase):

    def find(self, *checks):
        """Return severity and object of what is found."""
        return [(finding.severity, finding.object)
                for check in checks or (judge.check_flavors,
                                        providers.check_providers,
                                        servers.check_servers)
                for finding in check()]

    def drop_traits(self, provider):
        found = self.get_provider(provider)
        response = self.placement.put(
            '/resource_providers/%s/traits' % found['uuid'],
            {'traits': [], 'resource_provider_generation':
                found['generation']}, version='1.6')
        self.assertEqual(200, response.status)

    def test_nothing_is_wrong(self):
        self.start_host()
        self.start_host('compute2', max_es_guests=0)
        self.start_host('compute3', max_guests=0)
        for specs, properties in (
                ({}, {}), (base.SEV_SPECS, {}), ({}, base.SEV_PROPERTIES),
                (base.ES_SPECS, {}), ({}, base.ES_PROPERTIES)):
            self.boot(specs, properties)
        self.assertEqual([], self.find())

    def test_nor_before_the_series_comes(self):
        self.start_host(plain=True)
        self.boot(base.SEV_SPECS)
        self.assertEqual([], self.find())

    def test_flavors(self):
        flavor = self.create_flavor({'trait:HW_CPU_X86_AMD_SEV': 'required'})
        name = self.api.api_get('flavors/' + flavor).body['flavor']['name']
        self.assertEqual([('failure', 'Flavor ' + name)], self.find())

    def test_what_the_next_releases_of_nova_refuse(self):
        self.upgrade_os_traits()
        self.start_snp_host()
        by_flavor = self.boot(base.SNP_SPECS, base.STATELESS)
        by_image = self.boot({}, base.SNP_PROPERTIES)
        self.boot(base.SEV_SPECS)
        flavor = by_flavor['flavor']['original_name']
        self.assertEqual(
            [('warning', 'Flavor ' + flavor),
             ('warning', 'Server ' + by_flavor['id']),
             ('warning', 'Server ' + by_image['id'])], self.find())
        found = list(servers.check_servers())
        self.assertIn('amd-sev-snp, which Nova 32 and 33 refuse',
                      found[0].problem)

    def find_for_next_release(self):
        """Return which servers the next releases refuse, and the remedy."""
        return [(finding.object, finding.remedy)
                for finding in servers.check_servers()
                if 'which Nova 32 and 33 refuse' in finding.problem]

    def test_a_server_that_is_refused_here_too(self):
        self.upgrade_os_traits()
        self.start_snp_host()
        server = self.boot(base.SNP_SPECS, base.STATELESS)
        self.store(server, image_hw_firmware_stateless='false')
        self.assertEqual([('warning', 'Server ' + server['id'])] * 2,
                         self.find(servers.check_servers))
        self.assertEqual(['Server ' + server['id']], [
            name for name, _ in self.find_for_next_release()])

    def test_what_a_server_may_go_back_to(self):
        self.flags(allow_resize_to_same_host=True)
        self.upgrade_os_traits()
        self.start_snp_host()
        server = self.boot(base.SNP_SPECS, base.STATELESS)
        server = self._resize_server(
            server, self.create_flavor(base.SEV_SPECS))
        (name, remedy), = self.find_for_next_release()
        self.assertEqual('Server ' + server['id'], name)
        self.assertIn('confirm its resize', remedy)
        self._confirm_resize(server)
        self.assertEqual([], self.find_for_next_release())

    def test_flavor_and_image_are_said_once(self):
        self.upgrade_os_traits()
        self.start_snp_host()
        server = self.boot(base.SNP_SPECS, base.SNP_PROPERTIES)
        self.assertEqual(['Server ' + server['id']], [
            name for name, _ in self.find_for_next_release()])

    def test_hosts_with_and_without_the_series(self):
        self.start_host(plain=True)
        self.start_host('compute2')
        self.assertEqual([('warning', 'Host compute1')], self.find())
        self.restart_host()
        self.assertEqual([], self.find())

    def test_a_host_without_it_that_had_it(self):
        """Its nested providers are still there."""
        self.start_host()
        self.restart_host(plain=True)
        self.assertEqual([('failure', 'Host compute1')], self.find())

    def test_slots_on_the_root_without_the_trait(self):
        self.start_host()
        self.restart_host(plain=True)
        self.drop_traits('compute1')
        self.assertEqual([('failure', 'Host compute1')], self.find())

    @ddt.data(15, 0)
    def test_a_name_that_another_provider_has(self, es_guests):
        self.start_host(plain=True, max_es_guests=es_guests)
        self.placement.post('/resource_providers',
                            {'name': 'compute1_amd_sev'})
        self.boot(base.SEV_SPECS)
        self.restart_host()
        finding, = (finding for check in (providers.check_providers,
                                          servers.check_servers)
                    for finding in check())
        self.assertEqual(('warning', 'Host compute1'), finding[:2])
        self.assertIn('offers no slots for SEV', finding.message)
        self.assertIn('provider compute1_amd_sev (', finding.message)
        self.drop_traits('compute1')
        self.restart_host(plain=True)
        self.assertEqual(bool(es_guests), 'failure' in [
            severity for severity, _ in self.find()])

    def test_providers_without_their_traits(self):
        self.start_host()
        for model in ('amd_sev', 'amd_sev_es'):
            self.drop_traits('compute1_' + model)
        self.assertEqual([('failure', 'Provider compute1_amd_sev'),
                          ('failure', 'Provider compute1_amd_sev_es')],
                         sorted(self.find()))

    def test_slots_of_another_model(self):
        self.start_host()
        found = []
        for specs, right, wrong in (
                (base.SEV_SPECS, 'compute1_amd_sev', 'compute1_amd_sev_es'),
                (base.ES_SPECS, 'compute1_amd_sev_es', 'compute1_amd_sev')):
            server = self.boot(specs)
            self.put_slot(server, wrong, remove=right)
            found.append(('failure', 'Server ' + server['id']))
        self.assertEqual(sorted(found), sorted(self.find()))

    def test_of_what_is_deleted_nothing_is_said(self):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        self.put_slot(server, 'compute1_amd_sev',
                      remove='compute1_amd_sev_es')
        self.api.delete_server(server['id'])
        self._wait_until_deleted(server)
        self.assertEqual([], self.find())

    def test_servers_that_ask_for_what_is_refused(self):
        self.start_host()
        server = self.boot(base.SEV_SPECS)
        instance = self.get_instance(server)
        instance.system_metadata['image_hw_mem_encryption_model'] = (
            'amd-sev-es')
        flavor = instance.flavor.obj_clone()
        flavor.extra_specs = {**base.SEV_SPECS,
                              'hw:mem_encryption_model': 'amd-sev'}
        instance.flavor = flavor
        instance.save()
        self.assertEqual([('warning', 'Server ' + server['id'])],
                         self.find())

    @ddt.data('AMD-SEV', 'amd-tdx', '')
    def test_an_unknown_model_of_a_server(self, value):
        self.start_host()
        server = self.boot(base.SEV_SPECS)
        instance = self.get_instance(server)
        instance.system_metadata['image_hw_mem_encryption_model'] = value
        instance.save()
        finding, = servers.check_servers()
        self.assertEqual(('failure', 'Server ' + server['id']), finding[:2])
        self.assertIn("model '%s', which is ignored here" % value,
                      finding.message)
        self.assertIn('nova-manage image_property set', finding.remedy)

    def store(self, server, **metadata):
        """Store properties of the image of a server."""
        instance = self.get_instance(server)
        instance.system_metadata.update(metadata)
        instance.save()

    def boot_wrong(self, count):
        """Return servers that are stored with a model that is none."""
        found = [self.boot(base.SEV_SPECS) for _ in range(count)]
        for server in found:
            self.store(server, image_hw_mem_encryption_model='none-such')
        return [server['id'] for server in found]

    @contextlib.contextmanager
    def pages(self, size, before=lambda number: None):
        """Have pages of a size; give the numbers of servers read at once."""
        upstream, read = objects.InstanceList.get_by_filters, []

        def get(*args, **kwargs):
            before(len(read) + 1)
            found = upstream(*args, **kwargs)
            read.append(len(found))
            return found
        with mock.patch.object(cells, 'PAGE', size), mock.patch.object(
                objects.InstanceList, 'get_by_filters', get):
            yield read

    @ddt.data(1, 2, 3, 5, 6)
    def test_servers_are_read_by_pages(self, size):
        self.start_host()
        wrong = self.boot_wrong(5)
        with self.pages(size) as read:
            found = self.find(servers.check_servers)
        self.assertEqual([('failure', 'Server ' + uuid) for uuid in wrong],
                         found)
        self.assertEqual(5, sum(read))
        self.assertEqual(min(size, 5), max(read))

    def test_servers_deleted_and_created_meanwhile(self):
        self.start_host()
        first, second, third = self.boot_wrong(3)

        def before(number):
            if number == 2:
                for uuid in (first, second):
                    objects.Instance.get_by_uuid(
                        context.get_admin_context(), uuid).destroy(True)
        with self.pages(1, before):
            found = self.find(servers.check_servers)
        self.assertEqual([('failure', 'Server ' + uuid)
                          for uuid in (first, third)], found)

    def test_a_cell_that_fails_in_between(self):
        self.start_host()
        first, _ = self.boot_wrong(2)

        def before(number):
            if number == 2:
                raise db_exc.DBConnectionError('gone')
        with self.pages(1, before):
            found = list(servers.check_servers())
        self.assertEqual('Server ' + first, found[0].object)
        self.assertIn('This cannot be checked to its end: cell ',
                      found[1].message)
        self.assertEqual(2, len(found))

    def test_one_that_cannot_be_read_hides_no_other(self):
        self.start_host()
        first, second = self.boot_wrong(2)
        self.store({'id': first}, image_hw_firmware_type='none-such',
                   image_hw_mem_encryption_model='amd-sev')
        found = list(servers.check_servers())
        self.assertEqual([('warning', 'Server ' + first),
                          ('failure', 'Server ' + second)],
                         [finding[:2] for finding in found])
        self.assertIn('is stored with what Nova cannot read: ',
                      found[0].problem)

    def test_nor_one_that_asks_for_the_impossible(self):
        self.start_host()
        first, second = self.boot_wrong(2)
        self.store({'id': first}, image_hw_firmware_type='bios',
                   image_hw_mem_encryption_model='amd-sev')
        self.assertEqual([('warning', 'Server ' + first),
                          ('failure', 'Server ' + second)],
                         self.find(servers.check_servers))

    def test_a_resize_that_waits(self):
        """The migration has the slot of the source."""
        self.start_host()
        self.start_host('compute2')
        server = self.boot(base.ES_SPECS)
        server = self._resize_server(
            server, self.create_flavor(base.SEV_SPECS))
        self.assertEqual([], self.find())

    def test_the_command(self):
        self.start_host()
        self.drop_traits('compute1_amd_sev')
        with contextlib.redirect_stdout(io.StringIO()) as out:
            code = status.UpgradeCommands().check()
        self.assertEqual(upgradecheck.Code.FAILURE, code)
        lines = [line.strip('| ').strip()
                 for line in out.getvalue().splitlines()]
        for name, result in (('flavors', 'Success'), ('images', 'Warning'),
                             ('resource providers', 'Failure'),
                             ('servers', 'Success')):
            number = lines.index('Check: Memory encryption: ' + name)
            self.assertEqual('Result: ' + result, lines[number + 1])
        text = ' '.join(lines)
        self.assertIn('compute1_amd_sev lacks the trait HW_CPU_X86_AMD_SEV',
                      text)
        self.assertIn('there is no [service_user]', text)
        # Nova's own are there, too.
        self.assertIn('Check: Placement API', lines)
