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

"""Name the models of memory encryption."""
from nova.objects import fields

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay


@overlay.add(fields)
class MemEncryptionModel(fields.BaseNovaEnum):
    """What hw:mem_encryption_model and hw_mem_encryption_model may be."""

    ALL = tuple(models.MODELS)


for _value in MemEncryptionModel.ALL:
    # 'amd-sev-es' as AMD_SEV_ES
    setattr(MemEncryptionModel, _value.upper().replace('-', '_'), _value)
