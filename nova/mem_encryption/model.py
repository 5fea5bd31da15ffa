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

"""Say what a model of memory encryption is. models.py has them."""
import typing as ty

NEXT = 32  # the release of Nova that follows


class LaunchSecurity(ty.NamedTuple):
    """The element <launchSecurity> of a guest."""

    element: str                      # its attribute type
    policy: ty.Tuple[str, ...]        # names of the bits that are set
    bits: ty.Mapping[str, int]        # of the element's policy, by name
    # The bits that tell guests of this model from others with the element
    marks: ty.Tuple[str, ...] = ()
    # What virDomainGetLaunchSecurityInfo calls the policy that really runs;
    # None if it does not tell
    told: ty.Optional[str] = None
    # The bits that let the host do more; the others let it do less
    allow: ty.Tuple[str, ...] = ()
    # Whether a guest that is started paused is launched, so that a refusal
    # comes with its reason; else it is when it is resumed
    paused: bool = True
    # Whether a guest with more than policy and the host's own in it is not
    # equal, as its attestation report tells of the rest
    whole: bool = False

    @property
    def value(self) -> int:
        """The policy as a number."""
        return sum(self.bits[name] for name in self.policy)

    def is_less(self, policy: int) -> bool:
        """Tell whether a policy protects a guest less."""
        allow = sum(self.bits[name] for name in self.allow)
        return bool(self.value & ~allow & ~policy or
                    policy & allow & ~self.value)

    @property
    def mark(self) -> int:
        """The marks as a number."""
        return sum(self.bits[name] for name in self.marks)


class FirmwareKind(ty.NamedTuple):
    """How firmware is mapped into a guest."""

    # Of a descriptor (docs/interop/firmware.json of QEMU)
    device: str
    mode: ty.Optional[str]  # None: the device has none
    loader: str      # type of libvirt's element <loader>
    stateless: bool  # it is one file, and has no NVRAM
    multiple: int    # what QEMU wants the size of the image to be one of


class Firmware(ty.NamedTuple):
    """What the firmware of a guest must be."""

    kind: FirmwareKind
    # Of a descriptor, the best first (docs/interop/firmware.json of QEMU)
    features: ty.Tuple[str, ...]
    required: bool     # False: Nova's own choice will do
    reset_block: bool  # it must have the SEV-ES reset block
    snp_metadata: bool = False  # it must have the metadata of SEV-SNP


class Count(ty.NamedTuple):
    """How many guests a host can run."""

    element: str    # below <sev> of libvirt's domain capabilities
    attribute: str  # of nova.virt.libvirt.host.Host
    # Key of the misc cgroup: see misc_res_name in the kernel's
    # kernel/cgroup/misc.c
    asids: str
    required: bool  # False: a libvirt that does not tell sets no limit
    none: str       # why there may be none, a clause


class Model(ty.NamedTuple):
    """A model of memory encryption."""

    value: str   # of hw:mem_encryption_model and hw_mem_encryption_model
    title: str   # what people call it
    protects: str  # what it encrypts: the end of a sentence
    native: bool  # Nova had it before, with slots and trait on the root
    trait: str   # of its provider
    count: Count
    # Of module kvm_amd: what must be on, and what must not
    parameters_on: ty.Tuple[str, ...]
    parameters_off: ty.Tuple[str, ...]
    # (module, parameter): while one is off, the kernel leaves the model off;
    # see sev_hardware_setup in arch/x86/kvm/svm/sev.c. Not all kernels have
    # them all.
    parameters_behind: ty.Tuple[ty.Tuple[str, str], ...]
    cpu_flag: str  # in /proc/cpuinfo
    flag_kernel: ty.Tuple[int, int]  # the first Linux that knows that
    cpuid: int     # bit of EAX of CPUID 0x8000001F: AMD 24594, E.4.17
    processor: str  # the first that is supported
    codename: str   # of that
    # Its family and model: AMD's "Processor Programming Reference" of each
    generation: ty.Tuple[int, int]
    # The first SEV firmware with which those before have it, too; None if none
    earlier_firmware: ty.Optional[ty.Tuple[int, int]]
    min_kernel: ty.Tuple[int, int]
    min_libvirt: ty.Tuple[int, int, int]
    min_qemu: ty.Tuple[int, int, int]
    firmware: Firmware
    launch_security: LaunchSecurity
    locked: bool  # whether all memory of a guest is locked
    # Whether a guest can be reset; else QEMU ends it
    # (qemu_system_reset_request in its system/runstate.c)
    resets: bool
    # What a guest cannot have, and why, a sentence
    lacks: ty.Mapping[str, str]
    reserved: ty.Optional[str]  # option of [libvirt] that keeps slots back
    # That of [libvirt] without which no host offers the model
    option: ty.Optional[str] = None
    # What the BIOS calls its switches; None if it has none of its own
    bios: ty.Optional[str] = None
    needs_snp: bool = False  # the secure processor is initialised for SEV-SNP
    # The release of os-traits that knows the trait; None: that which
    # Placement 2025.1 comes with
    os_traits: ty.Optional[str] = None
    nova: int = NEXT  # the first release of Nova that has it

    @property
    def suffix(self) -> str:
        """That of the name of its provider."""
        return self.value.replace('-', '_')

    @property
    def needs_es(self) -> bool:
        """Whether the secure processor must be initialised for SEV-ES."""
        return 'ES' in self.launch_security.policy

    @property
    def foreign_stat(self) -> str:
        """Which statistic of a compute node counts guests not of Nova."""
        return 'mem_encryption_foreign_' + self.suffix
