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

"""Tell which release of Nova is installed."""
from __future__ import annotations

import os
import sys

FIRST, LAST = 31, 31  # major versions of Nova that the series is for


def version(folders: list[str] | None = None) -> str | None:
    """Return the version that Nova's metadata tell, None if they do not.

    :param folders: where to look, None for where this Python does
    NOTE: importlib.metadata would tell it too, and imports threading, which
    takes locks before eventlet has patched them.
    """
    for folder in sys.path if folders is None else folders:
        try:
            names = os.listdir(folder or '.')
        except OSError:
            continue
        for name in sorted(names):
            if (name.startswith('nova-') and name.endswith('-info') or
                    name in ('nova.egg-info', 'nova.dist-info') or
                    name == 'PKG-INFO' and folders):  # of an sdist
                found = _read(os.path.join(folder, name))
                if found is not None:
                    return found
    return None


def _read(path: str) -> str | None:
    for file in ('METADATA', 'PKG-INFO', ''):
        try:
            with open(os.path.join(path, file) if file else path, 'rb') as f:
                found = version_in(f.read())
        except OSError:
            continue
        if found is not None:
            return found
    return None


def version_in(text: bytes) -> str | None:
    """Return the version that metadata tell, None if not of Nova."""
    fields = dict(line.partition(b':')[::2]
                  for line in text.split(b'\n\n')[0].splitlines())
    if fields.get(b'Name', b'').strip().lower() != b'nova':
        return None
    return fields.get(b'Version', b'').decode(
        'ascii', 'replace').strip() or None


def major(text: str | None) -> int | None:
    """Return the major version, 31, None where it cannot be told.

    :param text: '31.3.1', '1!31.0.0', '2:31.0.0-6+deb13u3', or that of the
        series of OpenStack, '2025.1'
    """
    numbers = []
    for part in (text or '').rpartition('!')[2].rpartition(':')[2].strip(
            ).lstrip('vV').split('.')[:2]:
        digits = ''
        for char in part:
            if char not in '0123456789':
                break
            digits += char
        numbers.append(int(digits[:9]) if digits else None)
    first, second = (numbers + [None, None])[:2]
    if first is not None and first > 2000:
        # There are two a year, and 31 is 2025.1.
        return (31 + 2 * (first - 2025) + second - 1 if second in (1, 2)
                else None)
    return first or None  # 0.0.1 is that of a checkout without tags
