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

"""Know the extra spec hw:mem_encryption_model."""
from nova.api.validation.extra_specs import base
from nova.api.validation.extra_specs import hw

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay


# NOTE: an entry point of nova.api.extra_spec_validators would need no wrap,
# but would be there with the series off, and beside Nova 32, too.
@overlay.wrap(hw)
def register(upstream):
    """Also return the validator of the model."""
    return upstream() + [base.ExtraSpecValidator(
        name='hw:mem_encryption_model',
        description=(
            'The model of memory encryption. Only meaningful with '
            '``hw:mem_encryption`` or the image property '
            '``hw_mem_encryption``. Only supported by the libvirt virt '
            'driver on hosts with AMD %s support.' % ' or '.join(
                model.title for model in models.MODELS.values())
        ),
        value={
            'type': str,
            'description': 'The model of memory encryption',
            'enum': list(models.MODELS),
        },
    )]
