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

"""Test what the compute API refuses, and what it no longer may."""
import itertools
from unittest import mock

import ddt
from oslo_utils.fixture import uuidsentinel as uuids
from oslo_utils import timeutils

from nova.api.openstack.compute import servers
from nova.compute import api
from nova.compute import vm_states
from nova import context
from nova import exception
from nova.network import model as network_model
from nova import objects
from nova import test
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import refusals

SEV, ES = 'amd-sev', 'amd-sev-es'
UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}


def make_flavor(**specs):
    return objects.Flavor(
        id=1, flavorid='1', name='apple', vcpus=1, memory_mb=1024, root_gb=1,
        ephemeral_gb=0, swap=0, extra_specs={
            'hw:' + name: value for name, value in specs.items()})


def make_image(**properties):
    return {'id': uuids.image, 'name': 'pear', 'properties': {
        **UEFI, **{'hw_' + name: value for name, value in properties.items()}}}


@ddt.ddt
class ValidateFlavorImageTest(test.NoDBTestCase):
    """Create, resize and rebuild come by here."""

    def validate(self, flavor, image):
        return api.API._validate_flavor_image_numa_pci(
            image, make_flavor(**flavor))

    @ddt.data(
        ({}, {}),
        ({'mem_encryption': 'true'}, {}),
        ({'mem_encryption': 'true', 'mem_encryption_model': SEV}, {}),
        ({'mem_encryption': 'true', 'mem_encryption_model': ES},
         {'mem_encryption_model': ES}),
        ({}, {'mem_encryption': 'true', 'mem_encryption_model': ES}),
    )
    @ddt.unpack
    def test_what_can_be(self, flavor, image):
        self.validate(flavor, make_image(**image))

    @ddt.data(('quince', {}), ('foo', {'disk_bus': 'foo'}))
    @ddt.unpack
    def test_a_property_that_makes_no_sense_is_named(self, value, others):
        # As Nova does, the first of them
        image = make_image(viommu_model='quince', **others)
        for specs in {}, {'mem_encryption': 'true'}:
            e = self.assertRaises(
                exception.InvalidRequest, self.validate, specs, image)
            self.assertIn(value, e.format_message())

    def test_what_is_judged_is_read_once(self):
        # By Nova: the check is in its own place.
        flavor = make_flavor(mem_encryption='true', mem_encryption_model=ES)
        with mock.patch.object(api, '_get_image_meta_obj',
                               wraps=api._get_image_meta_obj) as read, \
                mock.patch.object(refusals, 'check',
                                  wraps=refusals.check) as check:
            api.API._validate_flavor_image_numa_pci(make_image(), flavor)
        self.assertEqual([1, 1], [read.call_count, check.call_count])

    def test_afterwards_a_server_of_old_is_as_it_was(self):
        request = make_flavor(mem_encryption='true',
                              mem_encryption_model='tdx'), make_image()
        for _attempt in range(2):
            self.assertRaises(
                exception.FlavorImageConflict,
                api.API._validate_flavor_image_numa_pci, *reversed(request))
            self.assertEqual(SEV, hardware.get_mem_encryption_constraint(
                request[0], api._get_image_meta_obj(request[1])).model)

    @ddt.data(
        # conflicting models
        ({'mem_encryption': 'true', 'mem_encryption_model': SEV},
         {'mem_encryption_model': ES}),
        # an unknown model, of either
        ({'mem_encryption': 'true', 'mem_encryption_model': 'tdx'}, {}),
        ({'mem_encryption': 'true'}, {'mem_encryption_model': 'tdx'}),
        ({'mem_encryption': 'true'}, {'mem_encryption_model': ''}),
        ({'mem_encryption': 'true', 'mem_encryption_model': 'tdx'},
         {'mem_encryption_model': 'tdx'}),
        ({'mem_encryption': 'true', 'mem_encryption_model': ES},
         {'mem_encryption_model': 'tdx'}),
        # a model, but no encryption
        ({'mem_encryption_model': ES}, {}),
        ({}, {'mem_encryption_model': SEV}),
        ({'mem_encryption': 'false', 'mem_encryption_model': ES}, {}),
        ({}, {'mem_encryption': 'false', 'mem_encryption_model': ES}),
        ({}, {'mem_encryption_model': 'tdx'}),
    )
    @ddt.unpack
    def test_what_cannot_be(self, flavor, image):
        e = self.assertRaises(exception.FlavorImageConflict, self.validate,
                              flavor, make_image(**image))
        # Of these the API makes HTTP 400.
        self.assertIsInstance(e, servers.INVALID_FLAVOR_IMAGE_EXCEPTIONS)
        message = e.format_message()
        for key, values in (('flavor apple has hw:', flavor),
                            ('image pear has hw_', image)):
            value = values.get('mem_encryption_model')
            self.assertIn('%smem_encryption_model %s' % (
                key, 'unset' if value is None else "'%s'" % value), message)
        self.assertRegex(message, 'Allowed are|in both|hw:mem_encryption=true')

    @ddt.data(
        ({'mem_encryption': 'true'}, {'firmware_type': 'bios'}),
        ({'mem_encryption': 'true'}, {'mem_encryption': 'false'}),
    )
    @ddt.unpack
    def test_what_nova_refuses(self, flavor, image):
        self.assertRaises(exception.FlavorImageConflict, self.validate, flavor,
                          make_image(**image))

    @ddt.data('resources:VGPU', 'resources1:VGPU', 'resources_A-b:VGPU')
    def test_no_vgpu_beside_it(self, key):
        for flavor, image in (
                ({'mem_encryption': 'true'}, {}),
                ({'mem_encryption': 'true', 'mem_encryption_model': ES}, {}),
                ({}, {'mem_encryption': 'true', 'mem_encryption_model': ES})):
            flavor = make_flavor(**flavor)
            flavor.extra_specs[key] = '1'
            e = self.assertRaises(
                exception.FlavorImageConflict,
                api.API._validate_flavor_image_numa_pci,
                make_image(**image), flavor)
            self.assertIn('Flavor apple has %s, and' % key,
                          e.format_message())
            flavor.extra_specs[key] = '0'
            api.API._validate_flavor_image_numa_pci(
                make_image(**image), flavor)

    @ddt.data('resources:VGPU', 'resources1:VGPU')
    def test_a_vgpu_without_it(self, key):
        flavor = make_flavor()
        flavor.extra_specs[key] = '1'
        api.API._validate_flavor_image_numa_pci(make_image(), flavor)

    @ddt.data('pci_passthrough:alias', 'resources:CUSTOM_VGPU',
              'resources:VGPU_DISPLAY_HEAD', 'trait:VGPU', 'resource:VGPU',
              'resources.1:VGPU')
    def test_no_vgpu(self, key):
        flavor = make_flavor(mem_encryption='true', mem_encryption_model=ES)
        flavor.extra_specs[key] = 'nic:1' if 'alias' in key else '1'
        api.API._validate_flavor_image_numa_pci(make_image(), flavor)

    def test_another_machine_type_is_refused(self):
        self.assertRaises(
            exception.InvalidMachineType, self.validate,
            {'mem_encryption': 'true', 'mem_encryption_model': ES},
            make_image(machine_type='pc'))

    @ddt.data(None, {}, {'properties': {}})
    def test_a_volume_has_no_name_or_id(self, image):
        self.validate({}, image)
        e = self.assertRaises(exception.FlavorImageConflict, self.validate,
                              {'mem_encryption_model': ES}, image)
        self.assertIn('of the root volume', e.format_message())

    def test_an_unknown_model_of_a_volume(self):
        e = self.assertRaises(
            exception.FlavorImageConflict, self.validate, {},
            {'properties': {'hw_mem_encryption_model': 'tdx'}})
        self.assertIn('hw_mem_encryption_model \'tdx\'', e.format_message())
        self.assertNotIn('None', e.format_message())

    def test_an_image_without_a_name_is_called_by_its_id(self):
        image = make_image(mem_encryption_model='tdx')
        image['name'] = None
        e = self.assertRaises(exception.FlavorImageConflict, self.validate,
                              {}, image)
        self.assertIn('image %s has' % uuids.image, e.format_message())


