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
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings

CONFIG = hardware.MemEncryptionConfig(fields.MemEncryptionModel.AMD_SEV_ES)
# As libvirt 9.0 with QEMU 7.2 and 11.3 with 10.0 say it, with the function of
# QEMU that says so; launch_errors/corpus.txt has all that they can say.
SAID = [
    "internal error: qemu unexpectedly closed the monitor: "
    "2026-11-24T06:18:30.1Z qemu-system-x86_64: -accel kvm: %s\n"
    "2026-11-24T06:18:30.1Z qemu-system-x86_64: -accel kvm: failed to "
    "initialize kvm: Operation not permitted",
    "internal error: QEMU unexpectedly closed the monitor (vm='i'): "
    "2026-11-24T06:18:48.5Z qemu-system-x86_64: -accel kvm: %s\n"
    "2026-11-24T06:18:48.5Z qemu-system-x86_64: -accel kvm: failed to "
    "initialize kvm: Operation not permitted",
]
INIT = ('sev_kvm_init: ', 'sev_common_kvm_init: ')
START = ('sev_launch_start: ',) * 2
NO_SEV_ES = 'its secure processor gives no SEV-ES'
NOT_READY = 'its secure processor is not ready'


@ddt.ddt
class RefuseTest(test.NoDBTestCase):

    def translate(self, message):
        return launches.Launches(None, None, None).translate(
            fakelibvirt.make_libvirtError(fakelibvirt.libvirtError, message),
            CONFIG, instance.Instance())

    def refuse(self, message):
        raise self.translate(message)

    @tables.data(
        (INIT, "failed to initialize ret=-16 fw_error=0 ''",
         'all its ASIDs', 'virsh list'),
        (INIT, "failed to initialize ret=-16 fw_error=0 ''",
         'are in use', 'misc.max'),
        (INIT, "failed to initialize ret=-16 fw_error=-1 'unknown error'",
         NOT_READY, 'power off'),
        (INIT, "failed to initialize ret=-22 fw_error=0 ''",
         'its kernel has no ASID', 'BIOS'),
        (INIT, "failed to initialize ret=-25 fw_error=0 ''",
         'its kernel has no ASID', '(ENOTTY: '),
        (INIT, "failed to initialize ret=-110 fw_error=0 ''",
         NOT_READY, '(ETIMEDOUT: '),
        (INIT, "failed to initialize ret=-5 fw_error=19 'Hardware error'",
         NOT_READY, 'SMEE'),
        (INIT, "failed to initialize ret=-5 fw_error=3 'Platform "
         "configuration is invalid'", NOT_READY, 'SMEE'),
        (INIT, 'guest policy requires SEV-ES, but host SEV-ES support '
         'unavailable', NO_SEV_ES, 'BIOS'),
        (INIT, "cbitpos check failed, host '47' requested '51'",
         'its processor', 'Restart libvirtd'),
        (INIT, "Failed to open /dev/sev 'Permission denied'",
         'QEMU cannot use', 'AppArmor'),
        (INIT, "Failed to open /dev/sev 'No such file or directory'",
         'QEMU cannot use', 'ccp is not loaded'),
        (INIT, "failed to get platform status ret=-1 fw_error='0: '",
         NOT_READY, '/lib/firmware/amd'),
        (INIT, 'failed to create encryption context', 'refused to start',
         'dmesg'),
        (START, "LAUNCH_START ret=1 fw_error=7 'Policy is not allowed'",
         'does not allow the policy', 'SEV-SNP'),
        (START, "LAUNCH_START ret=1 fw_error=1 'Platform state is invalid'",
         NOT_READY, 'dmesg'),
        (START, "LAUNCH_START ret=1 fw_error=21 'Feature not supported'",
         NO_SEV_ES, 'Switch SEV-SNP off in the BIOS'), by=1)
    @ddt.unpack
    def test_what_qemu_says(self, functions, said, reason, remedy):
        for function, message in zip(functions, SAID):
            e = self.assertRaises(exception.MemEncryptionUnavailable,
                                  self.refuse, message % (function + said))
            # One sentence
            self.assertTrue(e.format_message().endswith('.'))
            self.assertNotIn('. ', e.format_message())
            self.assertIn('it: ' + reason if reason.startswith('its') else
                          reason, e.format_message())
            self.assertIn(said, self.stdlog.logger.output)
            self.assertIn(remedy, self.stdlog.logger.output)
            self.assertNotIn('initialize kvm', self.stdlog.logger.output)

    @tables.data(
        ('sev_launch_update_vmsa: LAUNCH_UPDATE_VMSA ret=-5 fw_error=3 '
         "'Platform configuration is invalid'", 'Update the SEV firmware'),
        ("sev_launch_get_measure: LAUNCH_MEASURE ret=-22 fw_error=0 'Invalid "
         "parameter'", 'do not fit together'),
        ("sev_launch_update_data: LAUNCH_UPDATE ret=-12 fw_error=0 ''",
         'ram_allocation_ratio'),
        ('sev_ram_block_added: failed to register region (0x7f1c00000000+'
         "0x80000000) error 'Cannot allocate memory'",
         'ram_allocation_ratio'))
    @ddt.unpack
    def test_what_qemu_says_later(self, said, remedy):
        e = self.assertRaises(
            exception.MemEncryptionUnavailable, self.refuse,
            'internal error: QEMU unexpectedly closed the monitor '
            "(vm='i'): 2026-11-24T06:18:48.5Z qemu-system-x86_64: " + said)
        self.assertNotIn('ret=', e.format_message())
        self.assertIn(remedy, self.stdlog.logger.output)

    def test_firmware_that_refuses_sev_es_is_not_to_be_updated(self):
        """An update is what took SEV-ES away: CVE-2025-48514."""
        self.assertRaises(
            exception.MemEncryptionUnavailable, self.refuse,
            SAID[1] % "sev_launch_start: LAUNCH_START ret=1 fw_error=21 "
            "'Feature not supported'")
        self.assertNotIn('pdate', self.stdlog.logger.output)

    def test_what_says_why_counts_wherever_it_stands(self):
        self.assertRaises(
            exception.MemEncryptionUnavailable, self.refuse,
            'sev_kvm_init: failed to create encryption context\n'
            "sev_launch_start: LAUNCH_START ret=1 fw_error=7 'Policy is not "
            "allowed'")
        self.assertIn('cannot be given: sev_launch_start: LAUNCH_START ret=1 '
                      "fw_error=7 'Policy is not allowed' (status code 0x07 "
                      'POLICY_FAILURE: the policy is not allowed). ',
                      self.stdlog.logger.output)

    @tables.data(
        'sev_launch_finish: it ends as no QEMU has said so far',
        'sev_ram_block_removed: failed to unregister region (0x1+0x2)')
    def test_what_is_unknown_is_named(self, said):
        self.assertIsNone(self.translate(
            'internal error: QEMU unexpectedly closed the monitor: '
            '2026-11-24T06:25:54.1Z qemu-system-x86_64: ' + said))
        self.assertIn('model amd-sev-es cannot be given, and it is not known '
                      'what this means: ' + said, self.stdlog.logger.output)

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

    @tables.data('', 'Cannot access storage file',
                 'qemu-system-x86_64: unable to map backing store for guest '
                 'RAM: Cannot allocate memory',
                 "Domain not found: no domain with matching name 'reset'")
    def test_of_all_else_nothing_is_made(self, message):
        self.assertIsNone(self.translate(message))
        self.assertNotIn('cannot be given', self.stdlog.logger.output)

    def test_no_reason_is_too_long_for_a_fault(self):
        """A fault has 255 characters; see nova.compute.utils."""
        found = {complaint.cause for complaint in meanings.EVERYTHING}
        self.assertIn(causes.SNP_ON, found)
        for cause in found:
            self.assertLessEqual(len(exception.MemEncryptionUnavailable(
                model=CONFIG.model, reason=cause.reason
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
