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

"""Test what Placement is asked for a server with memory encryption."""
from urllib import parse

import ddt
import fixtures
import hypothesis
from hypothesis import strategies as st

from nova import exception
from nova import objects
from nova.scheduler import utils
from nova import test
from nova.virt import hardware

from nova_mem_encryption.engine import ledger
from nova_mem_encryption.nova.scheduler import utils as scheduler_utils

SEV, ES = 'amd-sev', 'amd-sev-es'
UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
TRAITS = {None: set(), SEV: {'HW_CPU_X86_AMD_SEV'},
          ES: {'HW_CPU_X86_AMD_SEV_ES'}}
MODELS = st.sampled_from([None, SEV, ES])
BOOLS = st.sampled_from([None, 'true', 'false'])


@ddt.ddt
class TranslateTest(test.NoDBTestCase):

    def make_spec(self, specs=None, properties=None):
        """Make the specification of a request."""
        flavor = objects.Flavor(
            name='apple', vcpus=1, memory_mb=1024, root_gb=10,
            ephemeral_gb=0, swap=0, extra_specs=specs or {})
        # NOTE: as of a volume, without id and name.
        image = objects.ImageMeta(
            properties=objects.ImageMetaProps.from_dict(
                {**UEFI, **(properties or {})}))
        return objects.RequestSpec(flavor=flavor, image=image, is_bfv=False)

    def translate(self, spec):
        """Return the query that Placement gets, as a dict."""
        request = utils.ResourceRequest.from_request_spec(spec)
        return parse.parse_qs(request.to_querystring())

    def get_traits(self, query):
        return {trait for value in query.get('required', [])
                for trait in value.split(',') if trait[0] != '!'}

    def get_resources(self, query):
        return set(query['resources'][0].split(','))

    @ddt.data(
        ({'hw:mem_encryption': 'true'}, {}, SEV),
        ({}, {'hw_mem_encryption': 'true'}, SEV),
        ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': SEV}, {},
         SEV),
        ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': ES}, {}, ES),
        ({}, {'hw_mem_encryption': 'true', 'hw_mem_encryption_model': ES}, ES),
        ({'hw:mem_encryption': 'true'}, {'hw_mem_encryption_model': ES}, ES),
        ({'hw:mem_encryption_model': ES}, {'hw_mem_encryption': 'true'}, ES),
        ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': ES,
          'resources:MEM_ENCRYPTION_CONTEXT': '1'}, {}, ES),
    )
    @ddt.unpack
    def test_a_slot_is_asked_for_with_its_trait(self, specs, properties,
                                                model):
        query = self.translate(self.make_spec(specs, properties))
        self.assertEqual(
            {'VCPU:1', 'MEMORY_MB:1024', 'DISK_GB:10',
             'MEM_ENCRYPTION_CONTEXT:1'}, self.get_resources(query))
        self.assertEqual(TRAITS[model], self.get_traits(query))

    @ddt.data(
        ({}, {}),
        ({'hw:mem_encryption': 'false'}, {}),
        ({'hw:cpu_policy': 'dedicated', 'trait:CUSTOM_RED': 'required'},
         {'hw_tpm_model': 'tpm-crb', 'hw_tpm_version': '2.0'}),
        ({'resources:VGPU': '1', 'trait:HW_CPU_X86_AVX2': 'forbidden'}, {}),
        ({'resources:MEM_ENCRYPTION_CONTEXT': '1'}, {}),
    )
    @ddt.unpack
    def test_a_plain_request_is_the_one_of_nova(self, specs, properties):
        spec = self.make_spec(specs, properties)
        ours = utils.ResourceRequest.from_request_spec(spec).to_querystring()
        entry, = [entry for entry in ledger.entries()
                  if entry.attribute == '_translate_memory_encryption']
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.utils.ResourceRequest'
            '._translate_memory_encryption', entry.original))
        self.assertEqual(
            utils.ResourceRequest.from_request_spec(spec).to_querystring(),
            ours)
        self.assertNotIn('AMD_SEV', ours)

    def test_traits_of_the_flavor_stay(self):
        query = self.translate(self.make_spec({
            'hw:mem_encryption': 'true', 'hw:mem_encryption_model': ES,
            'trait:CUSTOM_RED': 'required',
            'trait:CUSTOM_BLUE': 'forbidden'}))
        self.assertEqual({'CUSTOM_RED', 'HW_CPU_X86_AMD_SEV_ES'},
                         self.get_traits(query))
        self.assertIn('!CUSTOM_BLUE', query['required'][0])

    @hypothesis.settings(max_examples=200, deadline=None, database=None,
                         derandomize=True)
    @hypothesis.given(BOOLS, MODELS, BOOLS, MODELS)
    def test_trait_and_slot_are_asked_for_where_there_is_a_config(
            self, flavor, flavor_model, image, image_model):
        # NOTE: conflicts of the booleans do not reach the scheduler.
        hypothesis.assume({flavor, image} != {'true', 'false'})
        specs = {'hw:mem_encryption': flavor,
                 'hw:mem_encryption_model': flavor_model}
        properties = {'hw_mem_encryption': image,
                      'hw_mem_encryption_model': image_model}
        spec = self.make_spec(
            {key: value for key, value in specs.items() if value},
            {key: value for key, value in properties.items() if value})
        config = hardware.get_mem_encryption_constraint(
            spec.flavor, spec.image)
        query = self.translate(spec)
        self.assertEqual(TRAITS[config and config.model],
                         self.get_traits(query))
        self.assertEqual(config is not None, 'MEM_ENCRYPTION_CONTEXT:1' in
                         self.get_resources(query))

    @ddt.data(
        ({'hw:mem_encryption_model': ES}, {}, None),
        ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'tdx'}, {},
         SEV),
        ({'hw:mem_encryption': 'true', 'hw:mem_encryption_model': ES},
         {'hw_mem_encryption_model': SEV}, SEV),
    )
    @ddt.unpack
    def test_a_server_of_old_is_scheduled_as_it_was(self, specs, properties,
                                                    model):
        query = self.translate(self.make_spec(specs, properties))
        self.assertEqual(TRAITS[model], self.get_traits(query))


