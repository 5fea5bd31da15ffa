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

"""What the kernel answers itself, without a word of the secure processor."""
import re
import typing as ty

from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp


class Answer(ty.NamedTuple):
    """An error number of the kernel, at a step of the start of a guest."""

    step: str  # QEMU's words for it, or ANY
    name: str
    number: int
    linux: str  # the first version that answers so
    meaning: str
    cause: causes.Cause


INIT = 'failed to initialize'  # KVM_SEV_INIT, KVM_SEV_ES_INIT, KVM_SEV_INIT2
DATA = 'LAUNCH_UPDATE'
VMSA = 'LAUNCH_UPDATE_VMSA'
SNP_START = 'SNP_LAUNCH_START'
SNP_DATA = 'SNP_LAUNCH_UPDATE'
SNP_FINISH = 'SNP_LAUNCH_FINISH'
ANY = INIT + r'|(?:SNP_)?LAUNCH_\w{1,20}'

# The first that fits counts. Linux: arch/x86/kvm/svm/sev.c, drivers/crypto/
# ccp/sev-dev.c and kernel/cgroup/misc.c. LAUNCH_START is not among them, as
# QEMU prints ret=1 for whatever it is; nor is -1, which is how QEMU prints
# each failure of /dev/sev, nor EPERM: "failed to initialize kvm: Operation
# not permitted" is QEMU's own -1.
ANSWERS = (
    # sev_asid_new, misc_cg_try_charge. Before 6.9 it is EBUSY whatever they
    # say, so also where there are none at all.
    Answer(INIT, 'EBUSY', 16, '5.11', 'no ASID is free',
           causes.ASIDS_IN_USE),
    # A capacity of 0 in the misc cgroup, or a kind of guest that the kernel
    # does not know
    Answer(INIT, 'EINVAL', 22, '6.9', 'the kernel has no ASID to give, or '
           'does not know what QEMU asks for', causes.NO_ASID),
    # sev_es is off; since 6.9 also a range of ASIDs that is empty
    Answer(INIT, 'ENOTTY', 25, '5.11', 'the kernel gives no such guest',
           causes.NO_ASID),
    # __sev_snp_init_locked; Linux 5.17 to 6.0 also where there is no memory
    # for init_ex_path.
    Answer(INIT, 'EOPNOTSUPP', 95, '6.12', 'SEV-SNP is on, and the firmware '
           'is too old for it', causes.SNP_FAILED),
    # sev_read_init_ex_file, sev_write_init_ex_file
    Answer(INIT, 'EIO', 5, '5.17', 'the file of init_ex_path cannot be '
           'written', causes.INIT_EX),
    Answer(INIT, 'EACCES', 13, '5.17', 'the file of init_ex_path cannot be '
           'opened', causes.INIT_EX),
    # __sev_platform_init_handle_init_ex_path, __sev_snp_init_locked
    Answer(INIT, 'ENOMEM', 12, '6.9', 'the kernel has no memory for it',
           causes.NO_MEMORY),
    # sev_pin_memory: RLIMIT_MEMLOCK, or pages that cannot be pinned
    Answer(DATA, 'ENOMEM', 12, '5.11', 'the memory cannot be locked',
           causes.CANNOT_LOCK),
    # sev_es_sync_vmsa: registers for debugging are in use
    Answer(VMSA, 'EINVAL', 22, '5.11', 'the guest is being debugged, or its '
           'registers are not what SEV-ES starts with', causes.MISFIT),
    # snp_launch_start, and snp_context_create of it
    Answer(SNP_START, 'EINVAL', 22, '6.11', 'the kernel does not take the '
           'policy of the guest', causes_of_snp.SNP_POLICY),
    Answer(SNP_START, 'ENOTTY', 25, '6.11', 'the kernel cannot make a context '
           'for the guest', causes.REFUSAL),
    # snp_launch_update, whatever kvm_gmem_populate has failed with
    Answer(SNP_DATA, 'EIO', 5, '6.11', 'the kernel has no memory for the '
           'guest, or none that the RMP has free',
           causes_of_snp.PRIVATE_MEMORY),
    # snp_launch_update_vmsa, rmp_make_private
    Answer(SNP_FINISH, 'EFAULT', 14, '6.11', 'the RMP cannot be changed',
           causes.SNP_PAGES),
    # __sev_do_cmd_locked, psp_dead, sev_wait_cmd_ioc
    Answer(ANY, 'EBUSY', 16, '5.11', 'the kernel has given the secure '
           'processor up', causes.DEAD),
    Answer(ANY, 'ETIMEDOUT', 110, '5.11', 'the secure processor did not '
           'answer in time', causes.DEAD),
    Answer(ANY, 'ENODEV', 19, '5.11', 'ccp has no secure processor',
           causes.NO_PSP),
    # Not a guest of SEV, or not one of SEV-ES, to the kernel
    Answer(ANY, 'ENOTTY', 25, '5.11', 'the kernel has made another guest of '
           'it', causes.MISFIT),
    Answer(ANY, 'EINVAL', 22, '5.11', 'the kernel does not take what QEMU '
           'gives it', causes.MISFIT),
    Answer(ANY, 'EFAULT', 14, '5.11', 'the kernel cannot read what QEMU '
           'gives it', causes.MISFIT),
    Answer(ANY, 'EBADF', 9, '5.11', 'QEMU has no /dev/sev open',
           causes.MISFIT),
)


def get(line):
    """Return the Answer in a line of QEMU, None if there is none."""
    found = re.search(r'(%s) ret=-(\d{1,4})\b' % ANY, line)
    if found is None:
        return None
    for answer in ANSWERS:
        if answer.number == int(found.group(2)) and (
                answer.step in (found.group(1), ANY)):
            return answer
    return None
