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

"""Find providers and servers that are not what they should be."""
from nova import context as nova_context
from nova import exception
from nova.i18n import _
from nova import objects
from nova.objects import fields
from nova.scheduler.client import report
from nova.virt import hardware

from nova_mem_encryption.nova.cmd import mem_encryption_errors as errors
from nova_mem_encryption.nova.cmd import mem_encryption_requests as requests

SLOT, SEV, TRAITS = requests.SLOT, requests.SEV, requests.TRAITS
WARNING, FAILURE = requests.WARNING, requests.FAILURE
Finding = requests.Finding


class Providers:
    """What Placement has for memory encryption."""

    def __init__(self):
        self.client = report.report_client_singleton()
        rows = self.get('/resource_providers', 'resource_providers')
        self.names = {row['uuid']: row['name'] for row in rows}
        self.roots = {row['uuid']: row['root_provider_uuid'] for row in rows}
        self.models = {}  # by UUID, of the nested ones
        for row in rows:
            parent = self.names.get(row['parent_provider_uuid'])
            for model in TRAITS:
                if parent and row['name'] == '%s_%s' % (
                        parent, model.replace('-', '_')):
                    self.models[row['uuid']] = model
        self.parents = {row['parent_provider_uuid'] for row in rows
                        if row['uuid'] in self.models}
        # Roots that have, or may have, what belongs to the nested ones
        self.with_trait = {
            row['uuid'] for row in self.get(
                '/resource_providers?required=' + SEV, 'resource_providers')
            if row['uuid'] not in self.models}
        self.with_slots = {
            uuid for uuid in self.parents | self.with_trait
            if SLOT in self.get('/resource_providers/%s/inventories' % uuid,
                                'inventories')}

    def get(self, url, key):
        """Return what Placement answers to a GET."""
        response = self.client.get(url, version='1.39')
        if not response:
            raise exception.PlacementAPIConnectFailure()
        if response.status_code != 200:
            raise exception.ResourceProviderRetrievalFailed(uuid=url)
        return errors.read_json(response, url)[key]

    def get_slots(self):
        """Return who has slots: UUID to the UUIDs of providers."""
        slots = {}
        for uuid in set(self.models) | self.with_slots:
            for consumer, data in self.get(
                    '/resource_providers/%s/allocations' % uuid,
                    'allocations').items():
                if SLOT in data['resources']:
                    slots.setdefault(consumer, set()).add(uuid)
        return slots


def check_providers():
    """Yield what is wrong with resource providers."""
    providers = Providers()
    for uuid, model in sorted(providers.models.items()):
        if TRAITS[model] not in providers.get(
                '/resource_providers/%s/traits' % uuid, 'traits'):
            yield Finding(
                FAILURE, _('Provider %s') % providers.names[uuid],
                _('lacks the trait %s, so its slots are not found.')
                % TRAITS[model], _('Restart nova-compute of the host.'))
    for uuid in sorted(providers.with_trait | providers.with_slots):
        host = _('Host %s') % providers.names[uuid]
        if uuid in providers.parents:
            yield Finding(
                FAILURE, host, _('has slots or the trait of SEV on its root '
                                 'provider, and nested providers too, so SEV '
                                 'servers may be given slots of SEV-ES.'),
                _('Restart its nova-compute with the series.'))
        elif providers.models:
            yield Finding(
                WARNING, host, _('is without the series, and others have it.'),
                _('Install it there, unless that is to come.'))


def check_servers():
    """Yield what is wrong with servers."""
    providers = Providers()
    slots = providers.get_slots()
    for cell, found in nova_context.scatter_gather_skip_cell0(
            nova_context.get_admin_context(),
            objects.InstanceList.get_by_filters, {'deleted': False},
            expected_attrs=['flavor', 'system_metadata']).items():
        if not isinstance(found, objects.InstanceList):
            raise exception.NovaException(errors.explain_cell(cell, found))
        for instance in found:
            yield from _judge_server(instance, [
                (providers.names[uuid], providers.models.get(uuid))
                for uuid in sorted(slots.get(instance.uuid, ()))])


def _judge_server(instance, slots):
    """Yield what is wrong with a server.

    :param slots: names of the providers that it has slots of, and their
        models, which are None for roots
    """
    name = _('Server %s') % instance.uuid
    try:
        hardware.get_mem_encryption_constraint(
            instance.flavor, instance.image_meta)
    except exception.FlavorImageConflict as e:
        yield Finding(
            WARNING, name, _('asks for what is refused now, and goes on as '
                             'it was: %s') % e.format_message(),
            _('Resize it, or rebuild it with another image.'))
    with hardware.stored_mem_encryption():
        config = hardware.get_mem_encryption_constraint(
            instance.flavor, instance.image_meta)
    if config is None or not slots:
        return
    given = {model or fields.MemEncryptionModel.AMD_SEV
             for _provider, model in slots}
    if config.model not in given:
        yield Finding(
            FAILURE, name, _('asks for %(model)s, but has a slot on '
                             '%(providers)s, so it cannot be started there.')
            % {'model': config.model,
               'providers': ', '.join(provider for provider, _model in slots)},
            _('Migrate it, which gives it a slot of its model.'))
