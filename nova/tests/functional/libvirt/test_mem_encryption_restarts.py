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

"""Test that what will not be started again is not stopped."""
import itertools
import os

import ddt

from nova import context
from nova import objects
from nova.tests.fixtures import firmware
from nova.tests.fixtures import tables
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base
from nova.virt.libvirt import utils as libvirt_utils

ES_SLOT, SEV_SLOT = 'compute1_amd_sev_es', 'compute1_amd_sev'
# Why a server that runs cannot be started again, and what says so
REASONS = {
    'the host lost the model': 'maxESGuests is 0',
    'the host lost SEV': 'does not support AMD SEV',
    'the firmware is gone': 'no firmware that can start such a guest',
    'flavor and image conflict': 'Conflicting memory encryption models',
    'the model is unknown': 'Unknown memory encryption model',
    'the machine type is another': "Machine type 'pc' is not compatible",
    'secure boot is required': 'secure boot',
    'the slot is of another model': 'its slot is on %s and not' % SEV_SLOT,
    'there is no slot': 'its slot is on no provider and not',
}
# Those that no host could change
OF_SERVER = ('flavor and image conflict', 'the model is unknown',
             'the machine type is another')
# What a server is asked for that stops it first, and the state that it has
# before and after
ACTIONS = {
    'hard reboot': 'ACTIVE', 'soft reboot': 'ACTIVE',
    'hard reboot of a paused one': 'PAUSED', 'rescue': 'ACTIVE',
    'stable rescue': 'ACTIVE', 'unrescue': 'RESCUE', 'rebuild': 'ACTIVE',
    'migrate': 'ACTIVE', 'resize': 'ACTIVE', 'shelve': 'ACTIVE',
}
# What is done, as the next host may be able, or as it is the remedy
DONE = {('shelve', reason) for reason in REASONS
        if reason not in OF_SERVER} | {
    (action, reason) for action in ('migrate', 'resize')
    for reason in ('the slot is of another model', 'there is no slot')} | {
        ('resize', 'the model is unknown'),
        ('rebuild', 'secure boot is required')}
# Where API or scheduler know it first
OTHERS = {
    key: 'No valid host' for key in itertools.product(
        ('migrate', 'resize'), ('the host lost the model',
                                'the host lost SEV'))}


class RestartTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        # Snapshots are no subject here.
        self.flags(shelved_offload_time=-1)

    def store(self, server, specs=None, **properties):
        """Change what a server is stored with."""
        instance = self.get_instance(server)
        instance.system_metadata.update({
            'image_' + name: value for name, value in properties.items()})
        if specs is not None:
            instance.flavor.extra_specs = specs
        instance.save()

    def make_impossible(self, reason, servers):
        """Have servers that run be ones that cannot be started again."""
        if reason == 'the firmware is gone':
            for path in (firmware.CODE, firmware.SECURE_CODE):
                self.sev.firmware.write(path, None)
        elif reason.startswith('the host lost'):
            if reason == 'the host lost SEV':
                self.sev.set(sev='N')
            for host in list(self.computes):
                self.restart_host(host, max_es_guests=0)
        for server in servers:
            if reason == 'flavor and image conflict':
                self.store(server, hw_mem_encryption_model='amd-sev')
            elif reason == 'the model is unknown':
                self.store(server, {'hw:mem_encryption': 'true',
                                    'hw:mem_encryption_model': 'garbage'},
                           hw_mem_encryption_model='amd-sev-es')
            elif reason == 'the machine type is another':
                self.store(server, hw_machine_type='pc')
            elif reason == 'secure boot is required':
                self.store(server, os_secure_boot='required')
            elif 'slot' in reason:
                self.put_slot(server, SEV_SLOT, remove=ES_SLOT)
                if reason == 'there is no slot':
                    self.take_slot(server, SEV_SLOT)

    def take_slot(self, server, provider):
        """Leave a server without any slot."""
        found = self.placement.get('/allocations/%s' % server['id'],
                                   version='1.28').body
        del found['allocations'][self._get_provider_uuid_by_name(provider)]
        response = self.placement.put('/allocations/%s' % server['id'], {
            **found, 'allocations': {
                uuid: {'resources': data['resources']}
                for uuid, data in found['allocations'].items()}},
            version='1.28')
        self.assertEqual(204, response.status)

    def prepare(self, server, action):
        """Have a server in the state that an action is for."""
        if action == 'unrescue':
            self._rescue_server(server)
        elif action == 'hard reboot of a paused one':
            self.api.post_server_action(server['id'], {'pause': None})
            self._wait_for_state_change(server, 'PAUSED')

    def get_body(self, server, action):
        """Return the request of an action."""
        image = server['image']['id']
        return {
            'soft reboot': {'reboot': {'type': 'SOFT'}},
            'rescue': {'rescue': {'rescue_image_ref': image}},
            'stable rescue': {'rescue': {
                'rescue_image_ref': self.create_image(
                    hw_rescue_device='disk', hw_rescue_bus='virtio',
                    **base.ES_PROPERTIES)}},
            'unrescue': {'unrescue': None},
            'rebuild': {'rebuild': {'imageRef': image}},
            'migrate': {'migrate': None},
            'resize': {'resize': {
                'flavorRef': self.create_flavor(base.ES_SPECS)}},
            'shelve': {'shelve': None},
        }.get(action, {'reboot': {'type': 'HARD'}})

    def ask(self, server, body):
        """Ask for an action; return what its user reads, and the fault."""
        try:
            self.api.post_server_action(server['id'], body)
        except client.OpenStackApiException as e:
            if e.response.status_code == 400:
                return e.response.text, e.response.text
        action, = self.api.get_instance_actions(server['id'])[:1]
        events = self.api.get_instance_action_details(
            server['id'], action['request_id'])['events']
        faults = objects.InstanceFaultList.get_latest_by_instance_uuids(
            context.get_admin_context(), [server['id']])
        return ('\n'.join(event['details'] or '' for event in events
                          if event['result'] == 'Error'),
                faults[0].message if faults else '')

    def get_run(self, server, host='compute1'):
        """Return what is another after each start of a guest."""
        return [number for number, domain in
                self.connections[host]._running_vms.items()
                if domain.UUIDString() == server['id']]

    def look(self, server):
        """Return all of a server that a refusal leaves as it is."""
        now, instance = self.api.get_server(server['id']), (
            self.get_instance(server))
        return {
            'status': now['status'], 'task': now['OS-EXT-STS:task_state'],
            'host': now['OS-EXT-SRV-ATTR:host'], 'runs': self.get_run(server),
            'slots': self.get_slots(server), 'image': instance.image_ref,
            **{name: value for name, value in instance.system_metadata.items()
               if name.startswith('image_')}}


