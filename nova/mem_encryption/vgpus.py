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


"""Say why a server cannot have a vGPU."""
import re

from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import models

# As ResourceRequest reads extra specs
VGPU = re.compile(r'resources([a-zA-Z0-9_-]{1,64})?:VGPU$')


def find_refusal(flavor, model):
    """Say why a model cannot be had with the vGPU that a flavor asks for.

    :param nova.objects.Flavor flavor: of the server
    :param str model: the model
    :returns: the reason with the remedy; None if it can
    """
    why = models.MODELS[model].lacks.get('vgpu')
    vgpu = why and find_request(flavor.get('extra_specs', {}))
    return vgpu and _(
        'Flavor %(flavor)s has %(vgpu)s, and memory encryption is requested. '
        '%(why)s Use a flavor without %(vgpu)s, or flavor and image without '
        'memory encryption.') % {
            'flavor': flavor.name, 'vgpu': vgpu, 'why': why}


def find_request(extra_specs):
    """Return the extra spec that asks for a vGPU, None if there is none.

    :param dict extra_specs: of a flavor
    """
    for key, value in sorted(extra_specs.items()):
        if VGPU.match(key) and value != '0':
            return key
    return None
