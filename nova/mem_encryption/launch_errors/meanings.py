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

"""Say in plain words what libvirt, QEMU and the kernel complain of."""
import re
import sys
import typing as ty

from nova_mem_encryption.nova.mem_encryption.launch_errors import answers
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp
from nova_mem_encryption.nova.mem_encryption.launch_errors import codes
from nova_mem_encryption.nova.mem_encryption.launch_errors import complaints
from nova_mem_encryption.nova.mem_encryption.launch_errors import kernel_log
from nova_mem_encryption.nova.mem_encryption.launch_errors import others

# What each cause is called in the code
NAMES = {cause: name for module in (causes, causes_of_snp, others)
         for name, cause in vars(module).items()
         if isinstance(cause, causes.Cause)}
# A fault has the reason only.
REASONS = {cause.reason.rstrip('.'): cause for cause in reversed(
    [value for module in (causes, causes_of_snp)
     for value in vars(module).values() if isinstance(value, causes.Cause)])}
FAULTS = tuple(complaints.Complaint(re.escape(reason), cause)
               for reason, cause in REASONS.items())
EVERYTHING = (*complaints.COMPLAINTS, *kernel_log.WORDS, *others.WORDS,
              *FAULTS)
# Each line that means something, or is of memory encryption, has one of these.
_TOLD_BY = (
    'SEV', 'sev', 'SNP', 'LAUNCH_', 'fw_err', 'memory encryption',
    'failed to initialize ret=-', 'platform status', 'PDH cert',
    'get ID ret=', 'cbitpos', 'phys_bits', 'reset vector', 'hash',
    'System Management Mode', 'register region', 'locked memory', 'mlock',
    'readonly memory', 'PC BIOS', 'guest_memfd', 'private guest memory',
    'attribute private', 'USER_MEMORY_REGION', 'discarding of RAM', 'for GPA',
    'metadata', 'RMP', 'from monitor',
    'locking memory', 'iommu_platform=true', 'RAM discard',
    'encryption context', 'pflash', 'monitor socket', 'TMR', 'psp: ', 'LBRV',
    'psp initialization', 'legacy command', 'launch security', 'cgs->ready',
    'resettable', 'maxESGuests', 'secure processor', 'virt_type',
    'such a guest', 'slot is on', *REASONS)
# Words that are of memory encryption, known or not ...
_OURS = re.compile(r'\b(SEV|sev)\b|\bSEV-|\b(sev|snp)_\w+: |fw_err(or)?=|'
                   r'LAUNCH_[A-Z]+ ret=|memory encryption|launch security')
# ... and those that are no complaint, or only follow from one: definitions
# and command lines of guests, and what the kernel and nova-compute say where
# all is well.
_HARMLESS = re.compile(
    r'qom-type|sev-guest|launchSecurity|-machine |mem_encryption|'
    r'failed to initialize kvm: Operation not permitted|'
    r'(?i:sev) enabled|SEV-ES enabled|SEV(-ES)?( and SEV-SNP)? supported|'
    r'SEV(-SNP)? API|SEV-SNP (enabled|disabled|\(ASIDs|ciphertext hiding)|'
    r'SEV firmware (init|up|shut)|registered SEV device|retrying INIT|'
    r'RMP (table|segment|size|configuration|bookkeeping)|Segmented RMP|'
    r'SEV: (\S{1,99} does not exist and will|could not read \d+ bytes)|'
    r'load(ing)? .{0,99}amd/[\w.]{0,40}sev|Memory Encryption Features|'
    r'AMD SEV(-ES)? support detected|memory encryption, ')
_PROGRAM = re.compile(r'.*(?:qemu-system-\w+|qemu-kvm|-accel kvm): ')


class Meaning(ty.NamedTuple):
    """What a line means."""

    cause: causes.Cause
    line: str   # without date and program
    why: str    # what its numbers say, '' if it has none that are known
    follows: bool  # whether another line says why


def may_mean(line):
    """Tell whether to look at a line; to look at all takes ten times as long.

    :param str line: of a log
    """
    return any(words in line for words in _TOLD_BY)


def find_in_line(line, table=EVERYTHING):
    """Return what a line means.

    :param str line: of a log or a message
    :param table: the complaints.Complaint that are looked for
    :returns: a Meaning, None if it is none of them
    """
    for complaint in table:
        match = re.search(complaint.pattern, line)
        if match:
            # What stands before it may be another message.
            cause, why = (_read_numbers(line[match.start():])
                          if complaint.numbers else (None, ''))
            return Meaning(cause or complaint.cause,
                           _strip(line, match.start()), why,
                           complaint.follows)
    return None


def find_meaning(text):
    """Return what a text means that libvirt has for a guest's start.

    :param str text: of a libvirt.libvirtError, of any number of lines
    :returns: a Meaning, None if it is not of memory encryption
    """
    found = [meaning for meaning in (
        find_in_line(line, complaints.COMPLAINTS)
        for line in text.splitlines()) if meaning]
    return min(found, key=lambda meaning: meaning.follows, default=None)


def find_unknown(text):
    """Yield lines that are of memory encryption, and that nothing knows."""
    for line in text.splitlines():
        if _OURS.search(line) and not _HARMLESS.search(line) and (
                find_in_line(line) is None):
            yield _strip(line)


def _read_numbers(line):
    """Return the cause that the numbers of a line tell, and what they are."""
    number = codes.read(line)
    code = codes.get(number, line)
    if code is not None and code is not codes.NOT_CALLED:
        return code.cause, 'status code 0x%02x%s: %s' % (
            number, code.name and ' ' + code.name, code.meaning)
    # 0 or none: the kernel has answered itself.
    answer = None if number and code is None else answers.get(line)
    if answer is not None:
        return answer.cause, '%s: %s' % (answer.name, answer.meaning)
    return (code.cause, code.meaning) if code is not None else (None, '')


def _strip(line, end=sys.maxsize):
    # NOTE: match begins only once; sub would at each character of a long line.
    found = _PROGRAM.match(line, 0, end)
    return (line[found.end():] if found else line).strip().rstrip('.')
