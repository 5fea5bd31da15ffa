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

"""Say what was found, for people and for machines."""
import sys
import textwrap
import time

import prettytable


class Step:
    """What a step found, and how its checks went."""

    def __init__(self, title):
        self.title = title
        self.facts, self.checks = {}, {}
        self.seconds = 0.0

    def fact(self, name, value):
        """Note a text, a list of command lines, or a table as dicts."""
        self.facts[name] = value

    def check(self, name, ok):
        # Of the same name, all are to be true.
        self.checks[name] = bool(ok) and self.checks.get(name, True)

    def as_text(self, heading):
        return '\n'.join(['', '%s%s (%.0f s)' % (
            heading, self.title, self.seconds)] + [
            as_text(*fact) for fact in self.facts.items()] + [
            '     %-7s%s' % ('ok' if ok else 'FAILED', name)
            for name, ok in self.checks.items()])


class Progress:
    """Tells what is done just now: on one line, or on a line each."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.on_one_line = sys.stderr.isatty() and not verbose
        self.begun = time.monotonic()
        self.heading = ''

    def tell(self, what):
        line = '%4.0f s  %s%s' % (
            time.monotonic() - self.begun, self.heading, what)
        if self.verbose:
            print(line, file=sys.stderr, flush=True)
        elif self.on_one_line:
            print('\r\033[K' + line[:78], end='', file=sys.stderr, flush=True)

    def clear(self):
        if self.on_one_line:
            print('\r\033[K', end='', file=sys.stderr, flush=True)


def as_text(name, fact):
    """Return a fact as text; see Step.fact."""
    fact = fact or 'nothing'
    if isinstance(fact, str):
        return '     %-14s %s' % (name, ('\n' + ' ' * 20).join(
            textwrap.wrap(fact, 58)))
    if isinstance(fact[0], str):
        lines = ['$ ' + ' \\\n             '.join(textwrap.wrap(
            line, 62, break_on_hyphens=False)) for line in fact]
    else:
        table = prettytable.PrettyTable(
            fact[0].keys(), align='l', border=False, left_padding_width=0)
        for row in fact:
            table.add_row([
                ', '.join(cell) or '-' if isinstance(cell, list) else
                textwrap.fill(cell, 42) if isinstance(cell, str) else
                '-' if cell is None else cell for cell in row.values()])
        lines = table.get_string().splitlines()
    return '     %s:\n' % name + '\n'.join(
        '       ' + line.strip() if isinstance(fact[0], str) else
        '      ' + line.rstrip() for line in lines)
