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

"""Test which model of memory encryption a flavor and an image ask for."""
import itertools

import ddt
import hypothesis
from hypothesis import strategies as st
from oslo_utils.fixture import uuidsentinel as uuids

from nova import exception
from nova import objects
from nova import test
from nova.tests.fixtures import tables
from nova.virt import hardware

from nova_mem_encryption.engine import ledger
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption import refusals

REFUSED = 'refused'
SEV, ES = 'amd-sev', 'amd-sev-es'
UNKNOWN = ['', 'amd-tdx', 'AMD-SEV-ES', 'amd_sev_es', 'amd-sev ', 'None']

# What is said of memory encryption, by flavor and image. Words that are not
# true are false to Nova.
TRUE, FALSE = ['true', 'True', '1', 'yes'], ['false', '0', 'no', 'garbage', '']
ENCRYPTED = {
    (None, None): False, (None, True): True, (None, False): False,
    (True, None): True, (True, True): True, (True, False): REFUSED,
    (False, None): False, (False, True): REFUSED, (False, False): False,
}

# What is said of the model, by flavor and image
MODEL = {
    (None, None): SEV, (None, SEV): SEV, (None, ES): ES,
    (SEV, None): SEV, (SEV, SEV): SEV, (SEV, ES): REFUSED,
    (ES, None): ES, (ES, SEV): REFUSED, (ES, ES): ES,
}

SECURE = ['required', 'optional', 'disabled']
REQUESTS = st.fixed_dictionaries({}, optional={
    'flavor_encryption': st.sampled_from(TRUE + FALSE),
    'flavor_model': st.sampled_from([SEV, ES] + UNKNOWN),
    'image_encryption': st.sampled_from(TRUE + FALSE),
    'image_model': st.sampled_from([SEV, ES]),
    'firmware': st.sampled_from(['uefi', 'bios']),
    'machine': st.sampled_from(['q35', 'pc-q35-6.2', 'pc']),
    'flavor_secure': st.sampled_from(SECURE),
    'image_secure': st.sampled_from(SECURE),
    'name': st.sampled_from(['pear', '']),
    'id': st.just(uuids.image),
})
# Those that ask for SEV-ES, and for nothing else
ES_REQUESTS = st.builds(
    lambda request, keys: {**request, 'flavor_model': None,
                           'image_model': None, **dict.fromkeys(keys, ES)},
    REQUESTS, st.sets(st.sampled_from(['flavor_model', 'image_model']),
                      min_size=1))
CHECK = hypothesis.settings(max_examples=400, deadline=None, database=None,
                            derandomize=True)


def upstream():
    """Return the function of Nova that ours is laid over."""
    original, = [entry.original for entry in ledger.entries()
                 if entry.target is hardware and
                 entry.name == 'get_mem_encryption_constraint']
    return original


def say(word):
    """Return what a word means: True, False, or None for none."""
    return None if word is None else word in TRUE


def expect(request, machine=None):
    """Return the outcome that the specification has for a request."""
    encrypted = ENCRYPTED[say(request.get('flavor_encryption')),
                          say(request.get('image_encryption'))]
    if encrypted == REFUSED:
        return REFUSED
    if encrypted and (
            request.get('firmware') != 'uefi' or
            'q35' not in (machine or request.get('machine') or 'q35')):
        return REFUSED
    models = request.get('flavor_model'), request.get('image_model')
    if not encrypted:
        return REFUSED if any(m is not None for m in models) else None
    model = MODEL.get(models, REFUSED)
    if model == ES and 'required' in (request.get('flavor_secure'),
                                      request.get('image_secure')):
        return REFUSED
    return model


def make(request):
    """Make flavor and image of a request."""
    specs = {'hw:mem_encryption': request.get('flavor_encryption'),
             'hw:mem_encryption_model': request.get('flavor_model'),
             'os:secure_boot': request.get('flavor_secure'),
             'hw:viommu_model': request.get('flavor_viommu')}
    properties = {'hw_mem_encryption': request.get('image_encryption'),
                  'hw_mem_encryption_model': request.get('image_model'),
                  'hw_firmware_type': request.get('firmware'),
                  'hw_machine_type': request.get('machine'),
                  'os_secure_boot': request.get('image_secure'),
                  'hw_viommu_model': request.get('image_viommu')}
    flavor = objects.Flavor(name='apple', extra_specs={
        key: value for key, value in specs.items() if value is not None})
    image = {key: request[key] for key in ('name', 'id') if key in request}
    image['properties'] = {key: value for key, value in properties.items()
                           if value is not None}
    return flavor, objects.ImageMeta.from_dict(image)


