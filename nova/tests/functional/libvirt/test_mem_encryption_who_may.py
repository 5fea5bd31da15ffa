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

"""Test what keeps the slots for whom they are: the operator's page has it."""
import time

import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova.tests import fixtures as nova_fixtures
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.nova.mem_encryption.servers import open_flavors

CLOSED = {'hw:mem_encryption': 'false'}


class WhoMayTestBase(base.MemEncryptionTestBase):
    """compute1 has slots, compute2 has none; slots are for project 'ours'."""

    ADDITIONAL_FILTERS = ['AggregateMultiTenancyIsolation']

    def setUp(self):
        super().setUp()
        self.start_host()
        self.sev.set(sev='N')
        self.start_host('compute2')
        self.ours, self.others = map(
            self.get_user, (uuids.ours, uuids.others))

    def get_user(self, project):
        """Return the client of a user of a project."""
        user = client.TestOpenStackClient(
            project, self.api.base_url, project, ['member', 'reader'])
        user.microversion = 'latest'
        return user

    def create(self, user, flavor, **properties):
        """Create a server as a user; return it when it is done."""
        server = user.post_server({'server': self._build_server(
            flavor_id=flavor, image_uuid=self.create_image(**properties),
            networks='none')})
        for _ in range(100):
            found = self.api.get_server(server['id'])
            if found['status'] != 'BUILD':
                return found
            time.sleep(.1)
        self.fail('It is still built.')

    def get_outcome(self, *args, **properties):
        """Return the host that a server gets, and its number of slots."""
        server = self.create(*args, **properties)
        self.assertEqual(server['status'] == 'ERROR',
                         server['OS-EXT-SRV-ATTR:host'] is None)
        return server['OS-EXT-SRV-ATTR:host'], len(self.get_slots(server))

    def assert_refused(self, status, words, *args, **properties):
        e = self.assertRaises(client.OpenStackApiException, self.create,
                              *args, **properties)
        self.assertEqual(status, e.response.status_code)
        self.assertIn(words, e.response.text)
        provider = self.get_provider('compute1_amd_sev_es')
        self.assertEqual(0, provider['usage'][base.SLOT])

    def group(self, host='compute1', **metadata):
        """Put a host into an aggregate with metadata."""
        aggregate = self.admin_api.post_aggregate(
            {'aggregate': {'name': 'group of ' + host}})
        self.admin_api.add_host_to_aggregate(aggregate['id'], host)
        self.admin_api.post_aggregate_action(
            aggregate['id'], {'set_metadata': {'metadata': metadata}})


@ddt.ddt
class FlavorsTest(WhoMayTestBase):

    def get_open(self):
        """Return who asks for a slot by the flavors of this test."""
        return {row.flavor: row.asked_by for row in open_flavors.find_open()
                if row.flavor.startswith('ours')}

    def create_named(self, name, specs, public=True):
        return self._create_flavor(
            name=name, memory_mb=256, vcpu=1, disk=1, ephemeral=0,
            is_public=public, extra_spec=specs)

    def test_an_image_alone_takes_one(self):
        flavor = self.create_named('ours-open', {})
        self.assertEqual({'ours-open': 'image'}, self.get_open())
        self.assertEqual(('compute1', 1), self.get_outcome(
            self.others, flavor, **base.ES_PROPERTIES))

    @ddt.data(base.SEV_PROPERTIES, base.ES_PROPERTIES)
    def test_not_with_a_flavor_that_says_no(self, properties):
        flavor = self.create_named('ours-closed', CLOSED)
        self.assertEqual({}, self.get_open())
        self.assert_refused(400, 'hw:mem_encryption', self.others, flavor,
                            **properties)
        host, slots = self.get_outcome(self.others, flavor)
        self.assertEqual(0, slots)

    def test_nor_by_the_model_alone(self):
        self.assert_refused(
            400, 'model without memory encryption', self.others,
            self.create_flavor(CLOSED), hw_mem_encryption_model='amd-sev-es')

    def test_nor_by_a_trait(self):
        """The host is found by what has slots, and none is asked for."""
        self.assertEqual((None, 0), self.get_outcome(
            self.others, self.create_flavor(CLOSED),
            **{'trait:HW_CPU_X86_AMD_SEV_ES': 'required'}))

    def test_a_flavor_that_only_some_have(self):
        flavor = self.create_named('ours-private', base.ES_SPECS, False)
        self.assertEqual({}, self.get_open())
        self.admin_api.api_post(
            '/flavors/%s/action' % flavor,
            {'addTenantAccess': {'tenant': uuids.ours}})
        self.assert_refused(400, 'could not be found', self.others, flavor)
        self.assertEqual(('compute1', 1),
                         self.get_outcome(self.ours, flavor))

    @ddt.data(base.ES_SPECS, {**CLOSED, 'group_policy': 'none',
                              'resources1:' + base.SLOT: '1'})
    def test_a_flavor_that_all_have(self, specs):
        flavor = self.create_named('ours-public', specs)
        self.assertEqual({'ours-public': 'flavor'}, self.get_open())
        self.assertEqual(('compute1', 1),
                         self.get_outcome(self.others, flavor))


