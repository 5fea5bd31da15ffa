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

"""Hunks written by hand, for what reads badly where it is derived.

A file of hunks/ has fields, as a mail has, and then hunks as of a unified
diff, without numbers of lines:

    Verbs: what of the tree they stand for, 'function' or 'Class.function'
    Reason: why they are written by hand
    Taken: why lines of Nova are taken away, if any are
    Elsewhere: which of the verbs leave what they name as it is, as the hunks
     are about another place of the module
    Imports: modules that they need, 'nova.mem_encryption.models'
"""
import glob
import os
import typing as ty

from nova_mem_encryption.export import target as targets

FOLDER = os.path.join(os.path.dirname(__file__), 'hunks')


class ByHand(ty.NamedTuple):
    """The hunks of one file."""

    name: str
    module: str  # of Nova
    verbs: ty.Tuple[str, ...]
    reason: str
    taken: str
    imports: ty.Tuple[str, ...]
    hunks: ty.List[ty.List[str]]
    elsewhere: ty.Tuple[str, ...] = ()


def load(folder: str = FOLDER) -> ty.List[ByHand]:
    """Read all hunks that are written by hand.

    :raises ValueError: if one has no reason, or takes lines away without
    """
    return [_parse(path) for path in sorted(
        glob.glob(os.path.join(folder, '*.hunk')))]


def _parse(path: str) -> ByHand:
    with open(path, encoding='utf-8') as f:
        head, _, rest = f.read().partition('\n\n')
    fields: ty.Dict[str, str] = {}
    name = ''
    for line in head.splitlines():
        if line.startswith('#'):
            continue
        if line.startswith(' '):
            fields[name] += ' ' + line.strip()
        else:
            name, _, value = line.partition(': ')
            fields[name] = value
    hunks: ty.List[ty.List[str]] = []
    for line in rest.splitlines():
        if line.startswith('@@'):
            hunks.append([])
        elif hunks:
            hunks[-1].append(line or ' ')
    wrong = [name for name in ('Verbs', 'Reason') if name not in fields]
    verbs, elsewhere = (_split(fields.get(name, ''))
                        for name in ('Verbs', 'Elsewhere'))
    if not {*elsewhere} <= {*verbs}:
        wrong.append('Elsewhere')
    if any(line[0] == '-' for hunk in hunks for line in hunk) != (
            'Taken' in fields):
        wrong.append('Taken')
    if wrong or not hunks:
        raise ValueError('%s: %s' % (path, ', '.join(wrong) or 'no hunk'))
    name = os.path.basename(path)[:-len('.hunk')]
    return ByHand(
        name, name.partition('-')[0], verbs, fields['Reason'],
        fields.get('Taken', ''), _split(fields.get('Imports', '')), hunks,
        elsewhere)


def _split(value: str) -> ty.Tuple[str, ...]:
    return tuple(filter(None, value.split(', ')))


def put(by_hand: ByHand, dest: targets.Target) -> None:
    """Put hunks into a module of Nova.

    :raises ValueError: if it has not, or not once, what they are about
    """
    for module in by_hand.imports:
        last = module.rpartition('.')[2]
        if dest.alias(module, last) != last:
            raise ValueError('%s: %s means another module' % (
                by_hand.name, last))
    lines = dest.source.lines
    for hunk in by_hand.hunks:
        old = [line[1:] for line in hunk if line[0] != '+']
        places = [n for n in range(len(lines) - len(old) + 1)
                  if lines[n:n + len(old)] == old]
        if len(places) != 1:
            raise ValueError('%s: found %d times: %s' % (
                by_hand.name, len(places), old[0]))
        _put(hunk, dest, places[0] + 1)


def _put(hunk: ty.List[str], dest: targets.Target, line: int) -> None:
    new: ty.List[str] = []
    taken = 0
    for each in [*hunk, ' ']:
        if each[0] == ' ':
            if new or taken:
                dest.put(line - taken, ''.join(n + '\n' for n in new), taken)
            new, taken = [], 0
            line += 1
        elif each[0] == '-':
            taken += 1
            line += 1
        else:
            new.append(each[1:])
