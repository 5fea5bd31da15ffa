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

"""Test why a server is not started with another image than its own."""
import itertools
from unittest import mock

import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova import objects
from nova import test

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import substitutes

# What a server of any model may need
UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35',
        'hw_firmware_stateless': 'true'}
ASKED = {None: {}, **{model: {
    'hw_mem_encryption': 'true', 'hw_mem_encryption_model': model}
    for model in models.MODELS}}
SEV, ES = 'amd-sev', 'amd-sev-es'


def make_server(specs, properties):
    return objects.Instance(
        uuid=uuids.server, image_ref=uuids.own,
        flavor=objects.Flavor(name='apple', extra_specs={
            'hw:' + name: value for name, value in specs.items()}),
        system_metadata={'image_' + name: value for name, value in
                         {**UEFI, **properties}.items()})


def make_image(**properties):
    return {'id': uuids.other, 'name': 'pear', 'properties': {
        name: value for name, value in {**UEFI, **properties}.items()
        if value is not None}}


def find(specs, own, **other):
    return substitutes.find_refusal(make_server(specs, own),
                                    make_image(**other))


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class FindRefusalTest(test.NoDBTestCase):

    @ddt.data(*itertools.product(ASKED, repeat=2))
    @ddt.unpack
    def test_exactly_what_the_server_has(self, old, new):
        reason = find({}, ASKED[old], **ASKED[new])
        if old == new:
            self.assertIsNone(reason)
            return
        self.assertIn(
            'Image %s asks for memory encryption %s, the server has %s. '
            'Correct it: openstack image ' % (
                uuids.other, new or 'none', old or 'none'), reason)
        # What matters is in the 255 characters that Nova keeps of a fault.
        self.assertIn(' %s. With flavor apple' % uuids.other, reason)
        self.assertLessEqual(reason.index(' With flavor'), 255)

    @ddt.data(
        # (of the server's image, of the other, the commands)
        ({}, ASKED[ES], ['unset --property hw_mem_encryption --property '
                         'hw_mem_encryption_model']),
        (ASKED[ES], {}, ['set --property hw_mem_encryption=true --property '
                         'hw_mem_encryption_model=amd-sev-es']),
        ({'hw_mem_encryption': 'True'}, ASKED[ES],
         ['unset --property hw_mem_encryption_model']),
        ({'hw_mem_encryption': 'false'}, ASKED[SEV],
         ['set --property hw_mem_encryption=false',
          'unset --property hw_mem_encryption_model']),
    )
    @ddt.unpack
    def test_the_commands_make_it_right(self, own, other, commands):
        self.assertIn(' Correct it: %s.' % ' and '.join(
            'openstack image %s %s' % (command, uuids.other)
            for command in commands), find({}, own, **other))

    def test_a_flavor_that_names_another_model(self):
        self.assertIn('Conflicting memory encryption models', find(
            {'mem_encryption': 'true', 'mem_encryption_model': SEV}, {},
            hw_mem_encryption_model=ES))

    @ddt.data(({'mem_encryption': 'true'}, {}, {'hw_mem_encryption': 'true'}),
              ({'mem_encryption': 'true'}, {}, ASKED[SEV]),
              ({'mem_encryption': 'true', 'mem_encryption_model': ES}, {},
               ASKED[ES]),
              ({'mem_encryption': 'true', 'mem_encryption_model': ES},
               ASKED[ES], {}),
              # Nobody looked at models when that server was created.
              ({'mem_encryption': 'true'},
               {'hw_mem_encryption_model': 'tdx'}, {}),
              ({}, {'hw_mem_encryption_model': ES}, {}))
    @ddt.unpack
    def test_who_asks_is_no_matter(self, specs, own, other):
        self.assertIsNone(find(specs, own, **other))

    @ddt.data(
        ({}, ASKED[ES], {**ASKED[ES], 'hw_firmware_type': 'bios'},
         'Correct it: openstack image set --property hw_firmware_type=uefi %s'
         % uuids.other),
        ({}, ASKED[ES], {**ASKED[ES], 'hw_machine_type': 'pc'},
         'Correct it: openstack image set --property hw_machine_type=q35 %s.'
         % uuids.other),
        ({'mem_encryption': 'true'}, {}, {'hw_mem_encryption': 'false'},
         'Correct it: openstack image unset --property hw_mem_encryption %s.'
         % uuids.other),
        ({}, ASKED[ES], {**ASKED[ES], 'os_secure_boot': 'required'},
         "image %s has os_secure_boot 'required'" % uuids.other),
        ({}, ASKED[ES], {**ASKED[ES], 'hw_viommu_model': 'intel'},
         "image %s has hw_viommu_model 'intel'" % uuids.other),
        ({}, {}, {'hw_firmware_type': 'efi'},
         'Image %s: Field value efi is invalid.' % uuids.other),
    )
    @ddt.unpack
    def test_what_could_not_be_started(self, specs, own, other, expected):
        reason = find(specs, own, **other)
        self.assertIn(expected, reason)
        self.assertNotIn('pear', reason)
        self.assertNotIn('..', reason)

    def test_secure_boot_where_it_can_be(self):
        self.assertIsNone(find({}, ASKED[SEV], os_secure_boot='required',
                               **ASKED[SEV]))

    def test_a_server_that_no_image_fits(self):
        self.assertIn('hw_firmware_type', find(
            {}, {**ASKED[SEV], 'hw_firmware_type': 'bios'}, **ASKED[SEV]))

    def test_what_is_of_a_volume_has_no_id(self):
        reason = substitutes.find_refusal(
            make_server({}, ASKED[SEV]), {'properties': {}})
        self.assertIn('Image of the root volume asks for', reason)
        self.assertNotIn('openstack', reason)
        self.assertNotIn('None', reason)

    @ddt.data((None, False), (SEV, False), (ES, False), ('tdx', True),
              ('', True))
    @ddt.unpack
    def test_an_unknown_model(self, model, refused):
        reason = substitutes.find_unknown(
            make_server({}, {}), make_image(hw_mem_encryption_model=model))
        self.assertEqual(refused, reason is not None)
        if refused:
            self.assertIn("image %s has hw_mem_encryption_model '%s'"
                          % (uuids.other, model), reason)
            self.assertIn('Allowed are', reason)


class JudgingTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.service = mock.Mock(spec=['image_api'])
        self.judge = mock.Mock()
        self.judging = substitutes.judging(
            self.service, uuids.other, self.judge)

    def test_the_image_is_judged_as_it_is_read(self):
        read = self.service.image_api.get
        self.assertIs(read.return_value, self.judging.image_api.get(
            None, uuids.other, show_deleted=False))
        read.assert_called_once_with(None, uuids.other, show_deleted=False)
        self.judge.assert_called_once_with(read.return_value)

    def test_what_is_refused_is_not_handed_out(self):
        self.judge.side_effect = test.TestingException
        self.assertRaises(test.TestingException, self.judging.image_api.get,
                          None, uuids.other)

    def test_another_image_is_no_matter(self):
        self.judging.image_api.get(None, uuids.kernel)
        self.judge.assert_not_called()

    def test_all_else_is_nova_s(self):
        self.assertIs(self.service.image_api.delete,
                      self.judging.image_api.delete)
        self.assertIsNot(self.service.image_api, self.judging.image_api)
