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

"""Test the providers of a host's slots, and how old ones move there."""
import copy
import itertools
import json
from unittest import mock

import ddt
import hypothesis
from hypothesis import strategies as st
from oslo_utils.fixture import uuidsentinel as uuids

from nova.compute import provider_tree
from nova.db import constants
from nova import exception
from nova.scheduler.client import report
from nova.tests.fixtures import tables
from nova.tests.unit import fake_requests
from nova.tests.unit.virt.libvirt import mem_encryption
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.mem_encryption import models

LOGGER = mem_encryption.LOGGER
SLOT = 'MEM_ENCRYPTION_CONTEXT'
SEV, ES = 'HW_CPU_X86_AMD_SEV', 'HW_CPU_X86_AMD_SEV_ES'
ROOT, SEV_NAME, ES_NAME = 'node', 'node_amd_sev', 'node_amd_sev_es'

# Resources that a server or migration has on a provider; slots aside
RESOURCES = st.dictionaries(
    st.sampled_from(['VCPU', 'MEMORY_MB', 'DISK_GB', 'VGPU']),
    st.integers(1, 64), max_size=3)
# What one has: on the root, slots there or not, and elsewhere
CONSUMERS = st.lists(st.tuples(
    RESOURCES, st.booleans(), st.dictionaries(
        st.sampled_from(['numa', 'shared', 'other_node', 'other_amd_sev']),
        RESOURCES.filter(bool), max_size=3),
    st.booleans()), max_size=8)


def make_inventory(total):
    return {SLOT: {'total': total, 'min_unit': 1, 'max_unit': 1,
                   'step_size': 1, 'reserved': 0, 'allocation_ratio': 1.0}}


def make_allocation(resources, generation=1):
    return {'generation': generation, 'resources': resources}


def make_consumer(**allocations):
    """Make what Placement has of a server: sentinel's name to resources."""
    return {'allocations': {getattr(uuids, name): make_allocation(resources)
                            for name, resources in allocations.items()},
            'project_id': 'p', 'user_id': 'u', 'consumer_generation': 7}


@ddt.ddt
class InventoriesTest(mem_encryption.SEVTestCase):

    def test_the_table_of_all_hosts(self):
        # NOTE: a host may have no slots for SEV and still some for SEV-ES.
        table = itertools.product(
            ('Y', 'N'), ('Y', 'N'), ('Y', 'N'), (None, 0, 100), (None, 0, 15),
            (None, 0, 5, 200))
        for case in table:
            sev, sev_es, snp, guests, es_guests, option = case
            has_sev = sev == 'Y'
            has_es = has_sev and sev_es == 'Y' and snp == 'N'
            self.sev.set(sev=sev, sev_es=sev_es, sev_snp=snp)
            self.flags(num_memory_encrypted_guests=option, group='libvirt')
            expected = {model: 0 for model in models.MODELS}
            if has_sev:
                counts = [constants.MAX_INT, guests, option]
                expected['amd-sev'] = min(
                    count for count in counts if count is not None)
            if has_es:
                # whatever the option says
                expected['amd-sev-es'] = es_guests or 0
            found = mem_encryption.get_inventories(self.get_driver(
                max_guests=guests, max_es_guests=es_guests))
            self.assertEqual(
                expected, {name: inventory.pop('total')
                           for name, inventory in found.items()}, case)

    @ddt.data(None, 0, 5)
    def test_emulated_guests_have_no_slots(self, option):
        self.flags(virt_type='qemu', num_memory_encrypted_guests=option,
                   group='libvirt')
        self.assertEqual(
            {0}, {inventory['total'] for inventory in
                  mem_encryption.get_inventories(
                      self.get_driver()).values()})

    def test_the_whole_of_it(self):
        self.assertEqual(
            {'amd-sev': make_inventory(100)[SLOT],
             'amd-sev-es': make_inventory(15)[SLOT],
             'amd-sev-snp': make_inventory(0)[SLOT]},
            mem_encryption.get_inventories(self.get_driver()))


