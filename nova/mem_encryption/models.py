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

"""The models of memory encryption: a row for each.

What lists models, or depends on one, derives from here: fields, traits,
providers, policies, checks, metadata definitions and pages. Of Nova only
nova/mem_encryption is imported, so whatever looks at a host can use this.
"""
import functools
import typing as ty

from nova_mem_encryption.nova.mem_encryption import lacks
from nova_mem_encryption.nova.mem_encryption import model
from nova_mem_encryption.nova.mem_encryption import policies

# What an image asks for a model by, and what a server has it stored as
PROPERTY = 'hw_mem_encryption_model'
STORED = 'image_' + PROPERTY
# What an image asks for memory encryption by, and what it needs for it
ASKED = ('hw_mem_encryption', PROPERTY)
NEEDED = ('hw_firmware_type', 'hw_machine_type')

# Code and NVRAM in two files. QEMU takes multiples of a flash sector
# (hw/i386/pc_sysfw.c).
SPLIT_FLASH = model.FirmwareKind('flash', 'split', loader='pflash',
                                 stateless=False, multiple=4096)
# One file. QEMU's x86_bios_rom_init (hw/i386/x86-common.c) takes multiples of
# this.
MEMORY = model.FirmwareKind('memory', None, loader='rom', stateless=True,
                            multiple=64 << 10)

# What is shown of a server in place of a model, where it has none
PLAIN = 'plain'

# Each protects more than those before it.
MODELS: ty.Dict[str, model.Model] = {row.value: row for row in (
    model.Model(
        value='amd-sev', title='SEV', protects='the memory of the server',
        native=True, nova=20, trait='HW_CPU_X86_AMD_SEV',
        count=model.Count('maxGuests', 'max_sev_guests', asids='sev',
                          required=False,
                          none='all its ASIDs are set aside for SEV-ES'),
        parameters_on=('sev',), parameters_off=(),
        parameters_behind=(('kvm_amd', 'npt'), ('kvm_amd', 'nrips')),
        cpu_flag='sev', flag_kernel=(4, 16), cpuid=1,
        processor='EPYC 7001', codename='Naples', generation=(0x17, 0x00),
        earlier_firmware=None,
        # Nova's guide, "AMD SEV"
        min_kernel=(4, 16), min_libvirt=(4, 5, 0), min_qemu=(2, 12, 0),
        firmware=model.Firmware(SPLIT_FLASH, ('amd-sev',), required=False,
                                reset_block=False),
        # 0x0033, as Nova has always had it
        launch_security=model.LaunchSecurity(
            'sev', ('NODEBG', 'NOKS', 'DOMAIN', 'SEV'), policies.SEV,
            told='sev-policy'),
        locked=True, resets=True, lacks={'vgpu': lacks.VGPU}, reserved=None),
    model.Model(
        value='amd-sev-es', title='SEV-ES', protects='its registers as well',
        native=False, trait='HW_CPU_X86_AMD_SEV_ES',
        count=model.Count('maxESGuests', 'max_sev_es_guests', asids='sev_es',
                          required=True,
                          none='all ASIDs are set aside for plain SEV'),
        # Firmware that fixes CVE-2025-48514 disables ES beside SNP.
        parameters_on=('sev_es',), parameters_off=('sev_snp',),
        parameters_behind=(('kvm', 'mmio_caching'), ('kvm_amd', 'lbrv')),
        # Linux 5.10, arch/x86/include/asm/cpufeatures.h
        cpu_flag='sev_es', flag_kernel=(5, 10), cpuid=3,
        processor='EPYC 7002', codename='Rome', generation=(0x17, 0x30),
        # EPYC 7001 and 3001: github.com/AMDESE/AMDSEV, issues 23, 41 and 45,
        # and github.com/virtee/sevctl, issue 203
        earlier_firmware=(0, 17),
        # The specification "AMD SEV-ES support" asks for these.
        min_kernel=(5, 11), min_libvirt=(8, 0, 0), min_qemu=(6, 0, 0),
        # The feature amd-sev-es came later than the ability.
        firmware=model.Firmware(SPLIT_FLASH, ('amd-sev-es', 'amd-sev'),
                                required=True, reset_block=True),
        launch_security=model.LaunchSecurity(  # 0x0037
            'sev', ('NODEBG', 'NOKS', 'ES', 'DOMAIN', 'SEV'), policies.SEV,
            marks=('ES',), told='sev-policy'),
        locked=True, resets=False,
        lacks={'vgpu': lacks.VGPU, 'viommu': lacks.VIOMMU,
               'secure_boot': 'Secure boot needs SMM, which SEV-ES does not '
                              'have.'},
        reserved='reserved_sev_es_guests'),
    model.Model(
        value='amd-sev-snp', title='SEV-SNP',
        protects='both, and keeps the host from changing the memory',
        native=False, nova=34, trait='HW_CPU_X86_AMD_SEV_SNP',
        os_traits='3.7.0',
        # It takes ASIDs of SEV-ES: sev_asid_new in the kernel's
        # arch/x86/kvm/svm/sev.c.
        count=model.Count('maxESGuests', 'max_sev_es_guests', asids='sev_es',
                          required=True,
                          none='all ASIDs are set aside for plain SEV'),
        parameters_on=('sev_snp',), parameters_off=(),
        parameters_behind=(('kvm_amd', 'sev_es'),),
        # Linux 6.9, arch/x86/include/asm/cpufeatures.h
        cpu_flag='sev_snp', flag_kernel=(6, 9), cpuid=4,
        processor='EPYC 7003', codename='Milan', generation=(0x19, 0x00),
        earlier_firmware=None,
        # As AMD's own menus have it (AMD CBS; NBIO and CPU Common Options),
        # and Dell (reports: AMDESE/AMDSEV, issues 271, 226 and 68)
        bios="'SEV-SNP Support' and 'SNP Memory (RMP Table) Coverage' in "
             "AMD's menus, 'Secure Nested Paging' with Dell",
        min_kernel=(6, 11), min_libvirt=(10, 5, 0), min_qemu=(9, 1, 0),
        firmware=model.Firmware(MEMORY, ('amd-sev-snp',), required=True,
                                reset_block=True, snp_metadata=True),
        # 0x30000, which all kernels and processors take. libvirt 11.3 fails
        # to tell of what runs.
        launch_security=model.LaunchSecurity(
            'sev-snp', ('SMT', 'RESERVED_1'), policies.SNP, paused=False,
            allow=('SMT', 'MIGRATE_MA', 'DEBUG', 'CXL_ALLOW'), whole=True),
        needs_snp=True, locked=False, resets=False,
        lacks={'vgpu': lacks.VGPU, 'viommu': lacks.VIOMMU, 'pci': lacks.PCI,
               'large_pages': lacks.LARGE_PAGES,
               'locked_memory': lacks.LOCKED, 'realtime': lacks.LOCKED,
               'file_backed_memory': lacks.FILE_BACKED,
               'stateful_firmware': 'Its firmware is one file, and keeps no '
                                    'variables.',
               'secure_boot': 'Secure boot needs SMM and variables that are '
                              'kept, and SEV-SNP has neither.'},
        reserved='reserved_sev_snp_guests', option='enable_amd_sev_snp'),
)}

