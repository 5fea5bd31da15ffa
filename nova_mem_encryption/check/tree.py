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

"""What a check is, and how a tree of them is run."""
import typing as ty

from nova_mem_encryption.check import hosts

PASS, WARN, FAIL, SKIP = 'PASS', 'WARN', 'FAIL', 'SKIP'


class Finding(ty.NamedTuple):
    """What a check found."""

    verdict: str
    found: str
    remedy: str = ''  # of WARN and FAIL; sentences


class Check(ty.NamedTuple):
    """A check, and the others without which it makes no sense."""

    name: str
    parent: ty.Optional[str]
    function: ty.Callable[[hosts.Host], Finding]
    needs: ty.Tuple[str, ...] = ()  # besides the parent


class Result(ty.NamedTuple):
    """What became of a check."""

    name: str
    depth: int  # 0 for one without a parent
    parent: ty.Optional[str]
    verdict: str
    found: str
    remedy: str


def passed(found: str) -> Finding:
    """Return a PASS."""
    return Finding(PASS, found)


def warned(found: str, remedy: str) -> Finding:
    """Return a WARN."""
    return Finding(WARN, found, remedy)


def failed(found: str, remedy: str) -> Finding:
    """Return a FAIL."""
    return Finding(FAIL, found, remedy)


def run(checks: ty.Iterable[Check], host: hosts.Host
        ) -> ty.Iterator[Result]:
    """Run checks, and yield each result when there is one.

    What cannot be told is a WARN: the host may be ready or not. What needs
    it is skipped.

    :param checks: each after its parent and what it needs
    :param host: where facts come from
    """
    results: ty.Dict[str, Result] = {}
    stops: ty.Set[str] = set()
    for check in checks:
        depth = results[check.parent].depth + 1 if check.parent else 0
        before = [name for name in (check.parent, *check.needs)
                  if name in stops]
        try:
            finding = (Finding(SKIP, 'until %s passes' % ' and '.join(before))
                       if before else check.function(host))
        except hosts.Unanswered as e:
            finding = warned('this cannot be told. %s' % e,
                             host.again(e.remedy))
            stops.add(check.name)
        if finding.verdict in (FAIL, SKIP):
            stops.add(check.name)
        results[check.name] = Result(check.name, depth, check.parent,
                                     *finding)
        yield results[check.name]
