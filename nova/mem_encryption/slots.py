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
import textwrap
import typing as ty

import os_traits
import prettytable
import prometheus_client

from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import cells
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers as provider_names
from nova_mem_encryption.nova.mem_encryption.upgrade import providers

# What is told, in order, with its name and description for Prometheus.
# https://prometheus.io/docs/practices/naming: "total" is for counters.
METRICS = {
    'total': ('slots', 'Guests with encrypted memory that a host can run, '
                       'as Placement has it.'),
    'used': ('slots_used', 'Slots that servers and migrations have.'),
    'reserved': ('slots_reserved', 'Slots that no server gets.'),
    'free': ('slots_free', 'Slots that servers can get.'),
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
    reason: ty.Optional[str] = None  # why Placement has none of the model

    @property
    def free(self):
        """Slots that servers can get."""
        return max(0, self.total - self.used - self.reserved)


def get_slots():
    """Return the slots of all hosts.

    :returns: a list of Slots, sorted, with one for each model that a host
        should have and has none of; the reason why foreign guests are not
        known of some, or None; and why hosts may have none, as sentences
    :raises nova.exception.NovaException: if Placement does not answer
    :raises keystoneauth1.exceptions.ClientException: the same
    """
    cloud = providers.Cloud()
    foreign, reason = _get_foreign()
    found = list(_get_lacking(cloud))
    for provider in cloud.get_with_slots():
        if provider.slots is None:
            continue
        # NOTE: on its root a host without the series has those of this model.
        model = provider.model or models.NATIVE.value
        found.append(Slots(
            cloud.tree.by_uuid[provider.root].name, model,
            provider.slots['total'], provider.used,
            provider.slots['reserved'], foreign.get((provider.root, model))))
    return sorted(found), reason, [
        _('Host %(node)s %(problem)s') % {'node': node, 'problem': problem}
        for node, problem in cloud.explain_taken()]


def _get_lacking(cloud):
    """Yield the models that hosts have no slots of, with the reason.

    That is one of Placement: of the host itself nothing is known here.
    """
    by_host = {(nested.root, nested.model): nested
               for nested in cloud.tree.nested}
    hosts = cloud.parents | {
        host.uuid for host in cloud.tree.find(os_traits.COMPUTE_NODE)}
    for host in hosts:
        for model in (row.value for row in models.get_default()):
            provider = by_host.get((host, model))
            if (host, model) in cloud.taken:
                reason = _('another provider is called %s')
            elif provider is None:
                reason = _('there is no provider %s')
            elif provider.slots is None:
                reason = _('provider %s has no slots')
            else:
                continue
            yield Slots(
                cloud.tree.by_uuid[host].name, model, 0, 0, 0, None,
                reason % provider_names.name_of('NODE', model))


def sum_up(slots):
    """Return the slots of all hosts, by model; foreign as far as is known."""
    for model in models.MODELS:
        rows = [row for row in slots if row.model == model and not row.reason]
        foreign = [row.foreign for row in rows if row.foreign is not None]
        if rows:
            yield {'model': model, 'hosts': len(rows), **{
                name: sum(getattr(row, name) for row in rows)
                for name in ('total', 'used', 'reserved', 'free')},
                'foreign': sum(foreign) if foreign else None}


def _get_foreign():
    """Return what the compute hosts have counted: node and model to number.

    They leave it in the database, which compute hosts have no access to.
    """
    nodes, reason = cells.get_nodes()
    return {
        (node.uuid, model.value): int(node.stats[model.foreign_stat])
        for node in nodes for model in models.MODELS.values()
        if model.foreign_stat in (node.stats or {})}, reason


def as_table(slots, files):
    """Return slots for people: a table, its sums, and who has none."""
    table = prettytable.PrettyTable(
        ['Host', 'Model', 'Total', 'Used', 'Reserved', 'Free', 'Foreign'])
    table.align = 'r'
    table.align['Host'] = table.align['Model'] = 'l'
    rows = [{'host': row.host, **_as_dict(row)} for row in slots
            if not row.reason]
    sums = [{'host': _('%d hosts') % row['hosts'], **row}
            for row in sum_up(slots)]
    for row in rows + sums:
        table.add_row(['-' if row[name.lower()] is None else row[name.lower()]
                       for name in table.field_names])
    lacking = {}
    for row in slots:
        if row.reason:
            lacking.setdefault((row.model, row.reason), []).append(row.host)
    return '\n'.join([str(table)] + [textwrap.fill(
        _('No %(model)s, as %(reason)s: %(hosts)s') % {
            'model': model, 'reason': reason, 'hosts': ', '.join(hosts)},
        79, subsequent_indent='  ', break_long_words=False,
        break_on_hyphens=False)
        for (model, reason), hosts in lacking.items()])


def _as_dict(row):
    return {**row._asdict(), 'free': row.free}


def as_json(slots, files):
    """Return slots as JSON, with sums, and the files of configuration."""
    return json.dumps({
        'files': files, 'slots': [_as_dict(row) for row in slots],
        'sums': list(sum_up(slots))}, indent=2)


def as_prometheus(slots, files):
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
