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

"""What to do about a host that lacks a model.

For what Nova logs, and for checks that run where Nova may not be: nothing of
it is imported.
"""
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models

COUNTS = 'Upgrade libvirt and QEMU.'
CACHE = ('Delete /var/cache/libvirt/qemu/capabilities, then restart libvirtd '
         '(or virtqemud).')
# Where the kernel has it, and libvirt does not
NOT_OFFERED = '%s Else: %s It looks at /dev/sev and asks QEMU.' % (
    causes.UNINITIALISED.remedy, CACHE[0].lower() + CACHE[1:])
# As Dell (attribute CpuMinSevAsid of iDRAC), those with AMD's own menus (AMD
# CBS, CPU Common Options) and HPE (attribute MinimumSevAsid of iLO) have it
SPLIT_NAMES = (
    "'Minimum SEV non-ES ASID' ('SEV-ES ASID Space Limit' with some vendors, "
    "'Minimum SEV ASID' with HPE)")
SPLIT = ('Raise %s in the BIOS above 1: set to N, there are N - 1 SEV-ES '
         'guests.' % SPLIT_NAMES)
SNP = next(row for row in models.get_added() if row.needs_snp)
SEV = ('Where it should, enable %s in the BIOS and load kvm_amd with %s=1.' % (
    models.NATIVE.title, models.NATIVE.parameters_on[0]))
FILE_BACKED = ('Set [libvirt] file_backed_memory = 0: it is of all guests of '
               'the host.')
UNTOLD = ('It is asked again by itself. If it goes on, see the log of '
          'libvirtd (or virtqemud).')
VIRT_TYPE = 'Set [libvirt] virt_type = kvm.'


def name_processor(model: model_row.Model) -> str:
    """Say on which processors a model is supported."""
    return 'an %s (%s) or later' % (model.processor, model.codename)


def switch_on(model: model_row.Model, parameter: str) -> str:
    """Say how to switch on a parameter of kvm_amd that a model needs."""
    needs = 'Linux %d.%d or a backport of it, and %s' % (
        *model.min_kernel, name_processor(model))
    if model.earlier_firmware is not None:
        needs += ', or one before it with SEV firmware %d.%d' % (
            model.earlier_firmware)
    if model.bios is not None:
        needs += ', and %s switched on in the BIOS (%s)' % (
            model.title, model.bios)
    return 'Load kvm_amd with %s=1; this needs %s.' % (parameter, needs)


def switch_on_iommu(model: model_row.Model) -> str:
    """Say how to boot a kernel that has a model."""
    return ('Boot the kernel without amd_iommu=off, amd_iommu=pgtbl_v2, '
            'iommu=off, iommu=pt and iommu.passthrough=1: %s needs the IOMMU, '
            'and not passed through.' % model.title)


def switch_off(parameter: str) -> str:
    """Say how to switch off what a parameter of kvm_amd tells of."""
    if parameter in SNP.parameters_on:
        # NOTE: ccp initialises it where the processor has it, whatever the
        # parameter says (sev_platform_init of Linux 6.9,
        # drivers/crypto/ccp/sev-dev.c).
        return ('Switch %s off in the BIOS (%s): firmware that fixes '
                'CVE-2025-48514 gives no SEV-ES beside it, and kvm_amd.%s=0 '
                'does not help, as the kernel initialises it all the same.'
                % (SNP.title, SNP.bios, parameter))
    return 'Load kvm_amd with %s=0.' % parameter


def enable(model: model_row.Model) -> str:
    """Say how to have a host offer a model that it has to be told to."""
    return 'To have this host offer %s, set [libvirt] %s = true.' % (
        model.title, model.option)


LEFT_ALONE = ('Boot the kernel so ever after, or switch %s off in the BIOS '
              '(%s).' % (SNP.title, SNP.bios))


def upgrade(version: ty.Iterable[int]) -> str:
    """Say to which version to upgrade."""
    return 'Upgrade it to %s or later.' % '.'.join(map(str, version))


def get_asids(model: model_row.Model) -> str:
    """Say how a model gets ASIDs that it has none of."""
    return (SPLIT if model.count.asids == misc_cgroup.SEV_ES else
            switch_on(model, model.parameters_on[0]))
