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

"""Test how servers are found that run as what they do not ask for."""
import logging

import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova import objects
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption

LOGGER = mem_encryption.LOGGER
XML = '''<domain type='kvm'><name>%s</name><uuid>%s</uuid>
<memory>1024</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices/>%s</domain>'''
POLICY = "<launchSecurity type='%s'>%s</launchSecurity>"
SEV = POLICY % ('sev', '<policy>0x0033</policy>')
ES = POLICY % ('sev', '<policy>0x0037</policy>')
SPECS = {'sev': {'hw:mem_encryption': 'true'},
         'es': {'hw:mem_encryption': 'true',
                'hw:mem_encryption_model': 'amd-sev-es'},
         'plain': {}}


@ddt.ddt
class FindTest(mem_encryption.SEVTestCase):

    def setUp(self):
        super().setUp()
        self.driver = self.get_driver()
        self.servers = []

    def start(self, kind, security='', **attributes):
        """Start a server that asks for a kind, with some launch security."""
        uuid = getattr(uuids, 'server%d' % len(self.servers))
        self.servers.append(objects.Instance(**{
            'uuid': uuid, 'task_state': None, 'image_ref': uuids.image,
            'flavor': objects.Flavor(name=kind, extra_specs=SPECS[kind]),
            'system_metadata': {'image_hw_firmware_type': 'uefi',
                                'image_hw_machine_type': 'q35'},
            **attributes}))
        return self.connection.createXML(
            XML % ('guest-%s' % uuid, uuid, security), 0)

    def find(self):
        """Look at the guests as an update does; return what is found."""
        self.driver._get_vcpu_used()
        found = self.driver._mem_encryption.differing_servers.find(
            self.servers)
        return [tuple(found[server.uuid]) if server.uuid in found else None
                for server in self.servers]

    @tables.data(
        ('plain', '', None), ('sev', SEV, None), ('es', ES, None),
        ('sev', '', ('less', 'plain')), ('es', '', ('less', 'plain')),
        ('es', SEV, ('less', 'amd-sev 0x0033')),
        ('sev', ES, ('more', 'amd-sev-es 0x0037')),
        ('plain', SEV, ('more', 'amd-sev 0x0033')),
        ('plain', POLICY % ('s390-pv', ''), ('more', 's390-pv')))
    @ddt.unpack
    def test_what_differs(self, kind, security, expected):
        self.start(kind, security)
        self.assertEqual([expected], self.find())

    def test_what_the_hypervisor_says_counts(self):
        self.start('es', ES)
        self.connection._sev_policy_reported = 0x36
        self.assertEqual([('less', 'amd-sev-es 0x0036')], self.find())

    def test_one_that_something_is_done_with(self):
        self.start('es', SEV, task_state='rebuilding')
        self.assertEqual([None], self.find())

    def test_what_differed_before_something_is_done_with_it(self):
        """It goes on to be told of, while the guest is the same."""
        domain = self.start('es', SEV)
        self.start('es', ES)
        less = ('less', 'amd-sev 0x0033')
        self.assertEqual([less, None], self.find())
        for server in self.servers:
            server.task_state = 'rebuilding'
            server.flavor.extra_specs = SPECS['sev']
        for _ in range(2):
            self.assertEqual([less, None], self.find())
        domain.destroy()
        domain.create()
        self.assertEqual([None, None], self.find())
        for server in self.servers:
            server.task_state = None
        self.assertEqual([None, ('more', 'amd-sev-es 0x0037')], self.find())
        self.servers[1].task_state = 'rebuilding'
        self.servers[1].uuid = uuids.another
        self.assertEqual([None, None], self.find())

    def test_one_that_does_not_run(self):
        self.start('es', SEV).destroy()
        self.assertEqual([None], self.find())

    def test_one_that_cannot_be_judged(self):
        self.start('es', SEV, system_metadata={
            'image_hw_firmware_type': 'none-such'})
        self.start('es', SEV, system_metadata={
            'image_hw_firmware_type': 'bios'})
        self.start('es', SEV)
        self.assertEqual([None, None, ('less', 'amd-sev 0x0033')],
                         self.find())

    @tables.data(
        (fakelibvirt.VIR_ERR_NO_DOMAIN, None, 0),
        (fakelibvirt.VIR_ERR_INTERNAL_ERROR, ('untold', 'unknown'), 2))
    @ddt.unpack
    def test_libvirt_does_not_tell(self, code, expected, warnings):
        self.start('es', ES)
        self.start('plain')
        upstream = fakelibvirt.Domain.XMLDesc

        def describe(domain, flags):
            raise fakelibvirt.make_libvirtError(
                fakelibvirt.libvirtError, 'no', error_code=code)
        self.stub_out('nova.tests.fixtures.libvirt.Domain.XMLDesc', describe)
        with self.assertLogs(LOGGER) as logs:
            logging.getLogger(LOGGER).warning('one')  # it wants one at least
            self.assertEqual([expected, None], self.find())
        self.assertEqual(warnings, len([
            line for line in logs.output if 'Cannot tell' in line]))
        # It is asked again the next time.
        self.stub_out('nova.tests.fixtures.libvirt.Domain.XMLDesc', upstream)
        self.assertEqual([None, None], self.find())

    def test_on_a_host_without_sev_too(self):
        self.connection.unset_sev()
        self.sev.set(sev='N')
        self.driver = self.get_driver()
        self.start('es')
        self.assertEqual([('less', 'plain')], self.find())

    def test_before_nova_has_looked(self):
        self.assertIsNone(
            self.driver._mem_encryption.differing_servers.find([]))
