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

"""Test how many slots a host has, and how many are not for servers."""
import types

import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova.scheduler.client import report
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption

from nova_mem_encryption.nova.mem_encryption.compute import slots

LOGGER = mem_encryption.LOGGER
KEYS = ('amd-sev', 'amd-sev-es')


class SlotsBase(mem_encryption.SEVTestCase):

    def get_inventories(self, driver):
        """Return total and reserved of both models."""
        found = mem_encryption.get_inventories(driver)
        return [(found[key]['total'], found[key]['reserved'])
                for key in KEYS]

    def get_totals(self, driver):
        return tuple(total for total, _ in self.get_inventories(driver))


@ddt.ddt
class KernelTest(SlotsBase):
    """libvirt says 100 and 15."""

    @ddt.data(
        # (what the kernel has, total of SEV, of SEV-ES)
        ({'sev': 100, 'sev_es': 15}, 100, 15),
        ({'sev': 99, 'sev_es': 15}, 99, 15),
        ({'sev': 100, 'sev_es': 5}, 100, 5),
        ({'sev': 500, 'sev_es': 200}, 100, 15),
        ({'sev': 100}, 100, 0),
        ({'sev_es': 15}, 0, 15))
    @ddt.unpack
    def test_the_smaller_number_counts(self, capacity, sev, sev_es):
        self.sev.set_misc(capacity=capacity)
        self.assertEqual((sev, sev_es), self.get_totals(self.get_driver()))

    @ddt.data('', 'sev all of them\n', {}, {'tdx': 31})
    def test_what_tells_nothing_changes_nothing(self, capacity):
        self.sev.set_misc(capacity=capacity)
        with self.assert_silence():
            self.assertEqual((100, 15), self.get_totals(self.get_driver()))

    @ddt.data((None, 15), (100, None), (None, None))
    @ddt.unpack
    def test_a_libvirt_that_does_not_tell(self, guests, es_guests):
        """Then the slots of SEV are those of the kernel, and not endless."""
        self.sev.set_misc(capacity={'sev': 42, 'sev_es': 15})
        driver = self.get_driver(max_guests=guests, max_es_guests=es_guests)
        with self.assert_silence() if guests is None else (
                self.assertLogs(LOGGER, 'WARNING')):
            self.assertEqual((42, es_guests or 0), self.get_totals(driver))

    def test_what_is_not_offered_stays_so(self):
        self.sev.set(sev_es='N')
        self.sev.set_misc(capacity={'sev': 100})
        with self.assert_silence():
            self.assertEqual((100, 0), self.get_totals(self.get_driver()))

    def test_the_cap_of_the_operator_is_no_disagreement(self):
        self.flags(num_memory_encrypted_guests=7, group='libvirt')
        self.sev.set_misc(capacity={'sev': 100, 'sev_es': 15})
        with self.assert_silence():
            self.assertEqual((7, 15), self.get_totals(self.get_driver()))

    def test_it_is_warned_of_once(self):
        driver = self.get_driver()
        self.sev.set_misc(capacity={'sev': 99, 'sev_es': 30})
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            for _ in range(3):
                self.get_totals(driver)
        said, = [record.getMessage() for record in logs.records]
        for words in ('guests of amd_sev: libvirt 100, kernel 99',
                      'guests of amd_sev_es: libvirt 15, kernel 30',
                      self.sev.path, 'libvirtd'):
            self.assertIn(words, said)
        with self.assert_silence():
            self.sev.set_misc(capacity={'sev': 100, 'sev_es': 15})
            self.get_totals(driver)
        with self.assertLogs(LOGGER, 'WARNING'):
            self.sev.set_misc(capacity={'sev': 99, 'sev_es': 30})
            self.get_totals(driver)

    def test_that_there_is_none_is_said_once(self):
        driver = self.get_driver()
        with self.assertLogs(LOGGER, 'INFO') as logs:
            for _ in range(3):
                self.get_totals(driver)
        said, = [record.getMessage() for record in logs.records
                 if 'not compared' in record.getMessage()]
        self.assertIn('Linux 5.13', said)

    def test_of_a_host_without_sev_nothing_is_said(self):
        self.sev.set(sev='N')
        self.assertEqual((0, 0), self.get_totals(self.get_driver()))
        self.assertNotIn(slots.LOG.name, self.stdlog.logger.output)


@ddt.ddt
class ReservedTest(SlotsBase):

    @tables.data(
        # (option, foreign guests of SEV, of SEV-ES; reserved of both)
        (0, 0, 0, 0, 0), (3, 0, 0, 0, 3), (3, 0, 2, 0, 3), (3, 0, 5, 0, 5),
        (0, 2, 0, 2, 0), (15, 0, 0, 0, 15), (16, 0, 0, 0, 15),
        (None, 0, 2, 0, 2), (0, 101, 99, 100, 15))
    @ddt.unpack
    def test_the_larger_number_and_no_more(
            self, option, foreign, foreign_es, sev, sev_es):
        self.flags(reserved_sev_es_guests=option, group='libvirt')
        driver = self.get_driver()
        driver._mem_encryption.foreign_guests._counts = dict(
            zip(KEYS, (foreign, foreign_es)))
        self.assertEqual([(100, sev), (15, sev_es)],
                         self.get_inventories(driver))

    def limit(self, reserved, total, used):
        driver = self.get_driver()
        client = driver.virtapi.reportclient
        client.get_allocations_for_resource_provider.return_value = (
            report.ProviderAllocInfo({str(i): {} for i in range(used)}))
        inventory = {'total': total, 'reserved': reserved}
        driver._mem_encryption.providers._limit_reserved(
            inventory, types.SimpleNamespace(uuid=uuids.provider))
        self.calls = client.get_allocations_for_resource_provider.mock_calls
        self.assertEqual(total, inventory['total'])
        return inventory['reserved']

    @ddt.data((3, 15, 0, 3), (3, 15, 12, 3), (3, 15, 13, 2), (3, 15, 15, 0),
              (15, 15, 0, 15), (3, 5, 9, 0))
    @ddt.unpack
    def test_what_servers_have_is_not_reserved(self, reserved, total, used,
                                               expected):
        self.assertEqual(expected, self.limit(reserved, total, used))

    def test_placement_is_not_asked_where_nothing_is_reserved(self):
        self.assertEqual(0, self.limit(0, 15, 9))
        self.assertEqual([], self.calls)
