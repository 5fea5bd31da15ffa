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

"""Tell which model of memory encryption a server asks for."""
import contextvars
import typing as ty

from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption import overlay


@overlay.add(hardware)
class MemEncryptionConfig(ty.NamedTuple):
    """The memory encryption that a server asks for."""

    model: str  # one of fields.MemEncryptionModel.ALL


CONFIGS = {
    model: MemEncryptionConfig(model) for model in models.MODELS}
# Set while the API validates what is to be a server: it is refused more, and
# its flavor and image are read once.
judging = contextvars.ContextVar('judging', default=False)


@overlay.wrap(hardware, leans_on=[
    '_check_for_mem_encryption_requirement_conflicts',
    '_check_mem_encryption_machine_type',
    '_check_mem_encryption_uses_uefi_image', '_get_flavor_image_meta'])
def get_mem_encryption_constraint(upstream, flavor, image_meta,
                                  machine_type=None):
    """Also say which model is asked for: see refusals.get_model.

    :returns: a MemEncryptionConfig, or None if memory encryption is not
        requested
    :raises nova.exception.FlavorImageConflict: as Nova does
    :raises nova.exception.InvalidMachineType: as Nova does
    """
    if judging.get():
        return CONFIGS.get(refusals.check(flavor, image_meta, upstream))
    if not upstream(flavor, image_meta, machine_type):
        return None
    return CONFIGS[refusals.get_model(flavor, image_meta)]
