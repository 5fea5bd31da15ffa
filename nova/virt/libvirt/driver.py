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

"""Give each model of memory encryption a provider with slots of its own."""
import copy

import os_resource_classes as orc
import os_traits as ot

from nova import exception
from nova.i18n import _
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.virt.libvirt import slots
from nova_mem_encryption import overlay

SLOT = orc.MEM_ENCRYPTION_CONTEXT
TRAITS = {'amd_sev': ot.HW_CPU_X86_AMD_SEV,
          'amd_sev_es': ot.HW_CPU_X86_AMD_SEV_ES}


@overlay.wrap(driver.LibvirtDriver)
def _get_cpu_traits(upstream, self):
    """Take the SEV trait off the root provider, whatever the host.

    There it would let a request for SEV be satisfied with an SEV-ES slot.
    """
    traits = upstream(self)
    traits[ot.HW_CPU_X86_AMD_SEV] = False
    return traits


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._get_memory_encrypted_slots',
    'LibvirtDriver._update_provider_tree_for_vgpu',
    'LibvirtDriver._is_reshape_needed_vgpu_on_root',
    'nova.compute.resource_tracker:ResourceTracker._update_to_placement',
    'nova.scheduler.client.report:SchedulerReportClient.'
    'get_allocations_for_resource_provider'])
def update_provider_tree(upstream, self, provider_tree, nodename,
                         allocations=None):
    """Move the slots from the root to a provider for each model."""
    # NOTE: the root as Placement has it; upstream puts the slots there again.
    if allocations is None and (
            SLOT in provider_tree.data(nodename).inventory):
        raise exception.ReshapeNeeded()
    upstream(self, provider_tree, nodename, allocations=allocations)
    inventory = provider_tree.data(nodename).inventory
    if inventory.pop(SLOT, None) is not None:
        provider_tree.update_inventory(nodename, inventory)
    self._update_provider_tree_for_memory_encryption(
        provider_tree, nodename, allocations)
    self.provider_tree = copy.deepcopy(provider_tree)


@overlay.add(driver.LibvirtDriver)
def _get_memory_encryption_inventories(self):
    """Return what this host offers.

    :returns: a dict: the provider's suffix to its inventory with its traits
    """
    totals = {'amd_sev': self._get_memory_encrypted_slots(), 'amd_sev_es': 0}
    if self._host.supports_amd_sev_es:
        totals['amd_sev_es'] = self._host.max_sev_es_guests
    totals = slots.limit_by_kernel(self, totals)
    return {suffix: {'total': total, 'min_unit': 1, 'max_unit': 1,
                     'step_size': 1, 'allocation_ratio': 1.0,
                     'reserved': slots.get_reserved(self, suffix, total),
                     'traits': [TRAITS[suffix]]}
            for suffix, total in totals.items()}


@overlay.add(driver.LibvirtDriver)
def _update_provider_tree_for_memory_encryption(self, provider_tree, nodename,
                                                allocations=None):
    """Update the providers of the models, and move to them what the root had.

    :param nova.compute.provider_tree.ProviderTree provider_tree: to update
    :param str nodename: name of the root provider
    :param allocations: as in update_provider_tree; edited in place
    :raises nova.exception.ReshapeFailed: if an allocation cannot be moved
    """
    inventories = self._get_memory_encryption_inventories()
    root = provider_tree.data(nodename).uuid
    consumers = _get_consumers(allocations, root)
    # NOTE: all that the root had is plain SEV. In a reshape Placement takes
    # no more allocations than fit, of those that stay where they are either;
    # the next update tells what there really is.
    for suffix, inventory in inventories.items():
        name = '%s_%s' % (nodename, suffix)
        held = len(consumers) if suffix == 'amd_sev' else 0
        if provider_tree.exists(name):
            held += len(_get_consumers(
                allocations, provider_tree.data(name).uuid))
        inventory['total'] = max(inventory['total'], held)
        inventory['reserved'] = min(
            inventory['reserved'], inventory['total'] - held)
    self._ensure_memory_encryption_providers(
        inventories, provider_tree, nodename)
    for consumer, allocs in consumers.items():
        _move_allocation(consumer, allocs, root,
                         provider_tree.data('%s_amd_sev' % nodename).uuid)


@overlay.add(driver.LibvirtDriver)
def _ensure_memory_encryption_providers(self, inventories, provider_tree,
                                        nodename):
    """Create, update or remove the provider of each model.

    :param inventories: as of _get_memory_encryption_inventories
    :param nova.compute.provider_tree.ProviderTree provider_tree: to update
    :param str nodename: name of the root provider
    """
    for suffix, inventory in inventories.items():
        name = '%s_%s' % (nodename, suffix)
        traits = inventory.pop('traits')
        if not inventory['total']:
            if not provider_tree.exists(name):
                continue
            # NOTE: Placement does not let go of a provider that is in use.
            # With as many slots as are used none is free, and servers can
            # still be moved away.
            holders = slots.get_holders(self, provider_tree.data(name))
            if not holders:
                provider_tree.remove(name)
                continue
            inventory['total'] = len(holders)
        elif provider_tree.exists(name):
            slots.limit_reserved(self, inventory, provider_tree.data(name))
        else:
            provider_tree.new_child(name, nodename)
        provider_tree.update_inventory(name, {SLOT: inventory})
        provider_tree.add_traits(name, *traits)


def _get_consumers(allocations, provider):
    """Return the allocations of those that have a slot of a provider."""
    return {consumer: data['allocations']
            for consumer, data in (allocations or {}).items()
            if SLOT in data['allocations'].get(provider, {}).get(
                'resources', {})}


def _move_allocation(consumer, allocs, source, destination):
    """Move the slot of one server or migration to another provider."""
    amount = allocs[source]['resources'][SLOT]
    if amount != 1 or SLOT in allocs.get(destination, {}).get('resources', {}):
        raise exception.ReshapeFailed(error=_(
            'consumer %(consumer)s has %(amount)d %(slot)s on provider '
            '%(source)s, which cannot be moved to %(destination)s: a server '
            'has one. Correct its allocations and start the service again.')
            % {'consumer': consumer, 'amount': amount, 'slot': SLOT,
               'source': source, 'destination': destination})
    del allocs[source]['resources'][SLOT]
    if not allocs[source]['resources']:
        del allocs[source]
    allocs.setdefault(destination, {'resources': {}})
    allocs[destination]['resources'][SLOT] = amount


# NOTE: these extend the same class, and Nova knows nothing of them.
from nova_mem_encryption.nova.virt.libvirt import foreign_guests  # noqa: E402,F401
from nova_mem_encryption.nova.virt.libvirt import guest_config  # noqa: E402,F401
from nova_mem_encryption.nova.virt.libvirt import launch  # noqa: E402,F401
