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

"""Tell how many slots the hosts of the cloud have, and who has them."""
import json
import typing as ty

import prettytable
import prometheus_client

from nova import context as nova_context
from nova.i18n import _
from nova import objects

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import unanswered
from nova_mem_encryption.nova.mem_encryption.upgrade import providers

# What is told, in order, with its name and description for Prometheus.
# https://prometheus.io/docs/practices/naming: "total" is for counters.
METRICS = {
    'total': ('slots', 'Guests with encrypted memory that a host can run, '
                       'as Placement has it.'),
    'used': ('slots_used', 'Slots that servers and migrations have.'),
    'reserved': ('slots_reserved', 'Slots that no server gets.'),
    'foreign': ('foreign_guests', 'Guests with an address space identifier '
                                  '(ASID) and no slot.'),
}


class Slots(ty.NamedTuple):
    """The slots of one model that one host has."""

    host: str      # name of the node, as 'openstack hypervisor list' has it
    model: str     # value of a model
    total: int
    used: int
    reserved: int
    foreign: ty.Optional[int]  # guests; None if nobody has told

    @property
    def free(self):
        """Slots that servers can get."""
        return max(0, self.total - self.used - self.reserved)


def get_slots():
    """Return the slots of all hosts.

    :returns: a list of Slots, sorted; the reason why foreign guests are not
        known of some, or None; and why hosts may have none, as sentences
    :raises nova.exception.NovaException: if Placement does not answer
    :raises keystoneauth1.exceptions.ClientException: the same
    """
    cloud = providers.Cloud()
    foreign, reason = _get_foreign()
    found = []
    for provider in cloud.get_with_slots():
        if provider.slots is None:
            continue  # it has just lost them
        # NOTE: on its root a host without the series has those of this model.
        model = provider.model or models.NATIVE.value
        found.append(Slots(
            cloud.tree.by_uuid[provider.root].name, model,
            provider.slots['total'], provider.used,
            provider.slots['reserved'], foreign.get((provider.root, model))))
    return sorted(found), reason, [
        _('Host %(node)s %(problem)s') % {'node': node, 'problem': problem}
        for node, problem in cloud.explain_taken()]


def _get_foreign():
    """Return what the compute hosts have counted: node and model to number.

    They leave it in the database, which compute hosts have no access to.
    """
    found, silent = {}, []
    try:
        objects.register_all()
        for cell, nodes in nova_context.scatter_gather_skip_cell0(
                nova_context.get_admin_context(),
                objects.ComputeNodeList.get_all).items():
            if not isinstance(nodes, objects.ComputeNodeList):
                silent.append(unanswered.explain_cell(cell, nodes))
                continue
            for node in nodes:
                for model in models.MODELS.values():
                    number = (node.stats or {}).get(model.foreign_stat)
                    if number is not None:
                        found[node.uuid, model.value] = int(number)
    except unanswered.ERRORS as e:
        silent.append(unanswered.explain(e))
    return found, '; '.join(silent) or None


def as_table(slots):
    """Return slots as a table for people."""
    table = prettytable.PrettyTable(
        ['Host', 'Model', 'Total', 'Used', 'Reserved', 'Free', 'Foreign'])
    table.align = 'r'
    table.align['Host'] = table.align['Model'] = 'l'
    for row in slots:
        table.add_row([*row[:5], row.free,
                       '-' if row.foreign is None else row.foreign])
    return str(table)


def as_json(slots):
    """Return slots as JSON: a list of objects, in order."""
    return json.dumps([{**row._asdict(), 'free': row.free} for row in slots],
                      indent=2)


def as_prometheus(slots):
    """Return slots as metrics, for the textfile collector of Prometheus."""
    registry = prometheus_client.CollectorRegistry()
    for key, (name, description) in METRICS.items():
        gauge = prometheus_client.Gauge(
            'nova_mem_encryption_' + name, description, ['host', 'model'],
            registry=registry)
        for row in slots:
            if getattr(row, key) is not None:
                gauge.labels(row.host, row.model).set(getattr(row, key))
    return prometheus_client.generate_latest(registry).decode().rstrip()


FORMATS = {'table': as_table, 'json': as_json, 'prometheus': as_prometheus}
