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

"""Test when slots are moved, and who is known as a server of the host."""
from unittest import mock

from oslo_utils.fixture import uuidsentinel as uuids

from nova.compute import provider_tree
from nova.compute import resource_tracker
from nova import context
from nova import exception
from nova import objects
from nova.scheduler.client import report
from nova import test
from nova.tests.unit.virt.libvirt import mem_encryption
from nova.virt import driver

NODE = 'compute1'


class KnownTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.driver = mock.Mock(spec=driver.ComputeDriver)
        self.tracker = resource_tracker.ResourceTracker(
            'host', self.driver,
            mock.Mock(spec=report.SchedulerReportClient))
        self.node = objects.ComputeNode(
            uuid=uuids.node, hypervisor_hostname=NODE,
            stats={'failed_builds': '0'})
        self.tracker.compute_nodes[NODE] = self.node
        self.tracker.stats[NODE]['failed_builds'] = 0
        self.tracker.tracked_instances = {uuids.one, uuids.two}

    def update(self, found, *statuses):
        """Do it, with a migration for each status; return who is known."""
        count = mock.Mock(return_value=found)
        type(self.driver)._mem_encryption = mock.Mock(foreign_guests=mock.Mock(
            count=count))
        migrations = [
            objects.Migration(uuid=getattr(uuids, 'move_' + status),
                              instance_uuid=getattr(uuids, status),
                              status=status) for status in statuses]
        with mock.patch.object(objects.Migration, 'instance', objects.Instance(
                vm_state='active', task_state=None)):
            self.tracker._update_usage_from_migrations(
                context.get_admin_context(), migrations, NODE)
        (known, node, moves), _ = count.call_args
        self.assertEqual(uuids.node, node)
        # What a migration holds is its server's, failed or not.
        self.assertEqual(
            {getattr(uuids, 'move_' + status): getattr(uuids, status)
             for status in statuses}, moves)
        return known

    def test_servers_and_those_that_come_or_go(self):
        self.assertEqual(
            {uuids.one, uuids.two, uuids.migrating, uuids.accepted},
            self.update({}, 'migrating', 'accepted', 'error'))
        self.assertEqual({uuids.one, uuids.two},
                         self.tracker.tracked_instances)

    def test_the_node_has_the_counts(self):
        self.update({'amd-sev': 0, 'amd-sev-es': 2})
        expected = {'failed_builds': '0',
                    'mem_encryption_foreign_amd_sev': '0',
                    'mem_encryption_foreign_amd_sev_es': '2'}
        self.assertEqual(expected, self.node.stats)
        # What Nova writes the next time
        self.node.stats = self.tracker.stats[NODE]
        self.assertEqual(expected, self.node.stats)

    def test_a_host_without_sev_has_none(self):
        self.update({})
        self.assertEqual({'failed_builds': '0'}, self.node.stats)

    def test_another_driver_is_not_asked(self):
        self.tracker._update_usage_from_migrations(
            context.get_admin_context(), [], NODE)
        self.assertEqual({'failed_builds': '0'}, self.node.stats)


class DifferingTest(mem_encryption.SEVTestCase):
    """Which servers run as something else than they ask for."""

    def setUp(self):
        super().setUp()
        self.driver = self.get_driver()
        self.tracker = resource_tracker.ResourceTracker(
            'host', self.driver, mock.Mock(spec=report.SchedulerReportClient))
        self.node = self.tracker.compute_nodes[NODE] = objects.ComputeNode(
            uuid=uuids.node, hypervisor_hostname=NODE, memory_mb=1024,
            local_gb=10)

    def update(self):
        """Do it; return what the node has of it."""
        self.assertEqual({}, self.tracker._update_usage_from_instances(
            context.get_admin_context(), [], NODE))
        return self.node.stats.get('mem_encryption_differing')

    def test_the_node_has_it(self):
        self.driver._get_vcpu_used()  # which lists the guests
        self.assertEqual('{}', self.update())
        # What Nova writes the next time
        self.assertEqual('{}', self.tracker.stats[NODE][
            'mem_encryption_differing'])

    def test_before_the_guests_are_listed_nothing_is_said(self):
        self.node.stats = {}
        self.assertIsNone(self.update())

    def test_another_driver_is_not_asked(self):
        self.tracker.driver = mock.Mock(spec=driver.ComputeDriver)
        self.node.stats = {}
        self.assertIsNone(self.update())


class FirstUpdateTest(mem_encryption.SEVTestCase):
    """Nova moves slots only when nova-compute starts."""

    def setUp(self):
        super().setUp()
        self.client = mock.Mock(spec=report.SchedulerReportClient)
        self.driver = self.get_driver()
        self.moves = []
        for target, name, value in (
                (self.driver, 'update_provider_tree', self.move),
                (resource_tracker.ResourceTracker, '_get_traits',
                 mock.Mock(return_value=[]))):
            patch = mock.patch.object(target, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.tracker = resource_tracker.ResourceTracker(
            'host', self.driver, self.client)

    def move(self, tree, node, allocations=None):
        """Be a driver that always has slots to move."""
        if allocations is None:
            raise exception.ReshapeNeeded()
        self.moves.append(node)

    def update(self, startup=False, node=NODE):
        tree = provider_tree.ProviderTree()
        tree.new_root(node, getattr(uuids, node))
        self.client.get_provider_tree_and_ensure_root.return_value = tree
        self.client.get_allocations_for_provider_tree.return_value = {}
        self.tracker._update_to_placement(
            context.get_admin_context(), objects.ComputeNode(
                uuid=getattr(uuids, node), hypervisor_hostname=node), startup)

    def test_the_first_one_that_succeeds_moves_them(self):
        self.update()
        self.assertEqual([NODE], self.moves)

    def test_one_that_failed_was_not_the_first(self):
        self.client.update_from_provider_tree.side_effect = (
            test.TestingException)
        self.assertRaises(test.TestingException, self.update, startup=True)
        self.client.update_from_provider_tree.side_effect = None
        self.update()
        self.assertEqual([NODE, NODE], self.moves)

    def test_a_later_one_does_not(self):
        self.update(startup=True)
        self.assertRaises(exception.ReshapeNeeded, self.update)
        self.assertEqual([NODE], self.moves)

    def test_one_whose_slots_wait_was_not_the_first(self):
        waiting = self.driver._mem_encryption.providers.waiting
        waiting.add(NODE)
        self.update(startup=True)
        self.update()
        waiting.discard(NODE)
        self.update()
        self.assertEqual([NODE] * 3, self.moves)
        self.assertRaises(exception.ReshapeNeeded, self.update)

    def test_each_node_has_its_first(self):
        self.update(startup=True)
        self.update(node='compute2')
        self.assertEqual([NODE, 'compute2'], self.moves)
