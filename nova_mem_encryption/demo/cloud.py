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

"""A cloud in one process, for the demo: one host, and what a user can do.

Importing this loads Nova.
"""
import os
import time

from nova_mem_encryption.demo import services
# NOTE: that has eventlet patch first.
import fixtures  # noqa: H306
from lxml import etree

from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}


class Cloud(services.Services):
    """The services, on an imitated host.

    :param dict parameters: the host's kernel parameters, as of SEVHosts
    :param counts: SEV and SEV-ES guests that it can run, as of set_sev
    :param steps.Shown shown: the model that it is to offer
    :param bool verbose: whether the logs go to stderr too
    """

    def __init__(self, parameters, counts, shown, verbose):
        super().__init__(verbose)
        self.shown = shown
        self.parameters = parameters
        self.counts = counts
        self.names = {}  # of the servers, by UUID

    def _set_up_host(self):
        for fixture in (
                nova_fixtures.CGroupsFixture, nova_fixtures.LibvirtFixture,
                nova_fixtures.LibvirtImageBackendFixture):
            self.useFixture(fixture())
        sev = self.useFixture(fakelibvirt.SEVHosts(**self.parameters))
        row = self.shown.row
        if row.option:
            self.flags('libvirt', **{row.option: True})
        if row.firmware.kind.stateless:
            sev.firmware.describe_one_file(features=row.firmware.features)
        self.connection = fakelibvirt.Connection(
            'qemu:///system', hostname=self.host, version=11003000,
            hv_version=10000000, host_info=fakelibvirt.HostInfo(
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
            # It runs a command that a small system does not have.
            'nova.virt.libvirt.LibvirtDriver.get_host_uptime':
                lambda *args: 'up 1 day',
            'nova.privsep.utils.supports_direct_io': lambda *args: True,
        }.items():
            self.useFixture(fixtures.MonkeyPatch(name, function))

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
        policy = int(security.findtext('policy'), 0)
        told = models.find_model(
            security.get('type'), policy).launch_security.told
        # NOTE: libvirt does not tell the policy of all models.
        return security, domain.isActive() and '0x%04x' % (
            domain.launchSecurityInfo()[told] if told else policy)

    def get_tree(self):
        """Return the providers, as far as they matter to memory encryption.

        :returns: a list of dicts, the root first
        """
        found = providers.Providers(lambda path: self.placement.get(
            path, version='1.39').body).by_uuid
        traits = {model.trait for model in models.MODELS.values()}
        return [{
            'provider': provider.name,
            'parent': provider.parent and found[provider.parent].name,
            'slots': provider.slots['total'] if provider.slots else 0,
            'used by': sorted(self.names.get(uuid, uuid)
                              for uuid in provider.consumers),
            'traits': [trait for trait in provider.traits if trait in traits]}
            for provider in sorted(found.values(), key=lambda p: p.name)]
