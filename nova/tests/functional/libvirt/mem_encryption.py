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

"""Servers with memory encryption, on imitated hosts."""
import contextlib
import copy
import io
import logging
import os
import types
from unittest import mock

import fixtures
from lxml import etree
from oslo_utils import fileutils
from oslo_utils import uuidutils
from placement import db_api as placement_db
from placement.objects import trait as placement_trait

from nova import context
from nova import objects
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import pace
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import base
from nova import utils
from nova.virt.libvirt import driver
from nova.virt.libvirt import guest as libvirt_guest
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption import cli
from nova_mem_encryption.cli import configuration
from nova_mem_encryption.engine import ledger

UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
SEV_SPECS = {'hw:mem_encryption': 'true'}
ES_SPECS = {'hw:mem_encryption': 'true',
            'hw:mem_encryption_model': 'amd-sev-es'}
SEV_PROPERTIES = {'hw_mem_encryption': 'true'}
ES_PROPERTIES = {'hw_mem_encryption': 'true',
                 'hw_mem_encryption_model': 'amd-sev-es'}
SNP_SPECS = {'hw:mem_encryption': 'true',
             'hw:mem_encryption_model': 'amd-sev-snp'}
SNP_PROPERTIES = {'hw_mem_encryption': 'true',
                  'hw_mem_encryption_model': 'amd-sev-snp',
                  'hw_firmware_stateless': 'true'}
STATELESS = {'hw_firmware_stateless': 'true'}

SPLIT = {'max_guests': 100, 'max_es_guests': 15}

SLOT = 'MEM_ENCRYPTION_CONTEXT'
SEV_TRAIT = 'HW_CPU_X86_AMD_SEV'
ES_TRAIT = 'HW_CPU_X86_AMD_SEV_ES'
SNP_TRAIT = 'HW_CPU_X86_AMD_SEV_SNP'
POLICIES = {'amd-sev': 0x33, 'amd-sev-es': 0x37, 'amd-sev-snp': 0x30000}
ELEMENTS = {'amd-sev': 'sev', 'amd-sev-es': 'sev', 'amd-sev-snp': 'sev-snp'}
# Those of Debian 13, which can start SEV-SNP
NEW = {'libvirt_version': 11003000, 'qemu_version': 10000000}

pace.quicken_clouds()

_init = driver.LibvirtDriver.__init__


def _init_plain(self, *args, **kwargs):
    """Make a driver that is upstream's.

    The series wraps the class, which all hosts of the process share. What an
    instance has itself comes first, so the functions of Nova go there.
    """
    _init(self, *args, **kwargs)
    for entry in reversed(ledger.entries()):  # the first wrap comes last
        if entry.verb != 'add' and entry.target is driver.LibvirtDriver:
            setattr(self, entry.attribute,
                    types.MethodType(entry.original, self))
    for name in ('_create_guest', '_soft_reboot'):
        setattr(self, name, _with_plain_launch(getattr(self, name)))
    # What the series adds, Nova does not know of.
    self._mem_encryption = None


def _with_plain_launch(function):
    """Have guests started as upstream does, within a function."""
    original, = [entry.original for entry in ledger.entries()
                 if entry.target is libvirt_guest.Guest and
                 entry.attribute == 'launch']

    def call(*args, **kwargs):
        with mock.patch.object(libvirt_guest.Guest, 'launch', original):
            return function(*args, **kwargs)

    return call


def _create_no_image(self, context, instance, *args, **kwargs):
    """Make the folder of a server, without the disks."""
    fileutils.ensure_tree(libvirt_utils.get_instance_path(instance))
    return False, False


def _migrate_no_disk(self, context, instance, *args, **kwargs):
    """Stop a guest that moves; its image is fake, so it has no disks."""
    self.power_off(instance)
    return '[]'


class _Warnings(logging.Handler):
    """Keep warnings as an operator sees them, with the server's UUID."""

    def __init__(self, warnings):
        super().__init__(logging.WARNING)
        self.warnings = warnings

    def emit(self, record):
        instance = getattr(record, 'instance', None)
        self.warnings.append('%s %s' % (
            getattr(instance, 'uuid', instance), record.getMessage()))


