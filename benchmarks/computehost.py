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

"""An imitated SEV-ES host with nova-compute's parts, on any Nova.

It is made of Nova's own test fixtures, by names that Nova 31 and 32 both have,
and needs nothing of the series but for its firmware, so that all environments
have the same host.
"""
import builtins
import collections
import functools
import os
import types
import typing as ty

# NOTE: eventlet wants to patch before anything else is imported.
import nova.monkey_patch
import fixtures  # noqa: H306
from oslo_utils import uuidutils
from placement import handler

from nova.compute import resource_tracker
import nova.conf
from nova import context
from nova import objects
from nova.scheduler.client import report
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional import fixtures as func_fixtures
from nova.virt import fake
from nova.virt.libvirt import driver

CONF = nova.conf.CONF
HOST = 'host1'
NODE = '11111111-2222-3333-4444-555555555555'
PARAMETERS = '/sys/module/kvm_amd/parameters'
SLOT = 'MEM_ENCRYPTION_CONTEXT'
SLOTS, ES_SLOTS = 4000, 1000
FEATURES = '''  <features>
    <gic supported='no'/>
    <sev supported='yes'>
      <cbitpos>51</cbitpos>
      <reducedPhysBits>1</reducedPhysBits>
      <maxGuests>%d</maxGuests>
      <maxESGuests>%d</maxESGuests>
    </sev>
  </features>''' % (SLOTS, ES_SLOTS)
GUEST = """<domain type='kvm'><name>%s</name><uuid>%s</uuid>
<memory>1024</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices/></domain>"""