@ddt.ddt
class RejectTest(test.NoDBTestCase):
    """Suspend and live migration judge a server by what it is."""

    def setUp(self):
        super().setUp()
        self.api = api.API()
        self.context = context.get_admin_context()

    def make(self, specs, properties):
        return objects.Instance(
            uuid=uuids.server, id=1, flavor=make_flavor(**specs),
            image_ref=uuids.image, vm_state=vm_states.ACTIVE, task_state=None,
            launched_at=timeutils.utcnow(), locked=False, host='a',
            project_id='p', user_id='u',
            info_cache=objects.InstanceInfoCache(
                network_info=network_model.NetworkInfo()),
            system_metadata={
                'image_' + name: value for name, value in make_image(
                    **properties)['properties'].items()})

    def call(self, operation, instance):
        """Call until Nova saves that the operation goes on."""
        nothing = mock.Mock(return_value=[])
        with mock.patch.object(objects.Instance, 'save',
                               side_effect=test.TestingException), \
                mock.patch.object(api, 'instance_has_share', nothing), \
                mock.patch.object(
                    self.api.network_api,
                    'instance_has_extended_resource_request', nothing), \
                mock.patch.object(
                    objects.RequestSpec, 'get_by_instance_uuid'):
            if operation == 'suspend':
                return self.api.suspend(self.context, instance)
            return self.api.live_migrate(
                self.context, instance, False, False, None)

    @ddt.data(*[(operation, specs) for operation in ('suspend', 'live_migrate')
                for specs in (
                    {'mem_encryption': 'true'},
                    {'mem_encryption': 'true', 'mem_encryption_model': ES},
                    # refused now, was SEV and is
                    {'mem_encryption': 'true', 'mem_encryption_model': 'tdx'})
                ])
    @ddt.unpack
    def test_an_encrypted_server_cannot(self, operation, specs):
        self.assertRaises(exception.OperationNotSupportedForSEV, self.call,
                          operation, self.make(specs, {}))

    @ddt.data(*[(operation, specs) for operation in ('suspend', 'live_migrate')
                for specs in ({}, {'mem_encryption_model': ES},
                              {'mem_encryption': 'false',
                               'mem_encryption_model': 'tdx'})])
    @ddt.unpack
    def test_a_plain_server_can(self, operation, specs):
        self.assertRaises(test.TestingException, self.call, operation,
                          self.make(specs, {}))