class MemEncryptionTestBase(base.ServersTestBase):
    """A cloud whose hosts have SEV, 100 slots, and SEV-ES, 15 slots."""

    ADMIN_API = True
    microversion = 'latest'

    def setUp(self):
        super().setUp()
        self.sev = self.useFixture(fakelibvirt.SEVHosts())
        self.split = SPLIT
        self.connections = {}
        self.warnings = []
        self.useFixture(fixtures.LogHandler(
            _Warnings(self.warnings), nuke_handlers=False))
        for name, function in (
                ('_create_image', _create_no_image),
                ('migrate_disk_and_power_off', _migrate_no_disk)):
            self.useFixture(fixtures.MonkeyPatch(
                'nova.virt.libvirt.driver.LibvirtDriver.' + name, function))

    # -- hosts ---------------------------------------------------------------

    def _get_connection(self, *args, **kwargs):
        connection = super()._get_connection(*args, **kwargs)
        if self.split is not None:
            connection.set_sev(**self.split)
        self.connections[connection.hostname] = connection
        return connection

    def start_host(self, host='compute1', plain=False, mdev_info=None,
                   pci_info=None, versions=(), **split):
        """Start nova-compute on a new host.

        :param plain: whether it runs without the series
        :param versions: of libvirt and QEMU, as NEW
        :param split: as of Connection.set_sev
        """
        self.split = {**SPLIT, **split}
        self._start(host, plain, mdev_info=mdev_info, pci_info=pci_info,
                    **dict(versions))

    def set_snp(self, on=True, option=None):
        """Switch SEV-SNP on or off in the hosts that are started next.

        :param bool option: whether nova-compute is to offer it
        """
        self.sev.set(sev_snp='Y' if on else 'N')
        self.flags(enable_amd_sev_snp=on if option is None else option,
                   group='libvirt')

    def start_snp_host(self, host='compute1', **split):
        """Start nova-compute on a host that offers SEV-SNP."""
        self.sev.firmware.describe_one_file()
        self.set_snp()
        self.start_host(host, versions=NEW, **split)

    def upgrade_os_traits(self):
        """Have Placement know the trait of SEV-SNP, as with os-traits 3.7."""
        self.useFixture(fixtures.MonkeyPatch(
            'os_traits.' + SNP_TRAIT, SNP_TRAIT))
        placement_trait._TRAITS_SYNCED = False
        placement_trait.ensure_sync(placement_db.DbContext())

    def restart_host(self, host='compute1', plain=False, **split):
        """Start nova-compute again, as a new process would; the host is kept.

        Unlike restart_compute_service this goes on after a start that failed.

        :param split: as of Connection.set_sev, if the ASIDs are split
            otherwise than before
        """
        if split:
            self.connections[host].set_sev(**split)
        if host in self.computes:
            self.computes.pop(host).stop()
        self.compute_rp_uuids.pop(host, None)
        self._start(host, plain, connection=self.connections[host])

    def _start(self, host, plain, **kwargs):
        init = _init_plain if plain else _init
        with mock.patch.object(driver.LibvirtDriver, '__init__', init):
            self.start_compute(host, **kwargs)

    def force_down(self, host='compute1'):
        """Stop nova-compute and tell the API that the host is dead."""
        self.computes[host].stop()
        self.api.put_service_force_down(
            self.computes[host].service_ref.uuid, True)

    # -- servers -------------------------------------------------------------

    def create_image(self, **properties):
        """Create an image that boots by UEFI; return its id.

        :param properties: what else it has; None for one that it has not
        """
        image = copy.deepcopy(self.glance.image1)
        image['id'] = uuidutils.generate_uuid()
        image['name'] = 'image-%s' % image['id'][:8]
        image['properties'] = {
            name: value for name, value in {**UEFI, **properties}.items()
            if value is not None}
        return self.glance.create(None, image)['id']

    def create_flavor(self, extra_specs=None):
        """Create a small flavor; return its id."""
        return self._create_flavor(memory_mb=256, vcpu=1, disk=1, ephemeral=0,
                                   extra_spec=extra_specs or {})

    def boot_from_volume(self, extra_specs=None, properties=None):
        """Create a server whose image is of its volume; return it."""
        volume = uuidutils.generate_uuid()
        # An image of this kind has neither id nor name.
        self.cinder.volumes[volume] = {
            'id': volume, 'size': 1, 'multiattach': False, 'bootable': True,
            'availability_zone': 'nova', 'display_name': 'a volume',
            'volume_image_metadata': {**UEFI, **(properties or {})}}
        body = self._build_server(flavor_id=self.create_flavor(extra_specs),
                                  networks='none')
        del body['imageRef']
        body['block_device_mapping_v2'] = [{
            'source_type': 'volume', 'destination_type': 'volume',
            'boot_index': 0, 'uuid': volume}]
        server = self.api.post_server({'server': body})
        return self._wait_for_state_change(server, 'ACTIVE')

    def boot(self, extra_specs=None, properties=None, **kwargs):
        """Create a server; return it."""
        return self._create_server(
            flavor_id=self.create_flavor(extra_specs),
            image_uuid=self.create_image(**(properties or {})),
            networks='none', **kwargs)

    def boot_fails(self, extra_specs=None, properties=None, **kwargs):
        """Create a server that no host takes; return its fault's message."""
        server = self.boot(extra_specs, properties, expected_state='ERROR',
                           **kwargs)
        return server['fault']['message']

    def act(self, server, action, body=None, microversion='latest'):
        """Do what the compute service is to refuse; return its reason.

        The reason is where users find it, in the server's actions.
        """
        try:
            with utils.temporary_mutation(self.api, microversion=microversion):
                self.api.post_server_action(server['id'], {action: body})
        except client.OpenStackApiException as e:
            # The fixture CastAsCall brings the error of the compute service
            # back to the API, which had none without.
            self.assertIn(e.response.status_code, (400, 500))
        details = [
            event['details'] or ''
            for latest in self.api.get_instance_actions(server['id'])[:1]
            for event in self.api.get_instance_action_details(
                server['id'], latest['request_id'])['events']
            if event['result'] == 'Error']
        self.assertNotEqual([], details, '%s did not fail' % action)
        return '\n'.join(details)

    def hard_reboot_fails(self, server):
        """Reboot; return why it failed."""
        return self.act(server, 'reboot', {'type': 'HARD'})

    def get_instance(self, server):
        """Return a server as it is stored."""
        return objects.Instance.get_by_uuid(
            context.get_admin_context(), server['id'],
            expected_attrs=['flavor', 'system_metadata'])

    def write_conf(self):
        """Write a nova.conf that has nothing, for commands; return its path.

        What they would find in it, the test has configured.
        """
        path = os.path.join(self.useFixture(fixtures.TempDir()).path,
                            'nova.conf')
        with open(path, 'w'):
            pass
        return path

    # -- Placement -----------------------------------------------------------

    def get_provider(self, name):
        """Return a provider of Placement: inventory, traits, usage, consumers.

        :returns: a dict, or None if there is no such provider
        """
        found = self.placement.get(
            '/resource_providers?name=%s' % name,
            version='1.39').body['resource_providers']
        if not found:
            return None
        return self._read_provider(found[0])

    def _read_provider(self, found):
        uuid = found['uuid']
        allocations = self._get_allocations_by_provider_uuid(uuid)
        return {
            'uuid': uuid,
            'parent': found['parent_provider_uuid'],
            'generation': found['generation'],
            'inventory': self._get_provider_inventory(uuid),
            'traits': set(self._get_provider_traits(uuid)),
            'usage': self._get_provider_usages(uuid),
            'allocations': allocations,
            'consumers': set(allocations),
        }

    def get_placement(self):
        """Return all that Placement knows: provider's name to provider."""
        return {found['name']: self._read_provider(found)
                for found in self._get_all_providers()}

    def get_slots(self, server):
        """Return the names of the providers that a server has slots of.

        :param server: or a migration's id
        """
        uuid = server if isinstance(server, str) else server['id']
        return [
            self.placement.get('/resource_providers/' + provider).body['name']
            for provider, allocation in
            self._get_allocations_by_server_uuid(uuid).items()
            if SLOT in allocation['resources']]

    def put_slot(self, server, provider, amount=1, remove=None):
        """Give a server slots behind Nova's back.

        :param provider: name of the provider that has them
        :param remove: name of a provider to take the slots of away
        """
        found = self.placement.get('/allocations/%s' % server['id'],
                                   version='1.28').body
        allocations = {uuid: {'resources': data['resources']}
                       for uuid, data in found['allocations'].items()}
        if remove is not None:
            uuid = self._get_provider_uuid_by_name(remove)
            del allocations[uuid]['resources'][SLOT]
            if not allocations[uuid]['resources']:
                del allocations[uuid]
        uuid = self._get_provider_uuid_by_name(provider)
        allocations.setdefault(uuid, {'resources': {}})
        allocations[uuid]['resources'][SLOT] = amount
        response = self.placement.put(
            '/allocations/%s' % server['id'],
            {**found, 'allocations': allocations}, version='1.28')
        self.assertEqual(204, response.status)

    def assert_tree(self, host='compute1', sev=None, sev_es=None, snp=None):
        """Check where a host that has the series offers what.

        :param sev: slots of plain SEV; None: there is no provider
        :param sev_es: the same, of SEV-ES
        :param snp: the same, of SEV-SNP
        """
        root = self.get_provider(host)
        self.assertNotIn(SLOT, root['inventory'])
        self.assertEqual(set(), root['traits'] & {
            SEV_TRAIT, ES_TRAIT, SNP_TRAIT})
        for suffix, total, trait in (('amd_sev', sev, SEV_TRAIT),
                                     ('amd_sev_es', sev_es, ES_TRAIT),
                                     ('amd_sev_snp', snp, SNP_TRAIT)):
            provider = self.get_provider('%s_%s' % (host, suffix))
            if total is None:
                self.assertIsNone(provider)
                continue
            self.assertEqual(root['uuid'], provider['parent'])
            self.assertEqual({trait}, provider['traits'])
            self.assertEqual(
                {SLOT: {'total': total, 'min_unit': 1, 'max_unit': 1,
                        'step_size': 1, 'reserved': 0,
                        'allocation_ratio': 1.0}}, provider['inventory'])

    # -- guests --------------------------------------------------------------

    def get_domain(self, server, host='compute1'):
        return self.connections[host].lookupByUUIDString(server['id'])

    def get_xml(self, server, host='compute1'):
        """Return the definition that Nova gave libvirt, parsed."""
        return etree.fromstring(self.get_domain(server, host)._defined_xml)

    def is_running(self, server, host='compute1'):
        """Tell whether a host has a server's guest, and it is on."""
        return any(domain.UUIDString() == server['id'] for domain in
                   self.connections[host]._running_vms.values())

    def assert_model(self, server, model, host='compute1', slot=None):
        """Check that a guest runs with a model, and has a slot of it.

        :param slot: name of the provider that it has the slot of, if that is
            not the model's
        """
        domain = self.get_domain(server, host)
        self.assertTrue(domain.isActive())
        security = etree.fromstring(domain.XMLDesc(0)).find('launchSecurity')
        self.assertEqual((ELEMENTS[model], POLICIES[model]), (
            security.get('type'), int(security.findtext('policy'), 0)))
        if ELEMENTS[model] == 'sev':  # libvirt 11.3 does not tell of others
            self.assertEqual(POLICIES[model],
                             domain.launchSecurityInfo()['sev-policy'])
        self.assertEqual(
            [slot or '%s_%s' % (host, model.replace('-', '_'))],
            self.get_slots(server))

    def assert_plain(self, server, host='compute1'):
        """Check that a guest runs without memory encryption, or a slot."""
        self.assertTrue(self.get_domain(server, host).isActive())
        self.assertIsNone(self.get_xml(server, host).find('launchSecurity'))
        self.assertEqual([], self.get_slots(server))


class CommandTestBase(MemEncryptionTestBase):
    """A cloud, and a command that looks at it."""

    def setUp(self):
        super().setUp()
        # It would read the files of this machine, and forget of the tests'.
        configure = mock.patch.object(configuration, 'configure',
                                      return_value=True)
        configure.start()
        self.addCleanup(configure.stop)

    def run_command(self, *args):
        """Run it; return exit status, stdout and stderr."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([self.command, *args])
        return code, out.getvalue(), err.getvalue()