@ddt.ddt
class RestartTest(RestartTestBase):
    """A guest that runs, runs on; its server keeps its state."""

    @tables.data(*REASONS)
    def test_its_guest_runs_on(self, reason):
        self.start_host()
        self.start_host('compute2')
        servers, bodies = {}, {}
        for action in ACTIONS:
            if (action, reason) not in DONE:
                server = self.boot(base.ES_SPECS, host='compute1')
                self.prepare(server, action)
                servers[action] = server
                bodies[action] = self.get_body(server, action)
        self.make_impossible(reason, servers.values())
        for action, server in servers.items():
            before = self.look(server)
            self.assertEqual(ACTIONS[action], before['status'])
            self.assertNotEqual([], before['runs'])
            details, fault = self.ask(server, bodies[action])
            self.assertEqual(before, self.look(server), action)
            words = OTHERS.get((action, reason), REASONS[reason])
            self.assertIn(words, details, action)
            self.assertIn(words, fault, action)


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class OtherRestartsTest(RestartTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()

    def lose_firmware(self):
        self.make_impossible('the firmware is gone', [])

    def test_a_soft_reboot_that_becomes_a_hard_one(self):
        """The guest does not listen, and meanwhile the host loses it."""
        server = self.boot(base.ES_SPECS)
        before = self.look(server)

        def reboot(driver, instance):
            self.lose_firmware()
            return False

        self.stub_out('nova.virt.libvirt.driver.LibvirtDriver._soft_reboot',
                      reboot)
        self.api.post_server_action(server['id'], {'reboot': {'type': 'SOFT'}})
        self.assertEqual(before, self.look(server))

    def test_a_server_that_is_off(self):
        server = self.boot(base.ES_SPECS)
        self._stop_server(server)
        self.lose_firmware()
        words = REASONS['the firmware is gone']
        self.assertIn(words, self.act(server, 'os-start'))
        self.assertEqual('SHUTOFF', self.look(server)['status'])
        self.assertIn(words, self.hard_reboot_fails(server))
        self.assertEqual('SHUTOFF', self.look(server)['status'])
        # It has its definition, and so its firmware, when that is back.
        self.assertEqual(firmware.CODE, self.get_xml(server).findtext(
            'os/loader'))
        self.sev.firmware.write(firmware.CODE,
                                firmware.make_image(*firmware.OVMF))
        self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev-es')

    @ddt.data('', 'no XML', '<domain>')
    def test_what_is_kept_of_a_rescue_cannot_be_read(self, text):
        """Also of a plain server; it is not left in its task."""
        server = self.boot()
        self._rescue_server(server)
        before = self.look(server)
        with open(os.path.join(libvirt_utils.get_instance_path(
                self.get_instance(server)), 'unrescue.xml'), 'w') as f:
            f.write(text)
        for said in self.ask(server, {'unrescue': None}):
            self.assertNotEqual('', said)
        self.assertEqual(before, self.look(server))

    def test_a_guest_that_is_less_than_it_asked_for(self):
        """It is no better off without a guest; the log names it."""
        server = self.boot(base.SEV_SPECS)
        self.store(server, base.ES_SPECS)
        before = self.look(server)
        self.hard_reboot_fails(server)
        self.assertEqual(before, self.look(server))
        self.put_slot(server, ES_SLOT, remove=SEV_SLOT)
        self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev-es')

    def test_a_server_of_a_volume(self):
        server = self.boot_from_volume(base.ES_SPECS)
        self.store(server, hw_mem_encryption_model='amd-sev')
        before = self.look(server)
        words = REASONS['flavor and image conflict']
        for body in ({'shelve': None}, {'reboot': {'type': 'HARD'}}):
            for said in self.ask(server, body):
                self.assertIn(words, said)
            self.assertEqual(before, self.look(server))

    def test_one_that_is_shelved_already_is_offloaded(self):
        server = self.boot(base.ES_SPECS)
        self._shelve_server(server, expected_state='SHELVED')
        self.store(server, hw_mem_encryption_model='amd-sev')
        self.api.post_server_action(server['id'], {'shelveOffload': None})
        self._wait_for_state_change(server, 'SHELVED_OFFLOADED')

    def test_a_snapshot_that_is_not_made_is_no_image(self):
        server = self.boot(base.ES_SPECS)
        self.store(server, hw_mem_encryption_model='amd-sev')
        before = set(self.glance.images)
        self.ask(server, {'shelve': None})
        self.assertEqual(before, set(self.glance.images))

    def test_a_server_of_old_is_warned_of_once(self):
        server = self.boot(base.SEV_SPECS)
        self.store(server, hw_mem_encryption_model='garbage')
        self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev')
        self.assertEqual(1, len([warning for warning in self.warnings
                                 if 'started all the same' in warning]))
