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

"""Test what the API refuses, and what it says."""
from nova.tests.functional.api import client
from nova import utils

from nova.tests.functional.libvirt import mem_encryption as base

CONFLICT = ('Conflicting memory encryption models',
            'Set the model in one of them, or the same in both.')
UNKNOWN = ('Unknown memory encryption model',
           'Allowed are amd-sev, amd-sev-es, amd-sev-snp.')
ALONE = ('A memory encryption model without memory encryption',
         'Set hw:mem_encryption=true in the flavor or hw_mem_encryption=true '
         'in the image, or remove the model.')

ES_MODEL = {'hw:mem_encryption_model': 'amd-sev-es'}
SEV_MODEL = {'hw:mem_encryption_model': 'amd-sev'}
ES_IMAGE = {'hw_mem_encryption_model': 'amd-sev-es'}
SEV_IMAGE = {'hw_mem_encryption_model': 'amd-sev'}
NO = {'hw:mem_encryption': 'false'}
NO_IMAGE = {'hw_mem_encryption': 'false'}

REFUSALS = (
    # (extra specs, image properties, what is said, extra specs from which
    #  the server is resized, image properties from which it is rebuilt)
    (base.ES_SPECS, SEV_IMAGE, CONFLICT, base.SEV_SPECS, {}),
    ({**base.SEV_SPECS, **SEV_MODEL}, ES_IMAGE, CONFLICT, base.SEV_SPECS, {}),
    (ES_MODEL, {**base.SEV_PROPERTIES, **SEV_IMAGE}, CONFLICT, {},
     base.SEV_PROPERTIES),
    ({**base.SEV_SPECS, 'hw:mem_encryption_model': 'amd-snp'}, {}, UNKNOWN,
     {}, None),
    ({**base.SEV_SPECS, 'hw:mem_encryption_model': ''}, {}, UNKNOWN, {}, None),
    ({**base.SEV_SPECS, 'hw:mem_encryption_model': 'intel-tdx'}, {}, UNKNOWN,
     None, None),
    (base.SEV_SPECS, {'hw_mem_encryption_model': 'amd-snp'}, UNKNOWN,
     None, None),
    ({**base.SEV_SPECS, 'hw:mem_encryption_model': 'AMD-SEV-ES'}, {}, UNKNOWN,
     None, None),
    (base.SEV_SPECS, {'hw_mem_encryption_model': 'SEV'}, UNKNOWN, None, {}),
    ({}, {'hw_mem_encryption_model': 'tdx'}, UNKNOWN, None, {}),
    (ES_MODEL, {}, ALONE, {}, base.SEV_PROPERTIES),
    (SEV_MODEL, {}, ALONE, {}, base.SEV_PROPERTIES),
    ({}, ES_IMAGE, ALONE, base.SEV_SPECS, {}),
    ({**NO, **ES_MODEL}, {}, ALONE, {}, None),
    ({}, {**NO_IMAGE, **SEV_IMAGE}, ALONE, None, {}),
    (ES_MODEL, NO_IMAGE, ALONE, {}, base.SEV_PROPERTIES),
)


