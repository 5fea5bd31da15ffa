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

"""See the series as the services of this machine do.

They run as another user, maybe, and maybe by another Python.
"""
import glob
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import packages
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.engine import tree

COMMANDS = ('nova-compute', 'nova-api')
USER = 'nova'
SECONDS = 10  # for each; check waits 30 for all
# States of a service with it
WITH = (engine.APPLIED, engine.PATCHED, engine.NOT_NEEDED)
ABSENT = 'absent'
HALF = 'patched in part'  # where no package refuses it
PROBE = """\
import os
import sys
bootstrap = sys.modules.get('nova_mem_encryption.bootstrap')
if bootstrap is None or bootstrap.Finder not in sys.meta_path:
    try:
        import nova.mem_encryption
        print('%s')
        print(os.path.dirname(os.path.dirname(nova.__file__)))
    except ImportError:
        print('%s')
else:
    try:
        import nova
    except ImportError:
        pass
    from nova_mem_encryption.engine import state
    print(state.state().name)
""" % (engine.PATCHED, ABSENT)


class Service(ty.NamedTuple):
    """A command that starts a service."""

    command: str              # its path
    python: ty.Optional[str]  # by its first line; None if it names none
    state: ty.Optional[str]   # of the series there; None: it cannot be told


class Reader(ty.NamedTuple):
    """Who is to read the package."""

    name: str
    uid: int
    groups: ty.FrozenSet[int]

    def may(self, status: os.stat_result, wanted: int) -> bool:
        """Tell whether the mode of a file allows something; 4 is to read."""
        if self.uid == 0:
            return True
        shift = (6 if status.st_uid == self.uid else
                 3 if status.st_gid in self.groups else 0)
        return status.st_mode >> shift & wanted == wanted

    def reaches(self, path: str) -> bool:
        """Tell whether all folders above a path may be entered."""
        folder = os.path.dirname(os.path.realpath(path))
        while self.may(os.stat(folder), 1):
            if folder == os.path.dirname(folder):
                return True
            folder = os.path.dirname(folder)
        return False


def get_services() -> ty.List[Service]:
    """Return what starts services: beside this Python, and on the PATH."""
    found: ty.List[Service] = []
    states: ty.Dict[ty.Tuple[str, ...], ty.Optional[str]] = {}
    for name in COMMANDS:
        paths = [shutil.which(name, path=path) for path in (
            os.path.dirname(sys.executable), None)]
        for path in dict.fromkeys(filter(None, paths)):
            words = tuple(_read_first_line(path))
            if words and words not in states:
                states[words] = _ask(words)
            found.append(Service(path, _get_python(words),
                                 states.get(words)))
    return found


def get_faults(services: ty.Sequence[Service],
               unreadable: ty.Optional[ty.Sequence[str]]
               ) -> ty.Iterator[ty.Tuple[str, str]]:
    """Yield what keeps services from the series, and the remedy.

    A command without it is none if another of that name has it.

    :param services: as of get_services()
    :param unreadable: as of get_unreadable()
    """
    fine = {os.path.basename(service.command) for service in services
            if service.state in WITH}
    for service in services:
        if service.state is not None and service.state not in WITH and (
                os.path.basename(service.command) not in fine):
            yield ('%s is run by %s, where the series is %s' % (
                service.command, service.python, service.state),
                'Install the package there (%s -m pip install PATH).'
                % service.python if service.state == ABSENT else
                "Build that Nova again with all patches; 'nova-mem-encryption "
                "fits PATH', with its path, names those that are missing."
                if service.state == HALF else
                "'%s -m nova_mem_encryption.cli status' says why."
                % service.python)
    if unreadable is not None and not (services and all(
            service.state == engine.PATCHED for service in services)):
        yield ('%s cannot be read by %s, so their services run without the '
               'series' % tuple(unreadable),
               'Install the package again with umask 022.')


def _read_first_line(path: str) -> ty.List[str]:
    """Return the interpreter of a script and its options; [] if it has none.

    A path that is too long for it, pip puts into the second line.
    """
    try:
        with open(path, 'rb') as f:
            lines = os.fsdecode(f.read(4096)).split('\n')
        words = shlex.split(lines[0][2:]) if lines[0][:2] == '#!' else []
        if words == ['/bin/sh'] and lines[1].startswith("'''exec' "):
            words = shlex.split(lines[1][len("'''exec' "):])[:-2]
    except (OSError, ValueError, IndexError):
        return []
    return words if _get_python(words) else []


def _get_python(words: ty.Sequence[str]) -> ty.Optional[str]:
    """Return an interpreter without its options, '/usr/bin/env python3'."""
    for number, word in enumerate(words):
        if 'python' in os.path.basename(word):
            return ' '.join(words[:number + 1])
    return None


def _ask(words: ty.Sequence[str]) -> ty.Optional[str]:
    """Ask a Python what became of the series in it."""
    try:
        done = subprocess.run(
            [*words, '-c', PROBE], cwd='/', stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            timeout=SECONDS, env={
                name: value for name, value in os.environ.items()
                if not name.startswith('PYTHON')})
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, folder = done.stdout.strip().partition('\n')
    return _judge(folder) if folder else state or None


def _judge(folder: str) -> ty.Optional[str]:
    """Return the state of a Nova that has no package to judge itself.

    :param folder: that holds the package nova
    """
    try:
        package = packages.open_package(folder)
        state = gate.judge(fingerprints.table(), package.find,
                           lambda: package.version)[0]
    except (OSError, ValueError):
        return None
    return HALF if state == engine.REFUSED else state


def get_unreadable() -> ty.Optional[ty.Tuple[str, str]]:
    """Return a path of the package that services cannot read, and who cannot.

    That is the user nova, if there is one; if not, and if root asks, all but
    the owner. Who cannot enter this environment runs no services by it.

    :returns: None if all can be read
    """
    reader = _get_reader()
    if reader is None or not reader.reaches(os.path.join(sys.prefix, 'bin')):
        return None
    for path in _get_paths():
        if not reader.reaches(path):
            return path, reader.name
        for found, wanted in _walk(path):
            # A link may lead nowhere.
            if os.path.exists(found) and not reader.may(
                    os.stat(found), wanted):
                return found, reader.name
    return None


def _walk(path: str) -> ty.Iterator[ty.Tuple[str, int]]:
    """Yield what is at and below a path, and what mode one needs of it."""
    yield path, 5 if os.path.isdir(path) else 4
    for folder, folders, files in os.walk(path):
        # Python does without what is cached.
        folders[:] = sorted(set(folders) - {'__pycache__'})
        for names, wanted in ((folders, 5), (files, 4)):
            for name in names:
                yield os.path.join(folder, name), wanted


def _get_reader() -> ty.Optional[Reader]:
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return None if os.geteuid() else Reader('other users', -1, frozenset())
    return Reader('user ' + USER, user.pw_uid, frozenset(
        os.getgrouplist(USER, user.pw_gid)))


def _get_paths() -> ty.Iterator[str]:
    """Yield the package, the tree, and what is beside the .pth file."""
    yield os.path.dirname(os.path.abspath(nova_mem_encryption.__file__))
    yield os.path.join(tree.root(), 'nova')
    for folder in sys.path:
        if os.path.isabs(folder) and os.path.isfile(
                os.path.join(folder, 'nova_mem_encryption.pth')):
            yield from sorted(glob.glob(os.path.join(
                glob.escape(folder), '*nova_mem_encryption*')))
