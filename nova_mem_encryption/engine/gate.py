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

"""Decide, before any module of Nova runs, whether the series fits it."""
from __future__ import annotations

import os

from nova_mem_encryption.engine import release
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.engine import tree

# Who has it has SEV-ES: it was in no Nova before.
BACKPORT = 'nova.objects.fields', 'MemEncryptionModel'


def decide(nova: list[str]) -> None:
    """Decide, once.

    :param nova: the folders of the package nova
    """
    state = engine.state()
    if state.name not in (engine.UNKNOWN, engine.NO_NOVA):
        return
    switch = os.environ.get(engine.ENV, 'on').strip().lower()
    if switch == 'off':
        state.name, state.reason = engine.OFF, '%s=off is set' % engine.ENV
        return
    # NOTE: not before, as whoever has it off should not pay for it.
    from nova_mem_encryption.engine import fingerprints
    state.table = fingerprints.table()
    if switch != 'on':
        return state.refuse("%s is '%s', which is neither 'on' nor 'off'"
                            % (engine.ENV, switch))
    unknown = {}
    for module in state.table['files']:
        if not module.startswith(engine.TESTS):
            path = tree.file_of(nova, module)
            text = fingerprints.read(path)
            if not fingerprints.is_known(state.table, module, text):
                unknown[module] = path, text
    if unknown and not _judge_release():
        _check({module: path for module, (path, text) in unknown.items()
                if not fingerprints.fits(state.table, module, text)})
    if state.name in (engine.UNKNOWN, engine.NO_NOVA):
        state.name = engine.APPLIED


def _judge_release() -> bool:
    """Settle a release that the series is not for; tell whether it is one."""
    state = engine.state()
    version = state.nova
    major = release.major(version) or release.FIRST
    if major > release.LAST:
        state.name = engine.NOT_NEEDED
        state.reason = ('Nova %s has SEV-ES itself; nova-mem-encryption can '
                        'be uninstalled' % version)
    elif major < release.FIRST:
        state.refuse('Nova %s is older than Nova %d, which the series is for'
                     % (version, release.FIRST))
    else:
        return False
    return True


def _check(doubtful: dict[str, str | None]) -> None:
    """Parse the modules that may not be as they should be."""
    if not doubtful:
        return
    from nova_mem_encryption.engine import source
    state = engine.state()
    module, name = BACKPORT
    if module in doubtful and source.has_class(doubtful[module], name):
        state.name = engine.BACKPORTED
        state.reason = ('this Nova %s has SEV-ES itself, by a backport; '
                        'uninstall nova-mem-encryption' % (state.nova or ''))
        return
    misfits, problems = [], []
    for module, path in doubtful.items():
        found, wrong = source.check(state.table, module, path)
        misfits += found
        problems += wrong
    if misfits or problems:
        state.refuse('; '.join(problems), misfits)
