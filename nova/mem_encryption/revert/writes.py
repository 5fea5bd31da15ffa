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

"""Make the writes that revert a node, and say what is in their way."""
import collections
import typing as ty

from nova import exception

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

SLOT = providers.SLOT


class Failed(exception.NovaException):
    """It cannot be done, for a reason that the operator is to read."""


class Write(ty.NamedTuple):
    """One request that changes Placement."""

    verb: str
    path: str
    data: ty.Any
    changes: ty.List[ty.Tuple[str, str]]  # name of the provider, what becomes


def conflict(node: str) -> Failed:
    """Return what to raise when others write at the same time.

    :param node: its name
    """
    return Failed(
        'Something else changed node %s in Placement at the same time. '
        'Stop its nova-compute, and disable its service.' % node)


def move_slots(get: providers.Get, root: providers.Provider,
               children: ty.Mapping[str, providers.Provider]) -> Write:
    """Give the root the slots of the native model; no child has any more.

    :param get: asks Placement
    :param children: of the root, by model
    :raises Failed: if a consumer has what it should not have
    """
    native = children.get(models.NATIVE.value)
    inventories: ty.Dict[str, ty.Any] = {
        child.uuid: {} for child in children.values()}
    allocations = {}
    changes = [(child.name, 'no slots') for child in children.values()]
    if native and native.slots:
        # NOTE: where Nova ran without the series before this, the root
        # has the same slots again. Placement takes no more allocations
        # than fit, whatever the host has; nova-compute puts it right.
        total = max(native.slots['total'], (root.slots or {}).get(
            'total', 0), len(native.consumers | root.consumers))
        inventories[root.uuid] = {**root.inventories, SLOT: {
            'total': total, 'min_unit': 1, 'max_unit': 1, 'step_size': 1,
            'reserved': 0, 'allocation_ratio': 1.0}}
        changes.insert(0, (root.name, '%d slots' % total))
        for consumer in sorted(native.consumers):
            allocations[consumer] = _move_slot(get, consumer, native, root)
            changes.append((root.name, 'slot of %s, from %s' % (
                consumer, native.name)))
    generations = {provider.uuid: provider.generation
                   for provider in (root, *children.values())}
    return Write('post', '/reshaper', {
        'inventories': {
            uuid: {'inventories': inventory,
                   'resource_provider_generation': generations[uuid]}
            for uuid, inventory in inventories.items()},
        'allocations': allocations}, changes)


def _move_slot(get: providers.Get, consumer: str, native: providers.Provider,
               root: providers.Provider) -> ty.Dict[str, ty.Any]:
    """Return all that a consumer has, its slot on the root."""
    data = get('/allocations/' + consumer)
    resources = collections.defaultdict(dict, {
        uuid: dict(allocation['resources'])
        for uuid, allocation in data['allocations'].items()})
    amount = resources[native.uuid].pop(SLOT, None)
    if amount is None:
        raise conflict(root.name)
    if amount != 1 or SLOT in resources[root.uuid]:
        raise Failed(
            'Server or migration %s has %d slots (%s) of provider %s, and '
            '%d of %s; it should have one. Correct its allocations.' % (
                consumer, amount, SLOT, native.name,
                resources[root.uuid].get(SLOT, 0), root.name))
    resources[root.uuid][SLOT] = amount
    return {**data, 'allocations': {
        uuid: {'resources': amounts}
        for uuid, amounts in resources.items() if amounts}}


def add_trait(get: providers.Get, root: providers.Provider
              ) -> ty.List[Write]:
    """Give the root the trait of the native model, unless it has it."""
    path = '/resource_providers/%s/traits' % root.uuid
    data = get(path)
    if models.NATIVE.trait in data['traits']:
        return []
    return [Write('put', path, {
        'traits': sorted([*data['traits'], models.NATIVE.trait]),
        'resource_provider_generation':
            data['resource_provider_generation']},
        [(root.name, models.NATIVE.trait)])]
