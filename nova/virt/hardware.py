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

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware

from nova_mem_encryption.nova.virt import refusals
from nova_mem_encryption import overlay

MODELS = fields.MemEncryptionModel.ALL
_stored = contextvars.ContextVar('stored', default=None)


@overlay.add(hardware)
class MemEncryptionConfig(ty.NamedTuple):
    """The memory encryption that a server asks for."""

    model: str  # one of fields.MemEncryptionModel.ALL


CONFIGS = {model: MemEncryptionConfig(model) for model in MODELS}


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
    stored = _stored.get()
    if stored and not encrypted:
        stored.config = None
        return None  # whatever the model
    flavor_model, image_model = hardware._get_flavor_image_meta(
        'mem_encryption_model', flavor, image_meta)
    # Nova's before the series
    model: ty.Optional[str] = fields.MemEncryptionModel.AMD_SEV
    if flavor_model is not None or image_model is not None:
        problem = _find_problem(flavor_model, image_model, encrypted)
        refusal = None
        if problem is None:
            model = flavor_model or image_model  # never less
            refusal = hardware.get_secure_boot_refusal(
                flavor, image_meta, model)
        elif not stored:
            refusal = _explain(
                problem, flavor.name, flavor_model,
                refusals.image_name(image_meta), image_model)
        if refusal is not None and not stored:
            raise exception.FlavorImageConflict(refusal)
    if not encrypted:
        return None
    if stored:
        stored.config = CONFIGS[model]
        return stored.config
    vgpu = hardware.get_vgpu_request(flavor.get('extra_specs', {}))
    if vgpu is not None:
        raise exception.FlavorImageConflict(_(
            'Flavor %(flavor)s has %(vgpu)s, and memory encryption is '
            'requested. A server with encrypted memory can have no vGPU. Use '
            'a flavor without %(vgpu)s, or flavor and image without memory '
            'encryption.') % {'flavor': flavor.name, 'vgpu': vgpu})
    return CONFIGS[model]


@overlay.add(hardware)
class stored_mem_encryption:
    """Within, a server is what it was stored as, though now refused.

    Before the series came, Nova did not look at models. Servers that were
    created then, with a combination that is refused now, must go on as they
    were; they never had more than plain SEV.
    """

    # What was asked for last, within: a MemEncryptionConfig, or None. So
    # nobody needs to ask again after Nova did.
    config = None

    def __enter__(self):
        self._token = _stored.set(self)
        return self

    def __exit__(self, *error):
        _stored.reset(self._token)


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
    problem = _find_problem(flavor_model, image_model, encrypted)
    return None if problem is None else _explain(
        problem, flavor, flavor_model, image, image_model)


def _find_problem(flavor_model, image_model, encrypted):
    """Return what is wrong, with the remedy; None if nothing is."""
    given = {flavor_model, image_model} - {None}
    if not given.issubset(MODELS):
        return (_('Unknown memory encryption model'),
                _('Allowed are %s.') % ', '.join(MODELS))
    if len(given) > 1:
        return (_('Conflicting memory encryption models'),
                _('Set the model in one of them, or the same in both.'))
    if not given or encrypted:
        return None
    return (_('A memory encryption model without memory encryption'),
            _('Set hw:mem_encryption=true in the flavor or '
              'hw_mem_encryption=true in the image, or remove the model.'))


def _explain(problem, flavor, flavor_model, image, image_model):
    """Return it as a text for the user."""
    both = _('flavor %(flavor)s has hw:mem_encryption_model %(flavor_val)s, '
             'image %(image)s has hw_mem_encryption_model %(image_val)s') % {
        'flavor': flavor, 'flavor_val': refusals.quoted(flavor_model),
        'image': image, 'image_val': refusals.quoted(image_model)}
    return '%s: %s. %s' % (problem[0], both, problem[1])
