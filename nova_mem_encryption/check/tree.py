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
from nova_mem_encryption.check import names
from nova_mem_encryption.nova.mem_encryption import pages

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
    vital: bool = True  # what needs it makes no sense while it is unknown


class Result(ty.NamedTuple):
    """What became of a check."""

    name: str
    depth: int  # 0 for one without a parent
    parent: ty.Optional[str]
    verdict: str
    found: str
    remedy: str

    @property
    def see(self) -> str:
        """Where the documentation tells more of it."""
        return pages.locate('check', self.name) if self.remedy else ''


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
    it is skipped, if it is vital.

    :param checks: each after its parent and what it needs
    :param host: where facts come from
    """
    results: ty.Dict[str, Result] = {}
    stops: ty.Set[str] = set()
    untold: ty.Set[str] = set()
    for check in checks:
        depth = results[check.parent].depth + 1 if check.parent else 0
        before = [name for name in (check.parent, *check.needs)
                  if name in stops]
        group = stops
        if before:
            finding = _wait(before, 'passes', 'pass')
        elif check.parent in untold:
            finding, group = _wait([check.parent], 'can be told'), untold
        else:
            try:
                finding = check.function(host)
            except hosts.NotRecorded as e:
                finding, group = Finding(SKIP, str(e)), untold
            except hosts.Unanswered as e:
                finding = warned('this cannot be told. %s' % e,
                                 host.again(e.remedy))
                group = stops if check.vital else untold
                group.add(check.name)
        if finding.verdict in (FAIL, SKIP):
            group.add(check.name)
        results[check.name] = Result(check.name, depth, check.parent,
                                     *finding)
        yield results[check.name]


def _wait(before: ty.List[str], one: str, many: str = '') -> Finding:
    return Finding(SKIP, 'until %s %s' % (
        names.enumerate_words(before), one if len(before) == 1 else many))
