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

"""Test servers that were stored before the series came."""
import ddt

from nova.compute import task_states
from nova import context
from nova import objects
from nova.tests.fixtures import tables
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

# Nova without the series does not look at the models, so any could be stored.
STORED = (
    # (extra specs, image properties, model of the server)
    ({'hw:mem_encryption': 'true'},
     {'hw_mem_encryption_model': 'garbage'}, 'amd-sev'),
    ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'garbage'},
     {}, 'amd-sev'),
    ({'hw:mem_encryption_model': 'amd-sev-es'}, {}, None),
    ({}, {'hw_mem_encryption_model': 'amd-sev-es'}, None),
    ({}, {'hw_mem_encryption_model': 'garbage'}, None),
)


class StoredServerTestBase(base.MemEncryptionTestBase):

    def boot_stored(self, specs, properties):
        """Create a server as it was possible before the series came."""
        server = self.boot({name: value for name, value in specs.items()
                            if name == 'hw:mem_encryption'})
        instance = self.get_instance(server)
        for name, value in properties.items():
            instance.system_metadata['image_' + name] = value
        flavor = instance.flavor.obj_clone()
        flavor.extra_specs = specs
        instance.flavor = flavor
        instance.save()
        # The image of a request is an object, which had no such field.
        request = objects.RequestSpec.get_by_instance_uuid(
            context.get_admin_context(), server['id'])
        request.flavor = flavor
        request.save()
        self.assertEqual(specs, self.get_instance(server).flavor.extra_specs)
        return server

    def assert_as_it_was(self, server, model, host='compute1'):
        if model is None:
            self.assert_plain(server, host)
        else:
            self.assert_model(server, model, host)


@ddt.ddt
class MoreThanItHadTest(StoredServerTestBase):
    """A server that asked for SEV-ES and, without the series, got SEV."""

    @ddt.data((base.ES_SPECS, {}),
              (base.SEV_SPECS, {'hw_mem_encryption_model': 'amd-sev-es'}))
    @ddt.unpack
    def test_it_gets_what_it_asked_for_when_it_is_moved(self, specs,
                                                        properties):
        self.start_host('compute1', plain=True)
        server = self.boot_stored(specs, properties)
        self.restart_host('compute1')
        self.assertIn('its slot is on compute1_amd_sev and not on '
                      'compute1_amd_sev_es', self.hard_reboot_fails(server))
        self.api.post_server_action(
            server['id'], {'os-resetState': {'state': 'active'}})
        self.start_host('compute2')
        self._migrate_server(server)
        self._confirm_resize(server)
        self.assert_model(server, 'amd-sev-es', 'compute2')


@ddt.ddt
class ConflictTest(StoredServerTestBase):
    """A server of which flavor and image disagree, as a resize can make it.

    One that had SEV-ES may have got such a flavor by an API without the
    series. Which it is cannot be told, so it is not started as less.
    """

    @tables.data(('amd-sev', 'amd-sev-es'), ('amd-sev-es', 'amd-sev'),
                 ('garbage', 'amd-sev-es'))
    @ddt.unpack
    def test_it_is_not_started_as_less(self, of_flavor, of_image):
        self.start_host(plain=True)
        server = self.boot_stored(
            {'hw:mem_encryption': 'true',
             'hw:mem_encryption_model': of_flavor},
            {'hw_mem_encryption_model': of_image})
        self.restart_host()
        self.assertIn('No host can start this server with memory encryption',
                      self.hard_reboot_fails(server))
        self.assert_model(server, 'amd-sev')
        self._stop_server(server)
        self.assertIn('No host can start this server with memory encryption',
                      self.act(server, 'os-start'))
        self.assertFalse(self.is_running(server))

    def test_nova_compute_starts_though_it_was_to_be_rebooted(self):
        self.start_host(plain=True)
        server = self.boot_stored(
            base.ES_SPECS, {'hw_mem_encryption_model': 'amd-sev'})
        self.get_domain(server).destroy()
        instance = self.get_instance(server)
        instance.task_state = task_states.REBOOT_STARTED_HARD
        instance.save()
        self.restart_host()
        self.assertFalse(self.is_running(server))
        self.assertIn('This server could not be rebooted',
                      self.stdlog.logger.output)


@ddt.ddt
class StoredServerTest(StoredServerTestBase):

    @ddt.data(*STORED)
    @ddt.unpack
    def test_it_goes_on_as_it_was(self, specs, properties, model):
        self.start_host(plain=True)
        server = self.boot_stored(specs, properties)
        self.restart_host()
        self.assertEqual([server['id']],
                         [s['id'] for s in self.api.get_servers()])
        self.assertEqual('ACTIVE', self.api.get_server(server['id'])['status'])

        self._reboot_server(server)
        self._reboot_server(server, hard=True)
        self.assert_as_it_was(server, model)
        self.assertNotEqual([], [
            warning for warning in self.warnings
            if server['id'] in warning and 'before' in warning])
        self._stop_server(server)
        self.restart_host()
        self._start_server(server)
        self.assert_as_it_was(server, model)
        self.suspend_and_migrate(server, model)
        self._delete_server(server)

    def suspend_and_migrate(self, server, model):
        if model is None:
            self._suspend_server(server)
            self._resume_server(server)
            self.assert_plain(server)
            return
        for body in ({'suspend': None},
                     {'os-migrateLive': {'host': None,
                                         'block_migration': 'auto'}}):
            e = self.assertRaises(
                client.OpenStackApiException, self.api.post_server_action,
                server['id'], body)
            self.assertEqual(400, e.response.status_code)
            self.assertIn('not supported for SEV-enabled instance', str(e))

    @ddt.data(*STORED)
    @ddt.unpack
    def test_it_moves_as_it_was(self, specs, properties, model):
        self.start_host('compute1')
        server = self.boot_stored(specs, properties)
        self.start_host('compute2')
        self.force_down('compute1')
        self._evacuate_server(server)
        self._start_server(server)
        self.assertTrue(self.is_running(server, 'compute2'))

        self.start_host('compute3')
        self._migrate_server(server)
        self._confirm_resize(server)
        self.assert_as_it_was(server, model, 'compute3')
        self._shelve_server(server)
        self._unshelve_server(server)
        host = self.api.get_server(server['id'])['OS-EXT-SRV-ATTR:host']
        self.assert_as_it_was(server, model, host)

    def test_one_of_a_volume_is_unshelved_as_it_was(self):
        # It has no snapshot: Nova goes by what is stored of the server.
        self.start_host()
        server = self.boot_from_volume(base.SEV_SPECS)
        instance = self.get_instance(server)
        instance.system_metadata['image_hw_mem_encryption_model'] = 'garbage'
        instance.save()
        self._shelve_server(server, expected_state='SHELVED_OFFLOADED')
        self._unshelve_server(server)
        self.assert_model(server, 'amd-sev')

    def test_a_rescue_image_of_an_unknown_model_is_refused(self):
        self.start_host()
        server = self.boot(base.SEV_SPECS)
        e = self.assertRaises(
            client.OpenStackApiException, self.api.post_server_action,
            server['id'], {'rescue': {'rescue_image_ref': self.create_image(
                hw_mem_encryption_model='garbage')}})
        self.assertEqual(400, e.response.status_code)
