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
providers, policies, checks, metadata definitions and pages. Nothing of Nova
is imported, so whatever looks at a host can use this.
"""
import typing as ty

from nova_mem_encryption.nova.mem_encryption import model

# What an image asks for a model by, and what a server has it stored as
PROPERTY = 'hw_mem_encryption_model'
STORED = 'image_' + PROPERTY
# What an image asks for memory encryption by, and what it needs for it
ASKED = ('hw_mem_encryption', PROPERTY)
NEEDED = ('hw_firmware_type', 'hw_machine_type')

# Guest policy of SEV and SEV-ES: AMD 55766, "Secure Encrypted Virtualization
# API", table 2.
SEV_POLICY = {
    'NODEBG': 1 << 0,  # no debugging of the guest
    'NOKS': 1 << 1,    # no sharing of its keys with other guests
    'ES': 1 << 2,      # its registers are encrypted too
    'NOSEND': 1 << 3,  # not to be sent to another platform
    'DOMAIN': 1 << 4,  # ... to one of another domain
    'SEV': 1 << 5,     # ... to one that is not SEV-capable
}

# NOTE: the host's driver of a vGPU reads the guest's memory (Nova's guide,
# "AMD SEV"). It says so of PCI passthrough too, but that has worked since QEMU
# 4.0 ("target/i386: sev: Do not pin the ram device memory region").
VGPU = 'A server with encrypted memory can have no vGPU.'
# NOTE: the tables of an IOMMU are in the guest's memory, where QEMU reads
# ciphertext (AMD's "iommu/amd: Add AMD IOMMU emulation support for SEV-SNP
# guest kernel" of 2024 shares them; Nova has no AMD IOMMU, and Linux does not
# share those of Intel's). With virtio's, Linux gives devices addresses of
# encrypted memory instead of bounce buffers (drivers/iommu/dma-iommu.c); it
# does so by default there, see iommu_subsys_init in drivers/iommu/iommu.c.
VIOMMU = ('Devices behind a virtual IOMMU cannot read the memory of the '
          'server.')

MODELS: ty.Dict[str, model.Model] = {row.value: row for row in (
    model.Model(
        value='amd-sev', title='SEV', protects='the memory of the server',
        native=True, trait='HW_CPU_X86_AMD_SEV',
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
        firmware=model.Firmware(('amd-sev',), required=False,
                                reset_block=False),
        # 0x0033, as Nova has always had it
        launch_security=model.LaunchSecurity(
            'sev', ('NODEBG', 'NOKS', 'DOMAIN', 'SEV'), SEV_POLICY,
            told='sev-policy'),
        locked=True, lacks={'vgpu': VGPU}, reserved=None),
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
        firmware=model.Firmware(('amd-sev-es', 'amd-sev'), required=True,
                                reset_block=True),
        launch_security=model.LaunchSecurity(  # 0x0037
            'sev', ('NODEBG', 'NOKS', 'ES', 'DOMAIN', 'SEV'), SEV_POLICY,
            marks=('ES',), told='sev-policy'),
        locked=True,
        lacks={'vgpu': VGPU, 'viommu': VIOMMU,
               'secure_boot': 'Secure boot needs SMM, which SEV-ES does not '
                              'have.'},
        reserved='reserved_sev_es_guests'),
)}

# With less Nova 31 itself does not start: MIN_QEMU_VERSION of its driver.
NOVA_QEMU = (6, 2, 0)

# What Nova 31 gives whoever asks for no model
NATIVE = next(row for row in MODELS.values() if row.native)


def get_added() -> ty.List[model.Model]:
    """Return the models that Nova 31 lacks."""
    return [row for row in MODELS.values() if not row.native]


# Launch security of guests that are of no model here, and whose ASIDs they
# take: those of SEV-SNP are of the pool of SEV-ES (sev_asid_new in the
# kernel's arch/x86/kvm/svm/sev.c).
FOREIGN_ELEMENTS = {'sev-snp': 'sev_es'}


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
    return (FOREIGN_ELEMENTS.get(str(element)) if row is None else
            row.count.asids)


def get_pools() -> ty.Dict[str, ty.List[model.Model]]:
    """Return the models that share ASIDs, by the key of these."""
    pools: ty.Dict[str, ty.List[model.Model]] = {}
    for row in MODELS.values():
        pools.setdefault(row.count.asids, []).append(row)
    return pools
