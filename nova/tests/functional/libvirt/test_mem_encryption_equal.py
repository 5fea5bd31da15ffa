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

"""Test that a guest runs with neither less nor more than its server asks for.

What a service reads again may have changed since the API looked at it, and
what libvirt starts may not be what Nova defined.
"""
import ddt
import fixtures

from nova import context
from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import mem_encryption as base

PROPERTIES = {None: {}, 'amd-sev': base.SEV_PROPERTIES,
              'amd-sev-es': base.ES_PROPERTIES}
REFUSED = 'as the guest is not what was asked for'
CHANGES = [(old, new) for old in PROPERTIES for new in PROPERTIES
           if old != new]


class EqualTestBase(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()

    def change_before(self, function, image, model):
        """Change what an image asks for, just before a service reads it.

        :param function: of Nova, with the module; what comes after the API
        :param image: id of the image, or a function that returns it
        :param model: what it asks for then, None for none
        """
        def change():
            found = image() if callable(image) else image
            properties = self.glance.images[found]['properties']
            for key in base.ES_PROPERTIES:
                properties.pop(key, None)
            properties.update(PROPERTIES[model])

        self.call_before(function, change)

    def call_before(self, function, first):
        """Have something called just before a function of Nova."""
        name, _, attribute = function.rpartition('.')
        module, _, cls = name.rpartition('.')
        original = getattr(getattr(
            __import__(module, fromlist=[cls]), cls), attribute)

        def call(*args, **kwargs):
            first()
            return original(*args, **kwargs)

        self.useFixture(fixtures.MonkeyPatch(function, call))

    def start_as(self, server, policy):
        """Start a server's guest past Nova."""
        domain = self.get_domain(server)
        domain.edit(policy)
        domain.destroy()
        domain.createWithFlags(0)

    def assert_nothing_is_another(self, server, model):
        """Check that a server's guest, if it is on, is what it asks for."""
        for domain in self.connections['compute1']._running_vms.values():
            self.assertEqual(base.POLICIES.get(model), domain._sev_policy())
        self.assertEqual(base.POLICIES.get(model),
                         self.get_domain(server)._sev_policy())


@ddt.ddt
class ImageTest(EqualTestBase):
    """An image that services read again."""

    @tables.data(*CHANGES)
    @ddt.unpack
    def test_rescue_with_another_image(self, old, new):
        server = self.boot({}, PROPERTIES[old])
        image = self.create_image(**PROPERTIES[old])
        self.change_before(
            'nova.compute.manager.ComputeManager._get_rescue_image', image,
            new)
        said = self.act(server, 'rescue', {'rescue_image_ref': image})
        self.assertIn(REFUSED, said)
        self.assertIn(self.glance.images[image]['name'], said)
        self.assert_nothing_is_another(server, old)

    @tables.data((None, 'amd-sev-es'), ('amd-sev-es', 'amd-sev'),
                 ('amd-sev', None))
    @ddt.unpack
    def test_rescue_with_its_own(self, old, new):
        server = self.boot({}, PROPERTIES[old])
        self.change_before(
            'nova.compute.manager.ComputeManager._get_rescue_image',
            self.get_instance(server).image_ref, new)
        self.assertIn(REFUSED, self.act(server, 'rescue'))
        self.assert_nothing_is_another(server, old)

    @tables.data((None, 'amd-sev-es'), ('amd-sev-es', 'amd-sev'),
                 ('amd-sev', None))
    @ddt.unpack
    def test_rescue_with_a_stable_device(self, old, new):
        """Nova reads the server's own image, too."""
        server = self.boot({}, PROPERTIES[old])
        image = self.create_image(
            hw_rescue_device='disk', hw_rescue_bus='virtio')
        self.change_before(
            'nova.compute.manager.ComputeManager._get_rescue_image',
            self.get_instance(server).image_ref, new)
        self.assertIn(REFUSED, self.act(
            server, 'rescue', {'rescue_image_ref': image}))
        self.assert_nothing_is_another(server, old)

    def test_rescue_of_one_of_a_volume_with_a_stable_device(self):
        """The image is the volume's, and that can change."""
        server = self.boot_from_volume()
        volume, = self.cinder.volumes.values()
        self.call_before(
            'nova.compute.manager.ComputeManager._get_rescue_image', lambda:
            volume['volume_image_metadata'].update(base.ES_PROPERTIES))
        image = self.create_image(
            hw_rescue_device='disk', hw_rescue_bus='virtio')
        self.assertIn(REFUSED, self.act(
            server, 'rescue', {'rescue_image_ref': image}))
        self.assert_nothing_is_another(server, None)

    @tables.data(*CHANGES[1:4])
    @ddt.unpack
    def test_unshelve(self, old, new):
        server = self.boot({}, PROPERTIES[old])
        self._shelve_server(server)
        snapshot = self.get_instance(server).system_metadata[
            'shelved_image_id']
        self.change_before(
            'nova.conductor.manager.ComputeTaskManager.unshelve_instance',
            snapshot, new)
        self.assertIn('asks for memory encryption',
                      self.act(server, 'unshelve'))
        self.assertEqual({}, self.connections['compute1']._running_vms)
        self.assertEqual([], self.get_slots(server))

    @tables.data(*CHANGES[1:4])
    @ddt.unpack
    def test_rebuild(self, old, new):
        server = self.boot({}, PROPERTIES[old])
        image = self.create_image(**PROPERTIES[old])
        self.change_before(
            'nova.conductor.manager.ComputeTaskManager.rebuild_instance',
            image, new)
        self.assertIn(REFUSED, self.act(
            server, 'rebuild', {'imageRef': image}))
        # With the disk that it had
        self.assertTrue(self.is_running(server))
        self.assert_nothing_is_another(server, old)
        self.assertNotEqual(image, self.get_instance(server).image_ref)

    def test_what_does_not_read_it_goes_on(self):
        self.start_host('compute2')
        for old, new in ((None, 'amd-sev-es'), ('amd-sev-es', None)):
            server = self.boot({}, PROPERTIES[old], host='compute1')
            properties = self.glance.images[
                self.get_instance(server).image_ref]['properties']
            for key in base.ES_PROPERTIES:
                properties.pop(key, None)
            properties.update(PROPERTIES[new])
            for hard in (False, True):
                self._reboot_server(server, hard=hard)
            self._stop_server(server)
            self._start_server(server)
            self._migrate_server(server)
            self._revert_resize(server)
            self.assert_nothing_is_another(server, old)
            self._delete_server(server)


@ddt.ddt
class DefinitionTest(EqualTestBase):
    """A definition that somebody changed, as by 'virsh edit'."""

    @tables.data(('amd-sev-es', 0x33), ('amd-sev', None), (None, 0x37))
    @ddt.unpack
    def test_a_reboot_makes_it_right(self, model, policy):
        server = self.boot({}, PROPERTIES[model])
        self.get_domain(server).edit(policy)
        self._reboot_server(server)
        self.assertTrue(self.is_running(server))
        self.assert_nothing_is_another(server, model)
        self.assertIn('It is rebooted hard.', ''.join(self.warnings))

    @tables.data((None, 0x37), (None, 0x33))
    @ddt.unpack
    def test_resume(self, model, policy):
        server = self.boot({}, PROPERTIES[model])
        self._suspend_server(server)
        self.get_domain(server).edit(policy)
        self.assertIn(REFUSED, self.act(server, 'resume'))
        self.assertFalse(self.is_running(server))
        # Its memory is kept until somebody has put the definition right.
        self.assertEqual('SUSPENDED', self.api.get_server(server['id'])[
            'status'])
        self.get_domain(server).edit(base.POLICIES.get(model))
        self._resume_server(server)
        self.assert_nothing_is_another(server, model)

    @tables.data((None, 0x37), ('amd-sev-es', 0x33), ('amd-sev', None))
    @ddt.unpack
    def test_unrescue(self, model, policy):
        """Nova keeps what it finds when the rescue begins."""
        server = self.boot({}, PROPERTIES[model])
        self.start_as(server, policy)
        self._rescue_server(server)
        self.assert_nothing_is_another(server, model)
        self.assertIn(REFUSED, self.act(server, 'unrescue'))
        self.assertEqual('RESCUE', self.api.get_server(server['id'])['status'])
        self.assert_nothing_is_another(server, model)
        self.api.post_server_action(
            server['id'], {'os-resetState': {'state': 'active'}})
        self._reboot_server(server, hard=True)
        self.assert_nothing_is_another(server, model)


@ddt.ddt
class SaidTest(EqualTestBase):
    """What an operator reads of a server that is another."""

    def find(self, words):
        return [line for line in self.warnings if words in line]

    def update(self):
        self.computes['compute1'].manager.update_available_resource(
            context.get_admin_context())

    @tables.data(('amd-sev-es', 0x33, 'less'), ('amd-sev-es', None, 'less'),
                 ('amd-sev', None, 'less'), ('amd-sev', 0x37, 'more'),
                 (None, 0x33, 'more'), (None, 0x37, 'more'))
    @ddt.unpack
    def test_a_start_of_the_service_names_it(self, model, policy, kind):
        server = self.boot({}, PROPERTIES[model])
        self.start_as(server, policy)
        self.restart_host()
        said, = self.find('This server runs with')
        self.assertIn('%s This server runs with %s than it asked for' % (
            server['id'], kind), said)
        self.assertTrue(said.endswith('Reboot it hard.'))
        self.assertEqual([], self.find('cannot be started again'))
        self._reboot_server(server, hard=True)
        self.assert_nothing_is_another(server, model)

    def test_it_ran_on_a_host_without_the_series(self):
        self.start_host('compute2', plain=True)
        server = self.boot(base.SEV_SPECS, host='compute2')
        instance = self.get_instance(server)
        instance.flavor.extra_specs['hw:mem_encryption_model'] = 'amd-sev-es'
        instance.save()
        self.restart_host('compute2')
        said, = self.find('runs with less than it asked for')
        # A reboot would not make it right, so it is not told.
        self.assertIn('Stop or migrate it, as a reboot is refused', said)
        self.assertIn('its slot is on compute2', said)
        self.assertNotIn('Reboot it hard', said)

    @tables.data((None, 0x37, 'amd_sev_es'), (None, 0x33, 'amd_sev'),
                 ('amd-sev-es', 0x33, 'amd_sev'))
    @ddt.unpack
    def test_an_update_names_one_that_has_no_slot(self, model, policy, suffix):
        server = self.boot({}, PROPERTIES[model])
        others = [self.boot(specs) for specs in (
            base.SEV_SPECS, base.ES_SPECS)]
        self.update()
        self.assertEqual([], self.find('no slots of'))
        self.start_as(server, policy)
        for _ in range(2):
            self.update()
        said, = self.find('no slots of %s: ' % suffix)
        self.assertIn(server['id'], said)
        for other in others:
            self.assertNotIn(other['id'], said)
        self.assertEqual(1, self.get_reserved(suffix))
        self._reboot_server(server, hard=True)
        self.update()
        self.assertEqual(0, self.get_reserved(suffix))

    def test_an_update_names_one_that_lost_its_slot(self):
        server = self.boot(base.ES_SPECS)
        self.placement.delete('/allocations/%s' % server['id'])
        self.update()
        self.assertIn(server['id'], self.find('no slots of amd_sev_es: ')[0])
        self.assertEqual(1, self.get_reserved('amd_sev_es'))

    def get_reserved(self, suffix):
        return self.get_provider('compute1_' + suffix)['inventory'][
            base.SLOT]['reserved']
