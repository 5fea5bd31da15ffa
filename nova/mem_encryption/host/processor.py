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

"""Tell what the kernel makes of the processor besides kvm_amd."""
import re

from nova_mem_encryption.nova.mem_encryption.host import files

CPUINFO, CMDLINE = '/proc/cpuinfo', '/proc/cmdline'
MOST_BYTES = 64 * 1024  # of one processor /proc/cpuinfo has some 2,000
# With these, the kernel leaves SEV-SNP alone: iommu_snp_enable in
# drivers/iommu/amd/init.c, iommu_setup in arch/x86/kernel/pci-dma.c.
WITHOUT_SNP = re.compile(
    r'iommu=(\w+,)*(pt|off)(,\w+)*|iommu\.passthrough=(1|[yY]|on)|'
    r'amd_iommu=(off|pgtbl_v2)')


def has_flag(name: str, root: str) -> bool:
    """Tell whether the kernel says that the first processor has a flag.

    :param name: of the flag
    :param root: folder that stands for that of the host
    :returns: False if it cannot be told, too
    """
    found = re.search(r'^flags\s*:(.*)$', _read(CPUINFO, root), re.MULTILINE)
    return found is not None and name in found.group(1).split()


def leaves_snp_alone(root: str) -> bool:
    """Tell whether the kernel was told to, so that it is not initialised.

    :param root: folder that stands for that of the host
    """
    return any(map(WITHOUT_SNP.fullmatch, _read(CMDLINE, root).split()))


def _read(path: str, root: str) -> str:
    try:
        with files.open_regular(files.locate(root, path)) as (f, _):
            return f.read(MOST_BYTES).decode(errors='replace')
    except files.Unfit:
        return ''
