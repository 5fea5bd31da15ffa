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

"""Why a guest with memory encryption is not started, and what to do."""
import typing as ty


class Cause(ty.NamedTuple):
    """Why a guest is not started."""

    reason: str     # for the server's user, one sentence
    remedy: str     # for the operator
    # Whether another host may start the server; None if it was started
    elsewhere: ty.Optional[bool] = True


# A reason without internals is shared by causes that only an operator can
# tell apart; the first of them is the one that a fault, which has no more
# than the reason, is explained by.
NOT_READY = 'its secure processor is not ready.'
REFUSED = 'its secure processor refused to start the guest.'
NO_SEV_ES = 'its secure processor gives no SEV-ES.'
NO_SEV_SNP = 'its secure processor gives no SEV-SNP.'
NO_USE = 'QEMU cannot use its secure processor.'
NO_ASIDS = ('its kernel has no ASID for guests of this model, or does not '
            'support it.')
KERNEL_LOG = ("See what 'dmesg | grep -i -e ccp -e sev' says; "
              "'nova-mem-encryption explain' reads it.")
FIRMWARE = 'update the BIOS and the SEV firmware (/lib/firmware/amd)'
COLD = 'boot the host from power off'

# -- ASIDs, kernel -----------------------------------------------------------
ASIDS_IN_USE = Cause(
    'all its ASIDs for guests of this model are in use.',
    'More guests of this model run here than Nova knows of, or misc.max of '
    'the cgroup that guests run in allows no more. See which guests are not '
    'its own (virsh list). Linux before 6.9 says the same where the BIOS sets '
    'no ASID aside.')
NO_ASID = Cause(
    NO_ASIDS, 'Check kernel parameters kvm_amd.sev, kvm_amd.sev_es and, for '
    'SEV-SNP, kvm_amd.sev_snp, and how the BIOS splits the ASIDs.')
NO_SPLIT = Cause(
    NO_ASIDS, "Raise 'Minimum SEV non-ES ASID' in the BIOS above 1: set to N, "
    'there are N - 1 SEV-ES guests.')
SPLIT_ALL = Cause(
    NO_ASIDS, "Plain SEV has no ASIDs. Where it should, lower 'Minimum SEV "
    "non-ES ASID' in the BIOS.")
PARAMETER_OFF = Cause(
    NO_ASIDS, 'Load kvm_amd with sev=1, sev_es=1 and lbrv=1, and kvm with '
    'mmio_caching=1. Where they are on, the kernel log says of ccp why not.')
HIDING = Cause(
    NO_ASIDS, 'Ciphertext hiding has taken the ASIDs of SEV-ES: lower '
    'kvm_amd.ciphertext_hiding_asids.')
EMULATED = Cause(
    'it emulates guests, which gives no memory encryption.',
    'Set [libvirt]/virt_type = kvm in nova.conf, and see that /dev/kvm is '
    'there.')
NO_SUPPORT = Cause(
    'its libvirt or QEMU does not support AMD SEV any more.',
    'Check /dev/sev and kernel parameter kvm_amd.sev. If both are right, '
    'delete /var/cache/libvirt/qemu/capabilities and restart libvirtd.')
OTHER_PROCESSOR = Cause(
    'its processor is not the one that libvirt knows.',
    'Restart libvirtd, and nova-compute after it.')

# -- the secure processor ----------------------------------------------------
UNINITIALISED = Cause(
    NOT_READY, KERNEL_LOG + ' Check that SMEE and SEV are on in the BIOS, ' +
    FIRMWARE + ', and boot the host again.')
DEAD = Cause(
    NOT_READY, 'It did not answer in time, and the kernel asks it no more. ' +
    KERNEL_LOG + ' ' + COLD.capitalize() + '; if it comes again, ' +
    FIRMWARE + '.')
NO_FIRMWARE_RUNS = Cause(
    NOT_READY, 'The SEV firmware does not run, or not yet. Update the BIOS, '
    'which brings the firmware of the secure processor, check that SMEE and '
    'SEV are on in it, and ' + COLD + '.')
BROKEN = Cause(
    NOT_READY, COLD.capitalize() + ' and ' + FIRMWARE + '. If it comes again, '
    'run no guests there and have the processor looked at.')
HALF_UPDATED = Cause(
    NOT_READY, 'Its firmware was being updated, or shut down: ' + COLD + '. '
    'If it comes again, ' + FIRMWARE + '.')
SNP_FAILED = Cause(
    NOT_READY, 'SEV-SNP is on in the BIOS and cannot be initialised, and SEV '
    'is not initialised after it. Switch SEV-SNP off in the BIOS; '
    'kvm_amd.sev_snp=0 does not help. Plain SEV and SEV-ES need none of it. '
    'Where SEV-SNP is wanted, ' + FIRMWARE + '.')
NOT_FIRST = Cause(
    NOT_READY, 'Where SEV-SNP is on in the BIOS, switch it off: when it '
    'cannot be initialised, neither can SEV. Else ' + COLD + ', and ' +
    FIRMWARE + '.')
SMEE_OFF = Cause(
    NOT_READY, 'Switch SMEE on in the BIOS (AMD CBS, CPU Common Options), and '
    'SEV where it has a switch of its own.')
NO_PSP = Cause(
    NOT_READY, 'The kernel finds no secure processor: update the BIOS, see '
    'that the PSP is on in it, and that this kernel knows the processor.')