def ask(function, *args):
    """Return what a function returns, or the exception that it raises."""
    try:
        return function(*args)
    except (exception.FlavorImageConflict,
            exception.InvalidMachineType) as e:
        return e


class Base(test.NoDBTestCase):

    def get(self, request, function=refusals.check, *args):
        """Return the outcome of a request, of a new server by default."""
        result = ask(function, *make(request), *args)
        if isinstance(result, exception.NovaException):
            return REFUSED
        if function is refusals.check or result is None:
            return result
        self.assertIsInstance(result, hardware.MemEncryptionConfig)
        return result.model

    def get_stored(self, request, machine=None):
        """Return the outcome for a server that was stored as this."""
        return self.get(request, hardware.get_mem_encryption_constraint,
                        machine)


class ConstraintTest(Base):

    def test_the_table_of_all_requests(self):
        encryption = [None, 'true', 'false', 'garbage']
        models = [None, SEV, ES]
        for values in itertools.product(
                encryption, models + UNKNOWN, encryption, models):
            request = {key: value for key, value in zip(
                ('flavor_encryption', 'flavor_model', 'image_encryption',
                 'image_model'), values) if value is not None}
            request['firmware'] = 'uefi'
            self.assertEqual(expect(request), self.get(request), request)

    @CHECK
    @hypothesis.given(REQUESTS)
    def test_the_outcome_is_the_one_of_the_table(self, request):
        self.assertEqual(expect(request), self.get(request))

    @CHECK
    @hypothesis.given(ES_REQUESTS, st.sampled_from([None, 'q35']),
                      st.booleans())
    def test_never_less_than_was_asked_for(self, request, machine, stored):
        outcome = (self.get_stored(request, machine) if stored else
                   self.get(request))
        if True in (say(request.get('flavor_encryption')),
                    say(request.get('image_encryption'))):
            self.assertIn(outcome, (ES, REFUSED))
        else:
            # Nothing to be less than
            self.assertEqual(None if stored else REFUSED, outcome)

    @CHECK
    @hypothesis.given(REQUESTS)
    def test_what_nova_refuses_is_refused_as_nova_does(self, request):
        flavor, image = make(request)
        theirs = ask(upstream(), flavor, image)
        hypothesis.assume(isinstance(theirs, Exception))
        for function in (hardware.get_mem_encryption_constraint,
                         refusals.check):
            ours = ask(function, flavor, image)
            self.assertIs(type(theirs), type(ours))
            self.assertEqual(theirs.format_message(), ours.format_message())

    @CHECK
    @hypothesis.given(REQUESTS)
    def test_without_a_model_nothing_is_new(self, request):
        request = {key: value for key, value in request.items()
                   if not key.endswith('_model')}
        flavor, image = make(request)
        theirs = ask(upstream(), flavor, image)
        ours = ask(hardware.get_mem_encryption_constraint, flavor, image)
        self.assertEqual(str(theirs) if isinstance(theirs, Exception) else
                         hardware.MemEncryptionConfig(SEV) if theirs else None,
                         str(ours) if isinstance(ours, Exception) else ours)

    def test_a_model_makes_a_config_that_is_true(self):
        # Nova asks "if get_mem_encryption_constraint(...)"
        config = hardware.get_mem_encryption_constraint(*make(
            {'flavor_encryption': 'true', 'firmware': 'uefi'}))
        self.assertEqual(hardware.MemEncryptionConfig(model=SEV), config)
        self.assertTrue(config)

    def test_flavor_and_image_are_left_as_they_are(self):
        flavor, image = make({'flavor_encryption': 'true', 'image_model': ES,
                              'firmware': 'uefi', 'name': 'pear'})
        before = flavor.obj_to_primitive(), image.obj_to_primitive()
        hardware.get_mem_encryption_constraint(flavor, image)
        self.assertEqual(
            before, (flavor.obj_to_primitive(), image.obj_to_primitive()))


