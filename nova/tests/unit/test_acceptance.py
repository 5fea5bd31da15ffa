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

"""Test what tools/tox -e tempest judges by; that itself runs Tempest."""
import contextlib
import datetime
import io
import os
import sys

import ddt
import fixtures
import testtools
from testtools import content

from nova_mem_encryption.engine import tree
from nova_mem_encryption.nova.mem_encryption import models

TOOLS = os.path.join(tree.root(), 'tools')
CLOUD = os.path.join(TOOLS, 'cloud')
FOLDERS = [CLOUD, os.path.join(TOOLS, 'nova_tests')]
NOW = datetime.datetime(2025, 1, 1)


def load(*names):
    """Import tools by names that other folders of tools have, too."""
    path, modules = sys.path[:], dict(sys.modules)
    try:
        sys.path[:0] = FOLDERS
        sys.modules.pop('run', None)
        return [__import__(name) for name in names]
    finally:
        sys.path[:] = path
        for name in {*sys.modules} - {*modules}:
            if os.path.dirname(getattr(sys.modules[name], '__file__', None) or
                               '') in [*FOLDERS, TOOLS]:
                del sys.modules[name]
        sys.modules.update(modules)


if os.path.isdir(CLOUD):
    acceptance, run_tempest, keystone, neutron, ports, rest = load(
        'acceptance', 'run_tempest', 'keystone', 'neutron', 'ports', 'rest')


@testtools.skipUnless(os.path.isdir(CLOUD), 'only a checkout has the cloud')
class TestCase(testtools.TestCase):
    pass


class ListedTest(TestCase):

    def listed(self, text, model='amd-sev-es'):
        path = self.useFixture(fixtures.TempDir()).join('fails.txt')
        with open(path, 'w') as f:
            f.write(text)
        return run_tempest.get_listed(path, model)

    def test_each_has_a_reason(self):
        self.assertEqual({'a.b': 'is broken so'}, self.listed(
            '# why\n\na.b is broken so\n'))
        self.assertRaisesRegex(ValueError, 'no reason for a.b',
                               self.listed, 'a.b\n')

    def test_one_may_be_for_some_models(self):
        text = 'amd-sev,amd-sev-snp:a.b has it\n'
        self.assertEqual({'a.b': 'has it'}, self.listed(text, 'amd-sev-snp'))
        self.assertEqual({}, self.listed(text, 'amd-sev-es'))
        self.assertEqual({}, self.listed(text, 'none'))

    def test_the_file_is_of_models_that_there_are(self):
        for key in run_tempest.run.superseded(run_tempest.FAILS):
            self.assertLessEqual(
                set(filter(None, key.rpartition(':')[0].split(','))),
                set(acceptance.MODELS))


class JudgeTest(TestCase):

    def judge(self, listed=(), whole=True, **statuses):
        results = run_tempest.Results()
        with contextlib.redirect_stdout(io.StringIO()):
            for name, status in statuses.items():
                results.on_test({
                    'id': 'a.%s[id-1,slow]' % name, 'status': status,
                    'timestamps': (NOW, NOW), 'details': {
                        'traceback': content.text_content('so it broke')}})
        return run_tempest.judge(
            results, {'a.' + name: 'why' for name in listed}, whole)

    def test_what_passes_or_is_skipped_is_right(self):
        self.assertEqual([], self.judge(one='success', two='skip'))

    def test_what_fails_is_wrong_and_says_how(self):
        self.assertEqual(['a.two: fail\nso it broke'],
                         self.judge(one='success', two='fail'))

    def test_what_fails_as_listed_is_right(self):
        self.assertEqual([], self.judge(['one'], one='fail'))

    def test_what_is_listed_and_does_not_fail_is_wrong(self):
        for status in ('success', 'skip'):
            self.assertEqual(
                ['a.one is in tempest_fails.txt, but does not fail (%s)' %
                 status], self.judge(['one'], one=status))

    def test_what_is_listed_and_was_not_run_is_wrong_where_all_were(self):
        self.assertEqual(
            ['a.two is in tempest_fails.txt, but there is no such test'],
            self.judge(['two'], one='success'))
        self.assertEqual([], self.judge(['two'], False, one='success'))

    def test_no_test_at_all_is_wrong(self):
        self.assertEqual(['tempest: no test was run'], self.judge())


@ddt.ddt
class LaunchesTest(TestCase):

    def summarise(self, *calls):
        return acceptance.summarise([
            {'guest': guest, 'call': 'KVM_SEV_' + call, 'policy': policy}
            for guest, call, policy in calls])

    def test_each_is_counted_by_call_and_policy(self):
        self.assertEqual(
            {('KVM_SEV_ES_INIT', '0x0037', True): 2,
             ('KVM_SEV_INIT', '0x0033', True): 1},
            self.summarise(
                ('a', 'ES_INIT', None), ('b', 'INIT', None),
                ('a', 'LAUNCH_START', 0x37), ('b', 'LAUNCH_START', 0x33),
                ('b', 'LAUNCH_UPDATE_DATA', None),
                ('a', 'LAUNCH_FINISH', 0x37), ('b', 'LAUNCH_FINISH', 0x33),
                ('a', 'ES_INIT', None), ('a', 'LAUNCH_START', 0x37),
                ('a', 'LAUNCH_FINISH', 0x37)))

    def test_one_that_was_not_begun_or_not_ended_is_told_apart(self):
        self.assertEqual(
            {(None, '0x0037', True): 1, ('KVM_SEV_ES_INIT', None, False): 1,
             ('KVM_SEV_INIT', '0x0033', False): 1},
            self.summarise(
                ('a', 'LAUNCH_START', 0x37), ('a', 'LAUNCH_FINISH', 0x37),
                ('b', 'INIT', None), ('b', 'LAUNCH_START', 0x33),
                ('b', 'ES_INIT', None)))

    def test_what_the_kernel_is_asked_besides_is_no_launch(self):
        self.assertEqual({}, acceptance.summarise([
            {'call': 'SEV_PLATFORM_STATUS'}]))

    @ddt.data(*models.MODELS)
    def test_what_is_expected_is_the_policy_of_the_model(self, value):
        row = models.MODELS[value]
        self.assertEqual(row.launch_security.value,
                         acceptance.GUESTS[value][1])
        self.assertEqual(row.firmware.kind.stateless,
                         'hw_firmware_stateless' in
                         acceptance.get_properties(row))


