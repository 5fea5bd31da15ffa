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

"""Test what the words of QEMU and libvirt of public reports are taken for.

Each with others of its kind, and all as several programs hand them on.
"""
import io

import ddt
from oslotest import base

from nova.tests.fixtures import tables

from nova_mem_encryption import explain
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings

GITHUB = 'https://github.com/'
AMDSEV = GITHUB + 'AMDESE/AMDSEV/issues/'
KATA = GITHUB + 'kata-containers/kata-containers/issues/'
KUBEVIRT = GITHUB + 'kubevirt/kubevirt/issues/'
NOT_READY, REFUSED = causes.NOT_READY, causes.REFUSED
LOCK = ('CAP_SYS_RESOURCE', 'LimitMEMLOCK')
# How a line of QEMU comes: its log, and what libvirt 8.0, 9.0 and 10.0 and
# nova-compute make of it
FORMS = (
    '2025-11-13T20:17:33.041857Z qemu-system-x86_64: %s',
    '2026-01-02T03:04:05Z qemu-kvm: %s',
    'internal error: qemu unexpectedly closed the monitor: '
    '2025-11-13T20:17:33.041857Z qemu-system-x86_64: %s',
    "internal error: QEMU unexpectedly closed the monitor (vm='instance-"
    "00000001'): 2025-11-13T20:17:33.041857Z qemu-system-x86_64: %s",
    'internal error: process exited while connecting to monitor: '
    '2025-11-13T20:17:33.041857Z qemu-system-x86_64: %s',
    '2026-11-26 10:00:00.000 4711 ERROR nova.virt.libvirt.guest '
    '[None req-1 - - - -] Failed to start libvirt guest: libvirt.libvirtError:'
    ' internal error: QEMU unexpectedly closed the monitor (vm='
    "'instance-0000002a'): qemu-system-x86_64: %s",
)
FOLLOWS = ('sev_common_kvm_init: failed to create encryption context',
           'failed to initialize kvm: Operation not permitted')
SNP_WORDS = ('SEV-SNP is on', 'CVE-2025-48514', 'off in the BIOS',
             '!pdate the SEV firmware')

