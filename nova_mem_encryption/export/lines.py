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

"""The lines of a file while patches are put on it, one after the other."""
import difflib
import typing as ty

from nova_mem_encryption.export import target as targets

CONTEXT = 3
Block = ty.Tuple[int, int, int]  # line in all releases, line here, how many


class Line(ty.NamedTuple):
    """A line."""

    text: str
    number: int  # in the file of Nova; 0 for one that was put in
    taken: bool = False


class Hunk(ty.NamedTuple):
    """Lines that are changed, and some around them."""

    old: int  # the first line, before
    new: int  # the first line, after
    lines: ty.List[str]

    def __str__(self) -> str:
        counts = [sum(line[0] in signs for line in self.lines)
                  for signs in (' -', ' +')]
        starts = [start if count else start - 1 for start, count in zip(
            (self.old, self.new), counts)]
        return '@@ -%s +%s @@\n%s' % (*(
            '%d,%d' % pair if pair[1] != 1 else '%d' % pair[0]
            for pair in zip(starts, counts)), ''.join(self.lines))


def lay(text: str, edits: ty.Iterable[targets.Edit]) -> ty.List[Line]:
    """Return the lines of a file of Nova with edits.

    :param text: of the file
    :param edits: what is put in and taken away
    """
    old = text.split('\n')
    if old and not old[-1]:
        old.pop()
    put: ty.Dict[int, ty.List[str]] = {}
    taken: ty.Set[int] = set()
    for edit in sorted(edits, key=lambda e: (e.line, e.order)):
        put.setdefault(edit.line + edit.taken, []).extend(
            edit.text.split('\n')[:-1])
        taken.update(range(edit.line, edit.line + edit.taken))
    lines = []
    for number, line in enumerate([*old, ''], 1):
        lines += [Line(new, 0) for new in put.get(number, [])]
        if number <= len(old):
            lines.append(Line(line, number, number in taken))
    return lines


def text_of(lines: ty.Iterable[Line]) -> str:
    """Return the text of lines, without those that are taken away."""
    return ''.join(line.text + '\n' for line in lines if not line.taken)


class _Step(ty.NamedTuple):
    sign: str
    text: str
    place: int  # its line before the patch, in all releases; -1: not in all


def _compare(before: ty.List[Line], after: ty.List[Line],
             blocks: ty.Sequence[Block]) -> ty.List[_Step]:
    """Return how to come from one to the other, which has more put in."""
    known = {here + n: everywhere + n
             for everywhere, here, count in blocks for n in range(count)}
    steps: ty.List[_Step] = []
    old, new = _gaps(before), _gaps(after)
    shift = 0
    for number in sorted({*old, *new}):
        (gone, line, taken), (come, _, now_taken) = old[number], new[number]
        place = known.get(number, -1) if blocks else number
        last = known.get(number - 1, place - 1) if blocks else number - 1
        here = last + 1 if last > 0 or place > 0 else -1
        entries = [' ' + text for text in gone] if gone == come else [
            entry[0] + entry[2:] for entry in difflib.ndiff(gone, come)
            if entry[0] in ' -+']
        for entry in entries:
            steps.append(_Step(
                entry[0], entry[1:], here + shift if here > 0 else -1))
            shift += entry[0] != '+'
        if taken:
            shift -= 1
        elif line is not None:
            steps.append(_Step('-' if now_taken else ' ', line,
                               place + shift if place > 0 else -1))
    return steps


def _gaps(lines):
    """Return number of each line of Nova to what was put in before it."""
    found = {}
    put: ty.List[str] = []
    for line in lines:
        if line.number:
            found[line.number] = (put, line.text, line.taken)
            put = []
        else:
            put.append(line.text)
    found[max(found, default=0) + 1] = (put, None, False)
    return found


def hunks(before: ty.List[Line], after: ty.List[Line],
          blocks: ty.Sequence[Block]) -> ty.List[Hunk]:
    """Return the hunks of a patch.

    :param before, after: the lines of a file without and with it
    :param blocks: which lines of Nova are the same in all releases; those
        next to each other in one block are in all
    """
    steps = _compare(before, after, blocks)
    changed = [n for n, step in enumerate(steps) if step.sign != ' ']
    groups: ty.List[ty.Tuple[int, int]] = []
    for n in changed:
        if groups and n - groups[-1][1] <= 2 * CONTEXT + 1 and all(
                _joined(steps, m) for m in range(groups[-1][1], n)):
            groups[-1] = groups[-1][0], n
        else:
            groups.append((n, n))
    found = []
    shift = 0
    for first, last in groups:
        start, end = _widen(steps, first, last)
        part = steps[start:end]
        if all(step.sign != ' ' for step in part) and len(before) > 1:
            raise ValueError('no line around it is in all releases: %s'
                             % part[0].text)
        found.append(Hunk(part[0].place, part[0].place + shift, [
            step.sign + step.text + '\n' for step in part]))
        shift += sum({'+': 1, '-': -1}.get(step.sign, 0) for step in part)
    return found


def _joined(steps: ty.List[_Step], n: int) -> bool:
    """Tell whether a line follows another in all releases."""
    if steps[n].place < 0 or steps[n + 1].place < 0:
        return False
    return steps[n + 1].place - steps[n].place == (steps[n].sign != '+')


def _widen(steps: ty.List[_Step], first: int, last: int
           ) -> ty.Tuple[int, int]:
    """Return which lines a hunk has, with those around it."""
    before = after = 0
    while before < CONTEXT and first > before and steps[
            first - before - 1].sign == ' ' and _joined(
            steps, first - before - 1):
        before += 1
    while after < CONTEXT and last + after + 1 < len(steps) and steps[
            last + after + 1].sign == ' ' and _joined(steps, last + after):
        after += 1
    if last + after + 1 < len(steps):
        # NOTE: with less behind than before, patch takes it for the end of
        # the file.
        before = min(before, after)
    return first - before, last + after + 1
