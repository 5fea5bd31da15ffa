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
# 1. The slots, in one reshape: the root gets those of <node>_amd_sev, with
#    their allocations, and neither child has any more. The trait of SEV is on
#    no provider that gives something, so a scheduler with the series finds
#    nothing here; one without finds a slot of SEV, whatever the model, which
#    it knows nothing of. Nobody gets a slot of SEV-ES from here on.
# 2. The trait of SEV on the root: both find SEV, as on any host that never
#    had the series. Were this first, a request for SEV would find the trait
#    on the root and could be given a slot of <node>_amd_sev_es.
# 3. The children go, of which nobody can have anything.
#
# Placement refuses 1 if anything took or freed a slot since they were read, as
# the generations of the providers go with it. After that, as after an
# interruption, the next run starts with the first write that is missing.
import argparse
import collections
import json
import logging
import sys
import typing as ty
from urllib import parse

from keystoneauth1 import exceptions as ks_exc
from openstack import exceptions as sdk_exc
import os_resource_classes as orc
import os_traits
from oslo_config import cfg
from oslo_utils import uuidutils
import prettytable

import nova.conf
from nova import exception
from nova.scheduler.client import report
from nova.virt import node as nova_node

from nova_mem_encryption import overlay

CONF = nova.conf.CONF
SLOT = orc.MEM_ENCRYPTION_CONTEXT
SEV_TRAIT = os_traits.HW_CPU_X86_AMD_SEV
# That of Nova's own reshapes. Consumers keep the type that they may have,
# which would have to be sent from 1.38 on.
VERSION = '1.30'
# What Placement says of a change that came in between
CONFLICTS = ('placement.concurrent_update',
             'placement.resource_provider.inuse')


class Failed(Exception):
    """It cannot be done, for a reason that the operator is to read."""


class NoNode(Failed):
    """It cannot be told which node is meant."""


class Provider(ty.NamedTuple):
    """What Placement has of one provider."""

    name: str
    uuid: str
    generation: int
    inventories: ty.Dict[str, ty.Dict[str, ty.Any]]
    consumers: ty.Set[str]  # of slots


class Write(ty.NamedTuple):
    """One request that changes Placement."""

    verb: str
    url: str
    data: ty.Any
    changes: ty.List[ty.Tuple[str, str]]  # name of the provider, what becomes


