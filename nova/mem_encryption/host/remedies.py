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

For what Nova logs and for 'nova-mem-encryption check', which runs where Nova
may not be: nothing of it is imported.
"""
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models

COUNTS = 'Upgrade libvirt and QEMU.'
# As Dell (attribute CpuMinSevAsid of iDRAC), those with AMD's own menus (AMD
# CBS, CPU Common Options) and HPE (attribute MinimumSevAsid of iLO) have it
SPLIT_NAMES = (
    "'Minimum SEV non-ES ASID' ('SEV-ES ASID Space Limit' with some vendors, "
    "'Minimum SEV ASID' with HPE)")
SPLIT = ('Raise %s in the BIOS above 1: set to N, there are N - 1 SEV-ES '
         'guests.' % SPLIT_NAMES)
SEV = ('Where it should, enable %s in the BIOS and load kvm_amd with %s=1.' % (
    models.NATIVE.title, models.NATIVE.parameters_on[0]))
VIRT_TYPE = 'Set [libvirt] virt_type = kvm.'


def switch_on(model: model_row.Model, parameter: str) -> str:
    """Say how to switch on a parameter of kvm_amd that a model needs."""
    return ('Load kvm_amd with %s=1; this needs Linux %d.%d and an %s or '
            'later.' % (parameter, *model.min_kernel, model.processor))


def switch_off(parameter: str) -> str:
    """Say how to switch off a parameter of kvm_amd."""
    return 'Load kvm_amd with %s=0.' % parameter


def upgrade(version: ty.Iterable[int]) -> str:
    """Say to which version to upgrade."""
    return 'Upgrade it to %s or later.' % '.'.join(map(str, version))


def get_asids(model: model_row.Model) -> str:
    """Say how a model gets ASIDs that it has none of."""
    return (SPLIT if model.count.asids == misc_cgroup.SEV_ES else
            switch_on(model, model.parameters_on[0]))
