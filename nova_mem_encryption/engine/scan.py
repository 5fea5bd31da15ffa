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

"""Read the outline of a module of Nova from its text, without parsing it.

To parse the modules that the series extends takes 300 ms, in every process
that imports nova. This takes a fiftieth of it, and is certain or says that it
is not: it knows text that is indented by 0, 4 or more spaces, and strings of
three quotes that open where nothing else on the line is quoted. In doubt, and
for all that is wrong, engine.source is asked. What does not compile is of no
interest, as its import ends with a SyntaxError.
"""
from __future__ import annotations

from nova_mem_encryption.engine import strings as quoted

# Other ends of lines and other indentation than are read below
UNREADABLE = (b'\r', b'\t', b'\f')
# NOTE: a line is more than this if up to four blanks are before it, and less
# if more are, or if it is empty: a blank is less than all that is printed.
# This is the comparison that most of the time is spent in.
SHALLOW = b'    !'


class Outline:
    """The classes, functions and methods of a module.

    :param text: of the module
    :raises strings.Doubt: if it is written so that it cannot be read
    """

    def __init__(self, text: bytes) -> None:
        for mark in UNREADABLE:
            if mark in text:
                raise quoted.Doubt('it has %r in it' % mark)
        if text.startswith(b'\xef\xbb\xbf'):
            raise quoted.Doubt('it has a byte order mark')
        if b'coding' in b''.join(text.split(b'\n', 2)[:2]):
            raise quoted.Doubt('it may be in another encoding')
        text, self.strings = quoted.take(text)
        self.goes_on = b'\\\n' in text
        self.lines = text.split(b'\n')
        #: class to the number of its definitions
        self.classes: dict[bytes, int] = {}
        #: class or b'', and name, to the lines from and to each definition
        self.functions: dict[tuple[bytes, bytes], list[list[int]]] = {}
        #: class or b'' to the text in it that is in no function
        self.others: dict[bytes, bytes] = {}
        self._read()

    def _read(self) -> None:
        lines = self.lines
        firsts = [number for number, line in enumerate(lines)
                  if line > SHALLOW]
        scope, nested = b'', False     # nested: in a function of the module
        others: dict[bytes, list[bytes]] = {b'': []}
        place: list[bytes] | None = others[b'']  # None: in any function
        function = [0, 0]              # the last one
        decorated = -1                 # the first of the decorators above
        for number, following in zip(firsts, [*firsts[1:], len(lines)]):
            line = lines[number]
            inner = line[0] == 32
            if inner and nested:
                continue
            if self.goes_on and number and lines[number - 1][-1:] == b'\\':
                raise quoted.Doubt('a line goes on in one of few blanks')
            if inner:
                if line[:4] != b'    ':
                    raise quoted.Doubt('it is indented by less than four')
                line = line[4:]
            first = line[:1]
            if first in b'#)]}':  # also if it is empty
                if place is not None:
                    # A comment binds nothing.
                    place += lines[number + (first == b'#'):following]
                continue
            if decorated >= 0 and not line.startswith(
                    (b'@', b'def ', b'async def ', b'class ')):
                raise quoted.Doubt('a decorator goes on in one of few blanks')
            function[1] = number
            function = [0, 0]
            if not inner:
                scope, nested = b'', False
            if inner and not scope:  # of an if, a try or the like
                others[b''] += lines[number:following]
            elif first == b'@':
                place = others[scope]
                place += lines[number:following]
                if decorated < 0:
                    decorated = number
                continue
            elif line.startswith((b'def ', b'async def ')):
                function = [number if decorated < 0 else decorated,
                            len(lines)]
                name = _name(line[line.index(b'def ') + 4:])
                self.functions.setdefault((scope, name), []).append(function)
                place = None
                nested = not inner
            elif line.startswith(b'class '):
                name = _name(line[6:])
                if inner:
                    # What is in it is nobody's.
                    others[scope].append(b'class ' + name + b'(')
                    place = None
                else:
                    self.classes[name] = self.classes.get(name, 0) + 1
                    others[b''].append(line[line.index(name) + len(name):])
                    scope = name
                    place = others.setdefault(scope, [])
                    place += [others[b''][-1], *lines[number + 1:following]]
            else:
                place = others[scope]
                place += lines[number:following]
            decorated = -1
        self.others = {scope: b'\n'.join(place)
                       for scope, place in others.items()}

    def get(self, full: bytes) -> bytes:
        """Return the dedented text of a function.

        :param full: its name, b'function' or b'Class.function'
        :raises strings.Doubt: if it is not certain that this has the name
        """
        scope, name = self._resolve(full)
        found = self.functions.get((scope, name), [])
        if (len(found) != 1 or self._is_bound(scope, name) or
                not scope and name in self.classes):
            raise quoted.Doubt('%r is there %d times' % (full, len(found)))
        first, last = found[0]
        # Without the comments and empty lines that follow it
        while self.lines[last - 1].lstrip()[:1] in b'#':
            last -= 1
        text = b'\n'.join(self.lines[first:last] + [b''])
        for quote in (quoted.SINGLE, quoted.DOUBLE):
            parts = text.split(quote)
            parts[1::2] = [self.strings[int(part)] for part in parts[1::2]]
            text = quote.join(parts)
        if not scope:
            return text
        dedented = text[4:].replace(b'\n    ', b'\n')
        # The first line apart, each has lost four, or was empty.
        if len(text) - len(dedented) != 4 * (
                text.count(b'\n') - dedented.count(b'\n\n') -
                dedented.count(b'\n\n\n')):
            if not all(line[:4] == b'    ' or not line
                       for line in text.split(b'\n')):
                raise quoted.Doubt('%r is not indented all through' % full)
        return dedented

    def lacks(self, full: bytes) -> bool:
        """Tell whether it is certain that a name is not taken.

        :param full: b'name', b'Class.name', or b'Class.dict.key'
        """
        *path, name = full.split(b'.')
        try:
            scope, _ = self._resolve(b'.'.join(path[:1] + [name]))
        except quoted.Doubt:
            return False
        if len(path) > 1:
            # The dict itself has to be there.
            return self._is_bound(scope, path[1]) and not (
                b"'%s'" % name in self.others[scope] or
                b'"%s"' % name in self.others[scope])
        return not ((scope, name) in self.functions or
                    scope == b'' and name in self.classes or
                    self._is_bound(scope, name))

    def has(self, full: bytes) -> bool:
        """Tell whether it is certain that a name is there.

        :param full: as for lacks()
        """
        *path, name = full.split(b'.')
        scope, _ = self._resolve(b'.'.join(path[:1] + [name]))
        if len(path) > 1:
            # A key of a dict, or the first of a pair
            return self._is_bound(scope, path[1]) and any(
                form % name in self.others[scope] for form in (
                    b"'%s':", b'"%s":', b"('%s'", b'("%s"'))
        return ((scope, name) in self.functions or
                scope == b'' and name in self.classes or
                b'\n%s%s =' % (scope and b'    ', name) in
                self.others[scope])

    def _resolve(self, full: bytes) -> tuple[bytes, bytes]:
        scope, _, name = full.rpartition(b'.')
        if scope and (self.classes.get(scope) != 1 or
                      (b'', scope) in self.functions or
                      self._is_bound(b'', scope)):
            raise quoted.Doubt('%r is not one class' % scope)
        return scope, name

    def _is_bound(self, scope: bytes, name: bytes) -> bool:
        """Tell whether a name may be bound by something but a function."""
        text = self.others[scope]
        at = text.find(name)
        while at >= 0:
            end = at + len(name)
            before, after = text[at - 1:at], text[end:end + 1]
            # Neither an attribute nor a call binds it.
            if not (_is_word(before) or _is_word(after) or before == b'.' or
                    after == b'(' and text[:at].split()[-1:] not in (
                        [b'def'], [b'class'])):
                # ... nor is it bound as a value of a dict.
                if not (text[at - 3:at] in (b"': ", b'": ') and
                        text[end:end + 2] == b',\n'):
                    return True
            at = text.find(name, end)
        return False


def _is_word(char: bytes) -> bool:
    return char.isalnum() or char == b'_' or char > b'\x7f'


def _name(line: bytes) -> bytes:
    """Return the name of a function or class, which the line begins with."""
    name = line.partition(b'(')[0]
    if not name.replace(b'_', b'').isalnum():
        name = name.partition(b':')[0].partition(b'[')[0].strip()
    # NOTE: of bytes, only those of ASCII are letters.
    if not name.replace(b'_', b'a').isalnum():
        raise quoted.Doubt('a definition has no plain name')
    return name