class RefusalsTest(base.MemEncryptionTestBase):

    ADMIN_API = False

    def setUp(self):
        super().setUp()
        self.start_host()

    def create_flavor(self, extra_specs=None):
        # Before 2.86 there was no validation of extra specs, and the flavors
        # of that time are still there.
        with utils.temporary_mutation(self.admin_api, microversion='2.85'):
            return super().create_flavor(extra_specs)

    def assert_refused(self, function, *args):
        """Check that the API refuses; return what it says."""
        before = self.get_placement()
        e = self.assertRaises(client.OpenStackApiException, function, *args)
        self.assertEqual(400, e.response.status_code)
        self.assertEqual(before, self.get_placement())
        return next(iter(e.response.json().values()))['message']

    def assert_message(self, expected, message, flavor, image, called=None):
        """Check that a message names all that its reader needs.

        :param expected: the problem and the remedy
        :param called: what the image is called, its name by default
        """
        flavor = self.admin_api.api_get('flavors/%s' % flavor).body['flavor']
        image = self.glance.show(None, image)
        values = [flavor['extra_specs'].get('hw:mem_encryption_model'),
                  image['properties'].get('hw_mem_encryption_model')]
        self.assertEqual(
            '%s: flavor %s has hw:mem_encryption_model %s, image %s has '
            'hw_mem_encryption_model %s. %s' % (
                expected[0], flavor['name'], self.quote(values[0]),
                called or image['name'], self.quote(values[1]),
                expected[1]), message)

    @staticmethod
    def quote(value):
        return 'unset' if value is None else "'%s'" % value

    def test_create(self):
        for specs, properties, expected, _, _ in REFUSALS:
            flavor = self.create_flavor(specs)
            image = self.create_image(**properties)
            request = self._build_server(
                image_uuid=image, flavor_id=flavor, networks='none')
            message = self.assert_refused(
                self.api.post_server, {'server': request})
            self.assert_message(expected, message, flavor, image)
        self.assertEqual([], self.api.get_servers())

    def test_create_from_a_volume(self):
        message = self.assert_refused(
            self.boot_from_volume, base.ES_SPECS, SEV_IMAGE)
        self.assertIn('image of the root volume has hw_mem_encryption_model '
                      "'amd-sev'", message)
        self.assertEqual([], self.api.get_servers())

    def test_resize(self):
        for specs, properties, expected, old, _ in REFUSALS:
            if old is None:
                continue
            image = self.create_image(**properties)
            server = self._create_server(
                image_uuid=image, flavor_id=self.create_flavor(old),
                networks='none')
            flavor = self.create_flavor(specs)
            message = self.assert_refused(
                self.api.post_server_action, server['id'],
                {'resize': {'flavorRef': flavor}})
            # What is stored of a server's image has no name.
            self.assert_message(expected, message, flavor, image, image)

    def test_rebuild(self):
        for specs, properties, expected, _, old in REFUSALS:
            if old is None:
                continue
            flavor = self.create_flavor(specs)
            server = self._create_server(
                image_uuid=self.create_image(**old), flavor_id=flavor,
                networks='none')
            image = self.create_image(**properties)
            message = self.assert_refused(
                self.api.post_server_action, server['id'],
                {'rebuild': {'imageRef': image}})
            self.assert_message(expected, message, flavor, image)

    def test_rebuild_with_another_model(self):
        # The server would keep its slot, and could not be started with it.
        images = [base.ES_PROPERTIES, base.SEV_PROPERTIES, {}]
        for properties in images:
            server = self.boot({}, properties)
            for other in images:
                if other is properties:
                    continue
                message = self.assert_refused(
                    self.api.post_server_action, server['id'],
                    {'rebuild': {'imageRef': self.create_image(**other)}})
                self.assertIn('A rebuild cannot change the memory encryption',
                              message)

    def test_what_nova_refuses_of_sev_it_refuses_of_sev_es(self):
        for properties, reason in (
                ({'hw_firmware_type': 'bios'}, 'hw_firmware_type'),
                ({'hw_machine_type': 'pc'}, 'q35'),
                (NO_IMAGE, 'conflicting with image')):
            for specs in (base.SEV_SPECS, base.ES_SPECS):
                self.assertIn(reason, self.assert_refused(
                    self.boot, specs, properties))

    def test_no_vgpu(self):
        plain = self.boot()
        for specs, properties in ((base.SEV_SPECS, {}), (base.ES_SPECS, {}),
                                  ({}, base.ES_PROPERTIES)):
            flavor = self.create_flavor({**specs, 'resources:VGPU': '1'})
            image = self.create_image(**properties)
            message = self.assert_refused(self.api.post_server, {
                'server': self._build_server(
                    image_uuid=image, flavor_id=flavor, networks='none')})
            self.assertIn('has resources:VGPU, and memory encryption is '
                          'requested', message)
            self.assertIn('Use a flavor without', message)
            server = plain if specs else self.boot({}, properties)
            self.assertIn('can have no vGPU', self.assert_refused(
                self.api.post_server_action, server['id'],
                {'resize': {'flavorRef': flavor}}))

    def test_no_virtual_iommu(self):
        plain = self.boot()
        for specs, properties in (
                ({**base.ES_SPECS, 'hw:viommu_model': 'intel'}, {}),
                (base.ES_SPECS, {'hw_viommu_model': 'auto'})):
            flavor = self.create_flavor(specs)
            image = self.create_image(**properties)
            self.assertIn('with a virtual IOMMU', self.assert_refused(
                self.api.post_server, {'server': self._build_server(
                    image_uuid=image, flavor_id=flavor, networks='none')}))
            server, body = (plain, {'resize': {'flavorRef': flavor}}) if (
                not properties) else (self.boot(base.ES_SPECS), {
                    'rebuild': {'imageRef': image}})
            self.assertIn('with a virtual IOMMU', self.assert_refused(
                self.api.post_server_action, server['id'], body))
        # Nova has always let it be.
        self.boot(base.SEV_SPECS, {'hw_viommu_model': 'intel'})

    def test_no_suspend_and_no_live_migration(self):
        servers = [self.boot(base.SEV_SPECS), self.boot(base.ES_SPECS)]
        for body in ({'suspend': None},
                     {'os-migrateLive': {'host': None,
                                         'block_migration': 'auto'}}):
            self.assertEqual(*[
                self.assert_refused(
                    self.admin_api.post_server_action, server['id'], body,
                ).replace(server['id'], '')
                for server in servers])

    def test_an_extra_spec_is_validated_since_2_86(self):
        flavor = self.create_flavor()
        self.assertIn('amd-sev-es', self.assert_refused(
            self.admin_api.post_extra_spec, flavor,
            {'extra_specs': {'hw:mem_encryption_model': 'amd-snp'}}))
        for model in ('amd-sev', 'amd-sev-es', 'amd-sev-snp'):
            self.admin_api.post_extra_spec(
                flavor, {'extra_specs': {'hw:mem_encryption_model': model}})
