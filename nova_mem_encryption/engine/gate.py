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

from nova_mem_encryption.engine import patched
from nova_mem_encryption.engine import release
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.engine import tree


def decide(nova: list[str]) -> None:
    """Decide, once.

    :param nova: the folders of the package nova
    """
    if engine.state().name in (engine.UNKNOWN, engine.NO_NOVA):
        examine(nova, engine.state())


def examine(nova: list[str], state: engine.State) -> None:
    """Judge a Nova as a service does that starts now.

    :param nova: the folders of the package nova
    :param state: where the verdict goes
    """
    switch = os.environ.get(engine.ENV, 'on').strip().lower()
    carried = tree.file_of(nova, patched.PACKAGE) is not None
    if switch == 'off' and not carried:
        return _switch_off(state)
    # NOTE: not before, as whoever has it off should not pay for it.
    from nova_mem_encryption.engine import fingerprints
    state.table = fingerprints.table()

    def find(module):
        path = tree.file_of(nova, module)
        return path, fingerprints.read(path)

    if switch == 'on' or carried:
        state.name, state.reason, state.misfits = judge(
            state.table, find, lambda: state.nova)
    if state.name == engine.PATCHED:
        state.patches = patched.version(find) or ''
        if switch != 'on':
            state.reason += ', which %s does not switch off' % engine.ENV
    elif switch == 'off':
        _switch_off(state)
    elif switch != 'on':
        state.refuse("%s is '%s', which is neither 'on' nor 'off'"
                     % (engine.ENV, switch))


def _switch_off(state: engine.State) -> None:
    state.name, state.reason = engine.OFF, '%s=off is set' % engine.ENV
    state.misfits = []


def judge(table: dict, find, version) -> tuple[str, str, list]:
    """Tell whether the series fits a Nova, installed or not.

    :param table: what fingerprints.table() returned
    :param find: returns the path and the text of the file of a module
    :param version: returns that of the Nova, None where it cannot be told
    :returns: the state that the series is in with it, the reason, and the
        source.Misfit of each function that is another
    """
    if patched.version(find) is not None:
        return _judge_release(version()) or patched.judge(table, find)
    verdict = _judge_files(table, find, version)
    # NOTE: no fingerprint of a file tells whether there is another file.
    for module in (patched.PACKAGE, tree.DRIVER):
        if verdict[0] == engine.APPLIED and find(module)[0] is not None:
            return engine.REFUSED, '%s: there is a %s already' % tuple(
                module.rsplit('.', 1)), []
    return verdict


def _judge_files(table: dict, find, version) -> tuple[str, str, list]:
    from nova_mem_encryption.engine import fingerprints
    unknown = {}
    for module in table['files']:
        if not module.startswith(engine.TESTS):
            path, text = find(module)
            if not fingerprints.is_known(table, module, text):
                unknown[module] = path, text
    if not unknown:
        return engine.APPLIED, '', []
    verdict = _judge_release(version())
    if verdict is None and patched.is_begun(table, find):
        verdict = patched.judge(table, find)
    return verdict or _check(table, {
        module: file for module, file in unknown.items()
        if not fingerprints.fits(table, module, file[1])}, version)


def _judge_release(version: str | None) -> tuple[str, str, list] | None:
    """Judge a release that the series is not for."""
    major = release.major(version) or release.FIRST
    if major > release.LAST:
        return engine.NOT_NEEDED, (
            'Nova %s has SEV-ES itself; nova-mem-encryption can be '
            'uninstalled' % version), []
    if major < release.FIRST:
        return engine.REFUSED, (
            'Nova %s is older than Nova %d, which the series is for'
            % (version, release.FIRST)), []
    return None


def _check(table: dict, doubtful: dict, version) -> tuple[str, str, list]:
    """Parse the modules that may not be as they should be."""
    if not doubtful:
        return engine.APPLIED, '', []
    from nova_mem_encryption.engine import source
    if patched.has_feature(lambda module: doubtful.get(module, (None, b''))):
        return engine.BACKPORTED, (
            'this Nova %s has SEV-ES itself, by a backport; uninstall '
            'nova-mem-encryption' % (version() or '')), []
    misfits: list = []
    problems: list = []
    for module, (path, text) in doubtful.items():
        found, wrong = source.check(table, module, path, text)
        misfits += found
        problems += wrong
    return (engine.REFUSED if misfits or problems else engine.APPLIED,
            '; '.join(problems), misfits)
