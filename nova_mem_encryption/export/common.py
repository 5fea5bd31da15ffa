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

"""Which lines of files of Nova are the same in all releases.

The table is made by tools/common_lines.py, from the releases that the series
is known to fit. By it the patches are the same whichever of these they are
made from, and apply to each.
"""
import difflib
import functools
import hashlib
import json
import os
import typing as ty

TABLE = os.path.join(os.path.dirname(__file__), 'common.json')
# First line in the newest release, first line here, how many
Block = ty.Tuple[int, int, int]


@functools.lru_cache(maxsize=None)
def table() -> ty.Dict[str, ty.Dict[str, ty.List[Block]]]:
    """Read the table: path of a file to its sha256 to blocks."""
    if not os.path.exists(TABLE):
        return {}
    with open(TABLE, encoding='utf-8') as f:
        return json.load(f)


def find(path: str, data: bytes) -> ty.Optional[ty.List[Block]]:
    """Return the blocks of a file; None if it is of no release that is known.

    :param path: 'nova/virt/hardware.py'
    :param data: the file
    """
    return table().get(path, {}).get(hashlib.sha256(data).hexdigest())


def make(paths: ty.Iterable[str],
         reads: ty.Sequence[ty.Callable[[str], bytes]]
         ) -> ty.Dict[str, ty.Dict[str, ty.List[Block]]]:
    """Make the table.

    :param paths: of the files that the patches change
    :param reads: returns a file of a release, the newest first; raises
        KeyError or OSError where it has none
    """
    result = {}
    for path in sorted(paths):
        versions = []
        for read in reads:
            try:
                versions.append(read(path))
            except (KeyError, OSError):
                continue
        if versions:
            result[path] = collect(versions)
    return result


def collect(versions: ty.Sequence[bytes]
            ) -> ty.Dict[str, ty.List[Block]]:
    """Compare the versions of a file.

    :param versions: the file of each release, the newest first
    :returns: sha256 of each to blocks
    """
    texts = list(dict.fromkeys(versions))
    lines = [data.decode().split('\n') for data in texts]
    maps = [_match(lines[0], other) for other in lines]
    shared = [n for n in range(len(lines[0]))
              if all(n in found for found in maps)]
    result: ty.Dict[str, ty.List[Block]] = {}
    runs: ty.List[ty.List[int]] = []
    for n in shared:
        if runs and runs[-1][-1] == n - 1 and all(
                found[n] == found[n - 1] + 1 for found in maps):
            runs[-1].append(n)
        else:
            runs.append([n])
    for data, found in zip(texts, maps):
        result[hashlib.sha256(data).hexdigest()] = [
            (run[0] + 1, found[run[0]] + 1, len(run)) for run in runs]
    return result


def _match(first: ty.List[str], other: ty.List[str]) -> ty.Dict[int, int]:
    """Return which line of the first is which of the other."""
    start = 0
    while start < min(len(first), len(other)) and first[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(first), len(other)) - start and (
            first[-1 - end] == other[-1 - end]):
        end += 1
    found = {n: n for n in range(start)}
    found.update({len(first) - 1 - n: len(other) - 1 - n for n in range(end)})
    matcher = difflib.SequenceMatcher(
        None, first[start:len(first) - end], other[start:len(other) - end],
        autojunk=False)
    for a, b, size in matcher.get_matching_blocks():
        found.update({start + a + n: start + b + n for n in range(size)})
    return found
