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
from nova import context as nova_context
from nova import exception
from nova.i18n import _
from nova import objects
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption.nova.mem_encryption import unanswered
from nova_mem_encryption.nova.mem_encryption.upgrade import findings
from nova_mem_encryption.nova.mem_encryption.upgrade import providers

# Where a server has the property of the image that it was made of


def check_servers():
    """Yield what is wrong with servers."""
    holders = providers.Cloud().get_holders()
    for cell, found in nova_context.scatter_gather_skip_cell0(
            nova_context.get_admin_context(),
            objects.InstanceList.get_by_filters, {'deleted': False},
            expected_attrs=['flavor', 'system_metadata']).items():
        if not isinstance(found, objects.InstanceList):
            raise exception.NovaException(unanswered.explain_cell(cell, found))
        for instance in found:
            yield from _judge_request(instance)
            yield from _judge_slots(instance, holders.get(instance.uuid, []))


def _judge_request(instance):
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
        refusals.check(instance.flavor, instance.image_meta)
    except exception.FlavorImageConflict as e:
        yield findings.Finding(
            findings.WARNING, name,
            _('asks for what is refused now, and goes on as it was: %s')
            % e.format_message(),
            _('Resize it, or rebuild it with another image.'))


def _judge_slots(instance, slots):
    """Yield that a server has not the slot that it asks for.

    :param slots: the providers that it has slots of
    """
    config = hardware.get_mem_encryption_constraint(
        instance.flavor, instance.image_meta)
    if config is None or not slots:
        return
    given = {provider.model or models.NATIVE.value for provider in slots}
    if config.model not in given:
        yield findings.Finding(
            findings.FAILURE, _('Server %s') % instance.uuid,
            _('asks for %(model)s, but has a slot on %(providers)s, so it '
              'cannot be started there.') % {
                  'model': config.model, 'providers': ', '.join(
                      provider.name for provider in slots)},
            _('Migrate it, which gives it a slot of its model.'))
