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

"""Test what is found wrong with flavors and images."""
import ddt
from keystoneauth1 import exceptions as ks_exc
from keystoneauth1 import fixture as ks_fixture
from keystoneauth1 import loading as ks_loading
from oslo_config import fixture as config_fixture
import requests_mock.contrib.fixture

import nova.conf
from nova import test
from nova.tests.fixtures import tables

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties
from nova_mem_encryption.nova.mem_encryption.upgrade import specs as judge

CONF = nova.conf.CONF
ON = {'hw:mem_encryption': 'true'}
SEV_MODEL = {**ON, 'hw:mem_encryption_model': 'amd-sev'}
ES_MODEL = {**ON, 'hw:mem_encryption_model': 'amd-sev-es'}
SNP_MODEL = {**ON, 'hw:mem_encryption_model': 'amd-sev-snp'}
SEV_TRAIT = 'trait%s:HW_CPU_X86_AMD_SEV'
ES_TRAIT = 'trait%s:HW_CPU_X86_AMD_SEV_ES'
SLOT = 'resources%s:MEM_ENCRYPTION_CONTEXT'
NO_HOST = ('failure', 'no host is found')
EVERYWHERE = ('warning', 'keeps no servers off SEV hosts')
ANY_MODEL = ('warning', 'a slot of any model')
VGPU = ('warning', ':VGPU beside memory encryption, so it is refused')
ALONE = ('warning', 'a memory encryption model without memory encryption')