INIT_EX = Cause(
    NOT_READY, 'ccp was loaded with init_ex_path: see that the file can be '
    'written when ccp is loaded, or load it without.')
NO_MEMORY = Cause(
    NOT_READY, 'The kernel had no memory in one piece for the secure '
    'processor. Boot the host again, so that ccp is loaded while it has.')
NOT_FOR_ES = Cause(
    NO_SEV_ES, 'It was not initialised for SEV-ES. ' + KERNEL_LOG + ' Where '
    'SEV-SNP is on, switch it off in the BIOS. Check that the BIOS sets ASIDs '
    'aside for SEV-ES, and boot the host again.')
NOT_FOR_SNP = Cause(
    NO_SEV_SNP, 'Switch SEV-SNP on in the BIOS, with memory for its table '
    '(RMP); ' + FIRMWARE + ', and boot the host again. This needs Linux 6.11 '
    'or later. ' + KERNEL_LOG)
NO_TMR = Cause(
    NO_SEV_ES, 'Its memory for SEV-ES (1 MiB in one piece, 2 MiB with '
    'SEV-SNP) was not to be had when ccp was loaded. Boot the host again, so '
    'that ccp is loaded while it is.')
LAZY = Cause(
    NO_SEV_ES, 'Load ccp without psp_init_on_probe=0, as QEMU starts no '
    'SEV-ES guest before the secure processor is initialised; then restart '
    'nova-compute.')
SNP_ON = Cause(
    NO_SEV_ES, 'SEV-SNP is on, and firmware that fixes CVE-2025-48514 gives '
    'no SEV-ES beside it. Switch SEV-SNP off in the BIOS; neither '
    'kvm_amd.sev_snp=0 nor other firmware helps. Plain SEV goes on.')
POLICY = Cause(
    'its secure processor does not allow the policy of the guest.',
    'The platform owner or the firmware forbids it, as with SEV-SNP on: '
    'switch that off in the BIOS.')
FULL = Cause(
    'its secure processor has no room for another guest.',
    'Stop guests that are not needed; if none runs, boot the host again.')
REFUSAL = Cause(
    REFUSED, 'fw_error is a status code of AMD 55766, "Secure Encrypted '
    'Virtualization API", or of 56860 for SEV-SNP. ' + KERNEL_LOG)
OLD_FIRMWARE = Cause(
    REFUSED, 'Its firmware is too old for this. Update the SEV firmware '
    '(/lib/firmware/amd) or the BIOS, and boot the host again.')
OUT_OF_STEP = Cause(
    REFUSED, 'Kernel and secure processor do not agree on which guests there '
    'are. Try again; if it comes again, boot the host and update its kernel.')
MISFIT = Cause(
    REFUSED, 'Kernel, QEMU and SEV firmware do not fit together: update them, '
    'and boot the host again.')
SNP_PAGES = Cause(
    REFUSED, 'It is of SEV-SNP, which is on. Update the kernel; or, where no '
    'server is to have SEV-SNP, switch it off in the BIOS.')
OWNERS_FILES = Cause(
    REFUSED, 'It is of a certificate, session or secret of the guest owner. '
    'Nova gives none: somebody changed the definition of the guest (virsh '
    'edit). Reboot it hard.')
NO_RIGHTS = Cause(
    NO_USE, 'Check that there is a /dev/sev, its rights, cgroup devices and '
    'AppArmor or SELinux.')
NO_DEVICE = Cause(
    NO_USE, 'There is no /dev/sev: ccp is not loaded, or has given up. ' +
    KERNEL_LOG + ' Check that SMEE and SEV are on in the BIOS; update the '
    'BIOS. A container has to be given it.')

# -- the guest, its devices and its memory -----------------------------------
NO_RESET_BLOCK = Cause(
    'the firmware of the guest does not support SEV-ES.',
    'Install firmware that has the SEV-ES reset block.')
NO_HASHES = Cause(
    'the firmware of the guest cannot measure its kernel.',
    'Boot from a disk, or install firmware that has the table for hashes.')
NO_SMM = Cause(
    'it asks for secure boot, whose firmware needs System Management Mode, '
    'which the host does not give this server.',
    'Take os_secure_boot and os:secure_boot away from image and flavor.',
    elsewhere=False)
NO_IRQCHIP = Cause(
    'its interrupt controller is not that of the kernel.',
    "Somebody changed its definition: take <ioapic driver='qemu'/> away, or "
    'reboot it hard.')
CANNOT_LOCK = Cause(
    'it cannot lock the memory of the guest.',
    'All memory of an encrypted guest is locked. Set ram_allocation_ratio to '
    '1.0 and raise reserved_host_memory_mb, or LimitMEMLOCK of libvirtd; in a '
    'container it also needs CAP_SYS_RESOURCE. Linux 6.15 and later cannot '
    'lock what is a file on a disk, as with [libvirt] file_backed_memory.')
DEVICE = Cause(
    'a device of the server does not work with encrypted memory there.',
    'Shares (virtiofs) do not. vhost-user ports do with a virtual switch that '
    'has IOMMU support (Open vSwitch: vhost-iommu-support=true).')
ENDED = Cause(
    'QEMU ended before libvirt could read why.',
    'QEMU says why in /var/log/libvirt/qemu.')
