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

"""Lay the tree nova/ over the installed Nova, whole or not at all.

A file of the tree, say nova/virt/libvirt/host.py, is an ordinary module,
nova_mem_encryption.nova.virt.libvirt.host. It is imported right after Nova's
module of that path has executed, and extends it with two verbs:

    @overlay.add(host.Host)                 a new attribute
    @overlay.wrap(host.Host, leans_on=[])   around one function
"""
import functools
import importlib
import inspect
import os
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption import bootstrap
from nova_mem_encryption import fingerprint

ENV = 'NOVA_MEM_ENCRYPTION'
PREFIX = 'nova_mem_encryption.'
TESTS = 'nova.tests.'
FIRST, LAST = 31, 31  # major versions of Nova that the series is for

#: the states that the series can be in
UNKNOWN, APPLIED, REFUSED, OFF, NOT_NEEDED, NO_NOVA = (
    'unknown', 'applied', 'refused', 'off', 'not needed', 'no nova')


class Misfit(ImportError):
    """The series does not fit, so nothing of it was applied."""


class Entry(ty.NamedTuple):
    """One thing that the series did to Nova."""

    verb: str                        # add or wrap
    module: str                      # nova.virt.libvirt.host
    name: str                        # Host.supports_amd_sev_es
    file: str                        # where it is written
    line: int
    fingerprint: ty.Optional[str]    # of the function that is wrapped
    leans_on: ty.Tuple[str, ...]
    target: ty.Any                   # the class, module or dict itself
    attribute: str
    original: ty.Any                 # the object of Nova, for a wrap
    current: ty.Any                  # the object of ours


class State:
    """What became of the series in this process."""

    def __init__(self) -> None:
        self.name = UNKNOWN
        self.reason = ''
        self.misfits: ty.List[fingerprint.Misfit] = []
        self.ledger: ty.List[Entry] = []
        self.table: ty.Dict[str, ty.Any] = {}
        self.said = False

    @property
    def nova(self) -> ty.Optional[str]:
        """Version of the installed Nova, None if there is no telling."""
        return _version()


_state = State()


def state() -> State:
    """Return what became of the series in this process."""
    return _state


def ledger() -> ty.List[Entry]:
    """Return each add and wrap that took place, in order."""
    return list(_state.ledger)


def applied() -> bool:
    """Tell whether the series is laid over this Nova."""
    return _state.name == APPLIED


def summary() -> str:
    """Return the state in one line, for the log."""
    verbs = [entry.verb for entry in _state.ledger
             if not entry.module.startswith(TESTS)]
    counts = ' (%d additions, %d wraps)' % (
        verbs.count('add'), verbs.count('wrap'))
    return 'nova-mem-encryption %s on Nova %s: %s%s' % (
        nova_mem_encryption.__version__, _state.nova or 'of unknown version',
        _state.name, counts if applied() else ': ' + _state.reason)


# -- the tree ----------------------------------------------------------------

