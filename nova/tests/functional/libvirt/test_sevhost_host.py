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

"""Test what is offered on a host with real libvirt and QEMU."""
import subprocess

import ddt
from lxml import etree

from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import sevhost as base
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings


@ddt.ddt
class HostTest(base.SevhostTestBase):
    """What Nova makes of what the host says."""

    # Options, slots of SEV and SEV-ES, and what the log says of SEV-ES
    @tables.data(
        ('', 410, 99, 'AMD SEV-ES support detected: 99 guests'),
        ('--sev-asids=2 --es-asids=1', 2, 1, 'detected: 1 guests'),
        ('--sev-asids=0', 0, 99, 'detected: 99 guests'),
        ('--es-asids=0', 410, 0, 'kernel parameter kvm_amd.sev_es is off'),
        ('--no-es', 410, 0, 'Load kvm_amd with sev_es=1'),
        ('--snp', 410, 0, 'Switch SEV-SNP off in the BIOS'),
        ('--no-sev', 0, 0, 'the host does not support AMD SEV'), by=0)
    @ddt.unpack
    def test_what_it_offers(self, options, sev, es, words):
        self.start_cloud(*options.split())
        self.assertEqual(
            [('host1', 0, [])] +
            [('host1_amd_sev', sev, ['HW_CPU_X86_AMD_SEV'])] * bool(sev) +
            [('host1_amd_sev_es', es, ['HW_CPU_X86_AMD_SEV_ES'])] * bool(es),
            [(rp['provider'], rp['slots'], rp['traits'])
             for rp in self.cloud.get_tree()])
        said, = [line for line in self.cloud.log.output.splitlines()
                 if 'AMD SEV-ES' in line]
        self.assertIn(words, said)

    def test_emulated_guests_have_no_slots(self):
        self.start_cloud(compute=False)
        self.cloud.flags('libvirt', virt_type='qemu')
        self.cloud.start_compute()
        # libvirt says yes, and means only that QEMU knows of SEV ...
        self.assertTrue(
            self.cloud.compute.manager.driver._host.supports_amd_sev)
        self.assertEqual([('host1', 0)], [
            (rp['provider'], rp['slots']) for rp in self.cloud.get_tree()])
        self.assertIn('No AMD SEV-ES: [libvirt] virt_type is qemu, ',
                      self.cloud.log.output)
        # ... which starts no such guest.
        xml = (base.FOREIGN % (base.FIRMWARE, 0x37)).replace(
            "type='kvm'", "type='qemu'").replace(
            '</loader>', "</loader><nvram template='%s'/>" % (
                base.FIRMWARE.replace('CODE', 'VARS')))
        for attempt in range(10):
            e = self.assertRaises(driver.libvirt.libvirtError,
                                  self.cloud.connection.createXML, xml)
            meaning = meanings.find_meaning(str(e))
            if meaning is None or meaning.cause is not causes.ENDED:
                break
        self.assertIs(causes.EMULATED, meaning and meaning.cause, str(e))

        self.cloud.flags('libvirt', virt_type='kvm')
        self.cloud.start_compute()
        self.assertEqual(
            [('host1', 0), ('host1_amd_sev', 410), ('host1_amd_sev_es', 99)],
            [(rp['provider'], rp['slots']) for rp in self.cloud.get_tree()])

    def test_it_counts_as_virsh_does(self):
        self.start_cloud('--sev-asids=7', '--es-asids=3')
        xml = etree.fromstring(subprocess.check_output(
            ['virsh', '-c', 'qemu:///system', 'domcapabilities', '--machine',
             'q35'])).find('features/sev')
        host = self.cloud.compute.manager.driver._host
        self.assertTrue(host.supports_amd_sev)
        self.assertTrue(host.supports_amd_sev_es)
        self.assertEqual(
            [int(xml.findtext('maxGuests')), int(xml.findtext('maxESGuests'))],
            [host.max_sev_guests, host.max_sev_es_guests])
        self.assertEqual([7, 3], [host.max_sev_guests,
                                  host.max_sev_es_guests])
