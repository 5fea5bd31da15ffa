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

"""Feed 'nova-mem-encryption explain' with what is no log."""
import io
import json
import os
import re
import sys
import tempfile
from unittest import mock

import hypothesis
from hypothesis import strategies

from nova.tests.unit.mem_encryption.launch_errors import test_meanings
from nova.tests.unit.mem_encryption.launch_errors import test_meanings_reports
from nova.tests.unit import test_cli

from nova_mem_encryption import explain
from nova_mem_encryption.nova.mem_encryption.launch_errors import codes
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings

EXAMPLES = int(os.environ.get('EXPLAIN_EXAMPLES', '150'))
KNOWN = [line.encode() for _, _, line in test_meanings.read_corpus()]
FORMS = [form.encode() for form in test_meanings_reports.FORMS]
JUNK = strategies.one_of(
    strategies.binary(max_size=60),
    strategies.text(max_size=60).map(
        lambda text: text.encode(errors='surrogatepass')),
    strategies.sampled_from([
        b'\x1b[31m', b'\x1b[2J\x1b[H', b'\x1b]0;owned\x07', b'\x9b1m', b'\r',
        b'\0', b'\x7f', b'\x08' * 40, b'\xe2\x80\xae', b'\xc2\x85',
        b'\xef\xbb\xbf', b'\xff\xfeS\0E\0V\0', b'%s%n', b'{0}', b' ' * 9999,
        b'ret=-' + b'9' * 4000, b"fw_error='" + b'1' * 4000, b'(' * 9000,
        b'SEV' * 30000, b'LAUNCH_' * 20000]))
WHOLE = strategies.sampled_from(KNOWN)
# A line that is cut, one that begins as one and ends as another, and one in
# the words of another program
CUT = strategies.tuples(WHOLE, WHOLE, strategies.integers(0, 200),
                        strategies.integers(0, 200)).map(
    lambda cut: cut[0][:cut[2]] + cut[1][cut[3]:])
WRAPPED = strategies.tuples(strategies.sampled_from(FORMS), WHOLE | JUNK).map(
    lambda pair: pair[0].replace(b'%s', pair[1]))
NUMBERED = strategies.tuples(WHOLE, strategies.integers()).map(
    lambda pair: re.sub(rb'\d+', b'%d' % pair[1], pair[0]))
PART = strategies.one_of(JUNK, WHOLE, CUT, WRAPPED, NUMBERED)
LOGS = strategies.lists(strategies.tuples(PART, strategies.sampled_from(
    [b'\n', b'\r\n', b'\n\n', b'\r', b'', b'\x1b[0m\n', b'\x0b', b'\x0c'])),
    max_size=8).map(lambda parts: b''.join(sum(parts, ())))


def get_causes(line):
    """Return all causes that some pattern finds in a line, in any order."""
    found = set()
    for complaint in meanings.EVERYTHING:
        if re.search(complaint.pattern, line):
            found.add(complaint.cause)
            if complaint.numbers:
                # Of whichever message of the line
                found |= {meanings._read_numbers(line[match.start():])[0]
                          for match in re.finditer(complaint.pattern, line)}
    return found


class ExplainFuzzTest(test_cli.CommandTestCase):

    def setUp(self):
        super().setUp()
        self.counts = dict.fromkeys(('logs', 'explained'), 0)
        self.addCleanup(lambda: print(
            '%d hostile logs: %s, %d explained' % (
                self.counts['logs'], self.id().rpartition('.')[2],
                self.counts['explained']), file=sys.__stderr__))

    @hypothesis.settings(max_examples=EXAMPLES, deadline=None,
                         database=None)
    @hypothesis.given(LOGS)
    def test_no_log_is_too_odd(self, log):
        with tempfile.NamedTemporaryFile() as f:
            f.write(log)
            f.flush()
            code, out, err = self.call('explain', f.name)
            told = self.call('explain', '--json', f.name)
        with mock.patch('sys.stdin', io.TextIOWrapper(io.BytesIO(log))):
            self.assertEqual((code, out, err), self.call('explain'))
        self.assertEqual('', err)
        found = json.loads(told[1])
        self.assertEqual((bool(not found['explanations']), code),
                         (code, told[0]))
        # Whatever a terminal takes for more than text
        self.assertEqual([], [
            c for c in out if not c.isprintable() and c != '\n'])
        self.counts['logs'] += 1
        self.counts['explained'] += not code

    @hypothesis.settings(max_examples=2 * EXAMPLES, deadline=None,
                         database=None)
    @hypothesis.given(LOGS)
    def test_nothing_is_said_that_no_line_says(self, log):
        found = explain.explain(io.BytesIO(log))
        said = set()
        for raw in re.split(b'(?<=\n)', log):
            for start in range(0, len(raw), explain.LONGEST):
                said |= get_causes(raw[start:start + explain.LONGEST].decode(
                    errors='replace'))
        text = log.decode(errors='replace')
        for each in found['explanations']:
            self.assertIn((each['meaning'].partition(': ')[2] or
                           each['meaning'], each['remedy']),
                          [(cause.reason, cause.remedy) for cause in
                           said - {None}])
            self.assertIn(each['line'], text)
            number = re.match('status code (0x[0-9a-f]+)', each['why'])
            if number:
                # One line may have several messages.
                self.assertIn(int(number.group(1), 16), [
                    codes.read(each['line'][match.start():])
                    for complaint in meanings.EVERYTHING if complaint.numbers
                    for match in re.finditer(complaint.pattern,
                                             each['line'])])
        for each in found['unknown']:
            self.assertIn(each['line'], text)
        self.counts['logs'] += 1
        self.counts['explained'] += bool(found['explanations'])
