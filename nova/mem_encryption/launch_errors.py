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

"""Say in plain words what libvirt or QEMU complain of."""
import re
import typing as ty

from nova.i18n import _


class Complaint(ty.NamedTuple):
    """What libvirt, QEMU or the firmware below them say."""

    pattern: str    # a regular expression that finds it in a line
    reason: str     # for the server's user, one sentence
    remedy: str     # for the operator
    elsewhere: bool = True  # whether another host may start the server


# The first that fits counts, so the vague ones come last. -16, -22 and -25
# are the kernel's EBUSY, EINVAL and ENOTTY: see sev_guest_init and
# sev_asid_new in arch/x86/kvm/svm/sev.c, and misc_cg_try_charge in
# kernel/cgroup/misc.c. The words of the firmware are those of sev_fw_errlist
# in QEMU's target/i386/sev.c.
COMPLAINTS = [
    Complaint(
        r'failed to initialize ret=-16',
        _('all its ASIDs for guests of this model are in use.'),
        'More guests of this model run here than Nova knows of, or misc.max '
        'of the cgroup that guests run in allows no more. See which guests '
        'are not its own (virsh list).'),
    Complaint(
        # Kernels before 6.9 say EINVAL where there is none.
        r'failed to initialize ret=-(22|25)',
        _('its kernel has no ASID for guests of this model, or does not '
          'support it.'),
        'Check kernel parameters kvm_amd.sev and kvm_amd.sev_es, and how the '
        'BIOS splits the ASIDs.'),
    Complaint(
        r'host SEV-ES support unavailable',
        _('its secure processor does not support SEV-ES.'),
        'Check kernel parameters kvm_amd.sev_es and kvm_amd.sev_snp, and that '
        'the BIOS sets ASIDs aside for SEV-ES.'),
    Complaint(
        r'reset vector|SEV information block|reset address is zero',
        _('the firmware of the guest does not support SEV-ES.'),
        'Install firmware that has the SEV-ES reset block.'),
    Complaint(
        # It is of KVM, which tells it for each guest: "Use a per-VM check
        # for SMM capability", QEMU 6.0.
        r'System Management Mode not supported',
        _('it asks for secure boot, whose firmware needs System Management '
          'Mode, which the host does not give this server.'),
        'Take os_secure_boot and os:secure_boot away from image and flavor.',
        elsewhere=False),
    Complaint(
        r'cbitpos check failed|reduced_phys_bits check failed',
        _('its processor is not the one that libvirt knows.'),
        'Restart libvirtd, and nova-compute after it.'),
    Complaint(
        r'Failed to open /dev/sev',
        _('QEMU cannot use its secure processor.'),
        'Check the rights of /dev/sev, cgroup devices and AppArmor or '
        'SELinux.'),
    Complaint(
        r'Policy is not allowed',
        _('its secure processor does not allow the policy of the guest.'),
        'The platform owner or the firmware forbids it, as with SEV-SNP on.'),
    Complaint(
        r'Platform (state|configuration) is invalid|Hardware (error|unsafe)|'
        r'failed to get platform status',
        _('its secure processor is not ready.'),
        "See what 'dmesg | grep -i -e ccp -e sev' says of its start. Check "
        'that SMEE and SEV are on in the BIOS, update the BIOS and the SEV '
        'firmware (/lib/firmware/amd), and boot the host again.'),
    Complaint(
        # fw_error is 0 where the kernel refused it.
        r"fw_error=[1-9]|LAUNCH_\w+ ret=|failed to create encryption context|"
        r'Failed to encrypt pflash',
        _('its secure processor refused to start the guest.'),
        'fw_error is a status code of AMD 55766, "Secure Encrypted '
        'Virtualization API". See dmesg, and update the SEV firmware.'),
    Complaint(
        r'failed to register region|cannot limit locked memory',
        _('it cannot lock the memory of the guest.'),
        'All memory of an encrypted guest is locked. Set ram_allocation_ratio '
        'to 1.0 and raise reserved_host_memory_mb, or LimitMEMLOCK of '
        'libvirtd.'),
    Complaint(
        r'iommu_platform=true is not supported by the device',
        _('a device of the server does not work with encrypted memory there.'),
        'Shares (virtiofs) do not. vhost-user ports do with a virtual switch '
        'that has IOMMU support (Open vSwitch: vhost-iommu-support=true).'),
    Complaint(
        r"(SEV|'sev') launch security is not supported",
        _('its libvirt or QEMU does not support AMD SEV any more.'),
        'Check /dev/sev and kernel parameter kvm_amd.sev.'),
    Complaint(
        # Now and then libvirt notices first that QEMU has ended.
        r'failed to connect to monitor socket',
        _('QEMU ended before libvirt could read why.'),
        'QEMU says why in /var/log/libvirt/qemu.'),
]


class Meaning(ty.NamedTuple):
    """What it means that libvirt does not start a guest."""

    complaint: Complaint
    line: str  # that it rests on, without date and program


def find_meaning(text):
    """Return what a text means.

    :param str text: of a libvirt.libvirtError, of any number of lines
    :returns: a Meaning, None if it is not of memory encryption
    """
    for line in text.splitlines():
        for complaint in COMPLAINTS:
            if re.search(complaint.pattern, line):
                return Meaning(complaint, re.sub(
                    r'.*qemu-system-\w+: ', '', line).rstrip('.'))
    return None
