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

"""Name the providers of slots, and read them from Placement.

Each model has its slots on a provider of its own, <node>_<suffix>, a child of
the node's root provider. Of Nova only nova/mem_encryption is imported.
"""
import typing as ty

from nova_mem_encryption.nova.mem_encryption import models

SLOT = 'MEM_ENCRYPTION_CONTEXT'  # the resource class

Get = ty.Callable[[str], ty.Dict[str, ty.Any]]


def name_of(node: str, model: str) -> str:
    """Return the name of a provider.

    :param node: name of the root provider
    :param model: value of a model
    """
    return '%s_%s' % (node, models.MODELS[model].suffix)


def model_of(name: str, parent: ty.Optional[str]) -> ty.Optional[str]:
    """Return the value of the model whose slots a provider has.

    :param name: of the provider
    :param parent: name of its parent, None if it has none
    :returns: None for a provider that is of no model, such as a root
    """
    if parent is None:
        return None
    return next((model for model in models.MODELS
                 if name == name_of(parent, model)), None)


class Provider:
    """A provider. Placement is asked for what is wanted, and once.

    :param get: asks Placement: a path to the answer, parsed
    :param row: what Placement's list of providers has of it
    :param model: value of its model, or None
    """

    def __init__(self, get: Get, row: ty.Mapping[str, ty.Any],
                 model: ty.Optional[str]) -> None:
        self.name: str = row['name']
        self.uuid: str = row['uuid']
        self.root: str = row['root_provider_uuid']
        self.parent: ty.Optional[str] = row['parent_provider_uuid']
        self.model = model
        self._get = get
        self._answers: ty.Dict[str, ty.Dict[str, ty.Any]] = {}

    def _ask(self, what: str) -> ty.Dict[str, ty.Any]:
        if what not in self._answers:
            self._answers[what] = self._get(
                '/resource_providers/%s/%s' % (self.uuid, what))
        return self._answers[what]

    def forget(self) -> None:
        """Let go of the answers, which of many providers are much."""
        self._answers.clear()

    @property
    def generation(self) -> int:
        """That which the inventories were read with."""
        return self._ask('inventories')['resource_provider_generation']

    @property
    def inventories(self) -> ty.Dict[str, ty.Dict[str, ty.Any]]:
        """By resource class."""
        return self._ask('inventories')['inventories']

    @property
    def slots(self) -> ty.Optional[ty.Dict[str, ty.Any]]:
        """The inventory of slots, None if there is none."""
        return self.inventories.get(SLOT)

    @property
    def used(self) -> int:
        """How many slots are in use."""
        return self._ask('usages')['usages'].get(SLOT, 0)

    @property
    def traits(self) -> ty.List[str]:
        """All of them."""
        return self._ask('traits')['traits']

    @property
    def consumers(self) -> ty.Set[str]:
        """UUIDs of the servers and migrations that have slots."""
        return {uuid for uuid, data in
                self._ask('allocations')['allocations'].items()
                if SLOT in data['resources']}


class Providers:
    """The providers of a cloud, or of one node.

    :param get: asks Placement: a path to the answer, parsed
    :param node: UUID of the root provider; None for the whole cloud
    """

    def __init__(self, get: Get, node: ty.Optional[str] = None) -> None:
        self._get = get
        rows = get('/resource_providers' + (
            '' if node is None else '?in_tree=' + node))['resource_providers']
        names = {row['uuid']: row['name'] for row in rows}
        self.by_uuid = {
            row['uuid']: Provider(get, row, model_of(
                row['name'], names.get(row['parent_provider_uuid'])))
            for row in rows}

    @property
    def nested(self) -> ty.List[Provider]:
        """Those of the models, by UUID."""
        return [provider for _, provider in sorted(self.by_uuid.items())
                if provider.model is not None]

    def get_children(self, node: str) -> ty.Dict[str, Provider]:
        """Return the providers of a node's models, in the order of models.

        :param node: UUID of the root provider
        """
        found = {provider.model: provider for provider in self.nested
                 if provider.parent == node}
        return {model: found[model] for model in models.MODELS
                if model in found}

    def find(self, trait: str) -> ty.List[Provider]:
        """Return those that have a trait."""
        rows = self._get('/resource_providers?required=' + trait)
        return [self.by_uuid[row['uuid']]
                for row in rows['resource_providers']
                if row['uuid'] in self.by_uuid]
