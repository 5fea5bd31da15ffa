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

"""Keep the slots of a host in its provider tree."""
from oslo_log import log as logging

from nova import context as nova_context

from nova_mem_encryption.nova.mem_encryption.compute import consumers
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

LOG = logging.getLogger(__name__)
SLOT = providers.SLOT


class Providers:
    """The providers of one host: one for each model that it has slots of.

    :param nova.scheduler.client.report.SchedulerReportClient placement: to
        ask who has slots
    :param news.News news: what the log has of it
    """

    def __init__(self, placement, news):
        self._placement = placement
        self._news = news
        # Names of the nodes that keep slots on the root, until these can move
        self.waiting = set()

    def update(self, provider_tree, nodename, plan, allocations=None):
        """Update the providers, and move to them what the root had.

        :param nova.compute.provider_tree.ProviderTree provider_tree: to update
        :param str nodename: name of the root provider
        :param plans.Plan plan: what is to become of them
        :param allocations: as in update_provider_tree; edited in place
        :raises nova.exception.ReshapeFailed: if an allocation cannot be moved
        """
        root = provider_tree.data(nodename)
        moved = consumers.find(allocations, root.uuid)
        kept = {}
        if models.NATIVE.value in plan.taken:
            kept = self._keep(root, plan)
            moved = {}
        (self.waiting.add if kept else self.waiting.discard)(nodename)
        if SLOT in root.inventory or kept:
            provider_tree.update_inventory(nodename, {
                **{name: inventory for name, inventory in
                   root.inventory.items() if name != SLOT}, **kept})
        # There it would let a request for SEV be satisfied with a slot of
        # another model.
        provider_tree.remove_traits(nodename, models.NATIVE.trait)
        holders = self._share(provider_tree, nodename, plan)
        # NOTE: all that the root had is native. In a reshape Placement takes
        # no more allocations than fit, of those that stay where they are
        # either; the next update tells what there really is.
        for model, inventory in plan.inventories.items():
            if model in plan.taken:
                continue
            name = providers.name_of(nodename, model)
            held = len(moved) if models.MODELS[model].native else 0
            if provider_tree.exists(name):
                held += len(consumers.find(
                    allocations, provider_tree.data(name).uuid))
            inventory['total'] = max(inventory['total'], held)
            inventory['reserved'] = min(
                inventory['reserved'], inventory['total'] - held)
            self._ensure_provider(provider_tree, nodename, model, inventory,
                                  holders.get(model, ()))
        if moved:
            destination = provider_tree.data(providers.name_of(
                nodename, models.NATIVE.value)).uuid
            for consumer, allocs in moved.items():
                consumers.move(consumer, allocs, root.uuid, destination)

    def _keep(self, root, plan):
        """Return what the root keeps: the slots in use, and none is free."""
        used = sum(SLOT in data['resources'] for data in
                   self._read_allocations(root).values())
        return {SLOT: {**plan.inventories[models.NATIVE.value],
                       'total': used, 'reserved': 0}} if used else {}

    def _share(self, provider_tree, nodename, plan):
        """Offer no ASID twice where models share them.

        :returns: a dict: models that it gives no more to who has their slots
        """
        holders = {}
        for pool in models.get_pools().values():
            names = {row.value: providers.name_of(nodename, row.value)
                     for row in pool if row.value not in plan.taken}
            there = {model: provider_tree.data(name)
                     for model, name in names.items()
                     if provider_tree.exists(name)}
            lost = {model: self._get_holders(provider)
                    for model, provider in there.items()
                    if not plan.inventories[model]['total']}
            held = sum(map(len, lost.values()))
            for model in names.keys() - lost if held else ():
                used = self._read_allocations(
                    there[model]) if model in there else ()
                inventory = plan.inventories[model]
                inventory['total'] = max(len(used), inventory['total'] - held)
            holders.update(lost)
        return holders

    def _ensure_provider(self, provider_tree, nodename, model, inventory,
                         holders):
        """Create, update or remove a provider, that some may hold slots of."""
        name = providers.name_of(nodename, model)
        if not inventory['total']:
            if not provider_tree.exists(name):
                return
            # NOTE: Placement lets go of none that is in use. With as many
            # slots as are used none is free, and servers can be moved away.
            if not holders:
                provider_tree.remove(name)
                return
            inventory['total'] = len(holders)
        elif provider_tree.exists(name):
            self._limit_reserved(inventory, provider_tree.data(name))
        else:
            provider_tree.new_child(name, nodename)
        provider_tree.update_inventory(name, {SLOT: inventory})
        provider_tree.add_traits(name, models.MODELS[model].trait)

    def _limit_reserved(self, inventory, provider):
        """Reserve no slot that somebody has.

        Placement gives nothing more out either way. But of a provider where
        more is used and reserved than there is, nobody could be moved away: a
        migration gets the slot of its server like any other.
        """
        if inventory['reserved']:
            inventory['reserved'] = max(0, min(
                inventory['reserved'],
                inventory['total'] - len(self._read_allocations(provider))))

    def _get_holders(self, provider):
        """Return who holds slots of a provider that has none to offer."""
        holders = sorted(self._read_allocations(provider))
        if self._news.is_news(provider.name, holders) and holders:
            LOG.warning(
                'This host has no slots for %(name)s any more, but %(count)d '
                'are in use. No other is offered. These servers or migrations '
                'hold them, and cannot be started here: %(holders)s. Move '
                'them, or give the host its ability back.',
                {'name': provider.name, 'count': len(holders),
                 'holders': ', '.join(holders)})
        return holders

    def _read_allocations(self, provider):
        return self._placement.get_allocations_for_resource_provider(
            nova_context.get_admin_context(), provider.uuid).allocations