@ddt.ddt
class RefusalTest(Base):

    @CHECK
    @hypothesis.given(REQUESTS)
    def test_flavor_image_both_values_and_a_remedy_are_named(self, request):
        hypothesis.assume('required' not in (
            request.get('flavor_secure'), request.get('image_secure')))
        flavor, image = make(request)
        hypothesis.assume(
            not isinstance(ask(upstream(), flavor, image), Exception))
        e = ask(refusals.check, flavor, image)
        hypothesis.assume(isinstance(e, Exception))
        self.assertIsInstance(e, exception.FlavorImageConflict)
        message = e.format_message()
        values = [
            'unset' if request.get(key) is None else "'%s'" % request[key]
            for key in ('flavor_model', 'image_model')]
        self.assertIn('flavor apple has hw:mem_encryption_model %s, '
                      % values[0], message)
        name = request.get('name') or request.get('id') or 'of the root volume'
        self.assertIn('image %s has hw_mem_encryption_model %s. '
                      % (name, values[1]), message)
        self.assertRegex(message, '(Allowed are amd-sev, amd-sev-es, '
                         'amd-sev-snp|'
                         'Set the model in one of them, or the same in both|'
                         'Set hw:mem_encryption=true in the flavor or '
                         r'hw_mem_encryption=true in the image, .*)\.$')

    @ddt.data(
        ({'flavor_encryption': 'true', 'flavor_model': ES, 'image_model': SEV},
         'Conflicting memory encryption models', 'the same in both'),
        ({'flavor_model': SEV, 'image_model': ES},
         'Conflicting memory encryption models', 'the same in both'),
        ({'flavor_encryption': 'true', 'flavor_model': 'amd-tdx'},
         'Unknown memory encryption model', 'Allowed are'),
        ({'flavor_encryption': 'true', 'flavor_model': ''},
         'Unknown memory encryption model', 'Allowed are'),
        ({'flavor_model': ES},
         'without memory encryption', 'hw:mem_encryption=true'),
        ({'flavor_encryption': 'false', 'flavor_model': ES},
         'without memory encryption', 'hw:mem_encryption=true'),
        ({'image_encryption': 'false', 'image_model': SEV},
         'without memory encryption', 'hw_mem_encryption=true'),
    )
    @ddt.unpack
    def test_the_reason_and_its_own_remedy(self, request, problem, remedy):
        e = ask(refusals.check,
                *make({'firmware': 'uefi', **request}))
        self.assertIn(problem, e.format_message())
        self.assertIn(remedy, e.format_message())

    @tables.data(('required', None, "'required'", 'unset'),
                 (None, 'required', 'unset', "'required'"),
                 ('optional', 'required', "'optional'", "'required'"))
    @ddt.unpack
    def test_sev_es_has_no_secure_boot(self, flavor, image, *values):
        request = {'flavor_encryption': 'true', 'image_model': ES,
                   'firmware': 'uefi', 'name': 'pear',
                   'flavor_secure': flavor, 'image_secure': image}
        e = ask(refusals.check, *make(request))
        self.assertEqual(
            'Memory encryption model amd-sev-es with secure boot: flavor '
            'apple has os:secure_boot %s, image pear has os_secure_boot %s. '
            'Secure boot needs SMM, which SEV-ES does not have. Do not '
            'require it, or ask for model amd-sev.' % values,
            e.format_message())
        self.assertEqual(ES, self.get_stored(request))
        self.assertEqual(SEV, self.get({**request, 'image_model': SEV}))
        self.assertEqual(SEV, self.get({**request, 'image_model': None}))

    @tables.data(*itertools.product(
        (None, 'auto', 'intel', 'virtio'), (None, 'auto', 'intel', 'virtio')))
    @ddt.unpack
    def test_sev_es_has_no_virtual_iommu(self, flavor, image):
        request = {'flavor_encryption': 'true', 'image_model': ES,
                   'firmware': 'uefi', 'name': 'pear',
                   'flavor_viommu': flavor, 'image_viommu': image}
        if flavor is image is None:
            self.assertEqual(ES, self.get(request))
            return
        e = ask(refusals.check, *make(request))
        self.assertEqual(
            'Memory encryption model amd-sev-es with a virtual IOMMU: flavor '
            'apple has hw:viommu_model %s, image pear has hw_viommu_model %s. '
            'Devices behind a virtual IOMMU cannot read the memory of the '
            'server. Remove the property.' % (
                properties.quote(flavor), properties.quote(image)),
            e.format_message())
        self.assertEqual(ES, self.get_stored(request))
        # As Nova always did
        self.assertEqual(SEV, self.get({**request, 'image_model': None}))

    def test_an_unknown_model_of_an_image_can_be_described(self):
        self.assertEqual(
            "Unknown memory encryption model: flavor apple has "
            "hw:mem_encryption_model unset, image pear has "
            "hw_mem_encryption_model 'amd-tdx'. Allowed are amd-sev, "
            "amd-sev-es, amd-sev-snp.", refusals.find_model_refusal(
                'apple', None, 'pear', 'amd-tdx', False))

    @tables.data((None, None, False), (None, None, True), (ES, None, True),
                 (SEV, SEV, True))
    @ddt.unpack
    def test_nothing_is_said_of_what_can_be(self, flavor, image, encrypted):
        self.assertIsNone(refusals.find_model_refusal(
            'apple', flavor, 'pear', image, encrypted))


