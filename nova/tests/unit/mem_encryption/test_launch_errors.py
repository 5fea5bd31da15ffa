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

"""Test what users and operators are told when libvirt starts no guest."""
import ddt
from oslo_utils.fixture import uuidsentinel as uuids

from nova import exception
from nova.objects import fields
from nova.objects import instance
from nova import test
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption.compute import launches
from nova_mem_encryption.nova.mem_encryption import launch_errors

CONFIG = hardware.MemEncryptionConfig(fields.MemEncryptionModel.AMD_SEV_ES)
# As libvirt 9.0 with QEMU 7.2 and 11.3 with 10.0 say it; -22, /dev/sev and the
# policy, which they were not made to say, by QEMU's target/i386/sev.c.
SAID = [
    "internal error: qemu unexpectedly closed the monitor: "
    "2026-11-24T06:18:30.1Z qemu-system-x86_64: -accel kvm: sev_kvm_init: %s\n"
    "2026-11-24T06:18:30.1Z qemu-system-x86_64: -accel kvm: failed to "
    "initialize kvm: Operation not permitted",
    "internal error: QEMU unexpectedly closed the monitor (vm='i'): "
    "2026-11-24T06:18:48.5Z qemu-system-x86_64: -accel kvm: "
    "sev_common_kvm_init: %s\n"
    "2026-11-24T06:18:48.5Z qemu-system-x86_64: -accel kvm: failed to "
    "initialize kvm: Operation not permitted",
]


@ddt.ddt
class RefuseTest(test.NoDBTestCase):

    def translate(self, message):
        return launches.Launches(None, None, None).translate(
            fakelibvirt.make_libvirtError(fakelibvirt.libvirtError, message),
            CONFIG, instance.Instance())

    def refuse(self, message):
        raise self.translate(message)

    @tables.data(
        ("failed to initialize ret=-16 fw_error=0 ''", 'ASIDs', 'virsh list'),
        ("failed to initialize ret=-16 fw_error=0 ''", 'in use', 'misc.max'),
        ("failed to initialize ret=-22 fw_error=0 ''", 'kernel', 'BIOS'),
        ("failed to initialize ret=-25 fw_error=0 ''", 'kernel',
         'kvm_amd.sev_es'),
        ('guest policy requires SEV-ES, but host SEV-ES support unavailable',
         'secure processor', 'BIOS'),
        ("cbitpos check failed, host '47' requested '51'", 'processor',
         'Restart libvirtd'),
        ("Failed to open /dev/sev 'Permission denied'", 'QEMU cannot use',
         'AppArmor'),
        ("LAUNCH_START ret=1 fw_error=7 'Policy is not allowed'",
         'does not allow the policy', 'SEV-SNP'),
        ("LAUNCH_START ret=1 fw_error=1 'Platform state is invalid'",
         'is not ready', 'dmesg'),
        ("failed to initialize ret=-5 fw_error=2 'Platform configuration is "
         "invalid'", 'is not ready', 'SMEE'),
        ("failed to get platform status ret=-1 fw_error='0: '", 'is not ready',
         '/lib/firmware/amd'),
        ("LAUNCH_UPDATE_VMSA ret=-5 fw_error=3 ''", 'refused to start',
         'AMD 55766'),
        ("LAUNCH_MEASURE ret=-22 fw_error=0 ''", 'refused to start', 'dmesg'),
        ('failed to create encryption context', 'refused to start', 'dmesg'),
        ("failed to register region (0x7f1c00000000+0x80000000) error 'Cannot "
         "allocate memory'", 'cannot lock the memory',
         'ram_allocation_ratio'), by=1)
    @ddt.unpack
    def test_what_qemu_says(self, said, reason, remedy):
        for message in SAID:
            e = self.assertRaises(exception.MemEncryptionUnavailable,
                                  self.refuse, message % said)
            # One sentence
            self.assertTrue(e.format_message().endswith('.'))
            self.assertNotIn('. ', e.format_message())
            self.assertIn(reason, e.format_message())
            self.assertIn(said, self.stdlog.logger.output)
            self.assertIn(remedy, self.stdlog.logger.output)
            self.assertNotIn('Operation not permitted',
                             self.stdlog.logger.output)

    @tables.data(
        'internal error: qemu unexpectedly closed the monitor: '
        '2026-11-24T06:25:54.1Z qemu-system-x86_64: SEV information '
        'block/Firmware GUID Table block not found in pflash rom\n'
        '2026-11-24T06:25:54.1Z qemu-system-x86_64: failed to locate and/or '
        'save reset vector',
        'unsupported configuration: SEV launch security is not supported '
        'with this QEMU binary',
        'failed to connect to monitor socket: Connection refused',
        "unsupported configuration: 'sev' launch security is not supported "
        'with this QEMU binary',
        'cannot limit locked memory of process 4711 to 9663676416: Operation '
        'not permitted',
        'internal error: process exited while connecting to monitor: '
        '2026-11-24T06:25:54.1Z qemu-system-x86_64: SEV-ES reset address is '
        'zero',
        'internal error: process exited while connecting to monitor: '
        '2026-11-24T06:25:54.1Z qemu-system-x86_64: -device vhost-user-fs-pci,'
        'chardev=char0,tag=share: iommu_platform=true is not supported by the '
        'device')
    def test_what_has_no_such_prefix(self, message):
        self.assertRaises(exception.MemEncryptionUnavailable, self.refuse,
                          message)

    def test_what_qemu_says_before_is_left_out(self):
        self.assertRaises(
            exception.MemEncryptionUnavailable, self.refuse,
            "internal error: qemu unexpectedly closed the monitor: "
            "2026-11-24T06:25:54.1Z qemu-system-x86_64: warning: host doesn't "
            "support requested feature: CPUID.01H:ECX.x2apic\n"
            "2026-11-24T06:25:54.1Z qemu-system-x86_64: failed to locate "
            "and/or save reset vector")
        self.assertIn('cannot be given: failed to locate and/or save reset '
                      'vector. Install firmware', self.stdlog.logger.output)

    @tables.data('', 'Cannot access storage file', "fw_error=0 ''",
                 "Domain not found: no domain with matching name 'reset'")
    def test_of_all_else_nothing_is_made(self, message):
        self.assertIsNone(self.translate(message))
        self.assertNotIn('cannot be given', self.stdlog.logger.output)

    def test_no_reason_is_too_long_for_a_fault(self):
        """A fault has 255 characters; see nova.compute.utils."""
        for complaint in launch_errors.COMPLAINTS:
            self.assertLessEqual(len(exception.MemEncryptionUnavailable(
                model=CONFIG.model, reason=complaint.reason
            ).format_message()), 255)

    def test_what_no_host_can_start_is_not_tried_elsewhere(self):
        """Nova gives a build up for an exception of this class."""
        for message in SAID:
            e = self.assertRaises(
                exception.InvalidInput, self.refuse,
                message % 'System Management Mode not supported by this '
                'hypervisor.')
            self.assertIn('No host can start this server', e.format_message())
            # It may be one of plain SEV.
            self.assertNotIn('SEV-ES', e.format_message())
            self.assertLessEqual(len(exception.BuildAbortException(
                instance_uuid=uuids.server, reason=e.format_message()
            ).format_message()), 255)
