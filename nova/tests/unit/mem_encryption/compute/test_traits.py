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

"""Test how Placement is asked for a trait that it may not know."""
import json
import logging
from unittest import mock

from nova.scheduler.client import report
from nova import test
from nova.tests.unit import fake_requests

from nova_mem_encryption.nova.mem_encryption.compute import news
from nova_mem_encryption.nova.mem_encryption.compute import traits
from nova_mem_encryption.nova.mem_encryption import placement

LOGGER = traits.LOG.name
TRAIT = 'HW_CPU_X86_AMD_SEV_SNP'


class TraitsTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.known = []
        self.client = mock.Mock(spec=report.SchedulerReportClient)
        self.client.get.side_effect = self.answer
        self.traits = traits.Traits(self.client, news.News())

    def answer(self, path, version):
        self.assertEqual('/traits?name=in:' + TRAIT, path)
        if self.known is None:
            return fake_requests.FakeResponse(503, content='{"errors": [{'
                                              '"detail": "no database"}]}')
        return fake_requests.FakeResponse(
            200, content=json.dumps({'traits': self.known}))

    def find(self, *wanted):
        """Return the models that are unknown, and what was logged."""
        with self.assertLogs(LOGGER, 'INFO') as logs:
            logging.getLogger(LOGGER).info('one')
            found = self.traits.find_unknown(wanted)
        return found, logs.records[1:]

    def test_of_what_placement_comes_with_nothing_is_asked(self):
        self.assertEqual((set(), []), self.find('amd-sev', 'amd-sev-es'))
        self.client.get.assert_not_called()

    def test_one_that_is_known_is_asked_for_once(self):
        self.known = [TRAIT]
        for _ in range(3):
            self.assertEqual((set(), []), self.find('amd-sev', 'amd-sev-snp'))
        self.client.get.assert_called_once()

    def test_one_that_is_not_is_asked_for_again(self):
        found, (record,) = self.find('amd-sev', 'amd-sev-snp')
        self.assertEqual({'amd-sev-snp'}, found)
        self.assertEqual('WARNING', record.levelname)
        for words in (TRAIT, 'SEV-SNP', 'os-traits to 3.7.0 or later',
                      'restart Placement'):
            self.assertIn(words, record.getMessage())
        self.assertEqual(({'amd-sev-snp'}, []), self.find('amd-sev-snp'))
        self.known = [TRAIT]
        found, (record,) = self.find('amd-sev-snp')
        self.assertEqual(set(), found)
        self.assertIn('knows trait ' + TRAIT, record.getMessage())
        self.assertEqual(3, self.client.get.call_count)

    def test_no_answer_is_none(self):
        self.known = None
        e = self.assertRaises(placement.Refused, self.traits.find_unknown,
                              ['amd-sev-snp'])
        self.assertIn('no database', str(e))