class ProviderTreeBase(mem_encryption.SEVTestCase):

    def setUp(self):
        super().setUp()
        disk = mock.patch.object(driver.LibvirtDriver, '_get_local_gb_info',
                                 return_value={'total': 200})
        disk.start()
        self.addCleanup(disk.stop)
        self.driver = self.get_driver()
        self.tree = self.make_tree()
        self.holders = {}  # provider's UUID to consumers, in Placement

    def make_tree(self, slots=None):
        """Make the providers of a host, as Placement has them.

        :param int slots: of the root; None if it has none
        """
        tree = provider_tree.ProviderTree()
        tree.new_root(ROOT, uuids.root, generation=0)
        tree.new_child('numa', ROOT, uuids.numa, generation=0)
        tree.new_root('shared', uuids.shared, generation=0)
        if slots is not None:
            tree.update_inventory(ROOT, make_inventory(slots))
            tree.update_traits(ROOT, [SEV, 'CUSTOM_ROOT'])
        return tree

    def set_host(self, sev='Y', sev_es='Y', **kwargs):
        """Restart nova-compute on a host that has changed."""
        self.sev.set(sev=sev, sev_es=sev_es)
        self.driver = self.get_driver(**kwargs)

    def update(self, tree=None, allocations=None):
        self.client = self.driver.virtapi.reportclient
        self.client.get_allocations_for_resource_provider.side_effect = (
            lambda context, uuid: report.ProviderAllocInfo(
                {consumer: {} for consumer in self.holders.get(uuid, [])}))
        self.driver.update_provider_tree(
            self.tree if tree is None else tree, ROOT,
            allocations=allocations)

    def show(self, tree=None):
        """Return each provider: name, inventory of slots and traits."""
        tree = tree or self.tree
        datas = [tree.data(uuid) for uuid in tree.get_provider_uuids()]
        return {data.name: (data.inventory.get(SLOT, {}).get('total'),
                            data.traits & {SEV, ES}) for data in datas}

    def dump(self, tree):
        return sorted(tree.data(uuid) for uuid in tree.get_provider_uuids())

    def assert_pools(self, sev, es):
        """Check how many slots there are, None for no provider."""
        expected = {ROOT: (None, set()), 'numa': (None, set()),
                    'shared': (None, set())}
        if sev is not None:
            expected[SEV_NAME] = (sev, {SEV})
        if es is not None:
            expected[ES_NAME] = (es, {ES})
        self.assertEqual(expected, self.show())


@ddt.ddt
class UpdateTest(ProviderTreeBase):

    def test_each_model_has_a_child_of_the_root(self):
        self.update()
        self.assert_pools(100, 15)
        for name in SEV_NAME, ES_NAME:
            self.assertEqual(uuids.root, self.tree.data(name).parent_uuid)
        self.assertEqual(make_inventory(100),
                         self.tree.data(SEV_NAME).inventory)
        self.assertEqual(make_inventory(15), self.tree.data(ES_NAME).inventory)

    def test_the_rest_of_the_root_is_the_one_of_nova(self):
        self.update()
        self.assertEqual({'VCPU', 'MEMORY_MB', 'DISK_GB'},
                         set(self.tree.data(ROOT).inventory))
        self.assertIn('COMPUTE_NET_VIRTIO_PACKED', self.tree.data(ROOT).traits)

    @ddt.data('Y', 'N')
    def test_the_trait_leaves_the_root_of_every_host(self, sev):
        self.set_host(sev=sev)
        self.tree.update_traits(ROOT, [SEV, 'CUSTOM_ROOT'])
        self.update()
        self.assertIn('CUSTOM_ROOT', self.tree.data(ROOT).traits)
        self.assertNotIn(SEV, self.tree.data(ROOT).traits)

    @tables.data((100, 15), (100, 0), (0, 15), (0, 0), (1, 1), (100, None))
    @ddt.unpack
    def test_a_pool_is_told_alone(self, guests, es_guests):
        self.set_host(max_guests=guests, max_es_guests=es_guests)
        self.update()
        self.assert_pools(guests or None, es_guests or None)

    def test_the_option_caps_sev_only(self):
        self.flags(num_memory_encrypted_guests=5, group='libvirt')
        self.update()
        self.assert_pools(5, 15)

    def test_the_option_may_leave_sev_es_only(self):
        self.flags(num_memory_encrypted_guests=0, group='libvirt')
        self.update()
        self.assert_pools(None, 15)

    def test_a_host_without_sev_has_no_providers(self):
        self.set_host(sev='N')
        self.update()
        self.assert_pools(None, None)

    def test_a_second_update_changes_nothing(self):
        self.update()
        before = self.dump(self.tree)
        self.update()
        self.assertEqual(before, self.dump(self.tree))

    def test_a_changed_split_is_updated_in_place(self):
        self.update()
        before = {name: self.tree.data(name).uuid
                  for name in (SEV_NAME, ES_NAME)}
        self.set_host(max_guests=50, max_es_guests=65)
        self.update()
        self.assert_pools(50, 65)
        for name, uuid in before.items():
            self.assertEqual(uuid, self.tree.data(name).uuid)

    def test_traits_of_the_operator_stay(self):
        self.update()
        self.tree.add_traits(ES_NAME, 'CUSTOM_GOLD')
        self.tree.add_traits(SEV_NAME, 'CUSTOM_SILVER')
        self.update()
        self.assertEqual({ES, 'CUSTOM_GOLD'}, self.tree.data(ES_NAME).traits)
        self.assertEqual({SEV, 'CUSTOM_SILVER'},
                         self.tree.data(SEV_NAME).traits)

    def test_a_trait_that_was_taken_is_put_back(self):
        self.update()
        self.tree.remove_traits(ES_NAME, ES)
        self.update()
        self.assert_pools(100, 15)

    def test_the_driver_keeps_the_tree(self):
        self.update()
        self.assertEqual(self.dump(self.tree),
                         self.dump(self.driver.provider_tree))
        self.assertIsNot(self.tree, self.driver.provider_tree)

    def test_placement_is_not_asked_while_there_are_slots(self):
        self.update()
        self.client.reset_mock()
        self.update()
        self.assertEqual([], self.client.mock_calls)

    def test_placement_is_not_asked_where_there_never_were(self):
        self.set_host(sev='N')
        self.update()
        self.assertEqual([], self.client.mock_calls)