def root() -> str:
    """Return the folder that holds the tree nova/.

    It is the package's own folder, or, in a checkout, the one above.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    above = os.path.dirname(here)
    if os.path.isdir(os.path.join(here, 'nova')):
        return here
    if os.path.isfile(os.path.join(above, 'nova', '__init__.py')):
        # NOTE: that is Nova, which would be laid over itself.
        _fail('the tree is missing from %s; install the package again' % here)
    return above


@functools.lru_cache(maxsize=None)
def tree() -> ty.Dict[str, str]:
    """Return the modules of the tree: name below nova to file."""
    found = {}
    base = root()
    if base != os.path.dirname(os.path.abspath(__file__)):
        nova_mem_encryption.__path__.append(base)
    for folder, folders, files in os.walk(os.path.join(base, 'nova')):
        folders[:] = sorted(f for f in folders if f != '__pycache__')
        package = os.path.relpath(folder, base).replace(os.sep, '.')
        for file in sorted(files):
            stem, ending = os.path.splitext(file)
            if ending == '.py' and stem != '__init__':
                found['%s.%s' % (package, stem)] = os.path.join(folder, file)
    return found


# -- the gate ----------------------------------------------------------------

def _upstream_spec(name, path=None, target=None):
    """Ask everybody else where a module is.

    A folder ./nova without __init__.py is not it: that is our own checkout.
    """
    for finder in sys.meta_path:
        if finder is bootstrap.Finder or not hasattr(finder, 'find_spec'):
            continue
        spec = finder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            return spec
    return None


def _file(nova: ty.Sequence[str], module: str) -> ty.Optional[str]:
    """Return the file of a module of Nova, without importing anything."""
    path: ty.Optional[ty.Sequence[str]] = nova
    parts = module.split('.')[1:]
    for i in range(len(parts) - 1):
        folders = [os.path.join(p, parts[i]) for p in path or []]
        path = [f for f in folders if os.path.isdir(f)]
    for folder in path or []:
        for file in (parts[-1] + '.py', os.path.join(parts[-1],
                                                     '__init__.py')):
            if os.path.isfile(os.path.join(folder, file)):
                return os.path.join(folder, file)
    return None


def _version() -> ty.Optional[str]:
    # NOTE: imported late, as logging is below: both take locks, and eventlet
    # wants to patch before there are any.
    from importlib import metadata
    try:
        return metadata.version('nova')
    except metadata.PackageNotFoundError:
        return None


def _refuse(reason: str, misfits: ty.Sequence[fingerprint.Misfit] = ()):
    _state.name, _state.reason = REFUSED, reason
    _state.misfits = list(misfits)


def _fail(reason: str) -> ty.NoReturn:
    _refuse(reason)
    raise Misfit(error())


def _gate(nova: ty.Sequence[str]) -> None:
    """Decide, before any module of Nova runs, whether the series fits.

    :param nova: the folders of the package nova
    """
    if _state.name not in (UNKNOWN, NO_NOVA):
        return
    switch = os.environ.get(ENV, 'on').strip().lower()
    if switch == 'off':
        _state.name, _state.reason = OFF, '%s=off is set' % ENV
        return
    _state.table = fingerprint.table()
    if switch != 'on':
        return _refuse("%s is '%s', which is neither 'on' nor 'off'"
                       % (ENV, switch))
    files = {module: _file(nova, module)
             for module in _state.table['functions']
             if not module.startswith(TESTS)}
    unknown = [module for module, file in files.items()
               if not fingerprint.is_known(_state.table, module, file)]
    if unknown:
        # Only now is it worth asking which Nova this is.
        version = _state.nova
        major = int((version or str(FIRST)).split('.')[0])
        if major > LAST:
            _state.name = NOT_NEEDED
            _state.reason = ('Nova %s has SEV-ES itself; nova-mem-encryption '
                             'can be uninstalled' % version)
            return
        if major < FIRST:
            return _refuse('Nova %s is older than Nova %d, which the series '
                           'is for' % (version, FIRST))
        misfits = [misfit for module in unknown for misfit in
                   fingerprint.check(_state.table, module, files[module])]
        if misfits:
            return _refuse('', misfits)
    _state.name = APPLIED


def stand_down(reason: str) -> None:
    """Leave Nova as it is in this process, also where the series would refuse.

    For a command that only uses Nova; without effect once the gate has
    decided.

    :param reason: what it is for
    """
    if _state.name == UNKNOWN:
        _state.name, _state.reason = OFF, reason


def error() -> str:
    """Return why the series was refused, and what to do about it."""
    lines = [
        '%s: %s is not the one of Nova %s-%s (%s).' % (
            m.module, m.function, _state.table['releases'][0],
            _state.table['releases'][-1],
            'found %s' % m.found[:8] if m.found else 'it is missing')
        for m in _state.misfits
    ] or ['nova-mem-encryption: %s.' % _state.reason]
    done = ('%d changes were made before; do not go on.' % len(_state.ledger)
            if _state.ledger else 'Nothing was applied.')
    return '\n'.join(lines + [
        "%s Run 'nova-mem-encryption status'; to run without, set %s=off."
        % (done, ENV)])


def arm_late() -> None:
    """Judge a process in which nova was imported before the engine was armed.

    :raises Misfit: if modules that the series extends are among them
    """
    _gate(sys.modules['nova'].__path__)
    late = sorted(set(tree()) & set(sys.modules))
    if late and applied():
        _fail('%s was imported before the engine was armed; see that '
              'nova_mem_encryption.pth is in site-packages' % late[0])


# -- the finder --------------------------------------------------------------

def find_spec(name, path=None, target=None):
    """Answer the import system for a module at or below nova.

    :param name: the full name of the module
    :param path: where its package looks, None for nova itself
    :param target: the module, if it is being reloaded
    :returns: the spec of Nova's module, with ours to follow it; that of ours
        where Nova has none (tests); or None: not our concern
    :raises Misfit: for a module that the series extends, if it was refused
    """
    if name == 'nova':
        spec = _upstream_spec(name, path, target)
        if spec is None:
            _state.name, _state.reason = NO_NOVA, 'Nova is not installed'
        else:
            _gate(spec.submodule_search_locations)
        return spec
    if _state.name in (UNKNOWN, OFF, NO_NOVA) or name not in tree():
        return None
    spec = _upstream_spec(name, path, target)
    if spec is None:
        # NOTE: only tests need to be found under Nova's own name, by their
        # ids; everything else is imported under ours.
        if applied() and name.startswith(TESTS):
            from importlib import util
            return util.spec_from_file_location(name, tree()[name])
        return None
    if _state.name == NOT_NEEDED:
        _say_not_needed()
        return None
    if applied():
        return _graft(spec, name)
    # NOTE: where nothing is wrapped, Nova's module does as well. The privsep
    # daemon imports nova.exception, and sudo, which starts it, hands no
    # NOVA_MEM_ENCRYPTION=off down to it.
    if name in _state.table['functions']:
        raise Misfit(error(), name=name)
    return None


def _say_not_needed():
    if not _state.said:
        _state.said = True
        import logging
        # NOTE: no logging is set up this early, so it goes to stderr.
        logging.getLogger('nova_mem_encryption').warning(_state.reason)


def _graft(spec, name):
    """Have our module imported right after Nova's has executed."""
    if name.startswith(TESTS):
        misfits = fingerprint.check(_state.table, name, spec.origin)
        if misfits:
            raise Misfit('\n'.join(
                '%s: %s is not the known one' % (m.module, m.function)
                for m in misfits))
    execute = spec.loader.exec_module

    def exec_module(module):
        # NOTE: a module that is reloaded, as one of Nova's tests does, loses
        # what was done to it, additions to the module itself aside.
        lost = [e for e in _state.ledger if e.module == name]
        _state.ledger = [e for e in _state.ledger if e.module != name]
        for entry in lost:
            if entry.target is module and entry.verb == 'add':
                delattr(module, entry.attribute)
        again = [m for n, m in sys.modules.items()
                 if n.startswith(PREFIX + 'nova.') and
                 getattr(m, '__file__', None) in {e.file for e in lost}]
        execute(module)
        importlib.import_module(PREFIX + name)
        for ours in again:
            importlib.reload(ours)

    spec.loader.exec_module = exec_module
    return spec


