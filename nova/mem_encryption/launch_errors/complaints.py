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

"""What QEMU and libvirt complain of when they do not start a guest."""
import typing as ty

from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp


class Complaint(ty.NamedTuple):
    """Words of QEMU, libvirt or the kernel, and what they come from."""

    pattern: str         # a regular expression that finds them in a line
    cause: causes.Cause
    # Whether the numbers in the line, if they are known, tell the cause; the
    # above is that of all others
    numbers: bool = False
    # Whether another line says why: this one only follows from it
    follows: bool = False


# The first that fits counts, so the vague ones come last. QEMU 6.2 to 10.2:
# target/i386/sev.c, target/i386/kvm, accel/kvm, hw/i386, system (softmmu),
# hw/virtio. libvirt 8.0 to 11.3: src/qemu, src/util/virprocess.c.
COMPLAINTS = (
    # AMDSEV: SEV API 0.16 of EPYC 7001
    Complaint(r'LAUNCH_UPDATE_VMSA ret=-5 fw_error=3\b', causes.OLD_FIRMWARE),
    # A plain -16, as where the line was cut
    Complaint(r'failed to initialize ret=-16(?! fw_error)',
              causes.ASIDS_IN_USE),
    # It has an ASID, or the firmware would not have been asked.
    Complaint(r'failed to initialize ret=-16 fw_error=(?!0\b)', causes.DEAD),
    Complaint(r'failed to initialize ret=-', causes.UNINITIALISED,
              numbers=True),
    Complaint(r'failed to get platform status ret=', causes.UNINITIALISED,
              numbers=True),
    Complaint(r'(SNP_)?LAUNCH_\w{1,20} ret=', causes.REFUSAL, numbers=True),
    Complaint(r'SEV-SNP: CPUID (validation failed|entry count)|'
              r'SEV-SNP: (failed update|failed to generate|unable to query) '
              r'CPUID', causes_of_snp.CPUID_REFUSED),
    Complaint(r'Failed to locate SEV metadata header',
              causes_of_snp.NO_SNP_METADATA),
    Complaint(r'pflash with kvm requires KVM readonly memory',
              causes_of_snp.NO_SNP_FLASH),
    Complaint(r'could not load PC BIOS', causes_of_snp.NO_IMAGE),
    Complaint(r'[Ff]ailed to (export PDH cert|get ID) ret=',
              causes.UNINITIALISED, numbers=True),
    Complaint(r'host SEV-ES support unavailable', causes.NOT_FOR_ES),
    Complaint(r'vm-type SEV-SNP not supported by KVM|'
              r'KVM does not support guest_memfd', causes_of_snp.SNP_OFF),
    Complaint(r'Error creating KVM guest_memfd|USER_MEMORY_REGION2 failed|'
              r'failed to set memory attribute private|'
              r'SEV-SNP: failed to configure initial',
              causes_of_snp.PRIVATE_MEMORY),
    Complaint(r'cannot set up private guest memory: discard|'
              r'Cannot set discarding of RAM broken',
              causes_of_snp.PASSED_THROUGH),
    Complaint(r'SNP_LAUNCH_UPDATE called with invalid|'
              r'SEV-SNP: expected update of|Failed to get HVA for GPA',
              causes.MISFIT),
    Complaint(r'Failed to add metadata page', causes.REFUSAL, follows=True),
    Complaint(r'vm-type SEV\S* not supported by KVM|'
              r'host kernel does not support (the )?requested \S+ (VM type|'
              r'configuration)', causes.NO_ASID),
    Complaint(r'failed to query supported sev_features', causes.MISFIT),
    # The former before QEMU 9.0, which did no more than check itself
    Complaint(r'machine->cgs->ready\W+ failed|'
              r'does not support confidential guest sev', causes.EMULATED),
    Complaint(r'SEV is not enabled in KVM', causes.PARAMETER_OFF),
    Complaint(r"Failed to open /dev/sev\b.{0,99}[Nn]o such file",
              causes.NO_DEVICE),
    Complaint(r'Failed to open /dev/sev\b', causes.NO_RIGHTS),
    Complaint(r'(cbitpos|reduced_phys_bits) check failed',
              causes.OTHER_PROCESSOR),
    Complaint(r'save reset vector|SEV information block|SEV-ES reset address',
              causes.NO_RESET_BLOCK),
    Complaint(r'has no hash(es)? table (GUID|guid)|hashes table area is '
              r'invalid|cannot map hashes table', causes.NO_HASHES),
    # It is of KVM, which tells it for each guest: "Use a per-VM check for SMM
    # capability", QEMU 6.0.
    Complaint(r'System Management Mode not supported|'
              r'SEV-SNP does not support SMM', causes.NO_SMM),
    Complaint(r'SEV-ES guests require in-kernel irqchip', causes.NO_IRQCHIP),
    Complaint(r'failed to register region|cannot (limit|get) locked memory|'
              r'mlock(all)?: |locking memory failed|'
              r'(adjust|reset maximum) locked memory', causes.CANNOT_LOCK),
    Complaint(r'iommu_platform=true is not supported by the device|'
              r'cannot disable RAM discard', causes.DEVICE),
    Complaint(r'SEV: Failed to read ', causes.OWNERS_FILES),
    Complaint(r"'sev-snp' launch security is not supported|"
              r"in element 'launchSecurity': 'sev-snp'",
              causes_of_snp.TOO_OLD_FOR_SNP),
    Complaint(r"(SEV|'sev') launch security is not supported|"
              r'QEMU does not support SEV guest|'
              r'query-sev-capabilities reply was missing|'
              r'SEV \S+( data| information)? in QEMU capabilities cache',
              causes.NO_SUPPORT),
    Complaint(r'failed to create encryption context|'
              r'[Ff]ailed to encrypt pflash', causes.REFUSAL, follows=True),
    # Now and then libvirt notices first that QEMU has ended.
    Complaint(r'failed to connect to monitor socket|'
              r'Unable to read from monitor: Connection reset', causes.ENDED,
              follows=True),
)
