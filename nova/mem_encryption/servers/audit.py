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

"""Tell which servers run with what, and what does not agree."""
import collections
import json
import tempfile
import typing as ty

from nova import exception
from nova.i18n import _
from nova.virt.libvirt import host

from nova_mem_encryption.nova.mem_encryption import cells
from nova_mem_encryption.nova.mem_encryption import differing
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption.servers import judgement
from nova_mem_encryption.nova.mem_encryption.servers import open_flavors
from nova_mem_encryption.nova.mem_encryption.servers import problems
from nova_mem_encryption.nova.mem_encryption.upgrade import progress
from nova_mem_encryption.nova.mem_encryption.upgrade import providers

IN_MEMORY = 1 << 20  # bytes of servers; more are kept in a file


class NoHost(Exception):
    """There is no such host; the message names those there are."""


class Choice(ty.NamedTuple):
    """Which servers are wanted."""

    host: ty.Optional[str] = None     # name of the host, or of its node
    project: ty.Optional[str] = None  # ID
    model: ty.Optional[str] = None    # asked for, run with, or had a slot of
    differing: bool = False           # only those where something differs
    all: bool = False                 # also those without memory encryption

    def has_row(self, row):
        """Tell whether a row of the database may be of one."""
        return (self.host in (None, row.host, row.node) and
                self.project in (None, row.project_id))

    def has(self, server, slots):
        """Tell whether a server is one.

        :param problems.Server server: the server
        :param slots: a list of judgement.Slot
        """
        given = {*server.models, *(slot.model for slot in slots)}
        if self.model is not None and self.model not in given:
            return False
        return bool(server.problems) or not self.differing and (
            self.all or bool(given.intersection(models.MODELS)))


class Servers:
    """Servers, those where something differs first.

    They may be many, so they are in files.
    """

    def __init__(self):
        self._files = [tempfile.SpooledTemporaryFile(
            IN_MEMORY, 'w+', encoding='utf-8') for _part in range(2)]
        self.count = 0
        self.differing = 0  # how many do
        self.by_model = collections.Counter()    # by host and model
        self.by_problem = collections.Counter()  # by host and kind

    def add(self, server):
        """Append a server, a problems.Server."""
        self.count += 1
        self.differing += bool(server.problems)
        self.by_model[server.host, server.asked] += 1
        self.by_problem.update(
            {(server.host, problem.kind) for problem in server.problems})
        self._files[not server.problems].write(json.dumps(server) + '\n')

    def __iter__(self):
        for file in self._files:
            file.seek(0)
            for line in file:
                *fields, found = json.loads(line)
                yield problems.Server(
                    *fields, [problems.Problem(*each) for each in found])


class Audit(ty.NamedTuple):
    """What was found."""

    servers: Servers
    # Of libvirt's driver, by name: whether it tells what runs
    hosts: ty.Mapping[str, bool]
    open_flavors: ty.List[open_flavors.OpenFlavor]
    reasons: ty.List[str]         # why something was not looked at


def audit(choice):
    """Look at the servers of all cells but cell 0.

    :param Choice choice: which are wanted
    :returns: an Audit
    :raises NoHost: if there is no such host
    :raises Exception: one of unanswered.ERRORS, if Placement or the database
        cannot be asked
    """
    cloud = providers.Cloud()
    nodes, reason = cells.get_nodes()
    reasons = [reason] if reason else []
    seen = {node.hypervisor_hostname: differing.read(node.stats)
            for node in nodes}
    if choice.host is not None and not reasons and not any(
            choice.host in (node.host, node.hypervisor_hostname)
            for node in nodes):
        raise NoHost(_('There is no host %(host)s, there are: %(hosts)s') % {
            'host': choice.host, 'hosts': ', '.join(sorted(seen)) or '-'})
    holders = cloud.get_holders()
    servers, bar = Servers(), progress.Bar(_('servers'))
    for page in cells.read_servers(bar, choice.has_row):
        if page.reason is not None:
            reasons.append(page.reason)
        for instance in page.servers:
            slots = _name(cloud, holders.get(instance.uuid))
            server = judgement.judge(instance, slots, seen.get(instance.node))
            if any(problem.kind in problems.OF_SLOTS
                   for problem in server.problems):
                # It may have been built or moved since its slots were read.
                slots = _name(cloud, cloud.get_held(instance.uuid))
                try:
                    instance.refresh()
                except exception.InstanceNotFound:
                    continue
                server = judgement.judge(
                    instance, slots, seen.get(instance.node))
            if choice.has_row(instance) and choice.has(server, slots):
                servers.add(server)
    bar.clear()
    return Audit(
        servers, {node.hypervisor_hostname: seen[node.hypervisor_hostname]
                  is not None for node in nodes
                  # Those of other drivers, as Ironic's, never tell.
                  if node.hypervisor_type == host.HV_DRIVER_QEMU and
                  choice.host in (None, node.host, node.hypervisor_hostname)},
        open_flavors.find_open(), reasons)


def _name(cloud, held):
    """Return slots, as a list of judgement.Slot.

    :param held: the providers that have them
    """
    return [judgement.Slot(
        provider.name, cloud.tree.by_uuid[provider.root].name,
        # On its root a host without the series has those of this.
        provider.model or models.NATIVE.value) for provider in held]
