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

"""Test how libvirt is asked for the policy that a guest runs with."""
from unittest import mock

import ddt

from nova import test
from nova.tests import fixtures as nova_fixtures
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.virt.libvirt import guest

XML = '''
<domain type='kvm'>
  <uuid>cef19ce0-0ca2-11df-855d-b19fbce37686</uuid>
  <name>instance-00000001</name>
  <memory>1024</memory>
  <os><type>hvm</type></os>
  %s
</domain>'''
SECURITY = '''
  <launchSecurity type='sev'>
    <policy>%s</policy>
    <cbitpos>51</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
  </launchSecurity>'''


@ddt.ddt
class GetLaunchSecurityInfoTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.useFixture(nova_fixtures.LibvirtFixture())
        self.connection = fakelibvirt.Connection('qemu:///system')
        self.connection.set_sev()

    def get_guest(self, security=''):
        self.domain = fakelibvirt.Domain(
            self.connection, XML % security, running=True)
        return guest.Guest(self.domain)

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
