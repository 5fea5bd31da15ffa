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

"""Check servers: what they ask for, and the slots that they have."""
import itertools

from nova import exception
from nova.i18n import _
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import cells
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption.nova.mem_encryption.servers import judgement
from nova_mem_encryption.nova.mem_encryption.upgrade import findings
from nova_mem_encryption.nova.mem_encryption.upgrade import progress
from nova_mem_encryption.nova.mem_encryption.upgrade import providers
from nova_mem_encryption.nova.mem_encryption.upgrade import releases

REFUSED = (exception.FlavorImageConflict, exception.InvalidMachineType)


def check_servers():
    """Yield what is wrong with servers."""
    cloud = providers.Cloud()
    holders = cloud.get_holders()
    bar = progress.Bar(_('servers'))
    for page in cells.read_servers(bar):
        if page.reason:
            bar.clear()
            yield findings.Finding(
                findings.WARNING, _('This'),
                _('cannot be checked to its end: %s.') % page.reason,
                _('Check nova.conf, and what it names.'))
        for instance in page.servers:
            for finding in itertools.chain(
                    _judge(instance), _judge_slots(
                        instance, cloud, holders.get(instance.uuid))):
                bar.clear()
                yield finding
    bar.clear()


def _judge(instance):
    """Yield what is wrong with what a server is stored with."""
    try:
        image_meta = instance.image_meta
        yield from _judge_releases(instance, image_meta)
        yield from _judge_request(instance, image_meta)
    except (exception.NovaException, ValueError) as e:
        # NOTE: of one that is stored with what Nova does not take, too, all
        # others are to be told of.
        yield findings.Finding(
            findings.WARNING, _('Server %s') % instance.uuid,
            _('is stored with what Nova cannot read: %s.')
            % str(e).rstrip('.'),
            _("Set it right by 'nova-manage image_property set'."))


def _judge_releases(instance, image_meta):
    """Yield that a server asks for what the next releases of Nova refuse.

    They refuse it wherever they read it: also of a server that is refused
    here, and of the flavor that one can still go back to.
    """
    told = set()
    for flavor, remedy in (
            (instance.flavor, _(
                'resize it to a flavor without it; where its image asks for '
                'it, make a server of another image in its place.')),
            (instance.old_flavor, _('confirm its resize.'))):
        asked = flavor and refusals.get_models(flavor, image_meta) or set()
        for model in sorted(asked.intersection(models.MODELS) - told):
            yield from releases.judge(
                _('Server %s') % instance.uuid, models.MODELS[model], remedy)
        told |= asked


def _judge_request(instance, image_meta):
    """Yield what is wrong with what a server asks for."""
    name = _('Server %s') % instance.uuid
    model = instance.system_metadata.get(models.STORED)
    if model is not None and model not in models.MODELS:
        yield findings.Finding(
            findings.FAILURE, name,
            _("has the unknown memory encryption model '%s', which is ignored "
              'here, and which Nova 32 and later fail on.') % model,
            _("Set it to one of %s by 'nova-manage image_property set', or "
              'rebuild the server with another image.')
            % ', '.join(models.MODELS))
        return
    try:
        refusals.check(instance.flavor, image_meta)
    except REFUSED as e:
        yield findings.Finding(
            findings.WARNING, name,
            _('asks for what is refused now, and may not start again: %s')
            % e.format_message(),
            _('Resize it to a flavor that fits its image.'))


def _judge_slots(instance, cloud, slots):
    """Yield that a server has not the slot that it asks for.

    :param cloud: the providers.Cloud
    :param slots: the providers that it had slots of
    """
    if _compare(instance, slots) is None:
        return
    # It may have been resized since its slots were read.
    slots = cloud.get_held(instance.uuid)
    try:
        instance.refresh()
    except exception.InstanceNotFound:
        return
    finding = _compare(instance, slots)
    if finding is not None:
        yield finding


def _compare(instance, slots):
    """Return that a server has not the slot that it asks for, or None."""
    try:
        config = slots and hardware.get_mem_encryption_constraint(
            instance.flavor, instance.image_meta)
    except (exception.NovaException, ValueError):
        return None  # which is told of already
    if not config:
        return None
    slots = [judgement.Slot(provider.name, '', provider.model or
                            models.NATIVE.value) for provider in slots]
    if config.model in {slot.model for slot in slots}:
        return None
    return findings.Finding(
        findings.FAILURE, _('Server %s') % instance.uuid,
        *judgement.explain_wrong(config.model, slots))
