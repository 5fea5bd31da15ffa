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

"""A cloud in one process, for the demo: Nova and Placement, one host.

It is made of Nova's own test fixtures. Importing this loads Nova.
"""
import contextlib
import logging
import os
import sys
import sysconfig
import time

# NOTE: eventlet wants to patch before anything else is imported.
import nova.monkey_patch
import fixtures  # noqa: H306
from lxml import etree

import nova.conf
from nova import context
from nova import objects
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional import fixtures as func_fixtures
from nova.virt.libvirt import driver
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption import overlay

CONF = nova.conf.CONF
# pip puts data files of Nova into the environment, distributions into /etc.
PASTE = next(filter(os.path.isfile, [
    os.path.join(prefix, 'etc/nova/api-paste.ini')
    for prefix in (sysconfig.get_path('data'), sys.prefix, '/')]), None)
CELL1 = '11111111-1111-1111-1111-111111111111'
SLOT = 'MEM_ENCRYPTION_CONTEXT'
UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}


class Cloud(fixtures.Fixture):
    """The API, conductor and scheduler, with Placement and a bare host.

    nova-compute is started by start_compute.

    :param dict parameters: the host's kernel parameters, as of SEVHosts
    :param counts: SEV and SEV-ES guests that it can run, as of set_sev
    :param bool verbose: whether the logs go to stderr too
    """

    host = 'host1'

    def __init__(self, parameters, counts, verbose):
        super().__init__()
        self.parameters = parameters
        self.counts = counts
        self.verbose = verbose
        self.compute = None
        self.names = {}  # of the servers, by UUID

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
                   compute_driver='libvirt.LibvirtDriver')
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
        for fixture in (
                nova_fixtures.CGroupsFixture, nova_fixtures.LibvirtFixture,
                nova_fixtures.LibvirtImageBackendFixture):
            self.useFixture(fixture())
        self.useFixture(fakelibvirt.SEVHosts(**self.parameters))
        self.connection = fakelibvirt.Connection(
            'qemu:///system', hostname=self.host, version=10000000,
            hv_version=9002000, host_info=fakelibvirt.HostInfo(
                kB_mem=64 << 20, cpu_cores=8, cpu_threads=2))
        self.connection.set_sev(*self.counts)

        def create_image(driver, context, instance, *args, **kwargs):
            os.mkdir(libvirt_utils.get_instance_path(instance))
            return False, False

        for name, function in {
            'nova.virt.libvirt.host.Host.get_connection':
                lambda *args: self.connection,
            'nova.virt.libvirt.host.Host.get_online_cpus':
                lambda *args: set(range(16)),
            'nova.virt.libvirt.LibvirtDriver._get_local_gb_info':
                lambda *args: {'total': 128, 'used': 0, 'free': 128},
            'nova.virt.libvirt.LibvirtDriver._create_image': create_image,
            'nova.privsep.utils.supports_direct_io': lambda *args: True,
        }.items():
            self.useFixture(fixtures.MonkeyPatch(name, function))

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
        if self.compute:
            self.compute.stop()
        first = self.compute is None
        self.compute = self.useFixture(nova_fixtures.ServiceFixture(
            'compute', host=self.host, cell=self.cell)).service
        if first:
            objects.HostMapping(context.get_context(), host=self.host,
                                cell_mapping=self.cell).create()

    @staticmethod
    @contextlib.contextmanager
    def plain_compute():
        """Within, the libvirt driver is upstream's, to the function.

        That is how a host was before its environment got the series: what
        the series wraps in the libvirt driver gives way to the originals.
        What it adds there is then called by nobody. API and scheduler have
        the series, for the control plane is upgraded first.
        """
        wraps = [entry for entry in overlay.ledger() if entry.verb == 'wrap'
                 and entry.module.startswith(driver.__package__ + '.')]
        for entry in reversed(wraps):
            setattr(entry.target, entry.attribute, entry.original)
        try:
            yield
        finally:
            for entry in wraps:
                setattr(entry.target, entry.attribute, entry.current)

    def boot(self, name, specs=None, properties=None):
        """Create a server, with a flavor and an image of its own.

        :param str name: of the server, its flavor and its image
        :param dict specs: extra specs of the flavor
        :param dict properties: of the image, which boots by UEFI
        :returns: the server when it is no longer being built; or, if the API
            refuses it, a dict of the same keys with the HTTP status
        """
        image = self.glance.create(None, {
            'name': name, 'status': 'active', 'disk_format': 'raw',
            'container_format': 'bare', 'size': 1, 'min_ram': 0, 'min_disk': 0,
            'properties': {**UEFI, **(properties or {})}})
        flavor = self.admin.post_flavor({'flavor': {
            'name': name, 'ram': 512, 'vcpus': 1, 'disk': 1}})
        if specs:
            self.admin.post_extra_spec(flavor['id'], {'extra_specs': specs})
        response = self.user.api_post('/servers', {'server': {
            'name': name, 'imageRef': image['id'], 'flavorRef': flavor['id'],
            'networks': 'none'}}, check_response_status=[202, 400])
        if response.status != 202:
            return {'status': 'HTTP %d' % response.status,
                    'fault': response.body['badRequest']}
        server = {'id': response.body['server']['id'], 'status': 'BUILD'}
        self.names[server['id']] = name
        while server['status'] == 'BUILD':
            time.sleep(0.05)
            server = self.user.get_server(server['id'])
        return server

    def get_guest(self, server):
        """Return what libvirt has of a server.

        :returns: the <launchSecurity> that it was given, and the policy that
            it says is running; None and None of a server that is not ACTIVE
        """
        if server['status'] != 'ACTIVE':
            return None, None
        domain = self.connection.lookupByUUIDString(server['id'])
        security = etree.fromstring(domain._defined_xml).find('launchSecurity')
        return security, domain.isActive() and '0x%04x' % (
            domain.launchSecurityInfo()['sev-policy'])

    def get_tree(self):
        """Return the providers, as far as they matter to memory encryption.

        :returns: a list of dicts, the root first
        """
        providers = self._get('/resource_providers')['resource_providers']
        parents = {rp['uuid']: rp['name'] for rp in providers}
        tree = []
        for rp in sorted(providers, key=lambda rp: rp['name']):
            url = '/resource_providers/%s/' % rp['uuid']
            slots = self._get(url + 'inventories')['inventories'].get(SLOT)
            allocations = self._get(url + 'allocations')['allocations']
            tree.append({
                'provider': rp['name'],
                'parent': parents.get(rp['parent_provider_uuid']),
                'slots': slots['total'] if slots else 0,
                'used by': sorted(
                    self.names.get(uuid, uuid)
                    for uuid, data in allocations.items()
                    if SLOT in data['resources']),
                'traits': [trait for trait in self._get(
                    url + 'traits')['traits'] if 'AMD_SEV' in trait]})
        return tree

    def _get(self, url):
        return self.placement.get(url, version='1.39').body
