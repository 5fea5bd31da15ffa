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

"""Hosts with SEV and SEV-ES, for unit tests."""
import contextlib
import logging
from unittest import mock

import fixtures
from oslo_utils import versionutils

from nova.scheduler.client import report
from nova import test
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.unit import fake_requests
from nova.virt import fake
from nova.virt.libvirt import driver
from nova.virt.libvirt import host

# What our tree logs with
LOGGER = 'nova_mem_encryption'
# What tells of hosts, without what Nova itself says of them
HOST_LOGGER = 'nova_mem_encryption.nova.mem_encryption'


class SEVTestCase(test.NoDBTestCase):
    """A host with 100 slots of SEV and 15 of SEV-ES."""

    def setUp(self):
        super().setUp()
        self.libvirt = self.useFixture(nova_fixtures.LibvirtFixture())
        self.useFixture(nova_fixtures.CGroupsFixture())
        self.sev = self.useFixture(fakelibvirt.SEVHosts())
        # Nova's own warning of UEFI, once a process, is of whichever test
        # comes first.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.driver.uefi_logged', True))
        get_connection = mock.patch.object(host.Host, 'get_connection')
        self.get_connection = get_connection.start()
        self.addCleanup(get_connection.stop)
        self.connect()

    def connect(self, max_guests=100, max_es_guests=15, libvirt='8.0.0',
                qemu='6.2.0', **kwargs):
        """Make a connection, the one of the hosts that are made next.

        :param kwargs: as of Connection.set_sev
        """
        self.connection = fakelibvirt.Connection(
            'qemu:///system',
            version=versionutils.convert_version_to_int(libvirt),
            hv_version=versionutils.convert_version_to_int(qemu))
        self.connection.set_sev(max_guests, max_es_guests, **kwargs)
        self.get_connection.return_value = self.connection
        return self.connection

    def get_host(self, **kwargs):
        """Make a host that nobody has examined."""
        if kwargs:
            self.connect(**kwargs)
        return host.Host('qemu:///system')

    def get_driver(self, **kwargs):
        """Make a driver for a host that nobody has examined.

        Its client of Placement knows of no providers or allocations.
        """
        if kwargs:
            self.connect(**kwargs)
        virtapi = fake.FakeVirtAPI()
        virtapi.reportclient = mock.Mock(spec=report.SchedulerReportClient)
        virtapi.reportclient.get.return_value = fake_requests.FakeResponse(
            200, content='{"resource_providers": []}')
        return driver.LibvirtDriver(virtapi, True)

    @contextlib.contextmanager
    def assert_silence(self, level='WARNING'):
        """Check that our tree logs nothing of a level or above."""
        with self.assertLogs(HOST_LOGGER, level) as logs:
            # It wants one at least. Python 3.9 has no assertNoLogs.
            logging.getLogger(HOST_LOGGER).critical('one')
            yield
        self.assertEqual(1, len(logs.records), logs.output)


def get_inventories(driver):
    """Return what a host offers: model to its inventory."""
    return driver._mem_encryption.slots.get_inventories(
        driver._get_memory_encrypted_slots())
