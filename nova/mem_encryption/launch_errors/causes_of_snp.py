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

"""Why a guest with SEV-SNP is not started, and no other."""
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes

SNP_OFF = causes.Cause(
    causes.NO_ASIDS, 'Load kvm_amd of Linux 6.11 or later with sev_es=1 and '
    'sev_snp=1. Where they are on, switch SEV-SNP on in the BIOS, with memory '
    'for its table (RMP), and boot with the IOMMU on and without iommu=pt.')
TOO_OLD_FOR_SNP = causes.Cause(
    'its libvirt or QEMU does not support SEV-SNP.',
    'Upgrade libvirt to 10.5.0 and QEMU to 9.1.0, or later, and restart '
    'libvirtd.')
SNP_POLICY = causes.Cause(
    'its kernel or secure processor does not allow the policy of the guest.',
    'Nova gives SEV-SNP guests 0x30000, which all of them allow: see whether '
    'somebody changed the definition (virsh edit) and reboot it hard, or ' +
    causes.FIRMWARE + '.')
CPUID_REFUSED = causes.Cause(
    'its secure processor does not allow the CPU of the guest.',
    'A guest with SEV-SNP is told only of what the processor has. In its log '
    'QEMU names the function of CPUID and what is expected. Take such flags '
    'out of [libvirt]/cpu_model_extra_flags, or set cpu_mode = host-model; '
    'update kernel and SEV firmware.')
NO_SNP_METADATA = causes.Cause(
    'the firmware of the guest does not support SEV-SNP.',
    'Install firmware that has the SEV-SNP metadata, and a descriptor of it '
    'that is for device memory.')
NO_SNP_FLASH = causes.Cause(
    'the firmware of the guest is in flash, which SEV-SNP does not have.',
    'Somebody changed its definition: reboot it hard. Only firmware in one '
    'file, for device memory, can start such a guest.')
NO_IMAGE = causes.Cause(
    'QEMU cannot load the firmware of the guest.',
    'The file is to be there, with a multiple of 64 KiB: install it anew.')
PRIVATE_MEMORY = causes.Cause(
    'it cannot give the guest its private memory.',
    'That is RAM, which is not promised twice: set ram_allocation_ratio to '
    '1.0 and raise reserved_host_memory_mb. It needs Linux 6.11 or later.')
PASSED_THROUGH = causes.Cause(
    'a device of the host is passed through to it, which does not work with '
    'SEV-SNP.',
    'Take the PCI device away from flavor and ports.', elsewhere=False)
