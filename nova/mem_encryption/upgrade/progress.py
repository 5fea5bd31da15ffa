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
import sys

from nova.i18n import _

WIDTH = 30
LINE = 79


class Bar:
    """A line of stderr, where that is a terminal; else nothing.

    :param title: what takes long
    """

    def __init__(self, title):
        self._title = title
        self._drawn = False

    def show(self, done, total, looked_at):
        """Draw the line anew.

        :param done: so much of total
        :param looked_at: how many things that is
        """
        if not sys.stderr.isatty():
            return
        share = min(1.0, done / total) if total else 1.0
        filled = round(WIDTH * share)
        text = _('%(title)s [%(bar)s] %(percent)3d %%, %(looked_at)d') % {
            'title': self._title, 'percent': 100 * share,
            'bar': '#' * filled + '.' * (WIDTH - filled),
            'looked_at': looked_at}
        sys.stderr.write('\r' + text[:LINE].ljust(LINE))
        sys.stderr.flush()
        self._drawn = True

    def clear(self):
        """Leave the line to what is printed next."""
        if self._drawn:
            sys.stderr.write('\r%s\r' % (' ' * LINE))
            sys.stderr.flush()
            self._drawn = False

    def follow(self, items):
        """Yield the items of a list; the line tells how many were taken."""
        try:
            for number, item in enumerate(items):
                self.show(number, len(items), number)
                yield item
        finally:
            self.clear()