class ComputeHost(fixtures.Fixture):
    """The libvirt driver, the resource tracker, and Placement in process."""

    def _setUp(self):
        self.calls: ty.Counter[str] = collections.Counter()
        folder = self.useFixture(fixtures.TempDir()).path
        # NOTE: the fixtures intercept HTTP, but not on its way to a proxy.
        self.useFixture(fixtures.EnvironmentVariable('no_proxy', '*'))
        self.useFixture(fixtures.FakeLogger(level='WARNING'))
        self.useFixture(nova_fixtures.ConfFixture(CONF))
        self.flags(None, host=HOST, state_path=folder, instances_path=folder,
                   compute_driver='libvirt.LibvirtDriver',
                   cpu_allocation_ratio=1000.0, ram_allocation_ratio=1000.0,
                   disk_allocation_ratio=1000.0)
        self.flags('compute', provider_config_location=folder)
        self.flags('libvirt', virt_type='kvm', cpu_mode='host-passthrough')
        self.flags('oslo_concurrency', lock_path=folder)
        self.useFixture(nova_fixtures.RPCFixture('nova.test'))
        # NOTE: known only after the RPCFixture.
        self.flags('oslo_messaging_notifications', driver=['noop'])
        objects.register_all()
        self.useFixture(nova_fixtures.Database())
        for fixture in (
                nova_fixtures.OpenStackSDKFixture,
                nova_fixtures.CGroupsFixture, nova_fixtures.LibvirtFixture,
                nova_fixtures.LibvirtImageBackendFixture):
            self.useFixture(fixture())
        self._set_up_kernel(folder)
        self._set_up_firmware()
        self._set_up_libvirt()
        self.placement = self.useFixture(func_fixtures.PlacementFixture()).api
        self._count_placement()
        self.context = context.get_admin_context()
        virtapi = fake.FakeVirtAPI()
        virtapi.reportclient = report.SchedulerReportClient()
        self.driver = driver.LibvirtDriver(virtapi, False)
        self.node = objects.ComputeNode(
            context=self.context, uuid=NODE, host=HOST,
            hypervisor_hostname=HOST)
        self.tracker = resource_tracker.ResourceTracker(
            HOST, self.driver, virtapi.reportclient)
        self.tracker.pci_tracker = types.SimpleNamespace(
            pci_devs=[], dev_filter=types.SimpleNamespace(specs=[]))
        objects.Service(context=self.context, host=HOST, topic='compute',
                        binary='nova-compute').create()

    @staticmethod
    def flags(group, **options):
        """Set options of Nova."""
        for name, value in options.items():
            CONF.set_override(name, value, group)

    def _set_up_kernel(self, folder):
        """Have kernel parameters where the kernel would, and count files."""
        for name in ('sev', 'sev_es'):
            with open(os.path.join(folder, name), 'w') as f:
                f.write('Y\n')
        real_open, fake_exists = builtins.open, os.path.exists

        def local(path):
            if os.path.dirname(str(path)) == PARAMETERS:
                return os.path.join(folder, os.path.basename(path))
            return path

        def open_file(path, *args, **kwargs):
            if str(path).startswith(('/sys/', '/proc/')):
                self.calls['open ' + str(path)] += 1
            return real_open(local(path), *args, **kwargs)

        self.useFixture(fixtures.MonkeyPatch('builtins.open', open_file))
        self.useFixture(fixtures.MonkeyPatch(
            # LibvirtFixture says that there is no such file.
            'os.path.exists', lambda path: os.path.isfile(local(path))
            if local(path) != path else fake_exists(path)))

    def _set_up_firmware(self):
        """Have firmware, which only the series reads, on any machine."""
        try:
            from nova.tests.fixtures import firmware
        except ImportError:  # in an environment without the series
            return
        made = self.useFixture(firmware.Firmware())
        made.describe('60-edk2.json', ('amd-sev',), made.path + firmware.CODE,
                      made.path + firmware.VARS)
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.nova.mem_encryption.host.firmware.'
            'descriptors.FOLDERS', (made.path + firmware.SHIPPED,)))

    def _set_up_libvirt(self):
        self.connection = fakelibvirt.Connection(
            'qemu:///system', version=10000000, hv_version=9002000,
            hostname=HOST, host_info=fakelibvirt.HostInfo(
                kB_mem=1 << 30, cpu_cores=64, cpu_threads=2))
        self.connection._domain_capability_features = FEATURES
        for name, value in {
            'nova.virt.libvirt.host.Host.get_connection':
                lambda *args: self.connection,
            'nova.virt.libvirt.host.Host.get_online_cpus':
                lambda *args: set(range(128)),
            'nova.virt.libvirt.LibvirtDriver._get_local_gb_info':
                lambda *args: {'total': 1 << 20, 'used': 0, 'free': 1 << 20},
            'nova.privsep.utils.supports_direct_io': lambda *args: True,
        }.items():
            self.useFixture(fixtures.MonkeyPatch(name, value))
        for cls in (fakelibvirt.Connection, fakelibvirt.Domain):
            for name, function in list(vars(cls).items()):
                if not name.startswith('_') and callable(function):
                    self.useFixture(fixtures.MonkeyPatch(
                        '%s.%s.%s' % (cls.__module__, cls.__name__, name),
                        self._counted('libvirt ' + name, function)))

    def _counted(self, name, function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            self.calls[name] += 1
            return function(*args, **kwargs)
        return call

    def _count_placement(self):
        handle = handler.PlacementHandler.__call__

        def call(app, environ, start_response):
            path = '/'.join(
                '{uuid}' if len(part) == 36 else part
                for part in environ['PATH_INFO'].split('/'))
            self.calls['placement %s %s' % (
                environ['REQUEST_METHOD'], path)] += 1
            return handle(app, environ, start_response)

        self.useFixture(fixtures.MonkeyPatch(
            'placement.handler.PlacementHandler.__call__', call))

    def update(self, startup=False):
        """Do what nova-compute does in each period, and when it starts."""
        self.tracker._update_to_placement(self.context, self.node, startup)

    def count(self, function, *args):
        """Return how often what is called while a function runs."""
        self.calls.clear()
        function(*args)
        return dict(sorted(self.calls.items()))

    def make_older(self):
        """Make the root provider what Nova 31 leaves: it has the slots."""
        root = {'total': SLOTS, 'max_unit': 1}
        plenty = {'total': 1 << 20, 'max_unit': 1 << 20}
        for method, path, body in (
                ('post', '', {'name': HOST, 'uuid': NODE}),
                ('put', '/%s/inventories' % NODE, {
                    'resource_provider_generation': 0,
                    'inventories': {'VCPU': plenty, 'MEMORY_MB': plenty,
                                    SLOT: root}}),
                ('put', '/%s/traits' % NODE, {
                    'resource_provider_generation': 1,
                    'traits': ['HW_CPU_X86_AMD_SEV']})):
            self._ask(method, '/resource_providers' + path, body)

    def add_guests(self, count):
        """Give the host encrypted guests, in Placement and in libvirt.

        They have slots of all providers that have any, in turn.
        """
        found = self._ask('get', '/resource_providers')
        slots = [rp['uuid'] for rp in found['resource_providers']
                 if SLOT in self._ask('get', '/resource_providers/%s/inventor'
                                      'ies' % rp['uuid'])['inventories']]
        consumers = {}
        for number in range(count):
            uuid = uuidutils.generate_uuid()
            allocations = {NODE: {'resources': {'VCPU': 1, 'MEMORY_MB': 64}}}
            allocations.setdefault(slots[number % len(slots)], {
                'resources': {}})['resources'][SLOT] = 1
            consumers[uuid] = {
                'allocations': allocations, 'consumer_generation': None,
                'consumer_type': 'INSTANCE', 'project_id': 'project',
                'user_id': 'user'}
            self.connection.defineXML(GUEST % (uuid[:8], uuid))
        if consumers:
            self._ask('post', '/allocations', consumers)

    def _ask(self, method, path, *args):
        response = getattr(self.placement, method)(
            path, *args, version='1.39')
        if response.status >= 300:
            raise RuntimeError('%s %s: %s' % (
                method, path, str(response.body)[:300]))
        return response.body