@ddt.ddt
class StoredTest(Base):
    """What was stored before the series came goes on as it was."""

    @CHECK
    @hypothesis.given(REQUESTS, st.sampled_from([None, 'q35', 'pc']))
    def test_the_outcome_is_what_nova_31_gave(self, request, machine):
        flavor, image = make(request)
        theirs = ask(upstream(), flavor, image, machine)
        ours = ask(hardware.get_mem_encryption_constraint, flavor, image,
                   machine)
        if isinstance(theirs, Exception):
            self.assertIs(type(theirs), type(ours))
            self.assertEqual(str(theirs), str(ours))
        else:
            self.assertEqual(theirs, bool(ours))
            self.assertNotIsInstance(ours, Exception)
        # That is for the compute to refuse.
        outcome = expect({key: value for key, value in request.items()
                          if not key.endswith('_secure')}, machine)
        if theirs is True:
            # What is refused now was plain SEV.
            self.assertEqual(SEV if outcome == REFUSED else outcome,
                             ours.model)

    @tables.data((SEV, ES), (ES, SEV), ('amd-tdx', None), ('', None), ('', ES))
    @ddt.unpack
    def test_what_is_refused_now_was_plain_sev(self, flavor, image):
        request = {'flavor_encryption': 'true', 'flavor_model': flavor,
                   'image_model': image, 'firmware': 'uefi'}
        self.assertEqual(REFUSED, self.get(request))
        self.assertEqual(SEV, self.get_stored(request))

    @ddt.data(SEV, ES)
    def test_an_unknown_model_of_its_image_is_ignored(self, model):
        request = {'flavor_encryption': 'true', 'flavor_model': model,
                   'image_model': 'amd-tdx', 'firmware': 'uefi'}
        self.assertEqual(REFUSED, self.get(request))
        self.assertEqual(model, self.get_stored(request))


class FieldTest(test.NoDBTestCase):
    """What is read of versioned objects without asking them."""

    def test_what_is_set_and_what_is_not(self):
        image = objects.ImageMeta(properties=objects.ImageMetaProps())
        for versioned, name, value in (
                (objects.Flavor(), 'extra_specs', {'a': 'b'}),
                (objects.RequestSpec(), 'image', image),
                *((objects.ImageMetaProps(), name, value) for name, value in (
                    ('hw_mem_encryption', False),
                    ('hw_mem_encryption_model', ES),
                    ('hw_firmware_type', 'uefi'),
                    ('os_secure_boot', 'required')))):
            self.assertIsNone(properties.get_field(versioned, name))
            setattr(versioned, name, value)
            self.assertEqual(value, properties.get_field(versioned, name))

    def test_an_image_is_read_as_nova_reads_it(self):
        self.assertLessEqual(
            set(refusals.JUDGED), set(objects.ImageMetaProps.fields))
        given = dict.fromkeys(refusals.JUDGED, 'true')
        given.update(hw_firmware_type='uefi', os_secure_boot='required',
                     hw_mem_encryption_model=ES, hw_viommu_model='virtio',
                     hw_mem_page_size='large', hw_machine_type='q35')
        for judged in ({}, given):
            for which in ({'id': uuids.image, 'name': 'pear'}, {'name': ''},
                          {'name': None}, {'id': 'no UUID'}, {}):
                image = {**which, 'properties': {
                    **judged, 'os_type': 'linux', 'owner': 'x'}}
                known = {key: value for key, value in which.items()
                         if key == 'id' and value == uuids.image}
                self.assertEqual(
                    objects.ImageMeta.from_dict({
                        'name': which.get('name') or which.get('id') or '',
                        **known, 'properties': judged}).obj_to_primitive(),
                    refusals.read_image(image).obj_to_primitive())
