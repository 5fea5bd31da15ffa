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

"""Test that each service says in its log that the series is applied."""
import re
from unittest import mock

from nova.api.openstack import wsgi_app
from nova import context
from nova import objects
from nova import service
from nova import test

from nova_mem_encryption.engine import state


class StartTest(test.TestCase):

    def assert_said_once(self):
        lines = [line for line in self.stdlog.logger.output.splitlines()
                 if 'nova-mem-encryption ' in line]
        self.assertEqual(1, len(lines), lines)
        self.assertIn('INFO', lines[0])
        self.assertIn(state.summary(), lines[0])

    def test_a_service(self):
        started = self.start_service('conductor')
        self.assert_said_once()
        # Nova's own start took place.
        self.assertIsNotNone(objects.Service.get_by_host_and_binary(
            context.get_admin_context(), started.host, 'nova-conductor'))

    def test_an_api_of_eventlet(self):
        api = service.WSGIService('osapi_compute', loader=mock.MagicMock())
        api.start()
        self.addCleanup(api.stop)
        self.assert_said_once()
        self.assertNotEqual(0, api.port)

    @mock.patch('oslo_log.log.setup')
    @mock.patch('nova.config.parse_args')
    def test_an_api_under_a_web_server(self, parse_args, setup):
        # NOTE: logging is set up there, and not before.
        setup.side_effect = lambda *args: self.assertNotIn(
            'nova-mem-encryption ', self.stdlog.logger.output)
        with mock.patch.object(wsgi_app, '_setup_service'), \
                mock.patch.object(wsgi_app, '_get_config_files',
                                  return_value=['nova.conf']), \
                mock.patch('paste.deploy.loadapp'):
            wsgi_app.init_application('nova-api')
        self.assert_said_once()
        self.assertEqual(['nova.conf'],
                         parse_args.call_args[1]['default_config_files'])
        setup.assert_called_once_with(mock.ANY, 'nova')

    def test_the_line_has_versions_and_numbers(self):
        self.assertTrue(re.fullmatch(
            r'nova-mem-encryption [\d.]+ on Nova 31\.[\d.]+: applied '
            r'\(\d+ additions, \d+ wraps\)', state.summary()))
