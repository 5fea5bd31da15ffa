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

"""End a command with one line for whatever keeps it from its work."""
import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
import typing as ty
import warnings

from nova_mem_encryption.engine import state as engine

INTERRUPTED = 128 + signal.SIGINT
CLOSED = 128 + signal.SIGPIPE  # nobody reads what is printed
_write = os.write  # eventlet has another one, which may wait


class CannotRun(Exception):
    """A command cannot be run; the message is sentences to be shown."""


# What their messages are of is code, paths and addresses. That of another
# error may have what was read, and there are passwords in nova.conf.
TELLING = (CannotRun, ImportError, AttributeError, NameError, TypeError)


def prepare() -> None:
    """Have standard streams that can be written to, and no warnings."""
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        stream = getattr(sys, name)
        if stream is None:
            # NOTE: it is closed, and print() would take another.
            setattr(sys, name, open(os.devnull, mode))
        elif mode == 'w' and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    if not sys.warnoptions:
        warnings.simplefilter('ignore')


def guard(args: argparse.Namespace, function: ty.Callable[[], int]) -> int:
    """Run a command.

    :param args: debug, prog, and cannot: the exit status where it cannot be
        run; the function may set them
    :param function: the command
    :returns: exit status
    """
    error: ty.Optional[BaseException] = None
    code: ty.Any = None
    try:
        with _ending_at_once():
            code = function()
    except SystemExit as e:
        code = e.code  # argparse has said why
    except (Exception, KeyboardInterrupt) as e:
        error = e
    lost = _flush(error)
    if isinstance(lost, BrokenPipeError):
        return CLOSED
    if lost is not None:
        _say('%s: standard output cannot be written: %s.' % (
            args.prog, lost.strerror))
        return args.cannot
    if isinstance(error, KeyboardInterrupt):
        _say(_get_interrupted())
        return INTERRUPTED
    if error is not None:
        if args.debug:
            print_traceback(error)
        said = _line(args.prog, error)
        # That of a misfit may be that the tree is not there.
        _say(said if isinstance(error, engine.Misfit) else plain(said))
        return args.cannot
    return code


@contextlib.contextmanager
def _ending_at_once() -> ty.Iterator[None]:
    """Have Ctrl-C end the process.

    An exception may come up within an import, or in what eventlet runs just
    then, which may print or drop it.
    """
    def end(number, frame):
        try:
            _write(2, (_get_interrupted() + '\n').encode())
        finally:
            os._exit(INTERRUPTED)

    # It may also be ignored, or this be another thread.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or (
            threading.current_thread() is not threading.main_thread()):
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def interruptible() -> ty.Iterator[None]:
    """Have Ctrl-C raise KeyboardInterrupt, for what has to say more."""
    before = signal.getsignal(signal.SIGINT)
    if getattr(before, '__name__', '') != 'end':
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_traceback(error: BaseException) -> None:
    """Print where an error came about, and of which others.

    Messages that may have what is in nova.conf are left out.
    """
    chain: ty.List[BaseException] = []
    following: ty.Optional[BaseException] = error
    while following is not None and following not in chain:
        chain.insert(0, following)
        following = following.__cause__ or following.__context__
    for each in chain:
        _say('Traceback (most recent call last):\n%s%s: %s' % (
            ''.join(traceback.format_tb(each.__traceback__)),
            type(each).__name__, explain(each) or
            'its message is not shown, as it may quote nova.conf'))


def explain(error: BaseException) -> str:
    """Return the message of an error, '' if it may have what is secret."""
    if isinstance(error, engine.Misfit):
        return str(error)
    text = ''
    if isinstance(error, OSError) and error.strerror:
        text = ': '.join(str(part) for part in (
            error.filename, error.strerror) if part is not None)
    elif isinstance(error, TELLING):
        text = str(error)
    elif 'oslo_config.cfg' in sys.modules:
        from oslo_config import cfg

        from nova_mem_encryption.nova.mem_encryption import nova_conf
        if isinstance(error, cfg.Error):
            text = nova_conf.explain(error)
    return plain(' '.join(text.split()))


def plain(text: str) -> str:
    """Return a text without passwords of URLs, and fit for a terminal."""
    # NOTE: in a checkout it is found only after tree.tree().
    from nova_mem_encryption.nova.mem_encryption import shown
    text = shown.hide_passwords(text)
    return ''.join(c if c.isprintable() or c == '\n' else '?' for c in text)


def _line(prog: str, error: BaseException) -> str:
    said = explain(error)
    if isinstance(error, (CannotRun, engine.Misfit)):
        return said
    if said and not isinstance(error, TELLING):
        return '%s: %s.' % (prog, said.rstrip('.'))
    path, number = traceback.extract_tb(error.__traceback__)[-1][:2]
    return '%s: unexpected %s in %s, line %d%s. %s, and report it.' % (
        prog, type(error).__name__, '/'.join(path.split('/')[-2:]),
        number or 0, said and ': ' + said.rstrip('.'),
        'Run this with --debug to see more')


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _get_interrupted() -> str:
    return '%sInterrupted. Run this again.' % (
        '\n' if sys.stderr.isatty() else '')


def _flush(error: ty.Optional[BaseException]) -> ty.Optional[OSError]:
    """Write what is printed; return why that is not possible.

    :param error: what has been raised, also by print() with no buffer
    """
    lost = error if isinstance(error, OSError) and (
        error.filename is None and
        error.errno in (errno.EPIPE, errno.ENOSPC)) else None
    try:
        sys.stdout.flush()
    except OSError as e:
        lost = e
    if lost is not None:
        _discard(sys.stdout)
    return lost


def _discard(stream: ty.TextIO) -> None:
    """Have nothing more written, or Python would complain at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
