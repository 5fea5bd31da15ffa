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

"""Check servers: what they ask for, and the slots that they have."""
import typing as ty

import sqlalchemy as sql

from nova import context as nova_context
from nova.db.main import api as db
from nova.db.main import models as tables
from nova import exception
from nova.i18n import _
from nova import objects
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import refusals
from nova_mem_encryption.nova.mem_encryption import unanswered
from nova_mem_encryption.nova.mem_encryption.upgrade import findings
from nova_mem_encryption.nova.mem_encryption.upgrade import progress
from nova_mem_encryption.nova.mem_encryption.upgrade import providers
from nova_mem_encryption.nova.mem_encryption.upgrade import releases

REFUSED = (exception.FlavorImageConflict, exception.InvalidMachineType)
PAGE = 500  # servers that are read, and held, at a time


def check_servers():
    """Yield what is wrong with servers."""
    holders = providers.Cloud().get_holders()
    nova_context.load_cells()
    cells = [cell for cell in nova_context.CELLS if not cell.is_cell0()]
    bar, number = progress.Bar(_('servers')), 0
    for index, cell in enumerate(cells):
        for result in _read(cell):
            if not isinstance(result, Page):
                bar.clear()
                yield findings.Finding(
                    findings.WARNING, _('This'),
                    _('cannot be checked to its end: %s.') %
                    unanswered.explain_cell(cell.uuid, result),
                    _('Check nova.conf, and what it names.'))
                continue
            for instance in result.servers:
                for finding in _judge(instance, holders):
                    bar.clear()
                    yield finding
            number += len(result.servers)
            bar.show(index + result.share, len(cells), number)
    bar.clear()


class Page(ty.NamedTuple):
    """Some of the servers of a cell."""

    servers: ty.Sequence['objects.Instance']
    last: int     # id of the last row
    share: float  # of the cell, up to that row


def _read(cell):
    """Yield the servers of a cell, page by page.

    :returns: Pages; after the last, what else scatter_gather may have
    """
    last, context = 0, nova_context.get_admin_context()
    while True:
        # NOTE: the time that a cell has to answer is for one page.
        result, = nova_context.scatter_gather_single_cell(
            context, cell, _read_page, last).values()
        if result is None:
            return
        yield result
        if not isinstance(result, Page):
            return
        last = result.last


def _read_page(context, last):
    """Return the servers that come after a row, None if there is no row."""
    rows, end = _read_rows(context, last)
    if not rows:
        return None
    uuids = [row.uuid for row in rows if not row.deleted]
    return Page(uuids and objects.InstanceList.get_by_filters(
        context, {'deleted': False, 'uuid': uuids}, sort_keys=['id'],
        sort_dirs=['asc'], expected_attrs=['flavor', 'system_metadata']),
        rows[-1].id, rows[-1].id / end)


@db.pick_context_manager_reader
def _read_rows(context, last):
    # NOTE: of the primary key alone, deleted ones too. With any more to it
    # a database may choose another index, and sort all servers for each page.
    key = tables.Instance.id
    return (
        context.session.query(key, tables.Instance.uuid,
                              tables.Instance.deleted)
        .filter(key > last).order_by(key).limit(PAGE).all(),
        context.session.query(sql.func.max(key)).scalar())


def _judge(instance, holders):
    """Yield what is wrong with a server.

    :param holders: UUID to the providers that it has slots of
    """
    try:
        image_meta = instance.image_meta
        yield from _judge_releases(instance, image_meta)
        yield from _judge_request(instance, image_meta)
        yield from _judge_slots(instance, image_meta,
                                holders.get(instance.uuid, ()))
    except (exception.NovaException, ValueError) as e:
        # NOTE: of one that is stored with what Nova does not take, too, all
        # others are to be told of.
        yield findings.Finding(
            findings.WARNING, _('Server %s') % instance.uuid,
            _('is stored with what Nova cannot read: %s.')
            % str(e).rstrip('.'),
            _("Set it right by 'nova-manage image_property set'."))


def _judge_releases(instance, image_meta):
    """Yield that a server asks for what the next releases of Nova refuse.

    They refuse it wherever they read it: also of a server that is refused
    here, and of the flavor that one can still go back to.
    """
    told = set()
    for flavor, remedy in (
            (instance.flavor, _(
                'resize it to a flavor without it; where its image asks for '
                'it, make a server of another image in its place.')),
            (instance.old_flavor, _('confirm its resize.'))):
        asked = flavor and refusals.get_models(flavor, image_meta) or set()
        for model in sorted(asked.intersection(models.MODELS) - told):
            yield from releases.judge(
                _('Server %s') % instance.uuid, models.MODELS[model], remedy)
        told |= asked


def _judge_request(instance, image_meta):
    """Yield what is wrong with what a server asks for."""
    name = _('Server %s') % instance.uuid
    model = instance.system_metadata.get(models.STORED)
    if model is not None and model not in models.MODELS:
        yield findings.Finding(
            findings.FAILURE, name,
            _("has the unknown memory encryption model '%s', which is ignored "
              'here, and which Nova 32 and later fail on.') % model,
            _("Set it to one of %s by 'nova-manage image_property set', or "
              'rebuild the server with another image.')
            % ', '.join(models.MODELS))
        return
    try:
        refusals.check(instance.flavor, image_meta)
    except REFUSED as e:
        yield findings.Finding(
            findings.WARNING, name,
            _('asks for what is refused now, and may not start again: %s')
            % e.format_message(),
            _('Resize it to a flavor that fits its image.'))


def _judge_slots(instance, image_meta, slots):
    """Yield that a server has not the slot that it asks for.

    :param slots: the providers that it has slots of
    """
    try:
        config = slots and hardware.get_mem_encryption_constraint(
            instance.flavor, image_meta)
    except REFUSED:
        return
    if not config:
        return
    given = {provider.model or models.NATIVE.value for provider in slots}
    if config.model not in given:
        yield findings.Finding(
            findings.FAILURE, _('Server %s') % instance.uuid,
            _('asks for %(model)s, but has a slot on %(providers)s, so it '
              'cannot be started there.') % {
                  'model': config.model, 'providers': ', '.join(
                      provider.name for provider in slots)},
            _('Migrate it, which gives it a slot of its model.'))
