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

"""Find out who has names that are meant for children of a node.

A name is had once in all of Placement. Of Nova only nova/mem_encryption is
imported.
"""
import typing as ty
from urllib import parse

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

KINDS = ('a root provider', 'a child of another provider')


class Other(ty.NamedTuple):
    """Who has a name that is meant for a child of a node."""

    name: str
    uuid: str
    parent: ty.Optional[str]  # UUID of its parent

    @property
    def kind(self) -> str:
        """One of KINDS, for those who are to see no UUID."""
        return KINDS[self.parent is not None]

    def __str__(self) -> str:
        return '%s (%s), which is %s,' % (self.name, self.uuid, (
            self.kind if self.parent is None else
            'a child of provider ' + self.parent))


def find_by_name(get: providers.Get, name: str) -> ty.Optional[Other]:
    """Return the provider that has a name, None if there is none.

    :param get: asks Placement
    """
    for row in get('/resource_providers?name=' + parse.quote(
            name, safe=''))['resource_providers']:
        return Other(row['name'], row['uuid'], row['parent_provider_uuid'])
    return None


def find_taken(get: providers.Get, tree: providers.Providers, node: str
               ) -> ty.Dict[str, Other]:
    """Return who has names that are meant for children of one node.

    :param get: asks Placement, for those that the node does not have
    :param tree: the providers of the node
    :param node: UUID of its root provider
    :returns: model to who has the name
    """
    children = tree.get_children(node)
    found = {model: find_by_name(get, providers.name_of(
        tree.by_uuid[node].name, model))
        for model in models.MODELS if model not in children}
    return {model: other for model, other in found.items()
            if other is not None}


def list_taken(tree: providers.Providers
               ) -> ty.Dict[ty.Tuple[str, str], Other]:
    """Return who has names that are meant for children of any node.

    :param tree: the providers of a cloud
    :returns: UUID of the root provider and model to who has the name
    """
    by_name = {row.name: row for row in tree.by_uuid.values()}
    found = {}
    for uuid, row in sorted(tree.by_uuid.items()):
        for model in models.MODELS if row.parent is None else ():
            other = by_name.get(providers.name_of(row.name, model))
            if other is not None and other.parent != uuid:
                found[uuid, model] = Other(
                    other.name, other.uuid, other.parent)
    return found
