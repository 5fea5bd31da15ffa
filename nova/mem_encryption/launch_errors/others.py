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

"""What QEMU says of guests that run, and what nova-compute itself says."""
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp
from nova_mem_encryption.nova.mem_encryption.launch_errors import complaints

RESET = causes.Cause(
    'The guest was reset from inside, and encrypted registers cannot be '
    'reset.',
    'That is how SEV-ES and SEV-SNP are. Start the server again, and reboot '
    'it by the API. With a vTPM it happens once, at the first boot of many '
    'images.',
    elsewhere=None)
TERMINATED = causes.Cause(
    'The guest has ended itself, as SEV-ES is not as its firmware or kernel '
    'needs it.',
    'The numbers are of the GHCB specification (AMD 56421), "Termination '
    'Request": 0x0:0x1 is a protocol that the host does not have. Update the '
    'kernel of the host, and kernel and firmware of the guest.',
    elsewhere=None)
STAYS = causes.Cause(
    'A guest with encrypted memory cannot be migrated live, or saved.',
    'Migrate the server cold, stop it or shelve it.', elsewhere=None)
NO_RMP = causes.Cause(
    'SEV-SNP is off, as the BIOS has set no memory aside for its table (RMP), '
    'or too little.',
    'SEV and SEV-ES need none of it. For SEV-SNP switch it on in the BIOS, '
    "with 'SNP Memory (RMP Table) Coverage' of all memory.", elsewhere=None)
NO_IOMMU = causes.Cause(
    'SEV-SNP is off, as the IOMMU is off, passed through or not as it needs '
    'it.',
    'SEV and SEV-ES need none of it. For SEV-SNP switch the IOMMU on in the '
    'BIOS, and boot without iommu=off, amd_iommu=off, iommu=pt, '
    'iommu.passthrough=1 and amd_iommu=pgtbl_v2.', elsewhere=None)
NO_FIRMWARE = causes.Cause(
    'it has no firmware that can start such a guest.',
    'The log of nova-compute lists the firmware that was looked at, and why '
    'it was not taken.')
OTHER_SLOT = causes.Cause(
    'the slot of the server is one of another model.',
    'A scheduler or conductor does not know models: see '
    "'nova-mem-encryption status' there. Then migrate the server, or delete "
    'and create it.')

# QEMU 6.2 to 10.2: target/i386/sev.c, system/runstate.c; Linux:
# arch/x86/kvm/svm/sev.c; and nova/mem_encryption
WORDS = tuple(complaints.Complaint(*row) for row in (
    (r'Memory for the RMP table has not been reserved|RMP configuration not '
     r'valid|RMP table does not cover', NO_RMP),
    (r'SNP: IOMMU .{1,60}SNP cannot be supported|kvm_amd\.sev_snp is off, as '
     r'the kernel was told to leave the IOMMU', NO_IOMMU),
    (r'cpus are not resettable', RESET),
    (r'SEV-ES guest requested termination', TERMINATED),
    (r'SEV(-SNP)?: Migration is not implemented', STAYS),
    (r'secure processor \(PSP\) is not initialised for', causes.NOT_FOR_SNP),
    (r'secure processor \(PSP\) is not initialised', causes.UNINITIALISED),
    (r'secure processor \(PSP\) was not initialised for', causes.NOT_FOR_ES),
    (r'secure processor \(PSP\) does not answer: (Device or resource busy|'
     r'Connection timed out)', causes.DEAD),
    (r'secure processor \(PSP\) does not answer', causes.UNINITIALISED),
    (r'secure processor \(PSP\) is initialised with the first', causes.LAZY),
    (r'SEV firmware is too old for', causes.OLD_FIRMWARE),
    (r'libvirt offers no AMD SEV', causes.UNINITIALISED),
    (r'kernel parameter kvm_amd\.sev_snp is (on|off, but)', causes.SNP_ON),
    (r'kernel parameter kvm_amd\.sev_snp is off', causes_of_snp.SNP_OFF),
    (r'kernel parameter kvm_amd\.sev(_es)? is off', causes.PARAMETER_OFF),
    (r'maxESGuests is 0', causes.NO_SPLIT),
    (r'its virt_type is (?!kvm)', causes.EMULATED),
    (r'no firmware that can start such a guest', NO_FIRMWARE),
    (r'its slot is on .{0,99} and not on ', OTHER_SLOT),
))
