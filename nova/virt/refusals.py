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

"""Tell what a server cannot have beside memory encryption."""
import re

from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware

from nova_mem_encryption import overlay

# As ResourceRequest reads extra specs
VGPU = re.compile(r'resources([a-zA-Z0-9_-]{1,64})?:VGPU$')


@overlay.add(hardware)
def get_vgpu_request(extra_specs):
    """Return the extra spec that asks for a vGPU, None if there is none.

    With memory encryption that does not work: the host's driver of the device
    reads the guest's memory. Nova's own guide, "AMD SEV", says so under
    "Impermanent limitations". It says so of PCI passthrough too, but that has
    worked since QEMU 4.0 ("target/i386: sev: Do not pin the ram device memory
    region"), and Nova 31 asks for 6.2: the device sees what the guest's kernel
    shares with it.

    :param dict extra_specs: of a flavor
    """
    for key, value in sorted(extra_specs.items()):
        if VGPU.match(key) and value != '0':
            return key
    return None


@overlay.add(hardware)
def get_secure_boot_refusal(flavor, image_meta, model):
    """Say why a model cannot be had with secure boot.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :param str model: of memory encryption
    :returns: the reason with the remedy, for the user; None if it can, or if
        secure boot is not required
    """
    if model != fields.MemEncryptionModel.AMD_SEV_ES:
        return None
    flavor_value, image_value = hardware._get_flavor_image_meta(
        'secure_boot', flavor, image_meta, prefix='os')
    if fields.SecureBoot.REQUIRED not in (flavor_value, image_value):
        return None
    return _(
        'Memory encryption model %(model)s with secure boot: flavor '
        '%(flavor)s has os:secure_boot %(flavor_val)s, image %(image)s has '
        'os_secure_boot %(image_val)s. Secure boot needs SMM, which SEV-ES '
        'does not have. Do not require it, or ask for model %(other)s.') % {
            'model': model, 'other': fields.MemEncryptionModel.AMD_SEV,
            'flavor': flavor.name, 'flavor_val': quoted(flavor_value),
            'image': image_name(image_meta),
            'image_val': quoted(image_value)}


def quoted(value):
    """Return what to call the value of a property, None if it is unset."""
    return _('unset') if value is None else "'%s'" % value


def image_name(image_meta):
    """Return what to call an image, which for a volume has no name or id."""
    for attribute in ('name', 'id'):
        if attribute in image_meta and getattr(image_meta, attribute):
            return getattr(image_meta, attribute)
    return _('of the root volume')
