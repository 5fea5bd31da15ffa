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

"""Have the modules of the series follow those of Nova that they extend."""
import importlib
import sys

from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.engine import tree


def find_spec(name, path, target, others):
    """Answer the import system for a module at or below nova.

    :param name: the full name of the module
    :param path: where its package looks, None for nova itself
    :param target: the module, if it is being reloaded
    :param others: the other finders, which know where Nova is
    :returns: the spec of Nova's module, with ours to follow it; that of ours
        where Nova has none (tests, the driver); or None: not our concern
    :raises Misfit: for a module that the series extends, if it was refused
    """
    state = engine.state()
    if name == 'nova':
        spec = ask(others, name, path, target)
        if spec is None:
            state.name, state.reason = engine.NO_NOVA, 'Nova is not installed'
        else:
            gate.decide(spec.submodule_search_locations)
        return spec
    if (state.name in (engine.UNKNOWN, engine.OFF, engine.NO_NOVA,
                       engine.PATCHED) or not tree.concerns(name)):
        return None
    spec = ask(others, name, path, target)
    if spec is None:
        # NOTE: only these need to be found under Nova's own name, tests by
        # their ids; everything else is imported under ours.
        if name == tree.DRIVER:
            return _find_driver(name)
        if engine.applied() and name.startswith(engine.TESTS):
            return _find_test(name)
        return None
    ours = tree.extensions(name, spec.submodule_search_locations is not None)
    if not ours:
        return None
    if state.name == engine.NOT_NEEDED:
        _say_not_needed(state)
        return None
    if engine.applied():
        return _graft(spec, name, ours)
    # NOTE: where nothing is wrapped, Nova's module does as well. The privsep
    # daemon imports nova.exception, and sudo, which starts it, hands no
    # NOVA_MEM_ENCRYPTION=off down to it.
    if name in state.table['functions']:
        raise engine.Misfit(engine.error(), name=name)
    return None


def ask(finders, name, path, target):
    """Return the spec of a module by those other finders that have a file.

    A folder ./nova without __init__.py is not it: that is our own checkout.
    """
    for finder in finders:
        if hasattr(finder, 'find_spec'):
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.origin is not None:
                return spec
    return None


def _find_driver(name):
    """Return the spec of the module that nova.conf may name.

    :raises Misfit: if the series was refused
    """
    from importlib import util
    state = engine.state()
    if state.name == engine.NOT_NEEDED:
        _say_not_needed(state)
    elif not engine.applied():
        raise engine.Misfit(engine.error(), name=name)
    return util.spec_from_file_location(name, tree.tree()[name])


def _find_test(name):
    """Return the spec of a module, or of a folder, of tests of ours."""
    from importlib import machinery
    from importlib import util
    if name in tree.tree():
        return util.spec_from_file_location(name, tree.tree()[name])
    spec = machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [tree.folder(name)]
    return spec


def _say_not_needed(state):
    if not state.said:
        state.said = True
        import logging
        # NOTE: no logging is set up this early, so it goes to stderr.
        logging.getLogger('nova_mem_encryption').warning(state.reason)


def _graft(spec, name, ours):
    """Have our modules imported right after Nova's has executed."""
    state = engine.state()
    if name.startswith(engine.TESTS):
        from nova_mem_encryption.engine import fingerprints
        from nova_mem_encryption.engine import source
        misfits, problems = source.check(
            state.table, name, spec.origin, fingerprints.read(spec.origin))
        if misfits or problems:
            raise engine.Misfit('\n'.join(problems + [
                '%s: %s is not the known one' % (m.module, m.function)
                for m in misfits]))
    execute = spec.loader.exec_module

    def exec_module(module):
        # NOTE: a module that is reloaded, as one of Nova's tests does, loses
        # what was done to it, additions to the module itself aside.
        lost = [e for e in state.ledger if e.module == name]
        state.ledger = [e for e in state.ledger if e.module != name]
        for entry in lost:
            if entry.target is module and entry.verb == 'add':
                delattr(module, entry.attribute)
        again = [m for n, m in sys.modules.items()
                 if n.startswith(tree.PREFIX + 'nova.') and
                 getattr(m, '__file__', None) in {e.file for e in lost}]
        execute(module)
        for extension in ours:
            importlib.import_module(tree.PREFIX + extension)
        for extension in again:
            importlib.reload(extension)

    spec.loader.exec_module = exec_module
    return spec


def arm_late() -> None:
    """Judge a process in which nova was imported before the engine was armed.

    :raises Misfit: if modules that the series extends are among them
    """
    nova = list(sys.modules['nova'].__path__)
    gate.decide(nova)
    late = sorted({module for module in tree.extended(nova).values()
                   if module in sys.modules})
    if late and engine.applied():
        engine.state().fail(
            '%s was imported before the engine was armed; see that '
            'nova_mem_encryption.pth is in site-packages' % late[0])


def load() -> None:
    """Import every module that the series extends, tests aside.

    Where the series is off, not needed or in Nova itself, there is nothing to
    import; nor where 'nova' is but a folder of that name.

    :raises Misfit: if the series was refused
    :raises ImportError: if Nova is not installed, or cannot be imported
    """
    nova = importlib.import_module('nova')
    if engine.refused():
        raise engine.Misfit(engine.error())
    if not engine.applied():
        return
    importlib.import_module('nova.monkey_patch')  # as each service does, first
    names = {name for name in tree.extended(list(nova.__path__)).values()
             if name is not None and not name.startswith(engine.TESTS)}
    # NOTE: nova.service does not import on its own, the API does.
    for name in sorted(names, key=lambda name: (-name.count('.'), name)):
        importlib.import_module(name)
