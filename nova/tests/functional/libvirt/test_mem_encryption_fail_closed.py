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

"""Test that a guest runs as was asked for or not at all."""
from unittest import mock

from keystoneauth1 import exceptions as ks_exc

from nova.scheduler.client import report
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.functional.libvirt import mem_encryption as base

REFUSED = (
    'Memory encryption model amd-sev-es was requested, and the server was not '
    'started because this host cannot give it: %s')


class FailClosedTest(base.MemEncryptionTestBase):

    def setUp(self):
        super().setUp()
        self.start_host()
        self.connection = self.connections['compute1']

    def test_a_slot_of_the_other_model(self):
        for specs, right, wrong in (
                (base.ES_SPECS, 'compute1_amd_sev_es', 'compute1_amd_sev'),
                (base.SEV_SPECS, 'compute1_amd_sev', 'compute1_amd_sev_es')):
            server = self.boot(specs)
            self.put_slot(server, wrong, remove=right)
            self.assertIn('its slot is on %s and not on %s' % (wrong, right),
                          self.hard_reboot_fails(server))
            self.assertTrue(self.is_running(server))
            self.put_slot(server, right, remove=wrong)
            self._reboot_server(server, hard=True)
            self.assertTrue(self.is_running(server))

    def test_a_flavor_that_changed_under_the_server(self):
        server = self.boot(base.SEV_SPECS)
        instance = self.get_instance(server)
        flavor = instance.flavor.obj_clone()
        flavor.extra_specs = base.ES_SPECS
        instance.flavor = flavor
        instance.save()
        self.assertIn('compute1_amd_sev', self.hard_reboot_fails(server))
        self._stop_server(server)
        self.assertIn('compute1_amd_sev', self.act(server, 'os-start'))
        self.assertFalse(self.is_running(server))

    def test_libvirt_that_reports_another_policy(self):
        server = self.boot(base.ES_SPECS)
        self.connection._sev_policy_reported = 0x33
        self.assertIn('as the guest is not what was asked for: the guest '
                      'policy is 0x0033 and not 0x0037.',
                      self.boot_fails(base.ES_SPECS))
        self.assertIn('the guest policy is 0x0033 and not 0x0037',
                      self.hard_reboot_fails(server))
        self.assertEqual({}, self.connection._running_vms)
        self.assertEqual('ERROR', self.api.get_server(server['id'])['status'])

    def test_libvirt_that_cannot_tell(self):
        self.connection._sev_policy_told = False
        server = self.boot(base.ES_SPECS)
        self._reboot_server(server, hard=True)
        self.assertTrue(self.is_running(server))
        self.assertEqual('0x0037', self.get_xml(server).findtext(
            'launchSecurity/policy'))

    def test_no_guest_runs_before_it_was_looked_at(self):
        states = []
        upstream = fakelibvirt.Domain.launchSecurityInfo

        def look(domain, *args):
            states.append(domain._state)
            return upstream(domain, *args)

        with mock.patch.object(fakelibvirt.Domain, 'launchSecurityInfo',
                               look):
            server = self.boot(base.ES_SPECS)
            self._reboot_server(server, hard=True)
            self._stop_server(server)
            self._start_server(server)
        self.assertEqual([fakelibvirt.VIR_DOMAIN_PAUSED] * 3, states)
        self.assert_model(server, 'amd-sev-es')

    def test_a_machine_type_of_the_hosts_choice(self):
        self.flags(hw_machine_type=['x86_64=pc'], group='libvirt')
        for specs in (base.SEV_SPECS, base.ES_SPECS):
            self.assertIn("Machine type 'pc' is not compatible",
                          self.boot_fails(specs, {'hw_machine_type': None}))
        self.assertEqual({}, self.connection._running_vms)
        self.flags(hw_machine_type=['x86_64=q35'], group='libvirt')
        for specs, model in ((base.SEV_SPECS, 'amd-sev'),
                             (base.ES_SPECS, 'amd-sev-es')):
            self.assert_model(self.boot(specs, {'hw_machine_type': None}),
                              model)

    def test_what_libvirt_says_reaches_the_user(self):
        self.connection._sev_counts = (100, 1)
        server = self.boot(base.ES_SPECS)
        self.start_host('compute2')
        self.connections['compute2']._sev_counts = (100, 0)
        self.assertIn(
            self.boot_fails(base.ES_SPECS), (
                REFUSED % 'all its ASIDs for guests of this model are in use.',
                REFUSED % 'its secure processor gives no SEV-ES.'))
        # Hosts are tried in any order, but each has said so to its operator.
        for words in ('failed to initialize ret=-16', '(virsh list)',
                      'host SEV-ES support unavailable',
                      'the BIOS sets ASIDs aside'):
            self.assertIn(words, self.stdlog.logger.output)
        self.assert_model(server, 'amd-sev-es')

    def test_another_host_is_tried_where_that_can_help(self):
        self.start_host('compute2')
        for said, hosts, fault in (
                ('failed to initialize ret=-16', 2,
                 REFUSED % 'all its ASIDs for guests of this model are in '
                           'use.'),
                ('System Management Mode not supported by this hypervisor.',
                 1, 'No host can start this server with memory encryption: it '
                    'asks for secure boot')):
            with mock.patch.object(
                    fakelibvirt.Domain, 'createWithFlags',
                    side_effect=fakelibvirt.make_libvirtError(
                        fakelibvirt.libvirtError, said)) as start:
                self.assertIn(fault, self.boot_fails(base.ES_SPECS))
            self.assertEqual(hosts, start.call_count)

    def test_nor_for_what_an_api_without_it_let_pass(self):
        self.start_host('compute2')
        self.stub_out('nova.compute.api.API._validate_flavor_image_numa_pci',
                      lambda *args, **kwargs: None)
        flavor = {**base.SEV_SPECS, 'hw:mem_encryption_model': 'amd-sev'}
        self.assertIn(
            'aborted: No host can start this server with memory encryption: '
            'Conflicting memory encryption models', self.boot_fails(
                flavor, {'hw_mem_encryption_model': 'amd-sev-es'}))
        self.assertEqual(1, self.stdlog.logger.output.count(
            'Claim successful on node'))

    def test_of_a_plain_server_it_is_said_as_ever(self):
        with mock.patch.object(
                fakelibvirt.Domain, 'createWithFlags',
                side_effect=fakelibvirt.make_libvirtError(
                    fakelibvirt.libvirtError, 'ret=-16')):
            self.assertIn('Exhausted all hosts', self.boot_fails())
            self.assertEqual('ret=-16', self.boot_fails(
                base.ES_SPECS))

    def test_placement_is_not_needed_to_start_a_server(self):
        server = self.boot(base.ES_SPECS)
        with mock.patch.object(
                report.SchedulerReportClient, 'get_allocs_for_consumer',
                side_effect=ks_exc.ConnectFailure):
            self._reboot_server(server, hard=True)
        self.assert_model(server, 'amd-sev-es')
        self.assertIn('Cannot tell which slot the server has',
                      self.stdlog.logger.output)
