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

"""Check what Placement has for memory encryption."""
import functools
import sqlite3
import typing as ty

from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import placement
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption import taken_names
from nova_mem_encryption.nova.mem_encryption.upgrade import findings
from nova_mem_encryption.nova.mem_encryption.upgrade import progress


class Cloud:
    """The providers of a cloud, and the roots that have what is of others."""

    def __init__(self) -> None:
        self._get = placement.connect().get
        self.tree = providers.Providers(self._get)

    @functools.cached_property
    def parents(self) -> ty.Set[str]:
        """UUIDs of the nodes that have nested providers."""
        return {str(nested.parent) for nested in self.tree.nested}

    @functools.cached_property
    def with_trait(self) -> ty.Set[str]:
        """UUIDs of the others that have the trait of the native model."""
        return {found.uuid for found in self.tree.find(models.NATIVE.trait)
                if found.model is None}

    @functools.cached_property
    def with_slots(self) -> ty.Set[str]:
        """UUIDs of those of these that have slots."""
        return {uuid for uuid in self.parents | self.with_trait | {
                    root for root, _model in self.taken}
                if self.tree.by_uuid[uuid].slots is not None}

    @functools.cached_property
    def taken(self) -> ty.Dict[ty.Tuple[str, str], taken_names.Other]:
        """Who has names that are meant for children of a node."""
        return taken_names.list_taken(self.tree)

    def explain_taken(self) -> ty.Iterator[ty.Tuple[str, str]]:
        """Yield the name of a node, and why it offers no slots."""
        for (root, model), other in self.taken.items():
            yield self.tree.by_uuid[root].name, _(
                'offers no slots for %(model)s, should it be able to, as '
                'provider %(other)s has the name of theirs.') % {
                    'model': models.MODELS[model].title, 'other': other}

    def get_with_slots(self) -> ty.List[providers.Provider]:
        """Return all providers that have slots, or may have, by UUID."""
        return [self.tree.by_uuid[uuid] for uuid in sorted(
            {nested.uuid for nested in self.tree.nested} | self.with_slots)]

    def get_holders(self) -> 'Holders':
        """Return who has slots."""
        holders = Holders()
        for provider in progress.Bar(_('slots')).follow(
                self.get_with_slots()):
            holders.add(provider)
            provider.forget()
        return holders

    def get_held(self, consumer: str) -> ty.Tuple[providers.Provider, ...]:
        """Return the providers of the slots that somebody has now.

        :param consumer: UUID of a server or migration
        """
        found = self._get('/allocations/' + consumer)['allocations']
        uuids = sorted(uuid for uuid, data in found.items()
                       if providers.SLOT in data['resources'])
        if not self.tree.by_uuid.keys() >= set(uuids):
            self.tree = providers.Providers(self._get)  # a host has come
        return tuple(self.tree.by_uuid[uuid] for uuid in uuids)


class Holders:
    """Who has slots of which providers; many are in a file."""

    def __init__(self) -> None:
        self._providers: ty.List[providers.Provider] = []
        # NOTE: a database without a name is in memory until that is too much
        # for its cache, and then in a file, which ends with it.
        self._database = sqlite3.connect('')
        self._database.execute(
            'CREATE TABLE holders (consumer TEXT, provider INTEGER, '
            'PRIMARY KEY (consumer, provider)) WITHOUT ROWID')

    def add(self, provider: providers.Provider) -> None:
        """Add all that have slots of a provider."""
        self._database.executemany(
            'INSERT INTO holders VALUES (?, ?)',
            [(consumer, len(self._providers))
             for consumer in provider.consumers])
        self._providers.append(provider)

    def get(self, consumer: str) -> ty.List[providers.Provider]:
        """Return the providers that a server has slots of.

        :param consumer: UUID of the server
        """
        return [self._providers[number] for number, in self._database.execute(
            'SELECT provider FROM holders WHERE consumer = ? '
            'ORDER BY provider', (consumer,))]


def check_providers():
    """Yield what is wrong with resource providers."""
    cloud = Cloud()
    traits = {model: row.trait for model, row in models.MODELS.items()}
    lacking = []
    for nested in progress.Bar(_('resource providers')).follow(
            cloud.tree.nested):
        if traits[nested.model] not in nested.traits:
            lacking.append(nested)
        nested.forget()
    for nested in lacking:
        yield findings.Finding(
            findings.FAILURE, _('Provider %s') % nested.name,
            _('lacks the trait %s, so its slots are not found.')
            % traits[nested.model],
            _('Restart nova-compute of the host.'))
    for node, problem in cloud.explain_taken():
        yield findings.Finding(
            findings.WARNING, _('Host %s') % node, problem,
            _('Rename or delete that.'))
    native = models.NATIVE.title
    added = [model.title for model in models.get_added()]
    # Slots without the trait wait there until they can move.
    waiting = {uuid for uuid, model in cloud.taken
               if model == models.NATIVE.value} - cloud.with_trait
    for uuid in sorted((cloud.with_trait | cloud.with_slots) - waiting):
        host = _('Host %s') % cloud.tree.by_uuid[uuid].name
        if uuid in cloud.parents:
            yield findings.Finding(
                findings.FAILURE, host,
                _('has slots or the trait of %(native)s on its root provider, '
                  'and nested providers too, so %(native)s servers may be '
                  'given slots of %(added)s.') % {
                      'native': native, 'added': _(' or ').join(added)},
                _('Restart it with a nova-compute that knows %s.')
                % _(' and ').join(added))
        elif cloud.tree.nested:
            yield findings.Finding(
                findings.WARNING, host,
                _('runs a nova-compute that does not know %s, and others do.')
                % _(' and ').join(added),
                _('Have it run one that does, unless that is to come.'))
