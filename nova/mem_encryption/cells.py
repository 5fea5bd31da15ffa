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

"""Read hosts and servers from the databases of all cells."""
import gc
import typing as ty

import sqlalchemy as sql

from nova import context as nova_context
from nova.db.main import api as db
from nova.db.main import models as tables
from nova import objects

from nova_mem_encryption.nova.mem_encryption import unanswered

PAGE = 500  # servers that are read at a time; those before are held still


class Page(ty.NamedTuple):
    """Some of the servers of a cell."""

    servers: ty.Sequence['objects.Instance'] = ()
    last: int = 0         # id of the last row
    share: float = 1.0    # of the cell, up to that row
    rows: int = 0         # how many were looked at
    # Why the cell is not read on, a clause; None if it is
    reason: ty.Optional[str] = None


class Row(ty.NamedTuple):
    """What is read of all servers, of which some are chosen."""

    id: int
    uuid: str
    deleted: int
    node: ty.Optional[str]
    host: ty.Optional[str]
    project_id: ty.Optional[str]


Choice = ty.Callable[[Row], bool]


def get_nodes():
    """Return all compute nodes, as the database has them.

    :returns: a list of nova.objects.ComputeNode; and the reason why it lacks
        some, or None
    """
    found, silent = [], []
    try:
        objects.register_all()
        for cell, nodes in nova_context.scatter_gather_skip_cell0(
                nova_context.get_admin_context(),
                objects.ComputeNodeList.get_all).items():
            if isinstance(nodes, objects.ComputeNodeList):
                found.extend(nodes)
            else:
                silent.append(unanswered.explain_cell(cell, nodes))
    except unanswered.ERRORS as e:
        silent.append(unanswered.explain(e))
    return found, '; '.join(silent) or None


def read_servers(bar, choose: Choice = lambda row: True):
    """Yield the servers of all cells but cell 0, page by page.

    :param upgrade.progress.Bar bar: tells how far it is
    :param choose: tells which are wanted
    :yields: Pages; one with a reason, and no servers, for each cell that is
        not read to its end
    """
    nova_context.load_cells()
    cells = [cell for cell in nova_context.CELLS if not cell.is_cell0()]
    number = 0
    # NOTE: the lists and dicts of versioned objects refer to what they are of,
    # so only the garbage collector lets go of servers. By itself it looks for
    # them when there is a quarter more of all objects, of which Nova itself is
    # half a million; so it looks after each page, at what came since.
    gc.freeze()
    try:
        for index, cell in enumerate(cells):
            for page in _read(cell, choose):
                yield page
                if page.reason is None:
                    number += page.rows
                    bar.show(index + page.share, len(cells), number)
                gc.collect()
    finally:
        gc.unfreeze()


def _read(cell, choose):
    """Yield the servers of a cell, page by page."""
    last, context = 0, nova_context.get_admin_context()
    while True:
        # NOTE: the time that a cell has to answer is for one page.
        result, = nova_context.scatter_gather_single_cell(
            context, cell, _read_page, last, choose).values()
        if result is None:
            return
        if not isinstance(result, Page):
            yield Page(reason=unanswered.explain_cell(cell.uuid, result))
            return
        yield result
        last = result.last


def _read_page(context, last, choose):
    """Return the servers that come after a row, None if there is no row."""
    rows, end = _read_rows(context, last)
    if not rows:
        return None
    # Of one that can still be restored, nothing is given back.
    present = [row for row in rows if not row.deleted]
    uuids = [row.uuid for row in present if choose(row)]
    return Page(uuids and objects.InstanceList.get_by_filters(
        context, {'deleted': False, 'soft_deleted': True, 'uuid': uuids},
        sort_keys=['id'], sort_dirs=['asc'],
        expected_attrs=['flavor', 'system_metadata']),
        rows[-1].id, rows[-1].id / end, len(present))


@db.pick_context_manager_reader
def _read_rows(context, last):
    # NOTE: of the primary key alone, deleted ones too. With any more to it
    # a database may choose another index, and sort all servers for each page.
    table = tables.Instance
    return (
        [Row(*row) for row in context.session.query(
            *(getattr(table, name) for name in Row._fields))
         .filter(table.id > last).order_by(table.id).limit(PAGE).all()],
        context.session.query(sql.func.max(table.id)).scalar())