@ddt.ddt
class RebuildTest(test.NoDBTestCase):
    """A rebuilt server keeps its slot, so it has to keep its model."""

    MODELS = {None: {}, SEV: {'mem_encryption': 'true'},
              ES: {'mem_encryption': 'true', 'mem_encryption_model': ES}}

    def rebuild(self, old, new, specs=None):
        """Rebuild until Nova has read the image; return how often it did."""
        instance = objects.Instance(
            uuid=uuids.server, image_ref=uuids.image, numa_topology=None,
            flavor=make_flavor(**(specs or {})), locked=False,
            vm_state=vm_states.ACTIVE, task_state=None, key_name=None,
            project_id='p', user_id='u', launched_at=timeutils.utcnow(),
            system_metadata={
                'image_' + name: value for name, value in
                make_image(**old)['properties'].items()})
        image = make_image(**new)
        with mock.patch('nova.image.glance.API.get',
                        return_value=image) as read, \
                mock.patch.object(api, 'instance_has_share',
                                  return_value=False), \
                mock.patch('nova.objects.service.get_minimum_version_all_cells'
                           ), \
                mock.patch.object(api.API, '_check_auto_disk_config',
                                  side_effect=test.TestingException):
            # That is what Nova does next, so we said nothing.
            self.assertRaises(
                test.TestingException, api.API().rebuild,
                context.get_admin_context(), instance, image['id'], 'secret')
        return read.call_count

    def test_the_image_that_is_judged_is_the_one_that_is_taken(self):
        self.assertEqual(1, self.rebuild({}, {}))

    @ddt.data(*itertools.product(MODELS, repeat=2))
    @ddt.unpack
    def test_the_model_has_to_stay(self, old, new):
        if old == new:
            self.rebuild(self.MODELS[old], self.MODELS[new])
            return
        e = self.assertRaises(
            exception.FlavorImageConflict, self.rebuild, self.MODELS[old],
            self.MODELS[new])
        self.assertIsInstance(e, servers.INVALID_FLAVOR_IMAGE_EXCEPTIONS)
        self.assertIn('Image %s asks for memory encryption %s, the server has '
                      '%s.' % (uuids.image, new or 'none', old or 'none'),
                      e.format_message())

    def test_the_image_need_not_say_it_again(self):
        self.rebuild({}, {'mem_encryption_model': SEV},
                     {'mem_encryption': 'true'})
        self.rebuild({'mem_encryption_model': ES}, {},
                     {'mem_encryption': 'true', 'mem_encryption_model': ES})

    def test_a_server_of_old_is_judged_by_what_it_is(self):
        # It asked for a model when nobody looked, and has plain SEV.
        self.rebuild({'mem_encryption_model': 'tdx'}, {},
                     {'mem_encryption': 'true'})

    def test_what_cannot_be_is_refused_first(self):
        e = self.assertRaises(exception.FlavorImageConflict, self.rebuild,
                              {}, {}, {'mem_encryption_model': ES})
        self.assertIn('without memory encryption', e.format_message())

    def test_an_unknown_model_is_refused(self):
        e = self.assertRaises(
            exception.FlavorImageConflict, self.rebuild, {},
            {'mem_encryption_model': 'tdx'})
        self.assertIn("image pear has hw_mem_encryption_model 'tdx'",
                      e.format_message())