def load() -> None:
    """Import every module that the series extends, tests aside.

    Where the series is off or not needed, there is nothing to import; nor
    where 'nova' is but a folder of that name.

    :raises Misfit: if the series was refused
    :raises ImportError: if Nova is not installed, or cannot be imported
    """
    importlib.import_module('nova')
    if _state.name == REFUSED:
        raise Misfit(error())
    if not applied():
        return
    importlib.import_module('nova.monkey_patch')  # as each service does, first
    # NOTE: nova.service does not import on its own, the API does.
    for name in sorted(tree(), key=lambda name: -name.count('.')):
        if not name.startswith(TESTS):
            if _upstream_spec(name, importlib.import_module(
                    name.rpartition('.')[0]).__path__) is not None:
                importlib.import_module(name)


# -- the verbs ---------------------------------------------------------------

def _only_applied() -> None:
    """Keep a file of the tree that is imported by itself from Nova."""
    if not applied():
        raise Misfit('The series is not applied: %s' % (
            _state.reason or _state.name))


def _full_name(target, *attributes) -> ty.Tuple[str, str]:
    """Return the module of a class or module of Nova, and the name in it."""
    if inspect.ismodule(target):
        return target.__name__, '.'.join(attributes)
    return target.__module__, '.'.join((target.__qualname__,) + attributes)