class StandInsTest(TestCase):
    """Keystone and Neutron, where Tempest would pass without them."""

    def setUp(self):
        super().setUp()
        self.keystone = keystone.Keystone({
            'port': 0x1234, 'password': 'secret', 'catalog': {},
            'users': {'admin': ['admin'], 'service': ['service']}})
        self.neutron = neutron.Neutron(self.keystone)

    def ask(self, service, method, path, token=None, body=None, **query):
        headers = {} if token is None else {'X-Auth-Token': token}
        return service.answer(rest.Request(
            method, path, {name: [value] for name, value in query.items()},
            headers, body))

    def log_in(self, name, password='secret', project='cloud'):
        user = {'name': name, 'password': password}
        _, body, headers = self.ask(
            self.keystone, 'POST', '/v3/auth/tokens', body={'auth': {
                'identity': {'methods': ['password'],
                             'password': {'user': user}},
                'scope': {'project': {'name': project}}}})
        return body['token'], headers[0][1]

    def refuse(self, status, *args, **kwargs):
        error = self.assertRaises(rest.Refused, self.ask, *args, **kwargs)
        self.assertEqual(status, error.status)

    def make_member(self, name):
        """Make a user with a project of the same name; return a token."""
        token = self.log_in('admin')[1]
        for kind in ('projects', 'users'):
            self.ask(self.keystone, 'POST', '/v3/' + kind, token, {
                kind[:-1]: {'name': name, 'password': 'secret'}})
        numbers = [self.ask(self.keystone, 'GET', '/v3/' + kind, token,
                            name=name)[1][kind][0]['id']
                   for kind in ('projects', 'users')]
        self.ask(self.keystone, 'PUT',
                 '/v3/projects/%s/users/%s/roles/member' % tuple(numbers),
                 token)
        return self.log_in(name, project=name)[1]

    def test_a_role_has_those_that_it_implies(self):
        token, _ = self.log_in('admin')
        self.assertEqual(['admin', 'manager', 'member', 'reader'],
                         [role['name'] for role in token['roles']])

    def test_who_has_another_password_or_no_role_does_not_get_in(self):
        for name, password, project in (
                ('admin', 'other', 'cloud'), ('nobody', 'secret', 'cloud'),
                ('admin', 'secret', 'other')):
            error = self.assertRaises(rest.Refused, self.log_in, name,
                                      password, project)
            self.assertEqual(401, error.status)

    def test_nothing_is_told_without_a_token(self):
        for path in ('/v3/users', '/v3/projects/cloud', '/v3/auth/tokens'):
            self.refuse(401, self.keystone, 'GET', path)
        self.refuse(401, self.neutron, 'GET', '/v2.0/ports')

    def test_a_password_is_not_shown(self):
        token = self.log_in('admin')[1]
        self.assertNotIn('password', self.ask(
            self.keystone, 'GET', '/v3/users/admin', token)[1]['user'])

    def test_a_project_does_not_see_the_ports_of_another(self):
        one, other = self.make_member('one'), self.make_member('other')
        port = self.make_port(one)
        path = '/v2.0/ports/' + port['id']
        self.assertEqual(200, self.ask(self.neutron, 'GET', path, one)[0])
        self.refuse(404, self.neutron, 'GET', path, other)
        self.assertEqual({'ports': []}, self.ask(
            self.neutron, 'GET', '/v2.0/ports', other)[1])

    def test_a_port_is_a_tap_device_of_this_cloud_where_it_is_bound(self):
        token = self.log_in('admin')[1]
        port = self.make_port(token)
        self.assertEqual('unbound', port['binding:vif_type'])
        port = self.ask(
            self.neutron, 'PUT', '/v2.0/ports/' + port['id'], token,
            {'port': {'binding:host_id': 'es1'}})[1]['port']
        self.assertEqual('tap', port['binding:vif_type'])
        # As Nova names it
        self.assertTrue(('tap' + port['id'][:11]).startswith(
            ports.get_prefix(0x1234)))

    def test_no_two_ports_have_an_address(self):
        token = self.log_in('admin')[1]
        port = self.make_port(token)
        address, = port['fixed_ips']
        second = self.ask(self.neutron, 'POST', '/v2.0/ports', token, {
            'port': {'network_id': port['network_id']}})[1]['port']
        self.assertNotEqual(address, second['fixed_ips'][0])
        self.refuse(409, self.neutron, 'POST', '/v2.0/ports', token, {
            'port': {'network_id': port['network_id'],
                     'fixed_ips': [dict(address)]}})

    def make_port(self, token):
        network = self.ask(self.neutron, 'POST', '/v2.0/networks', token,
                           {'network': {}})[1]['network']['id']
        self.ask(self.neutron, 'POST', '/v2.0/subnets', token, {
            'subnet': {'network_id': network, 'cidr': '10.0.0.0/29'}})
        return self.ask(self.neutron, 'POST', '/v2.0/ports', token, {
            'port': {'network_id': network}})[1]['port']
