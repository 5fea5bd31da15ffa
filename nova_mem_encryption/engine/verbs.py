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

"""What a file of the tree extends Nova with: add, wrap, within."""
import functools
import inspect
import sys
import typing as ty

from nova_mem_encryption.engine import ledger
from nova_mem_encryption.engine import state as engine


def _only_applied() -> None:
    """Keep a file of the tree that is imported by itself from Nova."""
    if not engine.applied():
        state = engine.state()
        raise engine.Misfit('The series is not applied: %s' % (
            state.reason or state.name))


def _full_name(target, *attributes) -> ty.Tuple[str, str]:
    """Return the module of a class or module of Nova, and the name in it."""
    if inspect.ismodule(target):
        return target.__name__, '.'.join(attributes)
    return target.__module__, '.'.join((target.__qualname__,) + attributes)


def _caller() -> ty.Tuple[str, int]:
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno


def _check_known(module: str, kind: str, name: str) -> None:
    """Assert that the gate has looked at a name.

    :param kind: 'functions' or 'additions'
    :raises Misfit: if it is not in the table
    """
    if name not in engine.state().table[kind].get(module, ()):
        engine.state().fail('%s: %s has no fingerprint; run '
                            'tools/fingerprints.py --refresh' % (module, name))


def _check_leans(module: str, leans_on: ty.Iterable[str]) -> None:
    for other in leans_on:
        elsewhere, _, name = other.rpartition(':')
        _check_known(elsewhere or module, 'functions', name)


# -- add ---------------------------------------------------------------------

def add(target, name=None, value=None, into=None, leans_on=()):
    """Put a new attribute on a class or module of Nova.

    As a decorator, the thing decorated is added under its own name. With a
    name, a value is. Both names must be written as literals.

    :param target: the class or module
    :param name: the name of a value, None for a decorator
    :param value: the value
    :param into: name of the target's dict that the value goes into, such as
        the fields of an object, or of its tuple of pairs of name and value;
        None for the target itself
    :param leans_on: names of functions of Nova that what is added takes to be
        as they are, as for wrap()
    :raises Misfit: if that name is taken, or was not checked at the gate
    """
    _only_applied()
    where = _caller()

    def put(attribute, thing):
        module, full = _full_name(target, *filter(None, [into, attribute]))
        _refuse_taken(target, into, attribute, module, full)
        _check_known(module, 'additions', full)
        _check_leans(module, leans_on)
        place = target
        if into is not None:
            place = getattr(target, into)
            if isinstance(place, tuple):
                setattr(target, into, place + ((attribute, thing),))
                place = target
            else:
                place[attribute] = thing
        else:
            if isinstance(thing, type):
                # NOTE: RPC tells by it what an exception is, and allows those
                # of Nova's modules.
                thing.__module__ = module
            setattr(target, attribute, thing)
            named = getattr(type(thing), '__set_name__', None)
            if named is not None and inspect.isclass(target):
                named(thing, target, attribute)
        engine.state().ledger.append(ledger.Entry(
            'add', module, full, *where, None, tuple(leans_on), None, place,
            attribute, None, thing))
        return thing

    def decorate(thing):
        function = getattr(thing, 'fget', None) or getattr(
            thing, 'func', None) or getattr(thing, '__func__', thing)
        return put(function.__name__, thing)

    return decorate if name is None else put(name, value)


def _refuse_taken(target, into, attribute, module, full) -> None:
    if into is not None:
        taken = attribute in dict(getattr(target, into))
    else:
        taken = attribute in vars(target)
    if taken:
        engine.state().fail('%s: there is a %s already' % (module, full))
    if into is None and inspect.isclass(target):
        for base in target.__mro__:
            if attribute in vars(base):
                engine.state().fail(
                    '%s: there is a %s already, inherited from %s.%s' % (
                        module, full, base.__module__, base.__qualname__))


# -- wrap, within ------------------------------------------------------------

def wrap(target, leans_on=(), mends=None):
    """Wrap the function of Nova that has the name of the decorated one.

    The wrapper is called with the function of Nova first, then with what
    that is called with; it calls it once, as an override would.

    :param target: the class or module that has the function
    :param leans_on: names of other functions that the wrapper takes to be
        as they are: 'Class.function' of the same module, or
        'module:Class.function'
    :param mends: in a few words, the fault of Nova's own that this mends;
        None for what the feature needs
    :raises AttributeError: if the target has no such function
    :raises Misfit: if its fingerprint is not in the table, so that the gate
        cannot have checked it
    """
    _only_applied()

    def decorate(wrapper):
        code = wrapper.__code__
        _wrap('wrap', target, wrapper.__name__, wrapper,
              (code.co_filename, code.co_firstlineno), leans_on, mends)
        return wrapper

    return decorate


def within(target, name, context, leans_on=(), mends=None):
    """Have a function of Nova run within a context.

    :param target: the class or module that has the function
    :param name: the name of the function, as a literal
    :param context: called with what the function is called with, returns a
        context manager
    :param leans_on: as for wrap()
    :param mends: as for wrap()
    :raises AttributeError: as wrap()
    :raises Misfit: as wrap()
    """
    _only_applied()

    def wrapper(upstream, *args, **kwargs):
        with context(*args, **kwargs):
            return upstream(*args, **kwargs)

    _wrap('within', target, name, wrapper, _caller(), leans_on, mends)


def _wrap(
    verb: str, target: ty.Any, name: str, wrapper: ty.Callable,
    where: ty.Tuple[str, int], leans_on: ty.Sequence[str],
    mends: ty.Optional[str],
) -> None:
    module, full = _full_name(target, name)
    # NOTE: getattr would bind, and would find what is inherited.
    original = vars(target).get(name)
    if original is None:
        raise AttributeError('%s: there is no %s' % (module, full))
    _check_known(module, 'functions', full)
    _check_leans(module, leans_on)
    function = getattr(original, '__func__', original)

    @functools.wraps(function)
    def call(*args, **kwargs):
        return wrapper(function, *args, **kwargs)

    wrapped: ty.Any = call
    # NOTE: getfullargspec, and so Nova's own test of the driver's signatures,
    # looks at this and not at __wrapped__.
    wrapped.__signature__ = inspect.signature(function)
    current: ty.Any = wrapped
    if isinstance(original, (staticmethod, classmethod)):
        current = type(original)(wrapped)
    setattr(target, name, current)
    engine.state().ledger.append(ledger.Entry(
        verb, module, full, *where,
        engine.state().table['functions'][module][full], tuple(leans_on),
        mends, target, name, original, current))