def add(target, name=None, value=None, into=None):
    """Put a new attribute on a class or module of Nova.

    As a decorator, the thing decorated is added under its own name. With a
    name, a value is.

    :param target: the class or module
    :param name: the name of a value, None for a decorator
    :param value: the value
    :param into: name of the target's dict that the value goes into, such as
        the fields of an object; None for the target itself
    :raises Misfit: if that name is taken
    """
    _only_applied()
    caller = sys._getframe(1)
    where = caller.f_code.co_filename, caller.f_lineno

    def put(attribute, thing):
        module, full = _full_name(target, *filter(None, [into, attribute]))
        place = vars(target) if into is None else getattr(target, into)
        if attribute in place:
            _fail('%s: there is a %s already' % (module, full))
        if into is None:
            setattr(target, attribute, thing)
        else:
            place[attribute] = thing
        _state.ledger.append(Entry(
            'add', module, full, *where, None, (),
            target if into is None else place, attribute, None, thing))
        return thing

    def decorate(thing):
        function = getattr(thing, 'fget', None) or getattr(
            thing, '__func__', thing)
        return put(function.__name__, thing)

    return decorate if name is None else put(name, value)


def wrap(target, leans_on=()):
    """Wrap the function of Nova that has the name of the decorated one.

    The wrapper is called with the function of Nova first, then with what
    that is called with; it calls it once, as an override would.

    :param target: the class or module that has the function
    :param leans_on: names of other functions that the wrapper takes to be
        as they are: 'Class.function' of the same module, or
        'module:Class.function'
    :raises AttributeError: if the target has no such function
    :raises Misfit: if its fingerprint is not in the table, so that the gate
        cannot have checked it
    """
    _only_applied()

    def decorate(wrapper):
        name = wrapper.__name__
        module, full = _full_name(target, name)
        # NOTE: getattr would bind, and would find what is inherited.
        original = vars(target).get(name)
        if original is None:
            raise AttributeError('%s: there is no %s' % (module, full))
        known = _state.table['functions'].get(module, {})
        if full not in known:
            _fail("%s: %s has no fingerprint; run 'nova-mem-encryption "
                  "fingerprints --refresh'" % (module, full))
        function = getattr(original, '__func__', original)

        @functools.wraps(function)
        def call(*args, **kwargs):
            return wrapper(function, *args, **kwargs)

        wrapped: ty.Any = call
        # NOTE: getfullargspec, and so Nova's own test of the driver's
        # signatures, looks at this and not at __wrapped__.
        wrapped.__signature__ = inspect.signature(function)
        current: ty.Any = wrapped
        if isinstance(original, (staticmethod, classmethod)):
            current = type(original)(wrapped)
        setattr(target, name, current)
        code = wrapper.__code__
        _state.ledger.append(Entry(
            'wrap', module, full, code.co_filename, code.co_firstlineno,
            known[full], tuple(leans_on), target, name, original, current))
        return wrapper

    return decorate
