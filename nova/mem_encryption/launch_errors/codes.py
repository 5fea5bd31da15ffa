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

"""The status codes of the secure processor, and what they come from here."""
import re
import typing as ty

from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp


class Code(ty.NamedTuple):
    """A status code, at the start of a guest or of the secure processor."""

    name: str
    meaning: str
    cause: causes.Cause


# 0x00 to 0x18 and 0x1F: AMD 55766, "Secure Encrypted Virtualization API",
# version 0.24, chapter 4.4, status codes. The others: AMD 56860, "SEV Secure
# Nested Paging Firmware ABI", status codes; a host with SEV-SNP on has them,
# too. All of them: include/uapi/linux/psp-sev.h of Linux, and to 0x18 the
# words of sev_fw_errlist in QEMU's target/i386/sev.c.
CODES = {
    0x01: Code('INVALID_PLATFORM_STATE', 'the platform is not in a state for '
               'this, as when it was not initialised', causes.UNINITIALISED),
    0x02: Code('INVALID_GUEST_STATE', 'the guest is not in a state for this',
               causes.OUT_OF_STEP),
    0x03: Code('INVALID_CONFIG', 'the configuration of the platform is '
               'invalid', causes.UNINITIALISED),
    0x04: Code('INVALID_LENGTH', 'a buffer is too small', causes.MISFIT),
    0x05: Code('ALREADY_OWNED', 'the platform is owned already',
               causes.OWNERS_FILES),
    0x06: Code('INVALID_CERTIFICATE', 'a certificate is invalid',
               causes.OWNERS_FILES),
    0x07: Code('POLICY_FAILURE', 'the policy is not allowed', causes.POLICY),
    0x08: Code('INACTIVE', 'the guest has no ASID', causes.OUT_OF_STEP),
    0x09: Code('INVALID_ADDRESS', 'an address is invalid', causes.MISFIT),
    0x0A: Code('BAD_SIGNATURE', 'a signature is wrong', causes.OWNERS_FILES),
    0x0B: Code('BAD_MEASUREMENT', 'a measurement is wrong',
               causes.OWNERS_FILES),
    0x0C: Code('ASID_OWNED', 'another guest has the ASID',
               causes.OUT_OF_STEP),
    0x0D: Code('INVALID_ASID', 'there is no such ASID, or it is one of '
               'another model', causes.OUT_OF_STEP),
    0x0E: Code('WBINVD_REQUIRED', 'the caches were not flushed',
               causes.OUT_OF_STEP),
    0x0F: Code('DF_FLUSH_REQUIRED', 'the data fabric was not flushed',
               causes.OUT_OF_STEP),
    0x10: Code('INVALID_GUEST', 'there is no such guest',
               causes.OUT_OF_STEP),
    0x11: Code('INVALID_COMMAND', 'the firmware does not know the command',
               causes.OLD_FIRMWARE),
    0x12: Code('ACTIVE', 'the guest has an ASID already',
               causes.OUT_OF_STEP),
    0x13: Code('HWERROR_PLATFORM', 'the hardware of the platform failed, as '
               'where SMEE is off in the BIOS', causes.UNINITIALISED),
    0x14: Code('HWERROR_UNSAFE', 'the hardware failed, and what is in memory '
               'may be wrong', causes.BROKEN),
    0x15: Code('UNSUPPORTED', 'the feature is not supported', causes.SNP_ON),
    0x16: Code('INVALID_PARAM', 'a parameter is invalid', causes.MISFIT),
    0x17: Code('RESOURCE_LIMIT', 'the firmware has run out of a resource',
               causes.FULL),
    0x18: Code('SECURE_DATA_INVALID', 'what it keeps of this processor is '
               'damaged', causes.UNINITIALISED),
    0x19: Code('INVALID_PAGE_SIZE', 'a page has the wrong size in the RMP',
               causes.SNP_PAGES),
    0x1A: Code('INVALID_PAGE_STATE', 'a page has the wrong state in the RMP',
               causes.SNP_PAGES),
    0x1B: Code('INVALID_MDATA_ENTRY', 'the metadata of a page are invalid',
               causes.SNP_PAGES),
    0x1C: Code('INVALID_PAGE_OWNER', 'a page belongs to somebody else',
               causes.SNP_PAGES),
    0x1D: Code('AEAD_OFLOW', 'a counter of the encryption is used up',
               causes.SNP_PAGES),
    0x1F: Code('RB_MODE_EXITED', 'the queue of commands has ended',
               causes.MISFIT),
    0x20: Code('RMP_INIT_REQUIRED', 'the RMP was not initialised',
               causes.SNP_FAILED),
    0x21: Code('BAD_SVN', 'the firmware is older than what was committed',
               causes.OLD_FIRMWARE),
    0x22: Code('BAD_VERSION', 'the firmware has a version that is too old',
               causes.OLD_FIRMWARE),
    0x23: Code('SHUTDOWN_REQUIRED', 'SEV-SNP was not shut down before',
               causes.HALF_UPDATED),
    0x24: Code('UPDATE_FAILED', 'an update of the firmware failed',
               causes.HALF_UPDATED),
    0x25: Code('RESTORE_REQUIRED', 'the firmware is to be restored first',
               causes.HALF_UPDATED),
    0x26: Code('RMP_INITIALIZATION_FAILED', 'the RMP cannot be initialised',
               causes.SNP_FAILED),
    0x27: Code('INVALID_KEY', 'a key is invalid', causes.SNP_PAGES),
    0x28: Code('SHUTDOWN_INCOMPLETE', 'it was not shut down to its end',
               causes.HALF_UPDATED),
}
# What they mean of a guest with SEV-SNP, where that is something else: the
# beginning of the step, as QEMU prints it, and the number
OF_SNP = {
    # The kernel copies back what is expected only with it (Linux:
    # arch/x86/kvm/svm/sev.c, sev_gmem_post_populate).
    ('SNP_LAUNCH_UPDATE ', 0x16): Code(
        'INVALID_PARAM', 'a page is not as it should be: that which tells the '
        'guest of its processor (CPUID)', causes_of_snp.CPUID_REFUSED),
    ('SNP_LAUNCH_', 0x07): CODES[0x07]._replace(
        cause=causes_of_snp.SNP_POLICY),
    ('SNP_LAUNCH_', 0x15): CODES[0x15]._replace(cause=causes.OLD_FIRMWARE),
}
# SEV_RET_NO_FW_CALL of psp-sev.h, as QEMU and as ccp print it
NO_CALL = (-1, 0xffffffff)
NOT_CALLED = Code('', 'the kernel did not ask the firmware', causes.DEAD)
# From here on no manual has them; reports were cured by an update of the BIOS.
FIRST_OF_PSP = 0x8000
OF_PSP = Code('', 'no code of the SEV firmware: the secure processor answers '
              'in its place', causes.NO_FIRMWARE_RUNS)

# QEMU prints decimal numbers, the kernel those of 0x; no name that follows is
# read, as QEMU takes that of LAUNCH_MEASURE from errno.
_DECIMAL = re.compile(r"fw_err(?:or)?[= ]'?(-?\d{1,10})\b")
_HEX = re.compile(r'(?:[Ee]rror:?[ =]|failed \(?)(0x[0-9a-fA-F]{1,8})\b')


def read(line):
    """Return the number of the status code in a line, None if it has none."""
    found = _DECIMAL.search(line)
    if found:
        return int(found.group(1))
    found = _HEX.search(line)
    return found and int(found.group(1), 16)


def get(number, line=''):
    """Return the Code of a number, None if it is success or unknown.

    :param int number: as of read
    :param str line: which it is of
    """
    for (step, snp), code in OF_SNP.items():
        if number == snp and step in line:
            return code
    if number in NO_CALL:
        return NOT_CALLED
    if number is not None and FIRST_OF_PSP <= number <= 0xffff:
        return OF_PSP
    return CODES.get(number)