class Node:
    """A node, as it is in Placement.

    :param nova.scheduler.client.report.SchedulerReportClient client: to ask
    :param str node: name or UUID of its root provider
    :raises NoNode: if there is no such node
    """

    def __init__(self, client, node: str) -> None:
        self.client = client
        self.wrote = False  # or tried to
        key = 'uuid' if uuidutils.is_uuid_like(node) else 'name'
        found = self.get('/resource_providers?%s=%s' % (
            key, parse.quote(node, safe='')))['resource_providers']
        if not found:
            raise NoNode('Placement has no provider %s' % node)
        self.name, self.uuid = found[0]['name'], found[0]['uuid']
        if found[0]['root_provider_uuid'] != self.uuid:
            raise NoNode('Provider %s is a part of a node, and not a node'
                         % self.name)

    def get_writes(self) -> ty.List[Write]:
        """Return what is to be written, in order.

        All but the first are as good as a forecast: the writes before them
        change the generations that they are sent with.

        :raises Failed: if the node cannot do without the series
        """
        tree = {found['name']: found for found in self.get(
            '/resource_providers?in_tree=%s' % self.uuid)[
                'resource_providers']}
        root = self._read(tree[self.name])
        sev, sev_es = (
            self._read(tree[name]) if name in tree else None for name in (
                '%s_amd_sev' % self.name, '%s_amd_sev_es' % self.name))
        children = [child for child in (sev, sev_es) if child]
        if sev_es and sev_es.consumers:
            raise Failed(
                'Of node %s, these servers or migrations have slots of '
                'SEV-ES, and without the series the servers would start as '
                'plain SEV: %s. Move the servers to another host or delete '
                'them, and confirm or revert their resizes.' % (
                    self.name, ', '.join(sorted(sev_es.consumers))))
        for child in children:
            if set(child.inventories) - {SLOT}:
                raise Failed(
                    'Provider %s, which is to be deleted, also has %s, which '
                    'is not of nova-mem-encryption. Take that away.' % (
                        child.name,
                        ', '.join(sorted(set(child.inventories) - {SLOT}))))
        writes = []
        if any(child.inventories for child in children):
            writes.append(self._move_slots(root, sev, children))
        if SLOT in root.inventories or sev and sev.inventories:
            writes += self._add_trait(root)
        writes += [Write('delete', '/resource_providers/' + child.uuid, None,
                         [(child.name, 'deleted')]) for child in children]
        return writes

    def _read(self, found: ty.Dict[str, ty.Any]) -> Provider:
        # NOTE: first that which has the generation, to be told by Placement
        # if the rest is newer.
        url = '/resource_providers/' + found['uuid']
        data = self.get(url + '/inventories')
        allocations = self.get(url + '/allocations')['allocations']
        return Provider(
            found['name'], found['uuid'],
            data['resource_provider_generation'], data['inventories'],
            {consumer for consumer, allocation in allocations.items()
             if SLOT in allocation['resources']})

    def _move_slots(self, root: Provider, sev: ty.Optional[Provider],
                    children: ty.List[Provider]) -> Write:
        inventories: ty.Dict[str, ty.Any] = {
            child.uuid: {} for child in children}
        allocations = {}
        changes = [(child.name, 'no slots') for child in children]
        if sev and sev.inventories:
            # NOTE: where Nova ran without the series before this, the root
            # has the same slots again. Placement takes no more allocations
            # than fit, whatever the host has; nova-compute puts it right.
            total = max(
                sev.inventories[SLOT]['total'],
                root.inventories.get(SLOT, {}).get('total', 0),
                len(sev.consumers | root.consumers))
            inventories[root.uuid] = {**root.inventories, SLOT: {
                'total': total, 'min_unit': 1, 'max_unit': 1, 'step_size': 1,
                'reserved': 0, 'allocation_ratio': 1.0}}
            changes.insert(0, (root.name, '%d slots' % total))
            for consumer in sorted(sev.consumers):
                allocations[consumer] = self._move_slot(consumer, sev, root)
                changes.append((root.name, 'slot of %s, from %s' % (
                    consumer, sev.name)))
        generations = {provider.uuid: provider.generation
                       for provider in [root] + children}
        return Write('post', '/reshaper', {
            'inventories': {
                uuid: {'inventories': inventory,
                       'resource_provider_generation': generations[uuid]}
                for uuid, inventory in inventories.items()},
            'allocations': allocations}, changes)

    def _move_slot(self, consumer: str, sev: Provider, root: Provider
                   ) -> ty.Dict[str, ty.Any]:
        """Return all that a consumer has, its slot on the root."""
        data = self.get('/allocations/' + consumer)
        resources = collections.defaultdict(dict, {
            uuid: dict(allocation['resources'])
            for uuid, allocation in data['allocations'].items()})
        amount = resources[sev.uuid].pop(SLOT, None)
        if amount is None:
            raise Failed(self.conflict())
        if amount != 1 or SLOT in resources[root.uuid]:
            raise Failed(
                'Server or migration %s has %d slots (%s) of provider %s, and '
                '%d of %s; it should have one. Correct its allocations.' % (
                    consumer, amount, SLOT, sev.name,
                    resources[root.uuid].get(SLOT, 0), root.name))
        resources[root.uuid][SLOT] = amount
        return {**data, 'allocations': {
            uuid: {'resources': amounts}
            for uuid, amounts in resources.items() if amounts}}

    def _add_trait(self, root: Provider) -> ty.List[Write]:
        url = '/resource_providers/%s/traits' % root.uuid
        data = self.get(url)
        if SEV_TRAIT in data['traits']:
            return []
        return [Write('put', url, {
            'traits': sorted([*data['traits'], SEV_TRAIT]),
            'resource_provider_generation':
                data['resource_provider_generation']},
            [(root.name, SEV_TRAIT)])]

    def write(self, write: Write) -> None:
        """Change Placement.

        :raises Failed: if Placement does not do it
        """
        self.wrote = True
        args = [] if write.data is None else [write.data]
        self._call(write.verb, write.url, *args)

    def get(self, url: str) -> ty.Dict[str, ty.Any]:
        """Return what Placement answers.

        :raises Failed: if it refuses
        """
        return self._call('get', url).json()

    def _call(self, verb: str, url: str, *args):
        response = getattr(self.client, verb)(url, *args, version=VERSION)
        if response.status_code < 400:
            return response
        try:
            error = response.json()['errors'][0]
        except (ValueError, LookupError, TypeError):
            error = {'detail': response.text}
        if error.get('code') in CONFLICTS:
            raise Failed(self.conflict())
        remedy = (
            ' The user in [placement] of nova.conf needs the role service.'
            if response.status_code == 403 else '')
        raise Failed('Placement answered %s %s with %d: %s%s' % (
            verb.upper(), url, response.status_code,
            ' '.join(error['detail'].split()), remedy))

    def conflict(self) -> str:
        """Return what to do when others write at the same time."""
        return ('Something else changed node %s in Placement at the same '
                'time. Stop its nova-compute, and disable its service.'
                % self.name)


