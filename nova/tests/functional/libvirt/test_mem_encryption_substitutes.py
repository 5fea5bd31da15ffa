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

"""Test what is refused where a server is started with another image."""
import ddt

from nova.compute import api
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.engine import ledger

MODELS = {None: {}, 'amd-sev': base.SEV_PROPERTIES,
          'amd-sev-es': base.ES_PROPERTIES}
CHANGES = [(old, new) for old in MODELS for new in MODELS if new != old]
STABLE = {'hw_rescue_device': 'disk', 'hw_rescue_bus': 'virtio'}


class SubstitutesTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()

    def set_properties(self, image, **properties):
        """Change an image from outside.

        :param properties: all that it has of memory encryption from now on
        """
        found = self.glance.images[image]['properties']
        for name in base.ES_PROPERTIES:
            found.pop(name, None)
        found.update(properties)

    def assert_refused(self, server, action, image, old, new, body=None):
        """Check that the API refuses, and names all that its reader needs."""
        before = self.get_placement(), self.api.get_server(server['id'])
        e = self.assertRaises(
            client.OpenStackApiException, self.api.post_server_action,
            server['id'], {action: body})
        self.assertEqual(400, e.response.status_code)
        self.assert_message(str(e), image, old, new)
        self.assertIn(
            'hw_mem_encryption %s and hw_mem_encryption_model %s ask for.' % (
                *(repr(MODELS[new][name]) if name in MODELS[new] else 'unset'
                  for name in base.ES_PROPERTIES),), str(e))
        after = self.get_placement(), self.api.get_server(server['id'])
        self.assertEqual(before, after)

    def assert_message(self, message, image, old, new):
        self.assertIn(
            'Image %s asks for memory encryption %s, the server has %s. ' % (
                image, new or 'none', old or 'none'), message)
        for name in base.ES_PROPERTIES:
            value = MODELS[old].get(name)
            if value == MODELS[new].get(name):
                continue
            self.assertRegex(message, 'openstack image %s .*--property %s.* %s'
                             % (*(('unset', name) if value is None else
                                  ('set', '%s=%s' % (name, value))), image))

    def assert_as(self, server, model):
        if model is None:
            self.assert_plain(server)
        else:
            self.assert_model(server, model)


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class RescueTest(SubstitutesTestBase):

    def rescue(self, server, **body):
        self.api.post_server_action(server['id'], {'rescue': body or None})
        return self._wait_for_state_change(server, 'RESCUE')

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_an_image_that_asks_for_something_else(self, old, new):
        server = self.boot({}, MODELS[old])
        image = self.create_image(**MODELS[new])
        self.assert_refused(server, 'rescue', image, old, new,
                            {'rescue_image_ref': image})
        self.assert_as(server, old)
        self.set_properties(image, **MODELS[old])
        self.rescue(server, rescue_image_ref=image)
        self.assert_as(server, old)

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_its_own_image_that_has_changed(self, old, new):
        server = self.boot({}, MODELS[old])
        image = self.get_instance(server).image_ref
        self.set_properties(image, **MODELS[new])
        self.assert_refused(server, 'rescue', image, old, new)
        self.assert_as(server, old)

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_its_own_image_beside_a_stable_device(self, old, new):
        # The guest is made of the server's own image as it is now.
        server = self.boot({}, MODELS[old])
        image = self.get_instance(server).image_ref
        body = {'rescue_image_ref': self.create_image(
            **STABLE, **MODELS[old])}
        self.set_properties(image, **MODELS[new])
        self.assert_refused(server, 'rescue', image, old, new, body)
        self.assert_as(server, old)
        # Of one that is gone it is made of what is stored.
        del self.glance.images[image]
        self.rescue(server, **body)
        self.assert_as(server, old)

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_what_a_stable_device_itself_asks_for(self, old, new):
        server = self.boot({}, MODELS[old])
        self.rescue(server, rescue_image_ref=self.create_image(
            **STABLE, **MODELS[new]))
        self.assert_as(server, old)

    @ddt.data((None, 'amd-sev-es'), ('amd-sev-es', None))
    @ddt.unpack
    def test_one_property_of_a_stable_device_is_enough(self, old, new):
        server = self.boot({}, MODELS[old])
        for name, value in STABLE.items():
            self.rescue(server, rescue_image_ref=self.create_image(
                **{name: value}, **MODELS[new]))
            self.assert_as(server, old)
            self._unrescue_server(server)

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_a_volume_beside_a_stable_device(self, old, new):
        server = self.boot_from_volume({}, MODELS[old])
        body = {'rescue_image_ref': self.create_image(**STABLE)}
        self.rescue(server, **body)
        self.assert_as(server, old)
        self._unrescue_server(server)
        volume, = [volume for volume in self.cinder.volumes.values()
                   if 'volume_image_metadata' in volume]
        volume['volume_image_metadata'] = {**base.UEFI, **MODELS[new]}
        e = self.assertRaises(
            client.OpenStackApiException, self.api.post_server_action,
            server['id'], {'rescue': body})
        self.assertEqual(400, e.response.status_code)
        self.assertIn(
            'Image of the root volume asks for memory encryption %s, the '
            'server has %s. ' % (new or 'none', old or 'none'), str(e))
        self.assert_as(server, old)

    @ddt.data(
        # (of the server, of the image, what is said)
        ({}, {**base.SEV_PROPERTIES, 'hw_firmware_type': None},
         '--property hw_firmware_type=uefi '),
        ({}, {'hw_mem_encryption_model': 'garbage'},
         'Allowed are amd-sev, amd-sev-es, amd-sev-snp.'),
        (base.ES_PROPERTIES, {**base.ES_PROPERTIES, 'hw_machine_type': 'pc'},
         '--property hw_machine_type=q35 '),
        (base.ES_PROPERTIES, {**base.ES_PROPERTIES,
                              'os_secure_boot': 'required'},
         "has os_secure_boot 'required'"),
    )
    @ddt.unpack
    def test_what_could_not_be_started(self, old, new, reason):
        server = self.boot({}, old)
        image = self.get_instance(server).image_ref
        self.glance.images[image]['properties'] = {
            name: value for name, value in {**base.UEFI, **new}.items()
            if value is not None}
        other, stable = self.create_image(**new), self.create_image(**STABLE)
        for given, named in ((None, image), (other, other), (stable, image)):
            body = given and {'rescue_image_ref': given}
            e = self.assertRaises(
                client.OpenStackApiException, self.api.post_server_action,
                server['id'], {'rescue': body})
            self.assertEqual(400, e.response.status_code)
            self.assertIn(reason, str(e))
            self.assertIn(named, str(e))
        self.assertEqual('ACTIVE', self.api.get_server(server['id'])['status'])


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class UnshelveTest(SubstitutesTestBase):

    def shelve(self, properties):
        """Create and shelve a server; return it and its snapshot's id."""
        server = self._shelve_server(
            self.boot({}, properties), expected_state='SHELVED_OFFLOADED')
        return server, self.get_instance(server).system_metadata[
            'shelved_image_id']

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_a_snapshot_that_has_changed(self, old, new):
        server, image = self.shelve(MODELS[old])
        self.set_properties(image, **MODELS[new])
        self.assert_refused(server, 'unshelve', image, old, new)
        self.set_properties(image, **MODELS[old])
        self._unshelve_server(server)
        self.assert_as(server, old)

    @ddt.data(*CHANGES)
    @ddt.unpack
    def test_one_that_changed_after_the_api_looked(self, old, new):
        server, image = self.shelve(MODELS[old])
        self.set_properties(image, **MODELS[new])
        original, = [entry.original for entry in ledger.entries()
                     if entry.target is api.API and
                     entry.attribute == 'unshelve']
        wrapped = api.API.unshelve
        self.stub_out('nova.compute.api.API.unshelve', original)
        message = self.act(server, 'unshelve')
        self.assert_message(message, image, old, new)
        self.assertNotIn('host', message)
        self.assertEqual([], self.get_slots(server))
        instance = self.get_instance(server)
        self.assertEqual(('shelved_offloaded', None, None), (
            instance.vm_state, instance.task_state, instance.host))
        self.assert_message(instance.fault.message, image, old, new)

        self.stub_out('nova.compute.api.API.unshelve', wrapped)
        self.set_properties(image, **MODELS[old])
        self._unshelve_server(server)
        self.assert_as(server, old)

    def test_one_that_did_not_inherit_the_properties(self):
        self.flags(non_inheritable_image_properties=[
            'hw_mem_encryption', 'hw_mem_encryption_model'])
        server, image = self.shelve(base.ES_PROPERTIES)
        self.assert_refused(server, 'unshelve', image, 'amd-sev-es', None)

    def test_one_that_is_shelved_and_still_on_its_host(self):
        # It is started as it was, and its snapshot is no matter.
        self.flags(shelved_offload_time=-1)
        server = self._shelve_server(
            self.boot({}, base.ES_PROPERTIES), expected_state='SHELVED')
        image = self.get_instance(server).system_metadata['shelved_image_id']
        self.set_properties(image)
        self._unshelve_server(server)
        self.assert_model(server, 'amd-sev-es')

    def test_one_that_is_gone(self):
        server, image = self.shelve(base.ES_PROPERTIES)
        del self.glance.images[image]
        self.assertIn('cannot be found', self.act(server, 'unshelve'))


class RebuildTest(SubstitutesTestBase):

    def test_a_move_goes_by_the_image_as_it_was_rebuilt(self):
        # The image asks for what the flavor did, and later the flavor not.
        server = self.boot(base.ES_SPECS)
        image = self.get_instance(server).image_ref
        self.set_properties(image, **base.ES_PROPERTIES)
        self._rebuild_server(server, image)
        self.start_host('compute2')
        server = self._resize_server(server, self.create_flavor())
        self.assert_model(server, 'amd-sev-es', 'compute2')

    def test_so_it_does_when_it_asks_no_more(self):
        server = self.boot(base.SEV_SPECS, base.SEV_PROPERTIES)
        image = self.get_instance(server).image_ref
        self.set_properties(image)
        self._rebuild_server(server, image)
        self.start_host('compute2')
        self._resize_server(server, self.create_flavor())
        self.assert_plain(server, 'compute2')
