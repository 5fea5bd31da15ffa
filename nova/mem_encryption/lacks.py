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

"""Say why guests with encrypted memory cannot have something."""

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
# NOTE: ram_block_discard_require and ram_block_discard_disable of QEMU 10,
# system/physmem.c: who discards and who has it all mapped exclude each other.
PCI = ('QEMU gives memory back that the server makes private, and a device of '
       'the host needs all of it.')
# NOTE: with <locked/>, a guest of 512 MiB has 654 MB resident with QEMU 10,
# and 44 without.
LOCKED = ('Its private memory cannot be swapped out, and what is locked for '
          'it would be held beside that.')
# NOTE: libvirt makes a shared file of it, which QEMU allocates at once.
FILE_BACKED = 'Its private memory is in no file, and would be held beside it.'
# NOTE: kvm_gmem_get_folio of Linux 6.11 to 6.17, virt/kvm/guest_memfd.c
LARGE_PAGES = ('Its private memory has none, and what is set aside for it as '
               'large pages would not be used.')
