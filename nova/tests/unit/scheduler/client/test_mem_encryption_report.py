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

"""Test that the SEV trait leaves the root before anything else is written."""
import copy
from unittest import mock

import ddt
from keystoneauth1 import exceptions as ks_exc
from oslo_utils.fixture import uuidsentinel as uuids

from nova.compute import provider_tree
from nova import context
from nova import exception
from nova.scheduler.client import report
from nova import test
from nova.tests.unit import fake_requests

SEV = 'HW_CPU_X86_AMD_SEV'


@ddt.ddt
class UpdateTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.adapter = mock.Mock()
        self.client = report.SchedulerReportClient(adapter=self.adapter)
        self.known = self.client._provider_tree
        self.known.new_root('compute1', uuids.root, generation=3)
        self.known.update_traits(uuids.root, {SEV, 'CUSTOM_A'})
        for provider in self.known.get_provider_uuids():
            # What is fresh is not read again.
            self.client._association_refresh_time[provider] = float('inf')
        self.new = copy.deepcopy(self.known)
        self.new.update_traits(uuids.root, {'CUSTOM_B'})
        self.adapter.get.return_value = fake_requests.FakeResponse(
            200, content='{"traits": ["CUSTOM_A", "CUSTOM_B", "%s"]}' % SEV)

    def update(self, allocations=None):
        self.client.update_from_provider_tree(
            context.get_admin_context(), self.new, allocations=allocations)

    def answer(self, *answers):
        self.adapter.put.side_effect = [
            answer if isinstance(answer, Exception) else
            fake_requests.FakeResponse(answer[0], content=answer[1])
            for answer in answers]

    def get_written(self):
        return [call.kwargs['json'] for call in
                self.adapter.put.call_args_list]

    def test_the_trait_goes_first_and_takes_no_other_along(self):
        self.answer(
            (200, '{"traits": ["CUSTOM_A"], '
                  '"resource_provider_generation": 4}'),
            (200, '{"traits": ["CUSTOM_B"], '
                  '"resource_provider_generation": 5}'))
        self.update()
        self.assertEqual(
            [{'resource_provider_generation': 3, 'traits': ['CUSTOM_A']},
             {'resource_provider_generation': 4, 'traits': ['CUSTOM_B']}],
            self.get_written())
        self.assertEqual({'CUSTOM_B'}, self.known.data(uuids.root).traits)

    @ddt.data({SEV}, set())
    def test_a_root_that_keeps_it_or_has_it_not(self, traits):
        self.known.update_traits(uuids.root, traits)
        self.new.update_traits(uuids.root, traits)
        self.update()
        self.assertEqual([], self.get_written())

    def test_a_provider_that_is_not_there_yet(self):
        self.assertIsInstance(self.new, provider_tree.ProviderTree)
        self.known.remove(uuids.root)
        self.known.new_root('other', uuids.other)
        with mock.patch.object(self.client, '_ensure_resource_provider',
                               side_effect=KeyError):
            # Upstream got it.
            self.assertRaises(KeyError, self.update)
        self.assertEqual([], self.get_written())

    @ddt.data({}, None)
    def test_a_conflict_is_for_the_resource_tracker(self, allocations):
        self.answer((409, '{}'))
        self.assertRaises(exception.ResourceProviderUpdateConflict,
                          self.update, allocations)
        self.assertFalse(self.known.exists(uuids.root))
        self.adapter.post.assert_not_called()

    @ddt.data((500, '{}'), ks_exc.ConnectFailure(), ks_exc.SSLError())
    def test_without_it_nothing_is_reshaped(self, answer):
        self.answer(answer)
        self.assertRaises(exception.ReshapeFailed, self.update, {})
        self.assertFalse(self.known.exists(uuids.root))
        self.adapter.post.assert_not_called()

    @ddt.data((500, '{}'), ks_exc.ConnectFailure(), ks_exc.SSLError())
    def test_without_it_nothing_is_updated(self, answer):
        self.answer(answer)
        self.assertRaises(exception.ResourceProviderSyncFailed, self.update)
        self.assertFalse(self.known.exists(uuids.root))
        self.assertEqual(1, len(self.get_written()))

    @ddt.data(404, 500)
    def test_slots_that_cannot_be_read_are_not_none(self, status):
        self.adapter.get.side_effect = lambda url, **kwargs: (
            fake_requests.FakeResponse(
                status if url.endswith('/inventories') else 200,
                content='{"aggregates": [], "traits": [], '
                        '"resource_provider_generation": 4}'))
        self.assertRaises(exception.ResourceProviderRetrievalFailed,
                          self.client._refresh_associations,
                          context.get_admin_context(), uuids.root, force=True)
