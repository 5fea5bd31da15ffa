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

"""Print results as a terminal takes them."""
import contextlib
import os
import shutil
import sys
import textwrap
import typing as ty

from nova_mem_encryption.check import tree

NO_TERMINAL, NARROWEST = 79, 60  # columns
NAME = 23
# ECMA-48, 8.3.117 (SGR): bold red, yellow, green, faint
COLOURS = {tree.FAIL: '1;31', tree.WARN: '33', tree.PASS: '32',
           tree.SKIP: '2'}
ERASE = '\r\x1b[K'  # ECMA-48, 8.3.41 (EL)


def _obeys(stream: ty.TextIO) -> bool:
    """Tell whether a stream is a terminal that knows control sequences."""
    return stream.isatty() and os.environ.get('TERM', 'dumb') != 'dumb'


@contextlib.contextmanager
def waiting(what: str) -> ty.Iterator[None]:
    """Say on stderr what is waited for, while it is, if a terminal reads it.

    :param what: who is to answer
    """
    if not _obeys(sys.stderr):
        yield
        return
    print('Waiting for %s ...' % what, end='', file=sys.stderr, flush=True)
    try:
        yield
    finally:
        print(ERASE, end='', file=sys.stderr, flush=True)


class Page:
    """What goes to stdout."""

    def __init__(self) -> None:
        self.width = NO_TERMINAL
        if sys.stdout.isatty():
            self.width = max(NARROWEST, shutil.get_terminal_size(
                (NO_TERMINAL, 24)).columns)
        # See https://no-color.org
        self.coloured = _obeys(sys.stdout) and not os.environ.get('NO_COLOR')

    def colour(self, verdict: str) -> str:
        """Return a verdict in its colour."""
        if not self.coloured:
            return verdict
        return '\x1b[%sm%s\x1b[0m' % (COLOURS[verdict], verdict)

    def fill(self, text: str, first: str = '', rest: str = '') -> str:
        """Break a text, which comes from elsewhere, into lines.

        :param first: what stands before its first line
        :param rest: what stands before each other line
        """
        return textwrap.fill(
            ''.join(c if c.isprintable() else '?' for c in text), self.width,
            initial_indent=first, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False)

    def format(self, result: tree.Result) -> str:
        """Return the lines of a result."""
        start = '%s  %s' % (result.verdict, '  ' * result.depth + result.name)
        indent = ' ' * (NAME + 6)
        text = self.fill(result.found, start.ljust(NAME + 5) + ' ', indent)
        if result.remedy:
            text += '\n' + self.fill(
                '%s See %s.' % (result.remedy, result.see), indent + '-> ',
                indent + '   ')
        return self.colour(result.verdict) + text[len(result.verdict):]

    def summarise(self, results: ty.Sequence[tree.Result], verdict: str
                  ) -> ty.Iterator[str]:
        """Yield the lines at the end: the counts, and what to do first.

        :param verdict: that of the host
        """
        yield '%s: %s' % (self.colour(verdict), ', '.join('%d %s' % (
            sum(result.verdict == name for result in results), name)
            for name in (tree.FAIL, tree.WARN, tree.PASS, tree.SKIP)))
        for result in results:
            if result.verdict == verdict and result.remedy:
                yield self.fill('Begin with %s: %s' % (
                    result.name, result.remedy), rest='  ')
                return
