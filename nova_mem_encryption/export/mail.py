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

"""Write a patch as git format-patch does, with the fields of DEP-3."""
import typing as ty

import nova_mem_encryption
from nova_mem_encryption import export as choices
from nova_mem_encryption.export import series

# NOTE: those of debian/changelog, as a clock would make other patches each
# time.
AUTHOR = ('nova-mem-encryption maintainers '
          '<maintainers@nova-mem-encryption.invalid>')
DATE = 'Thu, 26 Nov 2026 09:00:00 +0000'
LAST_UPDATE = '2026-11-26'
HEAD = """\
From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: {author}
Date: {date}
Subject: [PATCH {number:0{digits}d}/{total}] {title}

{body}
Description: {title}
Origin: vendor, nova-mem-encryption {version}
Forwarded: not-needed
Last-Update: {update}
---
"""
TAIL = '--\x20\nnova-mem-encryption %s\n\n'
GRAPH = 40  # columns


class Style(ty.NamedTuple):
    """How files are named, and where patches are put."""

    name: str
    folder: str  # below DIR
    prefix: str  # before the path of a file
    git: bool    # with a/ and b/, for -p1


def make_style(name: str, python: ty.Optional[str] = None) -> Style:
    """Return a style.

    :param name: 'git' or 'kolla'
    :param python: the Python of kolla's image, None for choices.PYTHON
    """
    if name == choices.GIT:
        return Style(name, '', '', True)
    # NOTE: kolla applies them in /, with -p0.
    return Style(name, 'nova-base', (
        'var/lib/kolla/venv/lib/python%s/site-packages/' % (
            python or choices.PYTHON)), False)


def file_name(number: int, patch: series.Patch) -> str:
    """Return the name of the file of a patch."""
    return '%04d-%s.patch' % (number, patch.slug)


def write(patch: series.Patch, number: int, total: int, style: Style) -> str:
    """Return a patch as text."""
    version = nova_mem_encryption.__version__
    return HEAD.format(
        author=AUTHOR, date=DATE, number=number, total=total,
        digits=len(str(total)), title=patch.title, body=patch.body,
        version=version, update=LAST_UPDATE) + _stat(patch) + ''.join(
        _diff(change, style) for change in patch.changes) + TAIL % version


def count(change: series.Change) -> ty.Tuple[int, int]:
    """Return how many lines a change puts in, and takes away."""
    signs = [line[0] for hunk in change.hunks for line in hunk.lines]
    return signs.count('+'), signs.count('-')


def _stat(patch: series.Patch) -> str:
    counts = [count(change) for change in patch.changes]
    most = max([GRAPH] + [sum(pair) for pair in counts])
    width = max(len(change.path) for change in patch.changes)
    digits = len(str(max(sum(pair) for pair in counts)))
    lines = []
    for change, pair in zip(patch.changes, counts):
        graph = ''.join(sign * -(-number * GRAPH // most)
                        for sign, number in zip('+-', pair))
        lines.append(' %s | %s %s\n' % (
            change.path.ljust(width), str(sum(pair)).rjust(digits), graph))
    put, taken = (sum(pair[n] for pair in counts) for n in (0, 1))
    lines.append(' %d file%s changed%s%s\n' % (
        len(counts), '' if len(counts) == 1 else 's',
        put and ', %d insertion%s(+)' % (put, '' if put == 1 else 's') or '',
        taken and ', %d deletion%s(-)' % (taken, '' if taken == 1 else 's')
        or ''))
    return ''.join(lines) + '\n'


def _diff(change: series.Change, style: Style) -> str:
    path = style.prefix + change.path
    old, new = ('a/' + path, 'b/' + path) if style.git else (path, path)
    head = ''
    if style.git:
        head = 'diff --git %s %s\n' % (old, new)
        if change.new:
            head += 'new file mode 100644\n'
    return head + '--- %s\n+++ %s\n%s' % (
        '/dev/null' if change.new else old, new,
        ''.join(map(str, change.hunks)))
