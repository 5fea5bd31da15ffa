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

"""Test the client of Placement that commands have."""
import fixtures
from keystoneauth1 import session
from keystoneauth1 import token_endpoint
from openstack import connection
from oslotest import base
import prometheus_client
from requests_mock.contrib import fixture as requests_fixture

from nova.scheduler.client import report

from nova_mem_encryption.nova.mem_encryption import placement

ENDPOINT = 'http://placement.example'


class ClientTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.answers = self.useFixture(requests_fixture.Fixture())
        self.answers.get(ENDPOINT + '/', json={'versions': [{
            'id': 'v1.0', 'min_version': '1.0', 'max_version': '1.39',
            'status': 'CURRENT', 'links': [{'rel': 'self', 'href': ''}]}]})
        self.adapter = connection.Connection(
            session=session.Session(token_endpoint.Token(ENDPOINT, 'token')),
            service_types={'placement'}, placement_endpoint_override=ENDPOINT
        ).placement
        self.useFixture(fixtures.MonkeyPatch(
            'nova.scheduler.client.report.PLACEMENTCLIENT',
            report.SchedulerReportClient(self.adapter)))

    def _count_kept(self):
        return sum(sample.labels.get('endpoint', '').startswith(ENDPOINT)
                   for metric in prometheus_client.REGISTRY.collect()
                   for sample in metric.samples)

    def test_nothing_is_kept_of_each_address(self):
        self.answers.get('%s/first' % ENDPOINT, json={})
        self.answers.get('%s/second' % ENDPOINT, json={'a': 1})
        self.adapter.get('/first')
        kept = self._count_kept()
        self.assertNotEqual(0, kept)
        self.assertEqual({'a': 1}, placement.connect().get('/second'))
        self.assertEqual(kept, self._count_kept())

    def test_an_answer_has_no_links(self):
        row = {'uuid': 'a', 'links': [{'rel': 'self', 'href': '/a'}]}
        self.answers.get('%s/resource_providers' % ENDPOINT,
                         json={'resource_providers': [row]})
        self.assertEqual({'resource_providers': [{'uuid': 'a'}]},
                         placement.connect().get('/resource_providers'))
