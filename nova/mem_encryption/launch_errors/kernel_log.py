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

"""What the kernel's log says of the secure processor, and of SEV."""
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import complaints

# The first that fits counts. Linux 5.11 to 7.1: drivers/crypto/ccp/sev-dev.c
# and psp-dev.c, arch/x86/kvm/svm/sev.c.
WORDS = tuple(complaints.Complaint(*row) for row in (
    (r'SEV(-SNP)?: (failed to INIT|SNP_INIT\w* failed|INIT\w* failed) '
     r'.{0,99}rc -110', causes.DEAD),
    (r'SEV-SNP: (failed to INIT|SNP_\w{4,9} failed)', causes.SNP_FAILED),
    # INVALID_PLATFORM_STATE: something has come before it.
    (r'SEV: (failed to INIT error|INIT\w* failed) 0x1\b',
     causes.NOT_FIRST, False, True),
    (r'SEV: (failed to INIT|failed to get status|INIT\w* failed)',
     causes.UNINITIALISED, True),
    (r'SEV: failed to SHUTDOWN|SEV-SNP firmware shutdown failed|'
     r'SEV-SNP DF_FLUSH failed', causes.HALF_UPDATED),
    # Only where SEV-SNP is initialised
    (r'SEV legacy command|for legacy command|many firmware commands in prog',
     causes.SNP_PAGES),
    (r'Failed to create SEV-SNP context', causes.REFUSAL, True),
    (r'RMPUPDATE failed for PFN', causes.SNP_PAGES),
    (r'sev command \S+ timed out', causes.DEAD),
    (r'TMR allocation failed', causes.NO_TMR),
    (r'SEV: (INIT_EX NV memory|SNP_INIT_EX .{0,40} failed)', causes.NO_MEMORY),
    (r'SEV: (could not open|failed to write) .{0,99}(file|read|memory)',
     causes.INIT_EX),
    (r'SEV: (memory encryption not enabled by BIOS|'
     r'Memory Encryption is disabled by the BIOS)', causes.SMEE_OFF),
    (r'psp: unable to (access the device|allocate an IRQ)|sev: missing driver '
     r'data|(sev|psp) initialization failed', causes.NO_PSP),
    (r'SEV(-SNP)?: DF_FLUSH failed', causes.OUT_OF_STEP, True),
    (r'SNP_PLATFORM_STATUS failed', causes.SNP_FAILED, True),
    # With its ASIDs, but not by the firmware: Linux of 2026
    (r'SEV-ES unusable \(ASIDs 1 - ', causes.SNP_ON),
    (r'SEV-ES unusable', causes.HIDING),
    # The lowest ASID of SEV is 1.
    (r'SEV-ES disabled \(ASIDs 0 - 0\)', causes.NO_SPLIT),
    (r'SEV(-ES)? disabled \(ASIDs|LBRV must be present for SEV-ES',
     causes.PARAMETER_OFF),
    (r'SEV unusable \(ASIDs', causes.SPLIT_ALL),
    (r'SEV: (\d+ locked pages exceed|\d+ total pages would exceed|'
     r'Failure locking \d+)', causes.CANNOT_LOCK),
))
