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

"""Test nova-mem-encryption revert as a process, in all environments.

What it does to Placement is tested with a real one, by
functional.libvirt.test_mem_encryption_revert.
"""
import http.server
import json
import os
import threading

import ddt
import fixtures
import testtools

from nova.tests.fixtures import environment
from nova.tests.fixtures import tables

from nova_mem_encryption.check import hosts

NODE = '7e0b3a62-5b7c-4b6c-9d5e-0f4a2d1c8b90'
VERSIONS = {'versions': [{
    'id': 'v1.0', 'min_version': '1.0', 'max_version': '1.39',
    'status': 'CURRENT', 'links': [{'rel': 'self', 'href': ''}]}]}


class Placement(fixtures.Fixture):
    """A Placement that has no providers, and tells what it was asked."""

    def _setUp(self):
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):

            def do_GET(self):
                known = self.path != '/'
                if known:
                    asked.append((self.path,
                                  self.headers['OpenStack-API-Version']))
                body = json.dumps({'resource_providers': []} if known else
                                  VERSIONS).encode()
                self.send_response(200)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = 'http://127.0.0.1:%d' % server.server_port


@ddt.ddt
class RevertTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.placement = self.useFixture(Placement())
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.conf = self.write('nova.conf', '''
[DEFAULT]
state_path = %s
[placement]
auth_type = none
endpoint_override = %s
''' % (self.folder, self.placement.url))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def revert(self, *args, env=None, **variables):
        if env is None:
            env = self.useFixture(environment.Environment())
        return env.command('revert', *args, no_proxy='*', **variables)

    def assert_no_such_node(self, done, node='compute1'):
        """Check that Placement was asked, of which all else follows."""
        self.assertEqual(
            (1, '', 'Placement has no provider %s. Give the name of the node '
             "as 'openstack hypervisor list' has it. Nothing was written.\n"
             % node), (done.returncode, done.stdout, done.stderr))

    @ddt.data('on', 'off', 'garbage')
    def test_whatever_the_switch_says(self, switch):
        self.assert_no_such_node(self.revert(
            'compute1', '--config-file', self.conf,
            NOVA_MEM_ENCRYPTION=switch))
        self.assertEqual(
            [('/resource_providers?name=compute1', 'placement 1.30')],
            self.placement.asked)

    def test_where_the_series_was_refused(self):
        env = self.useFixture(environment.Environment())
        # What it uses of Nova is among what the series would wrap.
        env.change('nova.conf.libvirt', 'register_opts')
        env.change('nova.scheduler.client.report',
                   'SchedulerReportClient.update_from_provider_tree')
        self.assertEqual(1, env.command('status').returncode)
        self.assert_no_such_node(self.revert(
            'compute1', '--config-file', self.conf, env=env))

    def test_the_series_is_not_laid_over_the_nova_of_the_command(self):
        env = self.useFixture(environment.Environment())
        done = env.run('-c', '''
from nova_mem_encryption import cli
from nova_mem_encryption.engine import ledger, state
cli.main(['revert', 'compute1', '--config-file', %r])
print(state.state().name, ledger.entries())
''' % self.conf, no_proxy='*')
        self.assertEqual('off []\n', done.stdout)

    def test_by_default_it_is_the_host_that_it_runs_on(self):
        self.write('compute_id', NODE + '\n')
        self.assert_no_such_node(
            self.revert('--config-file', self.conf), NODE)
        self.assertEqual('/resource_providers?uuid=' + NODE,
                         self.placement.asked[0][0])

    def test_a_host_without_nova_compute(self):
        done = self.revert('--config-file', self.conf)
        self.assertEqual(
            (1, '', 'No nova-compute has run on this machine: there is no '
             'file compute_id in %s. Give the name of the node '
             "as 'openstack hypervisor list' has it. Nothing was written.\n"
             % self.folder),
            (done.returncode, done.stdout, done.stderr))
        self.assertFalse(os.path.exists(
            os.path.join(self.folder, 'compute_id')))

    def test_what_check_says_of_it(self):
        """No more: it cannot be given the name of a node."""
        self.useFixture(fixtures.EnvironmentVariable('no_proxy', '*'))
        for expected in (
                'No nova-compute has run on this machine: there is no file '
                'compute_id in %s.' % self.folder,
                'Placement has no provider %s.' % NODE):
            why = self.assertRaises(hosts.Unanswered, hosts.Live(
                ['--config-file=' + self.conf]).ask, 'placement')
            self.assertEqual('placement: ' + expected, str(why).replace(
                ' ' + hosts.ROOT_ONLY, ''))
            self.write('compute_id', NODE + '\n')

    def test_a_broken_compute_id(self):
        path = self.write('compute_id', 'compute1')
        done = self.revert('--config-file', self.conf)
        self.assertEqual((1, ''), (done.returncode, done.stdout))
        self.assertIn(path, done.stderr)
        self.assertEqual(1, done.stderr.count('\n'))

    def test_more_than_one_file_of_configuration(self):
        other = self.write('other.conf', '[placement]\n'
                           'endpoint_override = http://127.0.0.1:1\n')
        self.assert_no_such_node(self.revert(
            'compute1', '--config-file', other, '--config-file', self.conf))

    def test_the_files_of_nova_compute_are_the_default(self):
        env = self.useFixture(environment.Environment())
        home = os.path.join(self.folder, '.nova')
        os.mkdir(home)
        with open(self.conf) as f:
            self.write('.nova/nova-compute.conf', f.read())
        self.assert_no_such_node(self.revert(
            'compute1', env=env, HOME=self.folder))

    def test_a_file_that_is_missing(self):
        done = self.revert('--config-file', '/missing.conf')
        self.assertEqual((1, ''), (done.returncode, done.stdout))
        self.assertEqual('Failed to find some config files: /missing.conf. '
                         'Nothing was written.\n', done.stderr)

    @tables.data(
        ('auth_type = none\nendpoint_override = http://127.0.0.1:1', ':1'),
        ('auth_type = password\nauth_url = http://127.0.0.1:1\n'
         'username = a\npassword = b\nproject_name = c', 'auth_url'),
        ('auth_type = nonsense', 'nonsense'),
        ('auth_type = none', 'placement'),
        ('', 'auth plugin'), by=1)
    @ddt.unpack
    def test_no_placement(self, section, word):
        conf = self.write('bad.conf', '[placement]\n%s\n' % section)
        done = self.revert('compute1', '--json', '--config-file', conf)
        told = json.loads(done.stdout)
        self.assertEqual((1, 'compute1', []), (
            done.returncode, told['node'], told['writes']))
        self.assertEqual(told['error'] + ' Nothing was written.\n',
                         done.stderr)
        self.assertTrue(told['error'].startswith(
            'Placement cannot be reached: '), told['error'])
        self.assertIn(word, told['error'])
        self.assertTrue(told['error'].endswith(
            '. See [placement] in nova.conf (read: %s).' % conf),
            told['error'])
        self.assertEqual([conf], told['files'])

    def test_nova_32_wants_these_providers(self):
        env = self.useFixture(environment.Environment())
        env.release('32.0.0')
        done = self.revert('compute1', '--config-file', self.conf, env=env)
        self.assertEqual(
            (1, '', 'Nova 32.0.0 has SEV-ES itself, and these providers are '
             'its own. Uninstall nova-mem-encryption. Nothing was written.\n'),
            (done.returncode, done.stdout, done.stderr))
        self.assertEqual([], self.placement.asked)

    def test_no_nova(self):
        env = self.useFixture(environment.Environment(nova=False))
        done = self.revert('compute1', env=env)
        self.assertEqual(
            (1, '', 'Nova is not installed in %s. Use the environment that '
             'nova-compute runs in.\n' % env.path),
            (done.returncode, done.stdout, done.stderr))

    def test_the_help_tells_what_to_do_first(self):
        done = self.revert('--help')
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        for words in ('Stop nova-compute of the host first', 'default: the '
                      'host', '--dry-run', '--json', 'exit status: 0 done'):
            self.assertIn(words, ' '.join(done.stdout.split()))
