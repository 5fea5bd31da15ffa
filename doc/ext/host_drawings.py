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

"""Draw what a host has in Placement, its ASIDs, and when its turn comes.

Names and numbers are those of the table of models.
"""
import typing as ty

# NOTE: in a checkout, the models are found only after this.
import model_tables  # noqa: F401
import svg

from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

NODE = 'compute1'
SLOTS = {'sev': 100, 'sev_es': 15}  # an example: the key of ASIDs, how many
ASIDS = 509  # of EPYC 7002 and 7003
# Of the setting "Minimum SEV non-ES ASID": none for SEV-ES, the one of the
# quick start, half of them, and none but one for SEV
SPLITS = (1, 100, 255, ASIDS)


def _title(rows: ty.Iterable[model_row.Model]) -> str:
    return ' or '.join(row.title for row in rows)


def _provider(x: int, y: int, width: int, name: str, lines: ty.List[str],
              dashed: bool = False) -> ty.Tuple[ty.List[str], int]:
    """Return a provider as parts, and where it ends."""
    height = 34 + 18 * len(lines)
    return [svg.box(x, y, width, height, dashed=dashed),
            svg.text(x + 12, y + 22, name, weight='bold', mono=True),
            *(svg.text(x + 12, y + 42 + 18 * number, line, 12, mono=True)
              for number, line in enumerate(lines))], y + height


def _slots(row: model_row.Model) -> ty.List[str]:
    return ['%s: %d' % (providers.SLOT, SLOTS[row.count.asids]), row.trait]


def draw_providers() -> str:
    """Draw the providers of a host without the series and with it."""
    right, indent, width = 310, 30, 440
    before, _ = _provider(8, 34, 250, NODE, _slots(models.NATIVE))
    after, y = _provider(right, 34, width, NODE, ['VCPU, MEMORY_MB, ...'])
    parts = [svg.text(8, 20, 'Nova 2025.1'), *before,
             svg.text(right, 20, 'with the series'), *after,
             svg.line(264, 78, right - 6, 78, arrow=True)]
    begin = y
    for row in models.MODELS.values():
        lines = _slots(row)
        if row.option:
            lines.append('in place of %s: %s = true' % (
                _title(other for other in models.get_pools()[row.count.asids]
                       if other is not row), row.option))
        y += 16
        parts += [svg.line(right + 14, begin, right + 14, y + 18),
                  svg.line(right + 14, y + 18, right + indent - 2, y + 18,
                           arrow=True)]
        provider, end = _provider(
            right + indent, y, width - indent,
            providers.name_of(NODE, row.value), lines, bool(row.option))
        parts += provider
        begin, y = y + 18, end
    return svg.drawing(right + width + 8, y + 8,
                       'The providers of a host, before and after', parts,
                       least=600)


def draw_asids() -> str:
    """Draw how the BIOS divides the ASIDs, with what that gives."""
    left, width, y = 60, 440, 30
    pools = models.get_pools()
    native = models.NATIVE.count.asids
    other, = {*pools} - {native}
    columns = (left + width + 170, left + width + 220)
    parts = [svg.text(8, 18, 'N', 12),
             svg.text(left, 18, 'ASID 1', 12),
             svg.text(left + width, 18, str(ASIDS), 12, anchor='end'),
             *(svg.text(x, 18, text, 12, color, 'bold', anchor='end')
               for x, text, color in zip(columns, (
                   _title(pools[other]), _title(pools[native])),
                   (svg.YES, svg.INK)))]
    for split in SPLITS:
        counts = {other: split - 1, native: ASIDS - split + 1}
        parts.append(svg.text(8, y + 18, str(split), weight='bold'))
        x: float = left
        for pool, color, strength in ((other, svg.YES, 0.35),
                                      (native, svg.INK, 0.08)):
            part = width * counts[pool] / ASIDS
            if part:
                parts.append(svg.box(x, y, max(part, 2), 26, color, strength))
            name = _title(pools[pool])
            if part > 8 * len(name):
                parts.append(svg.text(x + part / 2, y + 18, name, 12,
                                      anchor='middle'))
            x += part
        parts += [svg.text(column, y + 18, str(counts[pool]), color=color,
                           anchor='end')
                  for column, pool, color in zip(columns, (other, native),
                                                 (svg.YES, svg.INK))]
        y += 36
    return svg.drawing(columns[1] + 8, y, 'How %d ASIDs are divided' % ASIDS,
                       parts, least=560)


def draw_roll_out() -> str:
    """Draw which nodes get the series when, and what holds from then on."""
    left, step, y = 120, 150, 44
    lanes = (('controllers', '', 'API, conductor, scheduler have the series'),
             (NODE, 'as before', 'a provider for each model'),
             ('compute2', 'as before', 'the same'),
             ('...', 'as before', 'the same'))
    end = left + step * len(lanes)
    parts = [svg.line(left, 26, end, 26, arrow=True)]
    for number, (node, before, after) in enumerate(lanes):
        x = left + step * number
        parts += [svg.text(x + 4, 18, str(number + 1) if number < 3 else '...',
                           weight='bold'),
                  svg.text(8, y + 22, node, mono=True)]
        if before:
            parts += [svg.box(left, y, x - left - 4, 34, dashed=True),
                      svg.text(left + 10, y + 22, before, 12)]
        parts += [svg.box(x, y, end - x, 34, svg.YES, 0.25),
                  svg.text(x + 10, y + 22, after, 12)]
        y += 44
    parts += [
        svg.text(left, y + 14, 'from 1 on: the API refuses what cannot be; '
                 'SEV servers find hosts of both kinds', 12),
        svg.text(left, y + 34, 'from 2 on: %s servers find %s; the next hosts '
                 'follow, one at a time' % (
                     _title(models.get_default()), NODE), 12),
        svg.text(left, y + 54, 'a host before the controllers: its servers '
                 'may get a slot of the wrong model, and do not start', 12,
                 svg.NO)]
    return svg.drawing(end + 8, y + 64, 'The order of a roll-out', parts)