@ddt.ddt
class LostTest(ProviderTreeBase):
    """A host that loses SEV, SEV-ES or both."""

    LOSSES = (({'sev_es': 'N'}, [ES_NAME]),
              ({'max_es_guests': 0}, [ES_NAME]),
              ({'max_guests': 0}, [SEV_NAME]),
              ({'sev': 'N'}, [SEV_NAME, ES_NAME]))

    def setUp(self):
        super().setUp()
        self.update()
        self.uuids = {name: self.tree.data(name).uuid
                      for name in (SEV_NAME, ES_NAME)}

    def hold(self, name, *consumers):
        self.holders[self.uuids[name]] = consumers

    @ddt.data(*LOSSES)
    @ddt.unpack
    def test_what_is_lost_and_not_used_goes(self, loss, lost):
        self.set_host(**loss)
        self.update()
        self.assert_pools(None if SEV_NAME in lost else 100,
                          None if ES_NAME in lost else 15)

    @ddt.data(*LOSSES)
    @ddt.unpack
    def test_what_is_lost_and_used_stays_and_offers_nothing(self, loss, lost):
        for name in lost:
            self.hold(name, 'consumer-b', 'consumer-a')
        self.set_host(**loss)
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            for i in range(3):
                self.update()
                # As many as are used, so none is free
                self.assert_pools(2 if SEV_NAME in lost else 100,
                                  2 if ES_NAME in lost else 15)
        messages = [record.getMessage() for record in logs.records]
        self.assertEqual(len(lost), len(messages), messages)
        for name, message in zip(lost, messages):
            self.assertIn(name + ' ', message)
            self.assertIn('consumer-a, consumer-b', message)
            self.assertEqual(self.uuids[name], self.tree.data(name).uuid)

    def test_it_shrinks_with_its_use_and_goes_at_last(self):
        self.set_host(sev_es='N')
        for used in (['a', 'b'], ['b'], []):
            self.hold(ES_NAME, *used)
            self.update()
            self.assert_pools(100, len(used) or None)

    def test_other_holders_are_another_warning(self):
        self.set_host(sev_es='N')
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            for used in (['a', 'b'], ['b'], ['b'], ['b', 'c']):
                self.hold(ES_NAME, *used)
                self.update()
        self.assertEqual(3, len(logs.records))

    def test_a_host_that_gets_it_back_has_the_same_provider(self):
        self.hold(ES_NAME, 'a')
        self.set_host(sev_es='N')
        self.update()
        self.set_host()
        self.update()
        self.assert_pools(100, 15)
        self.assertEqual(self.uuids[ES_NAME], self.tree.data(ES_NAME).uuid)

    def test_warnings_of_one_host_are_not_those_of_another(self):
        # Hosts of a test, and Ironic's, share a process.
        self.hold(ES_NAME, 'a')
        for i in range(2):
            self.set_host(sev_es='N')
            with self.assertLogs(LOGGER, 'WARNING') as logs:
                self.update()
            self.assertEqual(1, len(logs.records))


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class TakenTest(ProviderTreeBase):
    """Hosts of which another provider has the name of one of theirs."""

    def answer(self, parent, name=ES_NAME):
        """Have Placement know of a provider.

        :param parent: UUID of its parent
        """
        self.rows = {name: {'name': name, 'uuid': uuids.other,
                            'parent_provider_uuid': parent}}
        self.driver.virtapi.reportclient.get.side_effect = (
            lambda path, version: fake_requests.FakeResponse(
                200, content=json.dumps({'resource_providers': [
                    row for name, row in self.rows.items()
                    if path.endswith('?name=' + name)]})))

    @ddt.data(None, uuids.parent, uuids.numa)
    def test_all_else_is_told(self, parent):
        self.answer(parent)
        with self.assertLogs(LOGGER, 'ERROR') as logs:
            for _ in range(3):
                self.update()
        self.assert_pools(100, None)
        message, = [record.getMessage() for record in logs.records]
        for words in ('no slots for SEV-ES', 'a child of node,',
                      '%s (%s), which is %s,' % (
                          ES_NAME, uuids.other, 'a root provider'
                          if parent is None else
                          'a child of provider ' + parent)):
            self.assertIn(words, message)

    def test_it_is_had_again(self):
        self.answer(None)
        self.update()
        self.rows = {}
        with self.assertLogs(LOGGER, 'INFO') as logs:
            self.update()
        self.assert_pools(100, 15)
        self.assertIn('Provider %s of this host can be had again.' % ES_NAME,
                      [record.getMessage() for record in logs.records])

    def test_one_that_the_host_has_no_slots_for(self):
        self.set_host(max_es_guests=0)
        self.answer(None)
        with self.assert_silence():
            self.update()
        self.assert_pools(100, None)

    @ddt.data(('numa', None), ('numa', uuids.root), (None, uuids.root))
    @ddt.unpack
    def test_a_tree_that_is_not_as_placement_has_it(self, known, parent):
        """It is read again, and the update is done once more."""
        if known is not None:
            self.tree.new_child(ES_NAME, known, uuids.es, generation=1)
        if parent is not None:
            self.answer(parent)
        self.assertRaises(exception.ResourceProviderUpdateConflict,
                          self.update)
        self.client.clear_provider_cache.assert_called_once_with()

    def test_a_placement_that_does_not_tell(self):
        self.driver.virtapi.reportclient.get.return_value = (
            fake_requests.FakeResponse(503, content='{}'))
        e = self.assertRaises(exception.NovaException, self.update)
        self.assertIn('503', str(e))

    def test_slots_in_use_stay_on_the_root(self):
        self.tree = self.make_tree(slots=100)
        self.answer(None, SEV_NAME)
        for used in (2, 1, 0):
            holders = {str(number): {'resources': {SLOT: 1, 'VCPU': 1}}
                       for number in range(used)}
            holders['plain'] = {'resources': {'VCPU': 1}}
            self.driver.virtapi.reportclient.configure_mock(**{
                'get_allocations_for_resource_provider.return_value':
                    report.ProviderAllocInfo(holders)})
            self.driver.update_provider_tree(self.tree, ROOT)
            self.assertEqual(
                {ROOT: (used or None, set()), ES_NAME: (15, {ES}),
                 'numa': (None, set()), 'shared': (None, set())}, self.show())
            if used:
                self.assertEqual(make_inventory(used)[SLOT],
                                 self.tree.data(ROOT).inventory[SLOT])
            self.assertEqual(
                used > 0,
                ROOT in self.driver._mem_encryption.providers.waiting)