class LimitsTest(WhoMayTestBase):

    def test_a_limit_of_none_but_for_some(self):
        self.flags(driver='nova.quota.UnifiedLimitsDriver', group='quota')
        limits = self.useFixture(nova_fixtures.UnifiedLimitsFixture())
        for name, value in (
                ('servers', 10), ('server_metadata_items', 10),
                ('server_key_pairs', 10), ('server_injected_files', 10),
                ('class:VCPU', 10), ('class:MEMORY_MB', 10000),
                ('class:DISK_GB', 100), ('class:' + base.SLOT, 0)):
            limits.create_registered_limit(resource_name=name,
                                           default_limit=value)
        limits.create_limit(project_id=uuids.ours, resource_limit=1,
                            resource_name='class:' + base.SLOT)
        flavor = self.create_flavor()
        self.assert_refused(403, 'class:MEM_ENCRYPTION_CONTEXT is over limit',
                            self.others, flavor, **base.ES_PROPERTIES)
        self.assertEqual(0, self.get_outcome(self.others, flavor)[1])
        self.assertEqual(('compute1', 1), self.get_outcome(
            self.ours, flavor, **base.ES_PROPERTIES))


class AggregatesTest(WhoMayTestBase):

    def test_hosts_of_a_project(self):
        """AggregateMultiTenancyIsolation"""
        self.group(filter_tenant_id=uuids.ours)
        flavor = self.create_flavor()
        self.assertEqual((None, 0), self.get_outcome(
            self.others, flavor, **base.ES_PROPERTIES))
        self.assertEqual(('compute2', 0),
                         self.get_outcome(self.others, flavor))
        self.assertEqual(('compute1', 1), self.get_outcome(
            self.ours, flavor, **base.ES_PROPERTIES))

    def test_to_bind_a_project_keeps_no_other_off(self):
        """limit_tenants_to_placement_aggregate"""
        self.flags(limit_tenants_to_placement_aggregate=True,
                   group='scheduler')
        self.group('compute2', filter_tenant_id=uuids.bound)
        flavor = self.create_flavor()
        for user, outcome in (
                (self.others, ('compute1', 1)),
                # compute2 has no slots.
                (self.get_user(uuids.bound), (None, 0))):
            self.assertEqual(outcome, self.get_outcome(
                user, flavor, **base.ES_PROPERTIES))

    def test_a_trait_can_be_given_by_an_image(self):
        """enable_isolated_aggregate_filtering"""
        self.flags(enable_isolated_aggregate_filtering=True,
                   group='scheduler')
        self._create_trait('CUSTOM_OURS')
        self._set_provider_traits(
            self.get_provider('compute1')['uuid'], [
                *self.get_provider('compute1')['traits'], 'CUSTOM_OURS'])
        self.group(**{'trait:CUSTOM_OURS': 'required'})
        flavor = self.create_flavor()
        self.assertEqual((None, 0), self.get_outcome(
            self.others, flavor, **base.ES_PROPERTIES))
        self.assertEqual(('compute1', 1), self.get_outcome(
            self.others, flavor, **base.ES_PROPERTIES,
            **{'trait:CUSTOM_OURS': 'required'}))

    def test_the_trait_of_a_model_keeps_all_else_off(self):
        """Not who takes slots, but who takes the memory beside them."""
        self.flags(enable_isolated_aggregate_filtering=True,
                   group='scheduler')
        self.group(**{'trait:HW_CPU_X86_AMD_SEV_ES': 'required'})
        flavor = self.create_flavor()
        self.assertEqual(('compute2', 0),
                         self.get_outcome(self.others, flavor))
        self.assertEqual((None, 0), self.get_outcome(
            self.others, flavor, **base.SEV_PROPERTIES))
        self.assertEqual(('compute1', 1), self.get_outcome(
            self.others, flavor, **base.ES_PROPERTIES))


class ExtraSpecsTest(WhoMayTestBase):

    ADDITIONAL_FILTERS = ['AggregateInstanceExtraSpecsFilter']

    def test_those_of_an_aggregate_keep_nobody_off(self):
        self.group(ours='true')
        self.assertEqual(('compute1', 1), self.get_outcome(
            self.others, self.create_flavor(), **base.ES_PROPERTIES))
        self.assertEqual((None, 0), self.get_outcome(
            self.others, self.create_flavor(
                {'aggregate_instance_extra_specs:ours': 'false'}),
            **base.ES_PROPERTIES))