# Kind, who reported it, what is said: that of the report first, the others
# are nobody's; the reason, None where it is not of memory encryption; words of
# the remedy, with an exclamation mark those that it has not
REPORTS = (
    ('fw_error=21', AMDSEV + '282', (
        '-accel kvm: sev_launch_start: LAUNCH_START ret=1 fw_error=21 '
        "'Feature not supported'",
        'sev_launch_start: LAUNCH_START ret=1 fw_error=21 ',
        '-accel kvm: sev_kvm_init: failed to initialize ret=-5 fw_error=21 '
        "'Feature not supported'"), causes.NO_SEV_ES, SNP_WORDS),
    ('ret=-25', AMDSEV + '36', (
        "sev_kvm_init: failed to initialize ret=-25 fw_error=0 ''",
        "-accel kvm: sev_common_kvm_init: failed to initialize ret=-22 "
        "fw_error=0 ''",
        '-accel kvm: vm-type SEV-ES not supported by KVM'), causes.NO_ASIDS,
     ('kvm_amd.sev_es', 'BIOS')),
    ('platform status', AMDSEV + '25', (
        "sev_guest_init: failed to get platform status ret=-1fw_error='0: '",
        "-accel kvm: sev_kvm_init: failed to get platform status ret=-1 "
        "fw_error='32772: unknown error'",
        "-accel kvm: sev_kvm_init: failed to get platform status ret=-1 "
        "fw_error='1: Platform state is invalid'"), NOT_READY,
     ('BIOS', 'firmware')),
    ('timeout', AMDSEV + '184', (
        '-accel kvm: sev_common_kvm_init: failed to initialize ret=-110 '
        "fw_error=0 ''",
        'sev_launch_update_data: LAUNCH_UPDATE ret=-110 fw_error=0 ',
        '-accel kvm: sev_kvm_init: failed to initialize ret=-16 fw_error=-1 '
        "'unknown error'"), NOT_READY, ('in time', 'dmesg', 'BIOS')),
    ('hardware error', GITHUB + 'AMDESE/sev-tool/issues/43', (
        '-accel kvm: sev_kvm_init: failed to initialize ret=-5 fw_error=19 '
        "'Hardware error'",
        '-accel kvm: sev_launch_start: LAUNCH_START ret=1 fw_error=19 '
        "'Hardware error'",
        'SEV: Failed to export PDH cert ret=-1 fw_err=19 (Hardware error)'),
     NOT_READY, ('SMEE', 'dmesg')),
    ('cbitpos', GITHUB + 'AMDESE/linux-svsm/issues/9', (
        "sev_kvm_init: cbitpos check failed, host '51' requested '0'",
        "-accel kvm: sev_common_kvm_init: cbitpos check failed, host '47' "
        "requested '51'",
        '-accel kvm: sev_kvm_init: reduced_phys_bits check failed, it should '
        "be >=1, requested '0'"), causes.OTHER_PROCESSOR.reason,
     ('Restart libvirtd',)),
    ('VMSA', AMDSEV + '41', (
        'sev_launch_update_vmsa: LAUNCH_UPDATE_VMSA ret=-5 fw_error=3 '
        "'Platform configuration is invalid'",
        'sev_launch_update_vmsa: LAUNCH_UPDATE_VMSA ret=-5 fw_error=17 '
        "'Invalid command'",
        'SEV: Failed to get ID ret=-1 fw_err=17 (Invalid command)'), REFUSED,
     ('too old', 'Update the SEV firmware')),
    ('reset vector', KATA + '9724', (
        'SEV information block/Firmware GUID Table block not found in pflash '
        'rom', 'failed to locate and/or save reset vector',
        'SEV-ES reset address is zero'), causes.NO_RESET_BLOCK.reason,
     ('SEV-ES reset block',)),
    ('memlock', KUBEVIRT + '15952', (
        'cannot limit locked memory of process 96 to 5368709120: Operation '
        'not permitted',
        'cannot limit locked memory of process 20117 to 137438953472: '
        'Operation not permitted',
        'internal error: Unable to reset maximum locked memory on hotplug '
        'fail'), causes.CANNOT_LOCK.reason, LOCK),
    ('virtiofs', AMDSEV + '269', (
        '-device vhost-user-fs-pci,chardev=fs0,tag=cfg,iommu_platform=true: '
        'iommu_platform=true is not supported by the device',
        '-device {"driver":"vhost-user-fs-pci","id":"fs7"}: '
        'iommu_platform=true is not supported by the device',
        '-accel kvm: sev_kvm_init: cannot disable RAM discard'),
     causes.DEVICE.reason, ('virtiofs',)),
    ('no /dev/sev', AMDSEV + '30', (
        "sev_guest_init: Failed to open /dev/sev 'no such file or directory'",
        '-accel kvm: sev_kvm_init: Failed to open /dev/sev '
        "'No such file or directory'",
        'SEV: Failed to open /dev/sev: No such file or directory'),
     causes.NO_USE, ('There is no /dev/sev', 'ccp', '!rights')),
    ('hugepages', KUBEVIRT + '14854', (
        'unable to map backing store for guest RAM: Cannot allocate memory',
        "can't open backing store /dev/hugepages/libvirt/qemu for guest RAM: "
        'Permission denied',
        "-drive file=/a: Failed to get \"write\" lock"), None, ()),
    ('mlockall', GITHUB + 'vicondoa/d2b/issues/106', (
        'mlockall: Cannot allocate memory', 'locking memory failed',
        'mlock: Operation not permitted'), causes.CANNOT_LOCK.reason, LOCK),
    ('rights', GITHUB + 'ovh/docs', (
        "sev_guest_init: Failed to open /dev/sev 'Permission denied'",
        '-accel kvm: sev_common_kvm_init: Failed to open /dev/sev '
        "'Operation not permitted'",
        'SEV: Failed to open /dev/sev: Permission denied'), causes.NO_USE,
     ('rights', 'AppArmor', '!SMEE')),
)


@ddt.ddt
class ReportsTest(base.BaseTestCase):

    @tables.data(*REPORTS, by=0)
    @ddt.unpack
    def test_it_is_told_what_it_is(self, _, __, lines, reason, words):
        for line in lines:
            for form in ('%s', *FORMS):
                self.judge(form % line, reason, words)
                if reason is not None:
                    text = '\n'.join(form % each for each in (line, *FOLLOWS))
                    self.judge(text, reason, words)
                    self.judge(text.replace('\n', '\r\n'), reason, words)

    def judge(self, text, reason, words):
        told = explain.explain(io.BytesIO(text.encode()))
        self.assertEqual([], told['unknown'])
        if reason is None:
            self.assertEqual([], told['explanations'])
            self.assertIsNone(meanings.find_meaning(text))
            return
        explanation, = told['explanations']
        meaning = meanings.find_meaning(text)
        self.assertEqual(reason, meaning.cause.reason)
        self.assertTrue(meaning.cause.elsewhere)
        self.assertEqual('This host cannot start the guest: ' + reason,
                         explanation['meaning'])
        self.assertIn(explanation['line'], text)
        for remedy in (meaning.cause.remedy, explanation['remedy']):
            for word in words:
                if word.startswith('!'):
                    self.assertNotIn(word[1:], remedy)
                else:
                    self.assertIn(word, remedy)

    def test_each_has_two_that_nobody_reported(self):
        for _, url, lines, _, _ in REPORTS:
            self.assertTrue(url.startswith(GITHUB))
            self.assertLessEqual(3, len(set(lines)))
