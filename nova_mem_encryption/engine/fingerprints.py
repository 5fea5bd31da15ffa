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

"""The table of the functions that the series wraps or leans on.

It is made from the releases of Nova that the series is known to fit, see
tools/fingerprints.py, and is read before any module of Nova runs.
"""
from __future__ import annotations

import hashlib
import os

from nova_mem_encryption.engine import scan
from nova_mem_encryption.engine import strings

TABLE = os.path.join(os.path.dirname(__file__), 'fingerprints.json')


class _Context:
    """What the scanner of the json module looks at."""

    strict = True
    parse_float, parse_int, parse_constant = float, int, None
    object_hook = object_pairs_hook = None


def table() -> dict:
    """Read the table.

    :returns: releases: their versions, in order; distributions: name and
        version of a package to module to digest to size of the files that it
        has changed; files: module to digest to size; functions: module to
        name to fingerprint; additions: module to names; patched: what of it
        patches do in functions, what they add, lines that they put elsewhere,
        and the modules that they add
    """
    with open(TABLE, encoding='utf-8') as f:
        text = f.read()
    # NOTE: json imports re, which takes as long as all that the gate does.
    try:
        from _json import make_scanner
    except ImportError:  # not CPython
        import json
        return json.loads(text)
    return make_scanner(_Context())(text, 0)[0]  # type: ignore[arg-type]


def digest(data: bytes) -> str:
    """Return the sha256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read(path: str | None) -> bytes:
    """Return the text of a module; none if it cannot be read."""
    try:
        with open(path or '', 'rb') as f:
            return f.read()
    except OSError:
        return b''


def is_known(known: dict, module: str, text: bytes) -> bool:
    """Tell whether a file is, to the byte, that of a known release.

    Then its functions need no look.

    :param known: what table() returned
    :param module: name of the module, 'nova.virt.hardware'
    :param text: of its file
    """
    files = [known['files'].get(module, {})] + [
        changed.get(module, {}) for changed in known['distributions'].values()]
    return any(len(text) in sizes.values() and digest(text) in sizes
               for sizes in files)


def carries(known: dict, module: str, text: bytes) -> bool:
    """Tell whether it is certain that a module has what patches do to it.

    :returns: False also if only parsing it can tell
    """
    functions = known['functions'].get(module, {})
    try:
        outline = scan.Outline(text)
        return all(
            digest(outline.get(name.encode())) != functions[name]
            for name in known['patched']['functions'].get(module, ())
        ) and all(
            outline.has(name.encode())
            for name in known['patched']['additions'].get(module, ())
        ) and not lacks_lines(known, module, text)
    except strings.Doubt:
        return False


def lacks_lines(known, module: str, text: bytes) -> list[str]:
    """Return the lines that patches put into a module, and are not there."""
    return [line for line in known['patched']['lines'].get(module, ())
            if b'\n%s\n' % line.encode() not in text]


def fits(known: dict, module: str, text: bytes) -> bool:
    """Tell whether it is certain that a module is as the series wants it.

    :returns: False also if only parsing it can tell
    """
    functions = known['functions'].get(module, {})
    additions = known['additions'].get(module, [])
    try:
        outline = scan.Outline(text)
        return all(
            digest(outline.get(name.encode())) == value
            for name, value in functions.items()
        ) and all(outline.lacks(name.encode()) for name in additions)
    except strings.Doubt:
        return False
