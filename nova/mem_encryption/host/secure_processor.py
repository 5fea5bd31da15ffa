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

"""Ask the secure processor (PSP) whether it can start guests.

What kvm_amd and libvirt say of SEV is what the kernel and the processor could
do; the secure processor does it. Of Nova only nova/mem_encryption is imported,
so whatever looks at a host can use this.
"""
import errno
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import dev_sev
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption import model as model_row

# Where it is off, the first guest has it initialised.
AT_ONCE = ('ccp', 'psp_init_on_probe')
AT_ONCE_FILE = '/sys/module/%s/parameters/%s' % AT_ONCE
# enum sev_state of include/linux/psp-sev.h
UNINITIALISED = 0
STATES = {UNINITIALISED: 'not initialised', 1: 'initialised',
          2: 'initialised, with guests'}
# What the kernel answers in place of a status: sev_ioctl, psp_dead and
# __sev_do_cmd_locked of sev-dev.c
ERRORS = {errno.EBUSY: causes.DEAD, errno.ETIMEDOUT: causes.DEAD,
          errno.EIO: causes.UNINITIALISED, errno.ENODEV: causes.NO_PSP}


class Status(ty.NamedTuple):
    """What SEV_PLATFORM_STATUS tells (AMD 55766, PLATFORM_STATUS)."""

    api: ty.Tuple[int, int]  # version of the API
    build: int
    state: int
    es: bool  # it was initialised for SEV-ES

    def __str__(self) -> str:
        return 'SEV API %d.%d, build %d; %s%s' % (
            *self.api, self.build, self.state_name,
            ', also for SEV-ES' * self.es)

    @property
    def state_name(self) -> str:
        """The state in words."""
        return STATES.get(self.state, 'in state %d' % self.state)


class Fault(ty.NamedTuple):
    """What keeps guests from being started."""

    found: str  # a clause
    cause: causes.Cause


def read_status(root: str) -> Status:
    """Ask the secure processor for its status.

    :param root: folder that stands for that of the host
    :raises OSError: of opening the device, or of asking
    """
    status = dev_sev.ask(
        root, dev_sev.SEV_PLATFORM_STATUS, dev_sev.PlatformStatus())
    return Status((status.api_major, status.api_minor), status.build,
                  status.state, bool(status.flags & dev_sev.FLAG_ES))


def read_snp(root: str) -> bool:
    """Ask the secure processor whether it is initialised for SEV-SNP.

    :param root: folder that stands for that of the host
    :raises OSError: of opening the device, or of asking
    """
    try:
        status = dev_sev.ask(root, dev_sev.SNP_PLATFORM_STATUS,
                             dev_sev.SNPPlatformStatus())
    except OSError as e:
        # sev_ioctl_do_snp_platform_status says so where it is not, and
        # sev_ioctl of a kernel that does not know the command
        if e.errno == errno.EINVAL:
            return False
        raise
    return status.state != UNINITIALISED


def is_lazy(root: str) -> bool:
    """Tell whether it is only initialised with the first guest.

    :param root: folder that stands for that of the host
    """
    try:
        with files.open_regular(files.locate(root, AT_ONCE_FILE)) as (f, _):
            return f.read(2).strip() in (b'N', b'0')
    except files.Unfit:
        return False  # Linux before 5.17 cannot be told to


def find_fault(status: Status, lazy: bool) -> ty.Optional[Fault]:
    """Return what keeps guests of an added model from being started.

    Of plain SEV the kernel has it initialised with each guest, once more
    (sev_guest_init in arch/x86/kvm/svm/sev.c), so that is left to libvirt.

    :param status: what the secure processor says
    :param lazy: as of is_lazy
    """
    if status.state == UNINITIALISED and not lazy:
        return Fault('the secure processor (PSP) is not initialised',
                     causes.UNINITIALISED)
    return None


def find_fault_of_model(status: Status, model: model_row.Model
                        ) -> ty.Optional[Fault]:
    """Return what keeps guests of one model from being started.

    :param status: what the secure processor says
    :param model: the model
    """
    if not model.needs_es:
        return None
    if status.api < (model.earlier_firmware or (0, 0)):
        return Fault('the SEV firmware is too old for %s: API %d.%d' % (
            model.title, *status.api), causes.OLD_FIRMWARE)
    if status.state == UNINITIALISED:
        # QEMU asks for it before the kernel would see to it.
        return Fault('the secure processor (PSP) is initialised with the '
                     'first guest, which cannot be one of %s' % model.title,
                     causes.LAZY)
    if not status.es:
        return Fault('the secure processor (PSP) was not initialised for %s'
                     % model.title, causes.NOT_FOR_ES)
    return None


def find_fault_of_snp(initialised: bool, model: model_row.Model
                      ) -> ty.Optional[Fault]:
    """Return what keeps guests of a model with SEV-SNP from being started.

    :param initialised: as of read_snp
    :param model: the model
    """
    return None if initialised else Fault(
        'the secure processor (PSP) is not initialised for %s' % model.title,
        causes.NOT_FOR_SNP)


def read_error(error: OSError) -> ty.Optional[Fault]:
    """Return what it means that the secure processor cannot be asked.

    :param error: of read_status
    :returns: None if it says nothing of the secure processor: it may be of
        the container, of the rights or of the limits of who asks
    """
    cause = ERRORS.get(error.errno or 0)
    return cause and Fault('the secure processor (PSP) does not answer: %s'
                           % error.strerror, cause)