@ddt.ddt
class FlavorByItselfTest(test.NoDBTestCase):
    """As for limits, nova-manage and the choice of a CPU model."""

    PLAIN = {'VCPU': 1, 'MEMORY_MB': 1024, 'DISK_GB': 10}
    SLOT = {'MEM_ENCRYPTION_CONTEXT': 1}

    def make_flavor(self, specs):
        return objects.Flavor(
            name='apple', vcpus=1, memory_mb=1024, root_gb=10,
            ephemeral_gb=0, swap=0, extra_specs=specs)

    def make_image(self, properties):
        return objects.ImageMeta(
            properties=objects.ImageMetaProps.from_dict(properties))

    @ddt.data({'hw:mem_encryption': 'true'},
              {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': ES},
              # refused with an image, or was not when it was stored
              {'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'tdx'})
    def test_what_asks_for_a_slot(self, specs):
        self.assertEqual(
            {**self.PLAIN, **self.SLOT},
            utils.resources_for_limits(self.make_flavor(specs), False))

    @ddt.data({}, {'hw:mem_encryption': 'false'},
              {'hw:mem_encryption_model': ES})
    def test_what_does_not(self, specs):
        self.assertEqual(
            self.PLAIN,
            utils.resources_for_limits(self.make_flavor(specs), False))

    @ddt.data(True, False)
    def test_an_image_that_goes_with_it(self, enter):
        flavor = self.make_flavor({})
        image = self.make_image({**UEFI, 'hw_mem_encryption': 'true'})
        with scheduler_utils.with_image(lambda: image if enter else None):
            found = utils.resources_for_limits(flavor, False)
        self.assertEqual(
            {**self.PLAIN, **(self.SLOT if enter else {})}, found)
        self.assertEqual(self.PLAIN, utils.resources_for_limits(flavor, False))

    def test_the_image_counts_for_nothing_else(self):
        image = self.make_image({
            'hw_cpu_policy': 'dedicated', 'traits_required': ['CUSTOM_RED']})
        flavor = self.make_flavor({})
        with scheduler_utils.with_image(lambda: image):
            request = utils.ResourceRequest.from_request_spec(
                objects.RequestSpec(flavor=flavor, is_bfv=False))
        self.assertEqual(self.PLAIN, request.merged_resources())
        self.assertEqual(set(), request.all_required_traits)

    def test_an_image_that_does_not_fit(self):
        flavor = self.make_flavor({'hw:mem_encryption': 'true'})
        with scheduler_utils.with_image(lambda: self.make_image({})):
            self.assertRaises(exception.FlavorImageConflict,
                              utils.resources_for_limits, flavor, False)

    def test_a_request_that_has_an_image_is_judged_by_that(self):
        request = objects.RequestSpec(
            flavor=self.make_flavor({'hw:mem_encryption': 'true'}),
            is_bfv=False, image=self.make_image({}))
        with scheduler_utils.with_image(lambda: self.make_image(UEFI)):
            self.assertRaises(exception.FlavorImageConflict,
                              utils.ResourceRequest.from_request_spec, request)
            # One that comes in between does not matter.
            utils.resources_for_limits(self.make_flavor({}), False)
            self.assertRaises(exception.FlavorImageConflict,
                              utils.ResourceRequest.from_request_spec, request)

    def test_a_request_without_an_image(self):
        request = objects.RequestSpec(
            flavor=self.make_flavor({'hw:mem_encryption': 'true'}),
            is_bfv=False, image=None)
        self.assertEqual(
            {**self.PLAIN, **self.SLOT},
            utils.ResourceRequest.from_request_spec(
                request).merged_resources())

    def test_nothing_stands_in_for_an_image_afterwards(self):
        flavor = self.make_flavor({'hw:mem_encryption': 'true'})
        utils.resources_for_limits(flavor, False)
        self.assertRaises(
            exception.FlavorImageConflict,
            utils.ResourceRequest()._translate_memory_encryption, flavor,
            self.make_image({}))
