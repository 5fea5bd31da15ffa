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

"""Describe the extra spec hw:mem_encryption_model.

Nova finds this by the entry point nova.api.extra_spec_validators.
"""
from nova.api.validation.extra_specs import base

from nova_mem_encryption import overlay


def register():
    """Return the validators, none where the series is not applied."""
    if not overlay.applied():
        return []
    # NOTE: here, as there is no such name without the series.
    from nova.objects import fields
    return [base.ExtraSpecValidator(
        name='hw:mem_encryption_model',
        description=(
            'The model of memory encryption. Only meaningful with '
            '``hw:mem_encryption`` or the image property '
            '``hw_mem_encryption``. Only supported by the libvirt virt '
            'driver on hosts with AMD SEV or SEV-ES support.'
        ),
        value={
            'type': str,
            'description': 'The model of memory encryption',
            'enum': list(fields.MemEncryptionModel.ALL),
        },
    )]
