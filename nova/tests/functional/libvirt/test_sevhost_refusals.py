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

"""Test what servers do not get on a host with real libvirt and QEMU."""
import re

import ddt
import fixtures

from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import sevhost as base
from nova.virt.libvirt import host as libvirt_host

REFUSED = ('Memory encryption model %s was requested, and the server was not '
           'started because this host cannot give it: %s')
NONE_LEFT = 'all its ASIDs for guests of this model are in use.'
NO_FIRMWARE = 'the firmware of the guest does not support SEV-ES.'


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class RefusalTest(base.SevhostTestBase):
    """No server is started as less, and its user reads why."""

    def assert_refused(self, specs, model, reason):
        """Check that a new server is off, and what its user reads."""
        server, _ = self.say_why(
            lambda number: self.cloud.boot('server-%d' % number, specs))
        self.assertEqual('ERROR', server['status'])
        self.assertEqual(REFUSED % (model, reason),
                         server['fault']['message'])
        self.assert_off(server)
        self.assertEqual([], self.get_calls(server, 'KVM_SEV_LAUNCH_FINISH'))

    def blind(self):
        """Have nobody look at the files of the firmware."""
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.nova.mem_encryption.host.firmware.selection._find_flaw',
            lambda *args: None))

    @ddt.data('--no-es', '--es-asids=0', '--snp', '--no-sev')
    def test_there_is_no_slot(self, option):
        self.start_cloud(option)
        server = self.cloud.boot('server', base.ES)
        self.assertEqual('ERROR', server['status'])
        self.assertIn('No valid host', server['fault']['message'])
        self.assertEqual([], self.get_calls(server))

    @ddt.data((base.SEV, 'amd-sev', '--sev-asids=1'),
              (base.ES, 'amd-sev-es', '--es-asids=1'))
    @ddt.unpack
    def test_a_guest_that_nova_does_not_know_has_the_last_asid(
            self, specs, model, option):
        self.start_cloud(option)
        self.start_foreign_guest(base.POLICIES[model])
        self.assert_refused(specs, model, NONE_LEFT)
        self.assertIn('See which guests are not its own',
                      self.cloud.log.output)

    @ddt.data(('reboot', {'type': 'HARD'}), ('os-start', None))
    @ddt.unpack
    def test_a_server_that_ran_cannot_be_started(self, action, body):
        self.start_cloud('--es-asids=1')
        server = self.cloud.boot('server', base.ES)
        if action == 'os-start':
            self.act(server, 'os-stop')
        else:
            self.get_domain(server).destroy()
        self.start_foreign_guest(base.POLICIES['amd-sev-es'])

        def start(number):
            self.cloud.admin.post_server_action(server['id'], {action: body})
            return server

        self.assertIn(REFUSED % ('amd-sev-es', NONE_LEFT),
                      self.say_why(start)[1])
        self.assert_off(server)
        self.assertEqual(1, len(self.get_calls(server, base.LAUNCH_START)))

    def test_the_secure_processor_was_not_initialised_for_es(self):
        """Nor can nova-compute ask it: in a container without /dev/sev."""
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.nova.mem_encryption.host.dev_sev.DEVICE',
            '/dev/none'))
        self.start_cloud('--psp=no-es')
        self.assert_refused(
            base.ES, 'amd-sev-es',
            'its secure processor gives no SEV-ES.')
        self.assert_runs(self.cloud.boot('another', base.SEV), 'amd-sev')

    def test_firmware_that_cannot_start_es(self):
        """It changes just after it was looked at."""
        self.start_cloud()
        self.replace_firmware()
        self.blind()
        self.assert_refused(base.ES, 'amd-sev-es', NO_FIRMWARE)
        self.assert_runs(self.cloud.boot('another', base.SEV), 'amd-sev')

    def test_libvirt_says_something_else(self):
        """Then that is what there is to say."""
        self.start_cloud()
        self.mount('/dev/null', base.FIRMWARE)
        self.blind()
        server, _ = self.say_why(
            lambda number: self.cloud.boot('server-%d' % number, base.ES))
        self.assertEqual('ERROR', server['status'])
        self.assertIn('pflash', server['fault']['message'])

    @tables.data(('--no-es', 'kernel parameter kvm_amd.sev_es is off.'),
                 ('--snp', 'kernel parameter kvm_amd.sev_snp is on'),
                 ('--psp=no-es', 'the secure processor (PSP) was not init'),
                 ('--psp=failed', 'the secure processor (PSP) is not init'),
                 ('--psp=snp', 'kernel parameter kvm_amd.sev_snp is off, but'),
                 ('--no-sev', 'the host does not support AMD SEV.'), by=0)
    @ddt.unpack
    def test_the_host_lost_it(self, option, reason):
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        self.reboot_host(option)
        self.assertEqual(['server'], [
            name for rp in self.cloud.get_tree() for name in rp['used by']])
        self.cloud.admin.post_server_action(
            server['id'], {'reboot': {'type': 'HARD'}})
        server = self.wait(server)
        self.assertIn(REFUSED % ('amd-sev-es', reason),
                      self.get_details(server))
        self.assert_off(server)
        self.assertEqual(1, len(self.get_calls(server, base.LAUNCH_START)))
        self.reboot_host()
        self.assert_runs(self.act(server, 'reboot', {'type': 'HARD'}),
                         'amd-sev-es')

    def test_a_guest_that_could_not_be_started_again_runs_on(self):
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        number = self.get_domain(server).ID()
        self.replace_firmware()
        for action, body in (('reboot', {'type': 'HARD'}),
                             ('reboot', {'type': 'SOFT'}), ('rescue', None)):
            server = self.act(server, action, body)
            self.assertIn('Nothing was stopped.', self.get_details(server))
            self.assert_runs(server, 'amd-sev-es')
            self.assertEqual(number, self.get_domain(server).ID())
        self.assertEqual(1, len(self.get_calls(server, base.LAUNCH_START)))

    def test_a_definition_that_somebody_changed_is_written_anew(self):
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        self.act(server, 'os-stop')
        domain = self.get_domain(server)
        self.cloud.connection.defineXML(domain.XMLDesc(2).replace(
            '<policy>0x0037</policy>', '<policy>0x0033</policy>'))
        self.assert_runs(self.act(server, 'os-start'), 'amd-sev-es')

    @ddt.data('<policy>0x0033</policy>', None)
    def test_a_soft_reboot_after_an_edit(self, new):
        """As with 'virsh edit': the guest runs on, and its next start is it.

        :param new: what takes the place of the policy, None for no launch
            security at all
        """
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        xml = self.get_domain(server).XMLDesc(2)
        edited = re.sub('<launchSecurity.*</launchSecurity>', '', xml,
                        flags=re.DOTALL) if new is None else (
            xml.replace('<policy>0x0037</policy>', new))
        self.assertNotEqual(xml, edited)
        self.cloud.connection.defineXML(edited)
        self.assert_runs(self.act(server, 'reboot', {'type': 'SOFT'}),
                         'amd-sev-es')

    def test_nor_is_a_plain_one_that_was_edited(self):
        self.start_cloud()
        plain = self.cloud.boot('plain', {}, {})
        encrypted = self.cloud.boot('encrypted', base.ES)
        xml = self.get_domain(encrypted).XMLDesc(2)
        for what in ('UUIDString', 'name'):
            xml = xml.replace(getattr(self.get_domain(encrypted), what)(),
                              getattr(self.get_domain(plain), what)())
        self.cloud.connection.defineXML(xml)
        self.assert_runs(self.act(plain, 'reboot', {'type': 'SOFT'}), None)
        self.assertEqual(1, self.get_used()[1]['sev_es'])

    def test_a_guest_that_is_less_does_not_run(self):
        """Something between Nova and libvirt changes the definition."""
        self.start_cloud()
        define = libvirt_host.Host.write_instance_config
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.write_instance_config',
            lambda host, xml: define(host, xml.replace(
                '<policy>0x0037</policy>', '<policy>0x0033</policy>'))))
        server = self.cloud.boot('server', base.ES)
        self.assertEqual('ERROR', server['status'])
        self.assertIn('the guest policy is 0x0033 and not 0x0037.',
                      server['fault']['message'])
        self.assert_off(server)
        self.assertEqual([], self.get_calls(server, base.LAUNCH_START))
