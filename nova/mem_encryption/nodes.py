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

"""Find the node that a command is for."""
import typing as ty
from urllib import parse

from oslo_utils import uuidutils

import nova.conf
from nova import exception
from nova.virt import node as nova_node

CONF = nova.conf.CONF


class NoNode(exception.NovaException):
    """It cannot be told which node is meant."""


class Node(ty.NamedTuple):
    """A compute node, as Placement knows it."""

    name: str
    uuid: str  # of its root provider


def find_node(client, node: str) -> Node:
    """Return a node.

    :param nova_mem_encryption.nova.mem_encryption.placement.Client client: to
        ask
    :param node: name or UUID of its root provider
    :raises NoNode: if there is no such node
    """
    key = 'uuid' if uuidutils.is_uuid_like(node) else 'name'
    found = client.get('/resource_providers?%s=%s' % (
        key, parse.quote(node, safe='')))['resource_providers']
    if not found:
        raise NoNode('Placement has no provider %s' % node)
    name, uuid = found[0]['name'], found[0]['uuid']
    if found[0]['root_provider_uuid'] != uuid:
        raise NoNode('Provider %s is a part of a node, and not a node' % name)
    return Node(name, uuid)


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