# With less Nova itself does not start: MIN_QEMU_VERSION of its driver.
NOVA_QEMU = (6, 2, 0)

# What Nova gives whoever asks for no model
NATIVE = next(row for row in MODELS.values() if row.native)


def get_added() -> ty.List[model.Model]:
    """Return the models that came with this table."""
    return [row for row in MODELS.values() if not row.native]


def get_default() -> ty.List[model.Model]:
    """Return those of them that hosts offer without being told to."""
    return [row for row in get_added() if row.option is None]


@functools.lru_cache(maxsize=None)
def get_lacking(value: str, lacks: ty.Tuple[str, ...]
                ) -> ty.Tuple[str, ...]:
    """Return which of some lacks a model has.

    :param value: of the model
    :param lacks: keys of Model.lacks
    """
    return tuple(lack for lack in lacks if lack in MODELS[value].lacks)


def find_model(element: ty.Optional[str], policy: int
               ) -> ty.Optional[model.Model]:
    """Return the model of a guest that runs.

    :param element: type of its launch security, None if it has none
    :param policy: its guest policy
    :returns: the model with most of its marks in the policy; None if it is of
        none
    """
    fit = [row for row in MODELS.values()
           if row.launch_security.element == element and
           policy & row.launch_security.mark == row.launch_security.mark]
    return max(fit, key=lambda row: len(row.launch_security.marks),
               default=None)


def find_asids(element: ty.Optional[str], policy: int) -> ty.Optional[str]:
    """Return the kernel's name of the ASIDs that a guest has one of.

    :param element, policy: as of find_model
    :returns: a key of the misc cgroup, None if it has none
    """
    row = find_model(element, policy)
    return row and row.count.asids


def get_pools() -> ty.Dict[str, ty.List[model.Model]]:
    """Return the models that share ASIDs, by the key of these."""
    pools: ty.Dict[str, ty.List[model.Model]] = {}
    for row in MODELS.values():
        pools.setdefault(row.count.asids, []).append(row)
    return pools
