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
# What tells the kernel to leave SEV-SNP alone, or not to: iommu_snp_enable in
# drivers/iommu/amd/init.c, iommu_setup in arch/x86/kernel/pci-dma.c,
# iommu_set_def_domain_type in drivers/iommu/iommu.c
IOMMU_WORD = re.compile(r'(iommu|iommu\.passthrough|amd_iommu)=([\w,]+)')
PASSES_THROUGH = {'pt': True, 'nopt': False, **dict.fromkeys('1yYtT', True),
                  'on': True, **dict.fromkeys('0nNfF', False), 'off': False}


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
    passes_through = off = False
    for word in _read(CMDLINE, root).split():
        match = IOMMU_WORD.fullmatch(word)
        for value in match.group(2).split(',') if match else ():
            name = match and match.group(1)
            if name == 'amd_iommu':
                off |= value in ('off', 'pgtbl_v2')
            elif name == 'iommu' and value == 'off':
                off = True
            elif name != 'iommu' or value in ('pt', 'nopt'):
                passes_through = PASSES_THROUGH.get(value, passes_through)
    return off or passes_through


def _read(path: str, root: str) -> str:
    try:
        with files.open_regular(files.locate(root, path)) as (f, _):
            return f.read(MOST_BYTES).decode(errors='replace')
    except files.Unfit:
        return ''