class LimitsTest(test.NoDBTestCase):
    """A slot for which the image asks is counted, too."""

    def setUp(self):
        super().setUp()
        self.flags(driver='nova.quota.UnifiedLimitsDriver', group='quota')
        self.context = context.get_admin_context()

    def get_deltas(self, function, state, **image):
        """Return what is counted by a function of the API."""
        instance = objects.Instance(
            uuid=uuids.server, flavor=make_flavor(), image_ref=uuids.image,
            vm_state=state, task_state=None, locked=False, project_id='p',
            user_id='u', launched_at=timeutils.utcnow(), system_metadata={
                'image_' + name: value for name, value in
                make_image(**image)['properties'].items()})
        with mock.patch('oslo_limit.limit.Enforcer') as enforcer, \
                mock.patch('nova.compute.utils.check_num_instances_quota'), \
                mock.patch('nova.compute.utils.is_volume_backed_instance',
                           return_value=False), \
                mock.patch.object(objects.Quotas, 'check_deltas'):
            enforce = enforcer.return_value.enforce
            # It ends there.
            enforce.side_effect = test.TestingException
            self.assertRaises(test.TestingException, function, instance)
        (_project, deltas), _ = enforce.call_args
        return {name: count for name, count in deltas.items()
                if 'ENCRYPTION' in name}

    def restore(self, instance):
        api.API().restore(self.context, instance)

    def unshelve(self, instance):
        api.API._check_quota_unshelve_offloaded(
            self.context, instance, objects.RequestSpec(is_bfv=False))

    def test_of_a_server_that_is_restored(self):
        self.assertEqual(
            {'class:MEM_ENCRYPTION_CONTEXT': 1}, self.get_deltas(
                self.restore, vm_states.SOFT_DELETED, mem_encryption='true'))
        self.assertEqual({}, self.get_deltas(
            self.restore, vm_states.SOFT_DELETED))

    def test_of_a_server_that_is_unshelved(self):
        self.assertEqual(
            {'class:MEM_ENCRYPTION_CONTEXT': 0}, self.get_deltas(
                self.unshelve, vm_states.SHELVED_OFFLOADED,
                mem_encryption='true'))
        self.assertEqual({}, self.get_deltas(
            self.unshelve, vm_states.SHELVED_OFFLOADED))
