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

"""Run the services of Nova, and Placement, in one process.

They are made of Nova's own test fixtures. Importing this loads Nova.
"""
import contextlib
import logging
import os
import sys
import sysconfig

# NOTE: eventlet wants to patch before anything else is imported.
import nova.monkey_patch
import fixtures  # noqa: H306
import os_traits

import nova.conf
from nova import context
from nova import objects
from nova.tests import fixtures as nova_fixtures
from nova.tests.functional import fixtures as func_fixtures
from nova.virt.libvirt import driver

from nova_mem_encryption.demo import steps
from nova_mem_encryption.engine import ledger
from nova_mem_encryption.nova.mem_encryption import models

CONF = nova.conf.CONF
# pip puts data files of Nova into the environment, distributions into /etc.
PASTE = next(filter(os.path.isfile, [
    os.path.join(prefix, 'etc/nova/api-paste.ini')
    for prefix in (sysconfig.get_path('data'), sys.prefix, '/')]), None)
DRIVER = 'mem_encryption.LibvirtDriver'  # which only the series serves
CELL1 = '11111111-1111-1111-1111-111111111111'


class Services(fixtures.Fixture):
    """The API, conductor and scheduler, with Placement and a bare host.

    nova-compute is started by start_compute.

    :param bool verbose: whether the logs go to stderr too
    """

    host = steps.HOST

    def __init__(self, verbose):
        super().__init__()
        self.verbose = verbose
        self.compute = None

    def _setUp(self):
        self.log = self.useFixture(fixtures.FakeLogger(
            level=logging.INFO, format='%(message)s'))
        if self.verbose:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(logging.Formatter(
                '%(asctime)s %(levelname)s %(name)s %(message)s'))
            self.useFixture(fixtures.LogHandler(handler, nuke_handlers=False))
        # NOTE: the fixtures intercept HTTP, but not on its way to a proxy.
        self.useFixture(fixtures.EnvironmentVariable('no_proxy', '*'))
        self._configure()
        self._set_up_databases()
        for fixture in (
                nova_fixtures.OpenStackSDKFixture,
                nova_fixtures.RealPolicyFixture, nova_fixtures.PrivsepFixture):
            self.useFixture(fixture())
        for row in models.get_added():
            if not hasattr(os_traits, row.trait):
                # As with the os-traits that the model needs
                self.useFixture(fixtures.MonkeyPatch(
                    'os_traits.' + row.trait, row.trait))
        self.placement = self.useFixture(func_fixtures.PlacementFixture()).api
        self.useFixture(nova_fixtures.NeutronFixture(self))
        self.glance = self.useFixture(nova_fixtures.GlanceFixture(self))
        self._set_up_host()
        for name in ('conductor', 'scheduler'):
            self.useFixture(nova_fixtures.ServiceFixture(name))
        api = self.useFixture(nova_fixtures.OSAPIFixture('v2.1'))
        self.admin, self.user = api.admin_api, api.api
        self.admin.microversion = self.user.microversion = 'latest'

    def _configure(self):
        folder = self.useFixture(fixtures.TempDir()).path
        self.useFixture(nova_fixtures.ConfFixture(CONF))
        self.flags('wsgi', api_paste_config=PASTE)
        self.flags('oslo_concurrency', lock_path=folder)
        self.flags('quota', instances=-1, cores=-1, ram=-1)
        self.flags('compute', provider_config_location=folder)
        self.flags(host=self.host, state_path=folder, instances_path=folder,
                   compute_driver=DRIVER)
        self.useFixture(nova_fixtures.RPCFixture('nova.test'))
        # These two are only known, or only stay, after the RPCFixture.
        self.flags('oslo_messaging_notifications', driver=['noop'])
        self.flags(transport_url='fake://nowhere/')

    def _set_up_databases(self):
        objects.register_all()
        self.useFixture(nova_fixtures.Database(database='api'))
        ctxt = context.get_context()
        databases = nova_fixtures.CellDatabases()
        for uuid in (objects.CellMapping.CELL0_UUID, CELL1):
            self.cell = objects.CellMapping(
                ctxt, uuid=uuid, name=uuid, database_connection=uuid,
                transport_url='fake://nowhere/')
            self.cell.create()
            databases.add_cell_database(uuid, default=uuid == CELL1)
        self.useFixture(databases)

    def _set_up_host(self):
        """Do what nova-compute needs of its host."""
        raise NotImplementedError

    # Some fixtures want a test case, and of it no more than these two.

    def flags(self, group=None, **options):
        """Set options of Nova."""
        for name, value in options.items():
            CONF.set_override(name, value, group)

    def stub_out(self, old, new):
        """Replace a function."""
        self.useFixture(fixtures.MonkeyPatch(old, new))

    def start_compute(self):
        """Start nova-compute; or start it again, while the guests run on."""
        first = self.compute is None
        self.stop_compute()
        self.compute = self.useFixture(nova_fixtures.ServiceFixture(
            'compute', host=self.host, cell=self.cell)).service
        if first:
            objects.HostMapping(context.get_context(), host=self.host,
                                cell_mapping=self.cell).create()

    def stop_compute(self):
        """Stop nova-compute, if it runs, while the guests run on."""
        if self.compute:
            self.compute.stop()

    @staticmethod
    @contextlib.contextmanager
    def plain_compute():
        """Within, the libvirt driver is upstream's, to the function.

        That is how a host was before its environment got the series: what
        the series wraps in the libvirt driver gives way to the originals.
        What it adds there is then called by nobody. API and scheduler have
        the series, for the control plane is upgraded first.
        """
        wraps = [entry for entry in ledger.entries() if entry.verb != 'add'
                 and entry.module.startswith(driver.__package__ + '.')]
        for entry in reversed(wraps):
            setattr(entry.target, entry.attribute, entry.original)
        CONF.set_override('compute_driver', 'libvirt.LibvirtDriver')
        try:
            yield
        finally:
            CONF.set_override('compute_driver', DRIVER)
            for entry in wraps:
                setattr(entry.target, entry.attribute, entry.current)
