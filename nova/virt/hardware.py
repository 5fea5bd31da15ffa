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
import contextlib
import contextvars
import re
import typing as ty

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware

from nova_mem_encryption import overlay

MODELS = fields.MemEncryptionModel.ALL
# As ResourceRequest reads extra specs
VGPU = re.compile(r'resources([a-zA-Z0-9_-]{1,64})?:VGPU$')
_stored = contextvars.ContextVar('stored', default=False)


@overlay.add(hardware)
class MemEncryptionConfig(ty.NamedTuple):
    """The memory encryption that a server asks for."""

    model: str  # one of fields.MemEncryptionModel.ALL


@overlay.wrap(hardware, leans_on=['_get_flavor_image_meta'])
def get_mem_encryption_constraint(upstream, flavor, image_meta,
                                  machine_type=None):
    """Also say which model is asked for.

    :returns: a MemEncryptionConfig, or None if memory encryption is not
        requested
    :raises nova.exception.FlavorImageConflict: also if flavor and image
        disagree on the model, if it is unknown, if there is one although
        memory encryption is not requested, or if it cannot have the secure
        boot that is required. The specification "AMD SEV-ES support" says so
        of the last but one. Also if a vGPU is asked for beside encryption.
    """
    encrypted = upstream(flavor, image_meta, machine_type)
    flavor_model, image_model = hardware._get_flavor_image_meta(
        'mem_encryption_model', flavor, image_meta)
    model = fields.MemEncryptionModel.AMD_SEV  # Nova's before the series
    if flavor_model is not None or image_model is not None:
        asked = flavor_model or image_model
        refusal = hardware.get_mem_encryption_refusal(
            flavor.name, flavor_model, _image_name(image_meta), image_model,
            encrypted)
        if refusal is None:
            model = asked  # never less, whatever follows
            refusal = hardware.get_secure_boot_refusal(
                flavor, image_meta, model)
        if refusal is not None and not _stored.get():
            raise exception.FlavorImageConflict(refusal)
    if not encrypted:
        return None
    vgpu = hardware.get_vgpu_request(flavor.get('extra_specs', {}))
    if vgpu is not None and not _stored.get():
        raise exception.FlavorImageConflict(_(
            'Flavor %(flavor)s has %(vgpu)s, and memory encryption is '
            'requested. A server with encrypted memory can have no vGPU. Use '
            'a flavor without %(vgpu)s, or flavor and image without memory '
            'encryption.') % {'flavor': flavor.name, 'vgpu': vgpu})
    return MemEncryptionConfig(model)


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
@contextlib.contextmanager
def stored_mem_encryption():
    """Within, a server is what it was stored as, though now refused.

    Before the series came, Nova did not look at models. Servers that were
    created then, with a combination that is refused now, must go on as they
    were; they never had more than plain SEV.
    """
    token = _stored.set(True)
    try:
        yield
    finally:
        _stored.reset(token)


@overlay.add(hardware)
def get_mem_encryption_refusal(flavor, flavor_model, image, image_model,
                               encrypted):
    """Say why flavor and image cannot be used together.

    :param str flavor: name of the flavor
    :param str flavor_model: its hw:mem_encryption_model, or None
    :param str image: what to call the image
    :param str image_model: its hw_mem_encryption_model, or None
    :param bool encrypted: whether memory encryption is requested
    :returns: the reason with the remedy, for the user; None if they can
    """
    given = {flavor_model, image_model} - {None}
    if not given <= set(MODELS):
        problem = _('Unknown memory encryption model')
        remedy = _('Allowed are %s.') % ', '.join(MODELS)
    elif len(given) > 1:
        problem = _('Conflicting memory encryption models')
        remedy = _('Set the model in one of them, or the same in both.')
    elif not given or encrypted:
        return None
    else:
        problem = _('A memory encryption model without memory encryption')
        remedy = _('Set hw:mem_encryption=true in the flavor or '
                   'hw_mem_encryption=true in the image, or remove the '
                   'model.')
    both = _('flavor %(flavor)s has hw:mem_encryption_model %(flavor_val)s, '
             'image %(image)s has hw_mem_encryption_model %(image_val)s') % {
        'flavor': flavor, 'flavor_val': _quoted(flavor_model),
        'image': image, 'image_val': _quoted(image_model)}
    return '%s: %s. %s' % (problem, both, remedy)


@overlay.add(hardware)
def get_secure_boot_refusal(flavor, image_meta, model):
    """Say why a model cannot be had with secure boot.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :param str model: of memory encryption
    :returns: the reason with the remedy, for the user; None if it can, or if
        secure boot is not required
    """
    flavor_value, image_value = hardware._get_flavor_image_meta(
        'secure_boot', flavor, image_meta, prefix='os')
    if model != fields.MemEncryptionModel.AMD_SEV_ES or (
            fields.SecureBoot.REQUIRED not in (flavor_value, image_value)):
        return None
    return _(
        'Memory encryption model %(model)s with secure boot: flavor '
        '%(flavor)s has os:secure_boot %(flavor_val)s, image %(image)s has '
        'os_secure_boot %(image_val)s. Secure boot needs SMM, which SEV-ES '
        'does not have. Do not require it, or ask for model %(other)s.') % {
            'model': model, 'other': fields.MemEncryptionModel.AMD_SEV,
            'flavor': flavor.name, 'flavor_val': _quoted(flavor_value),
            'image': _image_name(image_meta),
            'image_val': _quoted(image_value)}


def _quoted(value):
    return _('unset') if value is None else "'%s'" % value


def _image_name(image_meta):
    """Return what to call an image, which for a volume has no name or id."""
    for attribute in ('name', 'id'):
        if attribute in image_meta and getattr(image_meta, attribute):
            return getattr(image_meta, attribute)
    return _('of the root volume')
