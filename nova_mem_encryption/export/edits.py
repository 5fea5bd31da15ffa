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

"""Edits of the text of a file."""
import typing as ty

from nova_mem_encryption.export import source as sources

Edit = ty.Tuple[int, int, str]  # from, to, what is there instead


def apply(source: sources.Source, first: int, last: int,
          edits: ty.Iterable[Edit], width: int = 0) -> str:
    """Return lines of a file with edits, and what they align kept aligned.

    :param first, last: numbers of the lines
    :param edits: those elsewhere are left out
    :param width: by how many columns all lines are moved to the right
    """
    begin, end = source.start_of(first), source.start_of(last + 1)
    wanted = sorted(e for e in set(edits) if begin <= e[0] and e[1] <= end)
    moved: ty.Dict[int, int] = {}
    text, at = [], begin
    aligned, strings = source.visual_lines, source.text_lines

    def shift(line: int, column: int) -> int:
        """By how much a column of a line has moved."""
        place = source.start_of(line) + column
        return moved.get(line, 0) + sum(
            # It ends with the bracket where that is of it.
            len(new) - (e - s if e <= place else place + 1 - s)
            for s, e, new in wanted
            if source.line_of(s) == source.line_of(e) == line and s < place)

    for number in range(first, last + 1):
        line = source.lines[number - 1]
        if number in aligned and first <= aligned[number][0]:
            moved[number] = shift(*aligned[number])
    for number in range(first, last + 1):
        start = source.start_of(number)
        line = source.lines[number - 1]
        blank = len(line) - len(line.lstrip())
        if at <= start:
            text.append(source.text[at:start])
            at = start
            change = moved.get(number, 0) + width
            if line.strip() and number not in strings:
                text.append(' ' * max(0, blank + change))
                at = start + blank
        for s, e, new in wanted:
            if start <= s < start + len(line) + 1 and s >= at:
                text += [source.text[at:s], new]
                at = e
    text.append(source.text[at:end])
    return ''.join(text)


def replaced(source: sources.Source, node: ty.Any,
             edits: ty.Iterable[Edit]) -> str:
    """Return the text of a node, with edits."""
    found = ''
    start, end = source.span(node)
    for a, b, new in sorted(set(edits)):
        found += source.text[start:a] + new
        start = b
    return found + source.text[start:end]
