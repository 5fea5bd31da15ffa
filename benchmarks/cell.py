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

"""Fill a cell with many servers: a half plain, a half with slots.

    cell.py CONF COUNT PLACEMENT

By SQL, as the API would take days. Prints how many of them the upgrade check
finds wrong, and how many run as something else than they ask for.
"""
import itertools
import sys
import typing as ty

from oslo_serialization import jsonutils
from oslo_utils import uuidutils
from placement.db.sqlalchemy import models as placement_models
import servers
import sqlalchemy as sa

import nova.conf
from nova import config
from nova import context
from nova.db.main import models
from nova.db import migration
from nova import objects

from nova_mem_encryption.engine import finder
from nova_mem_encryption.nova.mem_encryption import differing

CONF = nova.conf.CONF
CELL = '33333333-4444-5555-6666-777777777777'
KINDS = {'amd_sev': 'sev', 'amd_sev_es': 'sev-es'}
ELSEWHERE = 'host00000'  # the host of the others
# As many as an image of a distribution has
PROPERTIES = {'image_%s' % name: value for name, value in {
    'base_image_ref': servers.IMAGE, 'container_format': 'bare',
    'disk_format': 'qcow2', 'min_disk': '10', 'min_ram': '0',
    'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35',
    'hw_disk_bus': 'virtio', 'hw_vif_model': 'virtio', 'os_distro': 'debian',
    'os_type': 'linux', 'owner_specified.openstack.md5': '',
}.items()}
ROWS = 1000  # servers of one statement
# What the check is to find: one of so many servers
WRONG = 1000


def configure(path):
    """Read nova.conf, and make the databases that it names."""
    config.parse_args(['nova-manage', '--config-file', path])
    objects.register_all()
    for database in ('api', 'main'):
        migration.db_sync(database=database)
    for uuid, connection in (
            (objects.CellMapping.CELL0_UUID, 'sqlite://'),
            (CELL, CONF.database.connection)):
        objects.CellMapping(
            context.get_admin_context(), uuid=uuid, name=uuid,
            transport_url='none:///', database_connection=connection).create()


def fill(count, placement):
    """Give the cell so many servers.

    Those with slots are the consumers that Placement has.

    :param placement: URL of its database
    :returns: how many of them are wrong, and how many run as another
    """
    consumers = _get_consumers(placement, count // 2)
    plain = ((uuidutils.generate_uuid(), 'plain', ELSEWHERE)
             for _ in range(count - len(consumers)))
    engine = sa.create_engine(CONF.database.connection)
    flavors = {kind: jsonutils.dumps({
        'cur': servers.make_flavor(kind).obj_to_primitive(), 'old': None,
        'new': None}) for kind in servers.SPECS}
    numbered = enumerate(itertools.chain(consumers, plain), 1)
    while True:
        batch = list(itertools.islice(numbered, ROWS))
        if not batch:
            break
        with engine.begin() as connection:
            connection.execute(sa.insert(models.Instance), [
                {'id': number, 'uuid': uuid, 'deleted': 0, 'vm_state':
                 'active', 'project_id': 'p', 'user_id': 'u', 'memory_mb':
                 1024, 'vcpus': 1, 'root_gb': 10, 'display_name': 'server',
                 'user_data': 'x' * 2000, 'hidden': False, 'power_state': 1,
                 'host': node, 'node': node}
                for number, (uuid, _, node) in batch])
            connection.execute(sa.insert(models.InstanceExtra), [
                {'instance_uuid': uuid, 'deleted': 0, 'flavor': flavors[kind]}
                for _, (uuid, kind, _node) in batch])
            connection.execute(sa.insert(models.InstanceSystemMetadata), [
                {'instance_uuid': uuid, 'deleted': 0, 'key': key,
                 'value': value}
                for number, (uuid, *_) in batch
                for key, value in _get_properties(number).items()])
    others = consumers[::WRONG]
    _add_nodes(engine, {node for _, _, node in consumers} | {ELSEWHERE},
               others)
    return count // WRONG, len(others)


def _add_nodes(engine, names, others):
    """Have nova-compute of each host tell who runs as another there."""
    found: ty.Dict[str, ty.Dict[str, differing.Differing]] = {
        name: {} for name in names}
    for uuid, _, node in others:
        found[node][uuid] = differing.Differing(differing.LESS, 'plain')
    with engine.begin() as connection:
        connection.execute(sa.insert(models.ComputeNode), [{
            'uuid': uuidutils.generate_uuid(), 'host': node, 'deleted': 0,
            'hypervisor_hostname': node, 'vcpus': 128, 'memory_mb': 1 << 19,
            'local_gb': 1 << 14, 'vcpus_used': 0, 'memory_mb_used': 0,
            'local_gb_used': 0, 'hypervisor_type': 'QEMU',
            'hypervisor_version': 0, 'cpu_info': '{}', 'mapped': 1,
            'stats': jsonutils.dumps({
                differing.STAT: differing.write(servers)})}
            for node, servers in found.items()])


def _get_consumers(placement, most):
    """Return who has slots, with the kind of server and its host."""
    allocation, provider = (placement_models.Allocation,
                            placement_models.ResourceProvider)
    with sa.create_engine(placement).connect() as connection:
        rows = connection.execute(
            sa.select(allocation.consumer_id, provider.name)
            .join(provider, provider.id == allocation.resource_provider_id)
            .where(provider.parent_provider_id.is_not(None)).limit(most))
        return [(uuid, KINDS[name.partition('_')[2]], name.partition('_')[0])
                for uuid, name in rows]


def _get_properties(number):
    if number % WRONG:
        return PROPERTIES
    return {**PROPERTIES, 'image_hw_mem_encryption_model': 'none-such'}


if __name__ == '__main__':
    finder.load()
    configure(sys.argv[1])
    print(*fill(int(sys.argv[2]), sys.argv[3]))
