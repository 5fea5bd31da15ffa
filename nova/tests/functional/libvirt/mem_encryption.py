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
import copy

from oslo_utils import uuidutils

from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import base

UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
ES_SPECS = {'hw:mem_encryption': 'true',
            'hw:mem_encryption_model': 'amd-sev-es'}
SEV_SPECS = {'hw:mem_encryption': 'true'}
POLICIES = {'amd-sev': 0x33, 'amd-sev-es': 0x37}


class MemEncryptionTestBase(base.ServersTestBase):
    """A cloud whose hosts have SEV, 100 slots, and SEV-ES, 15 slots."""

    microversion = 'latest'

    def setUp(self):
        super().setUp()
        self.sev = self.useFixture(fakelibvirt.SEVHosts())
        self.split = {'max_guests': 100, 'max_es_guests': 15}

    def _get_connection(self, *args, **kwargs):
        connection = super()._get_connection(*args, **kwargs)
        if self.split is not None:
            connection.set_sev(**self.split)
        return connection

    def create_image(self, **properties):
        """Create an image that boots by UEFI; return its id."""
        image = copy.deepcopy(self.glance.image1)
        image['id'] = uuidutils.generate_uuid()
        image['name'] = 'image-%s' % image['id'][:8]
        image['properties'] = {**UEFI, **properties}
        return self.glance.create(None, image)['id']

    def create_flavor(self, **extra_specs):
        return self._create_flavor(extra_spec=extra_specs)

    def boot(self, extra_specs=None, properties=None, **kwargs):
        """Create a server; return it."""
        return self._create_server(
            flavor_id=self._create_flavor(extra_spec=extra_specs or {}),
            image_uuid=self.create_image(**(properties or {})),
            networks='none', **kwargs)

    def get_provider(self, name):
        """Return a provider of Placement: inventory, traits, usage, consumers.

        :returns: a dict, or None if there is no such provider
        """
        found = self.placement.get(
            '/resource_providers?name=%s' % name,
            version='1.39').body['resource_providers']
        if not found:
            return None
        url = '/resource_providers/' + found[0]['uuid']
        return {
            'uuid': found[0]['uuid'],
            'parent': found[0]['parent_provider_uuid'],
            'inventory': self._get_provider_inventory(found[0]['uuid']),
            'traits': set(self._get_provider_traits(found[0]['uuid'])),
            'usage': self._get_provider_usages(found[0]['uuid']),
            'consumers': set(self.placement.get(
                url + '/allocations').body['allocations']),
        }

    def get_slots(self, server):
        """Return the names of the providers that a server has slots of."""
        allocations = self._get_allocations_by_server_uuid(server['id'])
        names = []
        for uuid, allocation in allocations.items():
            if 'MEM_ENCRYPTION_CONTEXT' in allocation['resources']:
                names.append(self.placement.get(
                    '/resource_providers/' + uuid).body['name'])
        return names

    def get_domain(self, server, host='compute1'):
        return self.computes[host].driver._host.get_connection(
            ).lookupByUUIDString(server['id'])

    def assert_model(self, server, model, host='compute1'):
        """Check that a guest runs with a model, and has a slot of it."""
        domain = self.get_domain(server, host)
        self.assertTrue(domain.isActive())
        self.assertEqual(POLICIES[model],
                         domain.launchSecurityInfo()['sev-policy'])
        self.assertEqual(
            ['%s_%s' % (host, model.replace('-', '_'))],
            self.get_slots(server))
