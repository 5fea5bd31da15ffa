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

"""Test how a guest is started, and asked for what it runs with."""
from unittest import mock

import ddt

from nova import exception
from nova import test
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import guest

XML = '''
<domain type='kvm'>
  <uuid>cef19ce0-0ca2-11df-855d-b19fbce37686</uuid>
  <name>instance-00000001</name>
  <memory>1024</memory>
  <vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <devices/>
  %s
</domain>'''
SECURITY = '''
  <launchSecurity type='sev'>
    <policy>%s</policy>
    <cbitpos>51</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
  </launchSecurity>'''


class GuestBase(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(nova_fixtures.LibvirtFixture())
        self.connection = fakelibvirt.Connection('qemu:///system')
        self.connection.set_sev()

    def get_guest(self, security='', running=True):
        self.domain = fakelibvirt.Domain(
            self.connection, XML % security, running=running)
        return guest.Guest(self.domain)


class LaunchTest(GuestBase):
    """A start that nobody has told the server of."""

    def test_a_plain_guest_is_started(self):
        for pause in (True, False):
            subject = self.get_guest(running=False)
            with mock.patch.object(self.domain, 'createWithFlags') as start:
                self.assertIs(start.return_value, subject.launch(pause=pause))
            start.assert_called_once_with(
                fakelibvirt.VIR_DOMAIN_START_PAUSED if pause else 0)

    def test_each_start_has_a_number_of_its_own(self):
        subject = self.get_guest(running=False)
        numbers = set()
        for _ in range(3):
            subject.launch()
            numbers.add(subject.id)
            subject.shutdown()
            self.assertEqual(-1, subject.id)
        self.assertEqual(3, len(numbers - {-1}))

    def test_an_encrypted_one_is_not(self):
        for policy in ('0x33', '0x37'):
            subject = self.get_guest(SECURITY % policy, running=False)
            e = self.assertRaises(exception.MemEncryptionMismatch,
                                  subject.launch)
            self.assertIn('nothing tells which server', e.format_message())
            self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF,
                             self.domain._state)

    def test_what_libvirt_would_start_counts(self):
        subject = self.get_guest(running=False)
        self.domain.edit(0x37)
        self.assertRaises(exception.MemEncryptionMismatch, subject.launch)

    def test_an_error_of_libvirt_starts_nothing(self):
        subject = self.get_guest(running=False)
        with mock.patch.object(
                self.domain, 'XMLDesc', side_effect=fakelibvirt.libvirtError(
                    'no answer')):
            self.assertRaises(fakelibvirt.libvirtError, subject.launch)
        self.assertEqual(fakelibvirt.VIR_DOMAIN_SHUTOFF, self.domain._state)


@ddt.ddt
class GetLaunchSecurityInfoTest(GuestBase):

    @staticmethod
    def get_policy(subject):
        return subject.get_launch_security_info().get('sev-policy')

    def fail(self, code):
        return mock.patch.object(
            self.domain, 'launchSecurityInfo',
            side_effect=fakelibvirt.make_libvirtError(
                fakelibvirt.libvirtError, 'no', error_code=code))

    @ddt.data(0x33, 0x37)
    def test_the_policy_is_what_libvirt_reports(self, policy):
        self.assertEqual(
            policy, self.get_policy(self.get_guest(SECURITY % hex(policy))))

    def test_the_policy_is_not_what_was_defined(self):
        self.connection._sev_policy_reported = 0x33
        self.assertEqual(
            0x33, self.get_policy(self.get_guest(SECURITY % '0x37')))

    def test_a_policy_of_no_bits_is_one(self):
        self.assertEqual(0, self.get_policy(self.get_guest(SECURITY % '0x0')))

    def test_a_plain_guest_has_none(self):
        self.assertIsNone(self.get_policy(self.get_guest()))

    def test_a_libvirt_that_does_not_tell(self):
        self.connection._sev_policy_told = False
        self.assertIsNone(self.get_policy(self.get_guest(SECURITY % '0x37')))

    @ddt.data(fakelibvirt.VIR_ERR_NO_SUPPORT,
              fakelibvirt.VIR_ERR_OPERATION_UNSUPPORTED)
    def test_a_libvirt_that_cannot_tell(self, code):
        subject = self.get_guest(SECURITY % '0x37')
        with self.fail(code):
            self.assertIsNone(self.get_policy(subject))

    def test_a_libvirt_python_that_cannot_ask(self):
        class OldDomain:
            """Of libvirt-python before 4.5.0."""

        self.assertIsNone(self.get_policy(guest.Guest(OldDomain())))

    def test_a_libvirt_that_tells_no_policy(self):
        # Before libvirt 8.0.0
        subject = self.get_guest(SECURITY % '0x37')
        with mock.patch.object(self.domain, 'launchSecurityInfo',
                               return_value={'sev-measurement': 'AAAA'}):
            self.assertIsNone(self.get_policy(subject))

    @ddt.data(fakelibvirt.VIR_ERR_INTERNAL_ERROR,
              fakelibvirt.VIR_ERR_OPERATION_INVALID,
              fakelibvirt.VIR_ERR_NO_DOMAIN)
    def test_any_other_error_is_one(self, code):
        subject = self.get_guest(SECURITY % '0x37')
        with self.fail(code):
            self.assertRaises(fakelibvirt.libvirtError,
                              subject.get_launch_security_info)
