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

"""Ask Placement for a slot of the model, and not for any slot."""
import os_traits

from nova.objects import fields
from nova.scheduler import utils
from nova.virt import hardware

from nova_mem_encryption import overlay

TRAITS = {
    fields.MemEncryptionModel.AMD_SEV: os_traits.HW_CPU_X86_AMD_SEV,
    fields.MemEncryptionModel.AMD_SEV_ES: os_traits.HW_CPU_X86_AMD_SEV_ES,
}


@overlay.wrap(utils.ResourceRequest, leans_on=['ResourceRequest._add_trait'])
def _translate_memory_encryption(upstream, self, flavor, image):
    """Also require the trait of the model.

    The trait is on the provider that has the slots of that model; in a host
    without the series it is, for SEV, on the root, as the slots are.
    """
    # NOTE: new servers were checked by the API; of others, what they are
    # stored as counts.
    with hardware.stored_mem_encryption():
        upstream(self, flavor, image)
        config = hardware.get_mem_encryption_constraint(flavor, image)
    if config is not None:
        self._add_trait(TRAITS[config.model], 'required')
