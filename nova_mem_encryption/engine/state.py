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

"""What became of the series in this process."""
from __future__ import annotations

import nova_mem_encryption

ENV = 'NOVA_MEM_ENCRYPTION'
TESTS = 'nova.tests.'

#: the states that the series can be in
UNKNOWN, APPLIED, PATCHED, REFUSED, BACKPORTED, OFF, NOT_NEEDED, NO_NOVA = (
    'unknown', 'applied', 'patched', 'refused', 'backported', 'off',
    'not needed', 'no nova')


class Misfit(ImportError):
    """The series does not fit, so nothing of it was applied."""


class State:
    """What became of the series in this process."""

    def __init__(self) -> None:
        self.name = UNKNOWN
        self.reason = ''
        self.misfits: list = []  # source.Misfit of each
        self.ledger: list = []   # ledger.Entry of each
        self.table: dict = {}    # what fingerprints.table() returned
        self.said = False
        self.patches = ''        # their version, where Nova carries them

    @property
    def nova(self) -> str | None:
        """Version of the installed Nova, None if there is no telling."""
        from nova_mem_encryption.engine import release  # seldom wanted
        return release.version()

    def refuse(self, reason: str) -> None:
        """Have nothing applied."""
        self.name, self.reason = REFUSED, reason
        self.misfits = []

    def fail(self, reason: str) -> None:
        """Have nothing more applied, and say so.

        :raises Misfit: always
        """
        self.refuse(reason)
        raise Misfit(error())


_state = State()


def state() -> State:
    """Return what became of the series in this process."""
    return _state


def applied() -> bool:
    """Tell whether the series is laid over this Nova."""
    return _state.name == APPLIED


def present() -> bool:
    """Tell whether Nova has the series, laid over it or as patches."""
    return _state.name in (APPLIED, PATCHED)


def refused() -> bool:
    """Tell whether services must not start with this Nova."""
    return _state.name in (REFUSED, BACKPORTED)


def stand_down(reason: str) -> None:
    """Leave Nova as it is in this process, also where the series would refuse.

    For a command that only uses Nova; without effect once the gate has
    decided.

    :param reason: what it is for
    """
    if _state.name == UNKNOWN:
        _state.name, _state.reason = OFF, reason


def summary() -> str:
    """Return the state in one line, for the log."""
    verbs = [entry.verb for entry in _state.ledger
             if not entry.module.startswith(TESTS)]
    adds = verbs.count('add')
    counts = ' (%d additions, %d wraps)' % (adds, len(verbs) - adds)
    return 'nova-mem-encryption %s on Nova %s: %s%s' % (
        nova_mem_encryption.__version__, _state.nova or 'of unknown version',
        _state.name, counts if applied() else
        ': ' + ' '.join(filter(None, [_state.reason, *_misfits()])))


def _misfits() -> list[str]:
    return ['%s: %s is not the one of Nova %s-%s (%s).' % (
        m.module, m.function, _state.table['releases'][0],
        _state.table['releases'][-1],
        'found %s' % m.found[:8] if m.found else 'it is missing')
        for m in _state.misfits]


def error() -> str:
    """Return why the series was refused, and what to do about it."""
    lines = _misfits()
    if _state.reason or not lines:
        lines.append('nova-mem-encryption: %s.' % _state.reason)
    done = ('%d changes were made before; do not go on.' % len(_state.ledger)
            if _state.ledger else 'Nothing was applied.')
    return '\n'.join(lines + [
        "%s Run 'nova-mem-encryption status'; to run without, set %s=off."
        % (done, ENV)])
