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

"""Keep in the database which servers run as what they do not ask for.

nova-compute writes it to the statistics of its node, with each update of its
resources, and a controller reads it there.
"""
import json
import typing as ty

STAT = 'mem_encryption_differing'  # the statistic of a compute node
LESS, MORE, UNTOLD = 'less', 'more', 'untold'
KINDS = (LESS, MORE, UNTOLD)  # the worst first
# So many are named. They go to a column of 64 KB with MySQL, and to a line of
# nova-compute's log.
MOST = 100
_UNNAMED = ''  # how many more there are


class Differing(ty.NamedTuple):
    """How a server differs."""

    kind: str  # one of KINDS
    runs: str  # the model and policy that it runs with


class Seen(ty.NamedTuple):
    """What nova-compute of a node has seen last."""

    servers: ty.Mapping[str, Differing]  # those that differ, by UUID
    unnamed: int = 0  # how many more there are


def write(found: ty.Mapping[str, Differing]) -> str:
    """Return the value of the statistic.

    :param found: the servers that differ, by UUID
    """
    order = sorted(found.items(), key=lambda item: (
        KINDS.index(item[1].kind), item[0]))
    text: ty.Dict[str, ty.Any] = {
        uuid: list(differing) for uuid, differing in order[:MOST]}
    if len(order) > MOST:
        text[_UNNAMED] = len(order) - MOST
    return json.dumps(text)


def read(stats: ty.Optional[ty.Mapping[str, str]]) -> ty.Optional[Seen]:
    """Return what nova-compute has seen.

    :param stats: the statistics of its node
    :returns: None if it has not looked, as it knows of no models
    """
    text = (stats or {}).get(STAT)
    if text is None:
        return None
    found = json.loads(text)
    unnamed = found.pop(_UNNAMED, 0)
    return Seen({uuid: Differing(*differing)
                 for uuid, differing in found.items()}, unnamed)