@ddt.ddt
class ReshapeTest(ProviderTreeBase):
    """A host whose slots are on the root, as before the series."""

    def setUp(self):
        super().setUp()
        self.tree = self.make_tree(slots=100)

    def reshape(self, allocations):
        self.update(allocations=allocations)
        return allocations

    def test_all_fit_with_those_that_are_there_already(self):
        # The series was off for a while, so the root had slots again.
        self.set_host(max_guests=2)
        self.tree.new_child(SEV_NAME, ROOT, uuids.child, generation=1)
        self.tree.update_inventory(SEV_NAME, make_inventory(2))
        allocations = {
            **{name: make_consumer(child={SLOT: 1}) for name in 'ab'},
            **{name: make_consumer(root={SLOT: 1}) for name in 'cd'}}
        self.reshape(allocations)
        self.assertEqual((4, {SEV}), self.show()[SEV_NAME])

    def test_it_is_asked_for_and_nothing_is_touched(self):
        before = self.dump(self.tree)
        self.assertRaises(exception.ReshapeNeeded, self.update)
        self.assertEqual(before, self.dump(self.tree))
        # That nobody else has the names is asked, and no more.
        self.assertEqual(
            [mock.call.get('/resource_providers?name=' + name,
                           version='1.30') for name in (SEV_NAME, ES_NAME)],
            self.client.mock_calls)

    def test_it_is_asked_for_once(self):
        self.reshape({})
        self.update()
        self.assert_pools(100, 15)

    def test_slots_move_and_the_rest_stays(self):
        allocations = {
            uuids.server: make_consumer(
                root={'VCPU': 2, SLOT: 1}, numa={'PCI': 1},
                shared={'DISK_GB': 20}),
            uuids.migration: make_consumer(root={'VCPU': 4, SLOT: 1}),
            uuids.plain: make_consumer(root={'VCPU': 1}),
        }
        plain = copy.deepcopy(allocations[uuids.plain])
        self.reshape(allocations)
        self.assert_pools(100, 15)
        child = self.tree.data(SEV_NAME).uuid
        self.assertEqual(
            {uuids.root: make_allocation({'VCPU': 2}),
             uuids.numa: make_allocation({'PCI': 1}),
             uuids.shared: make_allocation({'DISK_GB': 20}),
             child: {'resources': {SLOT: 1}}},
            allocations[uuids.server]['allocations'])
        self.assertEqual({uuids.root: make_allocation({'VCPU': 4}),
                          child: {'resources': {SLOT: 1}}},
                         allocations[uuids.migration]['allocations'])
        self.assertEqual(plain, allocations[uuids.plain])
        self.assertEqual({'VCPU', 'MEMORY_MB', 'DISK_GB'},
                         set(self.tree.data(ROOT).inventory))

    def test_no_entry_of_nothing_is_left(self):
        # Placement refuses one.
        allocations = self.reshape(
            {uuids.server: make_consumer(root={SLOT: 1})})
        self.assertEqual(
            {self.tree.data(SEV_NAME).uuid: {'resources': {SLOT: 1}}},
            allocations[uuids.server]['allocations'])

    def test_an_evacuated_one_keeps_what_it_has(self):
        allocations = self.reshape({uuids.server: make_consumer(
            root={'VCPU': 1, SLOT: 1}, other_node={'VCPU': 1, SLOT: 1})})
        self.assertEqual(
            {uuids.root: make_allocation({'VCPU': 1}),
             uuids.other_node: make_allocation({'VCPU': 1, SLOT: 1}),
             self.tree.data(SEV_NAME).uuid: {'resources': {SLOT: 1}}},
            allocations[uuids.server]['allocations'])

    @ddt.data({'max_guests': 1}, {'max_guests': 0}, {'sev': 'N'})
    def test_all_that_are_used_fit_whatever_there_is(self, host):
        self.set_host(**host)
        allocations = {
            name: make_consumer(root={SLOT: 1}) for name in 'abc'}
        self.reshape(allocations)
        self.assertEqual((3, {SEV}), self.show()[SEV_NAME])

    def test_allocations_of_another_reshape_are_let_alone(self):
        # The root has no slots, that reshape is for something else.
        self.tree = self.make_tree()
        allocations = {uuids.server: make_consumer(
            root={'VCPU': 1}, other_node={SLOT: 1})}
        before = copy.deepcopy(allocations)
        self.reshape(allocations)
        self.assertEqual(before, allocations)
        self.assert_pools(100, 15)

    def test_all_that_are_used_fit_in_another_reshape(self):
        # Placement looks at all allocations, not at those that are moved.
        self.set_host(max_guests=1, max_es_guests=0)
        self.tree = self.make_tree()
        for name, uuid in ((SEV_NAME, uuids.child), (ES_NAME, uuids.es)):
            self.tree.new_child(name, ROOT, uuid, generation=1)
            self.tree.update_inventory(name, make_inventory(2))
        self.reshape({
            **{name: make_consumer(child={SLOT: 1}) for name in 'ab'},
            **{name: make_consumer(es={SLOT: 1}) for name in 'cd'}})
        self.assertEqual([2, 2], [
            self.tree.data(name).inventory[SLOT]['total']
            for name in (SEV_NAME, ES_NAME)])

    def test_an_interrupted_one_is_done_again(self):
        # The provider is there already, and some have moved.
        self.tree.new_child(SEV_NAME, ROOT, uuids.child, generation=1)
        self.tree.update_inventory(SEV_NAME, make_inventory(100))
        allocations = {
            uuids.moved: make_consumer(root={'VCPU': 1}, child={SLOT: 1}),
            uuids.server: make_consumer(root={'VCPU': 1, SLOT: 1})}
        self.reshape(allocations)
        for consumer in allocations.values():
            self.assertEqual({uuids.root: {'VCPU': 1}, uuids.child: {SLOT: 1}},
                             {uuid: data['resources'] for uuid, data in
                              consumer['allocations'].items()})
        self.assert_pools(100, 15)

    def test_other_resources_of_the_provider_stay(self):
        # An operator can give it an inventory of his own, by provider.yaml.
        self.tree.new_child(SEV_NAME, ROOT, uuids.child, generation=1)
        allocations = self.reshape({uuids.server: make_consumer(
            root={SLOT: 1}, child={'CUSTOM_KEY': 1})})
        self.assertEqual(
            {uuids.child: make_allocation({'CUSTOM_KEY': 1, SLOT: 1})},
            allocations[uuids.server]['allocations'])

    def test_more_than_one_slot_cannot_be_moved(self):
        e = self.assertRaises(
            exception.ReshapeFailed, self.reshape,
            {uuids.good: make_consumer(root={SLOT: 1}),
             uuids.bad: make_consumer(root={'VCPU': 1, SLOT: 2})})
        for text in ('consumer %s has 2 %s' % (uuids.bad, SLOT), uuids.root,
                     'Correct its allocations'):
            self.assertIn(text, str(e))
        self.assertNotIn(uuids.good, str(e))

    def test_a_slot_on_both_cannot_be_moved(self):
        self.tree.new_child(SEV_NAME, ROOT, uuids.child, generation=1)
        self.tree.update_inventory(SEV_NAME, make_inventory(100))
        e = self.assertRaises(
            exception.ReshapeFailed, self.reshape,
            {uuids.bad: make_consumer(root={SLOT: 1}, child={SLOT: 1})})
        self.assertIn(uuids.bad, str(e))
        self.assertIn(uuids.child, str(e))

    @hypothesis.settings(max_examples=100, deadline=None, database=None,
                         derandomize=True)
    @hypothesis.given(CONSUMERS)
    def test_no_slot_is_lost_and_nothing_else_is_moved(self, consumers):
        tree = self.make_tree(slots=100)
        allocations = {}
        for number, (root, slot, elsewhere, moved) in enumerate(consumers):
            root = {**root, SLOT: 1} if slot else root
            here = {'root': root} if root else {}
            allocations[str(number)] = make_consumer(**here, **elsewhere)
            if moved and not slot:
                # Somebody of another host
                allocations[str(number)]['allocations'][uuids.other_child] = (
                    make_allocation({SLOT: 1}))
        before = copy.deepcopy(allocations)
        self.update(tree, allocations)
        child = tree.data(SEV_NAME).uuid
        for consumer, data in before.items():
            expected, found = (
                {(uuid, name): amount
                 for uuid, allocation in each['allocations'].items()
                 for name, amount in allocation['resources'].items()}
                for each in (data, allocations[consumer]))
            if (uuids.root, SLOT) in expected:
                expected[child, SLOT] = expected.pop((uuids.root, SLOT))
            self.assertEqual(expected, found)
            self.assertLessEqual([name for uuid, name in found].count(SLOT), 1)
            self.assertNotIn({}, [allocation['resources'] for allocation in
                                  allocations[consumer][
                                      'allocations'].values()])
            self.assertEqual({key: value for key, value in data.items()
                              if key != 'allocations'},
                             {key: value for key, value in
                              allocations[consumer].items()
                              if key != 'allocations'})
        self.assertEqual(set(before), set(allocations))
