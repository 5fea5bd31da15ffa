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

"""Take what is in strings of three quotes out of the text of a module."""
from __future__ import annotations

DOUBLE, SINGLE = b'"""', b"'''"
QUOTING = frozenset(b'"\'#\\')
FORMATTED = frozenset(b'fF')


class Doubt(Exception):
    """This text has to be parsed."""


def take(text: bytes) -> tuple[bytes, list[bytes]]:
    """Take what is in strings of three quotes out of the text of a module.

    :returns: the text with a number in each, and what was in them
    :raises Doubt: if it is not certain where one begins or ends
    """
    strings: list[bytes] = []
    parts = _split(text, DOUBLE, strings)
    if SINGLE in text:
        for number, part in enumerate(parts[::2]):
            if SINGLE in part:
                parts[2 * number] = SINGLE.join(_split(part, SINGLE, strings))
    return DOUBLE.join(parts), strings


def _split(text: bytes, quote: bytes, strings: list[bytes]) -> list[bytes]:
    parts = text.split(quote)
    inside = parts[1::2]
    if len(parts) == 2 * len(inside):
        raise Doubt('a string does not end')
    for part, string in zip(parts[::2], inside):
        end = part.rfind(b'\n') + 1
        line = part[end:]
        if line and not line.isspace() and _is_doubtful(line, string):
            raise Doubt('something else is quoted before a string')
        if part[end - 2:end] == b'\\\n' or string[-1:] == b'\\':
            raise Doubt('a line goes on where a string begins or ends')
    parts[1::2] = [b'%d' % number for number in range(
        len(strings), len(strings) + len(inside))]
    strings += inside
    return parts


def _is_doubtful(line: bytes, string: bytes) -> bool:
    """Tell whether what stands before a string may make it none."""
    # From Python 3.12 on, a formatted one may hold others.
    if set(line[-2:]) & FORMATTED and b'{' in string:
        return True
    if not set(line) & QUOTING:
        return False
    if set(line) & frozenset(b'#\\}') or any(
            prefix in line.lower() for prefix in (
                b"f'", b'f"', b"fr'", b'fr"')):
        return True
    while True:
        begin = min((at for at in (line.find(b'"'), line.find(b"'"))
                     if at >= 0), default=-1)
        if begin < 0:
            return False
        end = line.find(line[begin:begin + 1], begin + 1)
        if end < 0:
            return True
        line = line[end + 1:]
