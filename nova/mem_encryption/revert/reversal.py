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

"""Give a node of Placement the shape that Nova without the series wants.

Importing this loads parts of Nova, which the engine has to let be.
"""
# NOTE: the order of the writes, and what a request may get after each. A
# scheduler with the series asks for a slot and the trait of the model, one
# without the series for a slot alone. Placement looks for a trait on those
# providers that give resources, wherever in the tree.
#
# 1. The slots, in one reshape: the root gets those of the native model, with
#    their allocations, and no child has any more. The trait of that model is
#    on no provider that gives something, so a scheduler with the series finds
#    nothing here; one without finds a slot of it, whatever the model, which
#    it knows nothing of. Nobody gets a slot of an added model from here on.
# 2. The trait of the native model on the root: both find it, as on any host
#    that never had the series. Were this first, a request for it would find
#    the trait on the root and could be given a slot of an added model.
# 3. The children go, of which nobody can have anything.
#
# Placement refuses 1 if anything took or freed a slot since they were read, as
# the generations of the providers go with it. After that, as after an
# interruption, the next run starts with the first write that is missing.
import typing as ty

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import nodes
from nova_mem_encryption.nova.mem_encryption import placement
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption.revert import guests
from nova_mem_encryption.nova.mem_encryption.revert import writes


class Reversal:
    """The way of a node back to that shape.

    :param client: of Placement
    :param node: the node to change
    :param looked_at: its guests, which may be there without an allocation
    """

    def __init__(self, client: placement.Client, node: nodes.Node,
                 looked_at: guests.Guests) -> None:
        self.client = client
        self.node = node
        self.guests = looked_at

    def run(self, dry_run: bool) -> ty.Iterator[writes.Write]:
        """Yield each write when it is done.

        :param dry_run: yield what would be done instead
        :raises writes.Failed: if something is in the way
        :raises placement.Refused: if Placement says no
        """
        found = self.get_writes()
        self.guests.refuse(self.node.name)
        if dry_run:
            yield from found
            return
        for _ in range(len(found)):
            try:
                self.client.write(*found[0][:3])
            except placement.Conflict as e:
                raise writes.conflict(self.node.name) from e
            yield found[0]
            found = self.get_writes()
            if not found:
                return
        if found:
            raise writes.conflict(self.node.name)

    def get_writes(self) -> ty.List[writes.Write]:
        """Return what is to be written, in order.

        All but the first are as good as a forecast: the writes before them
        change the generations that they are sent with.

        :raises writes.Failed: if the node cannot do without the series
        """
        tree = providers.Providers(self.client.get, self.node.uuid)
        root = tree.by_uuid[self.node.uuid]
        children = tree.get_children(root.uuid)
        native = children.get(models.NATIVE.value)
        for provider in (root, *children.values()):
            # NOTE: first that which has the generation, to be told by
            # Placement if the rest is newer.
            _ = provider.generation, provider.consumers
        for value, child in children.items():
            if not models.MODELS[value].native:
                self._refuse_consumers(child)
        for child in children.values():
            others = sorted(set(child.inventories) - {providers.SLOT})
            if others:
                raise writes.Failed(
                    'Provider %s, which is to be deleted, also has %s, which '
                    'is not of nova-mem-encryption. Take that away.' % (
                        child.name, ', '.join(others)))
        found = []
        if any(child.inventories for child in children.values()):
            found.append(writes.move_slots(self.client.get, root, children))
        if providers.SLOT in root.inventories or native and native.inventories:
            found += writes.add_trait(self.client.get, root)
        return found + [
            writes.Write('delete', '/resource_providers/' + child.uuid, None,
                         [(child.name, 'deleted')])
            for child in children.values()]

    def _refuse_consumers(self, child: providers.Provider) -> None:
        if child.consumers:
            raise writes.Failed(
                'Of node %s, these servers or migrations have slots of %s, '
                'and without the series the servers would start as plain %s: '
                '%s. Move the servers to another host or delete them, and '
                'confirm or revert their resizes.' % (
                    self.node.name, models.MODELS[str(child.model)].title,
                    models.NATIVE.title, ', '.join(sorted(child.consumers))))