def revert(node: Node, dry_run: bool) -> ty.Iterator[Write]:
    """Yield each write when it is done.

    :param node: the node to change
    :param dry_run: yield what would be done instead
    :raises Failed: if something is in the way
    """
    writes = node.get_writes()
    if dry_run:
        yield from writes
        return
    for _ in range(len(writes)):
        node.write(writes[0])
        yield writes[0]
        writes = node.get_writes()
        if not writes:
            return
    if writes:
        raise Failed(node.conflict())


def connect(files: ty.Optional[ty.Sequence[str]]):
    """Return a client of Placement, as nova-compute has it.

    :param files: of configuration; None for those of nova-compute
    """
    args = ['--config-file=%s' % file for file in files or []]
    # NOTE: nothing sets up logging here, and what this one has to say is said
    # by its exceptions too.
    logging.getLogger('keystoneauth').addHandler(logging.NullHandler())
    CONF(args, project='nova', prog='nova-compute')
    return report.SchedulerReportClient()


def get_local_node() -> str:
    """Return the UUID of the node that this machine is.

    :raises NoNode: if no nova-compute has run here
    """
    uuid = nova_node.read_local_node_uuid()
    if uuid is None:
        raise NoNode(
            'No nova-compute has run on this machine: there is no file %s in '
            '%s' % (nova_node.COMPUTE_ID_FILE, CONF.state_path))
    return uuid


def _print(name: str, writes: ty.List[Write], args: argparse.Namespace
           ) -> None:
    if not writes:
        print('Node %s: nothing to do. It is as Nova without the series has '
              'it.' % name)
        return
    table = prettytable.PrettyTable(['Write', 'Provider', 'Has then'])
    table.align = 'l'
    for number, write in enumerate(writes, 1):
        for provider, change in write.changes:
            table.add_row([number, provider, change])
    print(table)
    print('Node %s: nothing was written. Stop its nova-compute, then run this '
          'without --dry-run.' % name if args.dry_run else
          'Node %s: done. Start its nova-compute only without the series: '
          'with it, it would move the slots again.' % name)


def main(args: argparse.Namespace) -> int:
    """Run the command.

    :param args: node, config_file, dry_run, json
    :returns: exit status
    """
    told: ty.Dict[str, ty.Any] = {
        'node': args.node, 'uuid': None, 'dry_run': args.dry_run,
        'error': None}
    writes: ty.List[Write] = []
    node = None
    try:
        version = overlay.state().nova or ''
        if int(version.split('.')[0] or 0) > overlay.LAST:
            raise Failed('Nova %s has SEV-ES itself, and these providers are '
                         'its own. Uninstall nova-mem-encryption.' % version)
        client = connect(args.config_file)
        node = Node(client, args.node or get_local_node())
        told.update(node=node.name, uuid=node.uuid)
        for write in revert(node, args.dry_run):
            writes.append(write)
    except NoNode as e:
        told['error'] = ("%s. Give the name of the node as 'openstack "
                         "hypervisor list' has it." % e)
    except (Failed, cfg.Error, OSError, exception.NovaException) as e:
        told['error'] = str(e).rstrip('.') + '.'
    except (ks_exc.ClientException, sdk_exc.SDKException) as e:
        told['error'] = ('Placement cannot be reached: %s. See [placement] in '
                         'nova.conf.' % str(e).rstrip('.'))
    told['writes'] = [
        {'request': '%s %s' % (write.verb.upper(), write.url),
         'changes': [{'provider': provider, 'has': change}
                     for provider, change in write.changes]}
        for write in writes]
    if args.json:
        print(json.dumps(told, indent=2))
    if told['error'] is None:
        if not args.json:
            _print(told['node'], writes, args)
        return 0
    print('%s %s' % (
        told['error'], 'Then run this again: it goes on where it was stopped.'
        if node and node.wrote else 'Nothing was written.'), file=sys.stderr)
    return 1
