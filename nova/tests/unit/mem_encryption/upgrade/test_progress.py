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

"""Test what is shown of long work."""
import io
from unittest import mock

import fixtures

from nova import test

from nova_mem_encryption.nova.mem_encryption.upgrade import progress


class Terminal(io.StringIO):
    """A terminal of 79 columns; \r goes back to the first."""

    def isatty(self):
        return True

    @property
    def line(self):
        cells = [' '] * 79
        for text in self.getvalue().split('\r'):
            cells[:len(text)] = text
        return ''.join(cells).rstrip()


class BarTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.terminal = Terminal()
        self.useFixture(fixtures.MonkeyPatch('sys.stderr', self.terminal))

    def test_it_tells_how_far_it_is(self):
        bar = progress.Bar('servers')
        for done, expected in (
                (0, 'servers [' + 30 * '.' + ']   0 %, 7'),
                (1, 'servers [' + 15 * '#' + 15 * '.' + ']  50 %, 7'),
                (2, 'servers [' + 30 * '#' + '] 100 %, 7'),
                (3, 'servers [' + 30 * '#' + '] 100 %, 7')):
            bar.show(done, 2, 7)
            self.assertEqual(expected, self.terminal.line)

    def test_what_is_printed_next_has_the_line(self):
        bar = progress.Bar('servers')
        bar.show(1, 2, 1)
        bar.clear()
        self.assertEqual('', self.terminal.line)
        self.assertTrue(self.terminal.getvalue().endswith('\r'))

    def test_it_follows_a_list(self):
        lines = [self.terminal.line
                 for _ in progress.Bar('slots').follow(['a', 'b'])]
        self.assertEqual(['   0 %, 0', '  50 %, 1'],
                         [line.partition(']')[2] for line in lines])
        self.assertEqual('', self.terminal.line)

    def test_nothing_is_shown_but_on_a_terminal(self):
        with mock.patch('sys.stderr', io.StringIO()) as stderr:
            bar = progress.Bar('servers')
            bar.show(1, 2, 1)
            bar.clear()
        self.assertEqual('', stderr.getvalue())
