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

"""Show on a terminal how far something is that takes long."""
import os
import sys
import typing as ty

BAR = 30
ERASE = '\r\x1b[K'  # ECMA-48, 8.3.41 (EL)


class Progress:
    """A line of stderr, where that is a terminal; else nothing.

    :param title: what takes long
    :param total: how many steps it has
    """

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._shown = sys.stderr.isatty() and (
            os.environ.get('TERM', 'dumb') != 'dumb')

    def __enter__(self) -> 'Progress':
        self._show()
        return self

    def step(self) -> None:
        """Be one step farther."""
        self._done += 1
        self._show()

    def __exit__(self, *error: ty.Any) -> None:
        if self._shown:
            print(ERASE, end='', file=sys.stderr, flush=True)

    def _show(self) -> None:
        if self._shown:
            filled = BAR * self._done // self._total
            print('%s%s [%s%s] %d of %d' % (
                ERASE, self._title, '#' * filled, '.' * (BAR - filled),
                self._done, self._total), end='', file=sys.stderr, flush=True)