@ddt.ddt
class JudgeSpecsTest(test.NoDBTestCase):

    def judge(self, specs):
        return [(f.severity, f.message) for f in
                judge.judge_specs('Flavor f', specs)]

    @ddt.data(
        {}, ON, SEV_MODEL, ES_MODEL, {'hw:mem_encryption': 'false'},
        {'trait:HW_CPU_X86_SSE': 'required', 'resources:VCPU': '1'},
        {**ON, SEV_TRAIT % '': 'required'},
        {**SEV_MODEL, SEV_TRAIT % '': 'required'},
        # The flavor that is safe with a scheduler without the series
        {**ES_MODEL, ES_TRAIT % '': 'required'},
        {**ES_MODEL, SEV_TRAIT % '': 'forbidden'},
        {**ON, SLOT % '': '1'}, {SLOT % '': '0'},
        {**SEV_MODEL, 'os:secure_boot': 'required'},
        {**ES_MODEL, 'os:secure_boot': 'optional'},
        {**SEV_MODEL, 'hw:viommu_model': 'auto'},
        {SLOT % '': '1', SEV_TRAIT % '': 'required'},
        {SLOT % '': '1', ES_TRAIT % '': 'required'},
        {SLOT % '_A': '1', SEV_TRAIT % '_A': 'required'},
        {SLOT % '1': '1', ES_TRAIT % '1': 'required'},
        {'resources:VGPU': '1'}, {**ES_MODEL, 'resources:VGPU': '0'},
        # What is not an extra spec of these is nobody's business here.
        {'quota:cpu_shares': '1', 'trait': 'x', 'description': 'y'})
    def test_nothing_is_wrong(self, specs):
        self.assertEqual([], self.judge(specs))

    @ddt.data(
        ({SEV_TRAIT % '': 'required'}, NO_HOST),
        ({**ES_MODEL, SEV_TRAIT % '': 'required'}, NO_HOST),
        ({**ON, SEV_TRAIT % '1': 'required'}, NO_HOST),
        ({SLOT % '2': '1', ES_TRAIT % '2': 'required',
          SEV_TRAIT % '1': 'required'}, NO_HOST),
        ({SEV_TRAIT % '': 'forbidden'}, EVERYWHERE),
        ({SLOT % '': '1'}, ANY_MODEL), ({SLOT % '1': '1'}, ANY_MODEL),
        ({SLOT % '1': '1', SEV_TRAIT % '1': 'forbidden'}, ANY_MODEL),
        ({**ON, SLOT % '1': '1'}, ANY_MODEL),
        ({**ON, 'resources:VGPU': '1'}, VGPU),
        ({**ES_MODEL, 'resources_a:VGPU': '2'}, VGPU),
        ({'hw:mem_encryption_model': 'amd-sev-es'}, ALONE),
        ({'hw:mem_encryption_model': 'amd-sev',
          'hw:mem_encryption': 'false'}, ALONE),
        ({**ES_MODEL, 'os:secure_boot': 'required'},
         ('warning', "os:secure_boot 'required' beside memory encryption, so "
          'it is refused with SEV-ES. Secure boot needs SMM, ')),
        ({**ES_MODEL, 'hw:viommu_model': 'auto'},
         ('warning', "hw:viommu_model 'auto' beside memory encryption")),
        ({**ON, 'hw:mem_encryption_model': 'amd-tdx'},
         ('warning', "unknown memory encryption model 'amd-tdx'")))
    @ddt.unpack
    def test_what_is_wrong(self, specs, expected):
        (severity, message), = self.judge(specs)
        self.assertEqual(expected[0], severity)
        self.assertTrue(message.startswith('Flavor f has '), message)
        self.assertIn(expected[1], message)

    def test_what_the_next_releases_of_nova_refuse(self):
        self.assertEqual([(
            'warning', 'Flavor f asks for amd-sev-snp, which Nova 32 and 33 '
            'refuse, and Nova 34 has. Before an upgrade to Nova 32 or 33: '
            'take that out of it.')], self.judge(SNP_MODEL))

    # What asks for what a model may lack: of a flavor, of an image
    LACKS = {
        'vgpu': ({'resources:VGPU': '1'}, None),
        'pci': ({'pci_passthrough:alias': 'gpu:1'}, None),
        'viommu': ({'hw:viommu_model': 'auto'}, {'hw_viommu_model': 'auto'}),
        'secure_boot': ({'os:secure_boot': 'required'},
                        {'os_secure_boot': 'required'}),
        'large_pages': ({'hw:mem_page_size': 'large'},
                        {'hw_mem_page_size': '2MB'}),
        'stateful_firmware': (None, {'hw_firmware_stateless': 'false'}),
        'locked_memory': ({'hw:locked_memory': 'true'},
                          {'hw_locked_memory': 'true'}),
        'realtime': ({'hw:cpu_realtime': 'yes'}, None),
        'file_backed_memory': (None, None),  # it is of hosts
    }
    STATELESS = {'hw_firmware_stateless': 'true'}

    @tables.data(*((model, lack) for model, row in models.MODELS.items()
                   for lack in row.lacks))
    @ddt.unpack
    def test_what_a_model_lacks(self, model, lack):
        of_flavor, of_image = self.LACKS[lack]
        found = []
        if of_flavor:
            found += self.judge({**ON, 'hw:mem_encryption_model': model,
                                 **of_flavor})
        if of_image:
            found += [(f.severity, f.message) for f in judge._judge_image({
                'id': '1', 'name': 'i', 'hw_mem_encryption': 'true',
                'hw_mem_encryption_model': model, **self.STATELESS,
                **of_image})]
        why = models.MODELS[model].lacks[lack]
        found = [message for _, message in found if why in message]
        self.assertEqual(bool(of_flavor) + bool(of_image), len(found))

    @tables.data(*((model, name) for model in models.MODELS
                   for name in properties.PROPERTIES))
    @ddt.unpack
    def test_whatever_an_image_has(self, model, name):
        """What only flavors can have means nothing in an image."""
        row = properties.PROPERTIES[name]
        for value in ('', 'true', 'false', 'required', 'large', '?', '1'):
            problems = [each.problem for each in judge._judge_image({
                'id': '1', 'name': 'i', 'hw_mem_encryption': 'true',
                'hw_mem_encryption_model': model, row.of_images: value})]
            if not row.of_image:
                self.assertNotIn(row.of_images, ' '.join(problems))

    def test_images_that_a_model_is_refused_with(self):
        asked = {'id': '1', 'name': 'i', 'hw_mem_encryption': 'true',
                 'hw_mem_encryption_model': 'amd-sev-snp'}

        def find(**more):
            return [f.message for f in judge._judge_image({**asked, **more})
                    if 'asks for' not in f.problem[:8]]
        message, = find()
        self.assertEqual(
            'Image i has hw_firmware_stateless unset beside memory '
            'encryption, so it is refused with SEV-SNP. Its firmware is one '
            'file, and keeps no variables. Set hw_firmware_stateless=true in '
            'the image.', message)
        self.assertEqual([], find(**self.STATELESS, hw_mem_page_size='small'))
        # Nova refuses that itself.
        self.assertEqual([], find(**self.STATELESS, os_secure_boot='often'))

    def test_all_that_is_wrong(self):
        self.assertEqual(
            ['failure', 'warning', 'warning'],
            sorted(severity for severity, message in self.judge({
                'hw:mem_encryption_model': 'amd-sev',
                SEV_TRAIT % '': 'required', SLOT % '1': '1'})))


@ddt.ddt
class JudgeTraitsTest(test.NoDBTestCase):
    """The traits of all models are judged alike."""

    def judge(self, specs):
        return [(f.severity, f.message) for f in
                judge.judge_specs('Flavor f', specs)
                if 'asks for' not in f.problem[:8]]

    def assert_judged(self, severity, words, specs):
        (found, message), = self.judge(specs)
        self.assertEqual(severity, found)
        self.assertIn(words, message)

    @ddt.data(*models.MODELS)
    def test_without_a_slot(self, model):
        row = models.MODELS[model]
        for group in ('', '1', '_A'):
            key = 'trait%s:%s' % (group, row.trait)
            self.assert_judged(
                'failure', 'has %s=required, but asks for no slot of %s. '
                % (key, row.title), {key: 'required'})
            self.assert_judged(
                'warning', 'has %s=forbidden, which keeps no servers off %s '
                'hosts.' % (key, row.title), {key: 'forbidden'})

    @ddt.data(*models.MODELS)
    def test_beside_a_model(self, model):
        key = 'trait:' + models.MODELS[model].trait
        for asked, row in models.MODELS.items():
            specs = {**ON, 'hw:mem_encryption_model': asked}
            for value in ('required', 'forbidden'):
                found = {**specs, key: value}
                if (asked == model) == (value == 'required'):
                    self.assertEqual([], self.judge(found))
                else:
                    self.assert_judged(
                        'failure', 'has %s=%s beside a request for a slot of '
                        '%s. No such slot is like that, so no host is found. '
                        % (key, value, row.title), found)

    @ddt.data('', '1')
    def test_beside_a_slot_by_name(self, group):
        keys = ['trait%s:%s' % (group, row.trait)
                for row in models.MODELS.values()]
        for values, found in (
                (['forbidden'] * len(keys), ['failure', 'warning']),
                (['required'] * len(keys), ['failure']),
                (['required'] + ['forbidden'] * (len(keys) - 1), [])):
            self.assertEqual(found, sorted(
                severity for severity, _ in self.judge(
                    {SLOT % group: '1', **dict(zip(keys, values))})))

    def test_what_the_other_of_flavor_and_image_may_ask_for(self):
        for specs, unless in (
                ({}, ' unless flavor or image asks for memory encryption. '),
                (ON, ' unless flavor or image asks for another model. ')):
            self.assert_judged('failure', 'no host is found' + unless,
                               {**specs, ES_TRAIT % '': 'required'})

    def test_what_nova_does_not_read(self):
        self.assertEqual([], self.judge({ES_TRAIT % '': 'maybe'}))


class CheckImagesTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.requests = self.useFixture(
            requests_mock.contrib.fixture.Fixture())
        token = ks_fixture.V3Token()
        token.add_service('image').add_standard_endpoints(
            public='http://glance')
        token.set_project_scope()
        self.requests.get('http://keystone/v3', json={
            'version': ks_fixture.V3Discovery('http://keystone/v3')})
        self.requests.post('http://keystone/v3/auth/tokens', json=token,
                           headers={'X-Subject-Token': 'secret'})
        self.requests.get('http://glance', json={'versions': [
            {'id': 'v2.9', 'status': 'CURRENT', 'links': [
                {'rel': 'self', 'href': 'http://glance/v2/'}]}]})

    def sign_in(self):
        # It takes back what is registered.
        conf = self.useFixture(config_fixture.Config(CONF))
        conf.register_opts(
            ks_loading.get_auth_plugin_conf_options('password'),
            'service_user')
        conf.config(
            auth_type='password', auth_url='http://keystone/v3',
            username='nova', password='x', project_name='service',
            user_domain_id='default', project_domain_id='default',
            group='service_user')
        self.flags(valid_interfaces=['public'], group='glance')

    def test_all_pages_are_read_and_hidden_images(self):
        self.sign_in()
        self.requests.get('http://glance/v2/images?visibility=all', json={
            'next': '/v2/images?visibility=all&marker=1', 'images': [
                {'id': '1', 'name': 'good', 'hw_mem_encryption': 'true',
                 'hw_mem_encryption_model': 'amd-sev-es'},
                {'id': '2', 'name': 'bad',
                 'hw_mem_encryption_model': 'amd-sev-es'}]})
        self.requests.get('http://glance/v2/images?visibility=all&marker=1',
                          json={'images': [
                              {'id': '3', 'name': None,
                               'trait:HW_CPU_X86_AMD_SEV': 'required'}]})
        self.requests.get(
            'http://glance/v2/images?visibility=all&os_hidden=true', json={
                'images': [{'id': '4', 'name': 'old',
                            'hw_mem_encryption_model': 'amd-sev'}]})
        self.assertEqual(
            [('warning', 'Image bad'), ('failure', 'Image 3'),
             ('warning', 'Image old')],
            [(f.severity, f.object) for f in judge.check_images()])

    def test_glance_says_no(self):
        self.sign_in()
        self.requests.get('http://glance/v2/images', status_code=503)
        self.assertRaises(ks_exc.ServiceUnavailable, list,
                          judge.check_images())

    def test_without_a_service_user(self):
        e = self.assertRaises(ks_exc.MissingAuthPlugin, list,
                              judge.check_images())
        self.assertIn('[service_user]', str(e))
