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

"""Test 'nova-mem-encryption explain'.

What its lines mean is tested by launch_errors/test_meanings.
"""
import io
import json
import os
import subprocess
import sys
import time
from unittest import mock

import fixtures
import hypothesis
from hypothesis import strategies

from nova.tests.unit.mem_encryption.launch_errors import test_meanings
from nova.tests.unit import test_cli

from nova_mem_encryption.engine import tree
from nova_mem_encryption import explain
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes

EXAMPLES = int(os.environ.get('EXPLAIN_EXAMPLES', '150'))
NO_ASID = ("2026-11-24T06:18:30.1Z qemu-system-x86_64: -accel kvm: "
           "sev_kvm_init: failed to initialize ret=-16 fw_error=0 ''\n")
POLICY = ("2026-11-24T07:18:30.1Z qemu-system-x86_64: -accel kvm: "
          "sev_launch_start: LAUNCH_START ret=1 fw_error=7 'Policy is not "
          "allowed'\n")
FOLLOWS = ('2026-11-24T07:18:30.1Z qemu-system-x86_64: -accel kvm: '
           'sev_kvm_init: failed to create encryption context\n')
PLAIN = '2026-11-24 07:18:30.100+0000: starting up libvirt version: 9.0.0\n'
UNKNOWN = 'qemu-system-x86_64: SEV: unable to set CPU context: Busy\n'
# They are in complaints, too, and say nothing without the others.
WORDS = (
    'failed', 'to', 'open', 'start', 'error', 'memory', 'guest', 'ret=-16',
    'ret=-5', '0x13', 'rc', '-110', 'lock', 'limit', 'kvm:', 'device',
    'qemu-system-x86_64:', 'policy', 'is', 'not', 'allowed', 'Hardware',
    'invalid', 'state', 'unavailable', 'host', 'support', 'supported',
    'ASIDs', 'INIT', 'ccp', 'secure', 'processor', 'in', 'use.', 'reset',
    'vector', 'firmware', 'BIOS', 'timed', 'out,', 'monitor', '\n', "''")
CORPUS = [line for _, _, line in test_meanings.read_corpus()]


class StreamTest(test_cli.CommandTestCase):

    def explain(self, text):
        if isinstance(text, str):
            text = text.encode()
        return explain.explain(io.BytesIO(text))

    def get_reasons(self, text):
        return [each['meaning'].partition(': ')[2]
                for each in self.explain(text)['explanations']]

    def test_the_last_comes_first(self):
        for text, expected in (
                (NO_ASID + PLAIN + POLICY,
                 [causes.POLICY.reason, causes.ASIDS_IN_USE.reason]),
                (POLICY + PLAIN + NO_ASID,
                 [causes.ASIDS_IN_USE.reason, causes.POLICY.reason])):
            self.assertEqual(expected, self.get_reasons(text))

    def test_the_same_is_counted_and_has_its_last_line(self):
        found, = self.explain(
            NO_ASID + PLAIN * 7 + NO_ASID.replace('06:18', '09:09') +
            PLAIN)['explanations']
        self.assertEqual((2, 9), (found['times'], found['number']))
        self.assertEqual('sev_kvm_init: failed to initialize '
                         "ret=-16 fw_error=0 ''", found['line'])
        self.assertEqual('EBUSY: no ASID is free', found['why'])

    def test_what_follows_from_another_is_no_cause(self):
        self.assertEqual([causes.POLICY.reason],
                         self.get_reasons(POLICY + FOLLOWS))

    def test_of_a_start_of_the_secure_processor_the_first_failure_counts(self):
        self.assertEqual([causes.SNP_FAILED.reason], self.get_reasons(
            '[   11.702131] ccp 0000:42:00.1: SEV-SNP: failed to INIT rc -5, '
            'error 0x3\n'
            '[   11.717361] ccp 0000:42:00.1: SEV: failed to INIT error 0x1, '
            'rc -5\n[   11.717785] ccp 0000:42:00.1: SEV API:1.55 build:7\n'
            '[   11.782063] kvm_amd: SEV-ES enabled (ASIDs 1 - 99)\n'))
        self.assertEqual([causes.DEAD.reason], self.get_reasons(
            '[    9.1] ccp 0000:42:00.1: sev command 0x85 timed out, '
            'disabling PSP\n'
            '[    9.1] ccp 0000:42:00.1: SEV-SNP: failed to INIT rc -110, '
            'error 0x0\n'
            '[    9.2] ccp 0000:42:00.1: SEV: failed to INIT error '
            '0xffffffff, rc -16\n'))

    def test_what_follows_counts_where_nothing_says_why(self):
        self.assertEqual([causes.REFUSAL.reason], self.get_reasons(FOLLOWS))
        # ... but after what does, wherever that stands.
        self.assertEqual(
            [causes.POLICY.reason, causes.REFUSAL.reason],
            self.get_reasons(POLICY + PLAIN * 20 + FOLLOWS))

    def test_a_long_line_is_read_in_pieces(self):
        found, = self.explain(
            b'x' * 3 * explain.LONGEST + b'\n' + POLICY.encode())[
                'explanations']
        self.assertEqual(2, found['number'])

    def test_a_log_without_end_takes_no_memory(self):
        class Endless(io.RawIOBase):
            left, longest = 2000, 0

            def readline(self, size=-1):
                self.longest = max(self.longest, size)
                self.left -= 1
                return b'y' * size if self.left > 0 else b''

        stream = Endless()
        self.assertEqual({'explanations': [], 'unknown': []},
                         explain.explain(stream))
        self.assertEqual(explain.LONGEST, stream.longest)

    def test_no_words_take_long(self):
        """A pattern that begins at each word must not look to the end."""
        for words in (*CORPUS, 'SEV: could not open ', 'its slot is on ',
                      'Failed to open /dev/sev ', 'load amd/', 'qemu-kvm: '):
            # What a corpus line begins with, over and over
            for part in {words[:20], words[-20:], words}:
                text = (part * (explain.LONGEST // len(part)))[
                    :explain.LONGEST - 1]
                start = time.process_time()
                self.explain(text)
                self.assertLess(time.process_time() - start, 2, part)

    def test_bytes_that_are_no_utf_8(self):
        self.assertEqual(
            [causes.POLICY.reason],
            self.get_reasons(b'\xff\xfe\x80 caf\xe9\n' + POLICY.encode()[:-1] +
                             b'\xff\x00\x1b[2J\n'))

    def test_two_messages_in_a_line(self):
        for parts in ((POLICY, NO_ASID), (NO_ASID, POLICY)):
            found, = self.explain('\\n'.join(
                part.rstrip('\n') for part in parts))['explanations']
            self.assertIn('no ASID is free', found['why'])
            self.assertIn('ret=-16', found['line'])
            self.assertTrue(found['line'].startswith('sev_'))

    def test_windows_ends_of_lines(self):
        found, = self.explain(NO_ASID.replace('\n', '\r\n'))['explanations']
        self.assertTrue(found['line'].endswith("fw_error=0 ''"))

    def test_what_is_unknown_is_named_once(self):
        unknown = self.explain(UNKNOWN + PLAIN + UNKNOWN)['unknown']
        self.assertEqual(
            [{'line': 'SEV: unable to set CPU context: Busy', 'times': 2,
              'number': 3}], unknown)

    def test_not_all_that_is_unknown_is_kept(self):
        unknown = self.explain(''.join(
            'SEV: words %d\n' % n for n in range(500)))['unknown']
        self.assertEqual(explain.MOST_UNKNOWN, len(unknown))
        self.assertEqual('SEV: words 499', unknown[-1]['line'])

    @hypothesis.settings(max_examples=EXAMPLES, deadline=None)
    @hypothesis.given(strategies.lists(strategies.one_of(
        strategies.binary(max_size=80),
        strategies.text(max_size=80).map(
            lambda text: text.encode(errors='surrogatepass')),
        strategies.sampled_from(CORPUS).map(str.encode),
        strategies.sampled_from(CORPUS).flatmap(
            lambda line: strategies.tuples(
                strategies.integers(0, len(line)),
                strategies.binary(max_size=4)).map(
                    lambda cut: line[:cut[0]].encode() + cut[1] +
                    line[cut[0]:].encode())),
        strategies.builds(
            '{} ret={} fw_error={}'.format, strategies.sampled_from([
                'failed to initialize', 'LAUNCH_START', 'LAUNCH_FINISH',
                'failed to get platform status']), strategies.integers(),
            strategies.integers()).map(str.encode)), max_size=8))
    def test_nonsense(self, lines):
        found = self.explain(b'\n'.join(lines))
        json.dumps(found)
        for each in found['explanations']:
            self.assertTrue(each['meaning'] and each['remedy'])
            self.assertLessEqual(1, each['number'])
            self.assertLessEqual(each['number'], 1 + sum(
                line.count(b'\n') + 1 for line in lines))
            # Nothing but what is in its line
            again = self.explain(each['line'])['explanations']
            self.assertIn(each['meaning'], [one['meaning'] for one in again])

    @hypothesis.settings(max_examples=EXAMPLES, deadline=None)
    @hypothesis.given(strategies.lists(strategies.sampled_from(WORDS),
                                       max_size=40))
    def test_words_of_any_log_mean_nothing(self, words):
        self.assertEqual({'explanations': [], 'unknown': []},
                         self.explain(' '.join(words)))


class CommandTest(test_cli.CommandTestCase):

    def write(self, text):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'log')
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def test_a_file(self):
        code, out, err = self.call('explain', self.write(PLAIN + POLICY))
        self.assertEqual((0, ''), (code, err))
        self.assertEqual([
            'This host cannot start the guest: ' + causes.POLICY.reason,
            '  line 2: sev_launch_start: LAUNCH_START ret=1 '
            "fw_error=7 'Policy is not allowed'",
            '  why: status code 0x07 POLICY_FAILURE: the policy is not '
            'allowed',
            '  what to do: %s See troubleshooting.html#cause-policy.'
            % causes.POLICY.remedy], out.splitlines()[:4])

    def test_standard_input(self):
        with mock.patch('sys.stdin', io.TextIOWrapper(
                io.BytesIO(NO_ASID.encode()))):
            code, out, err = self.call('explain')
        self.assertEqual((0, ''), (code, err))
        self.assertIn('misc.max', out)

    def test_what_no_host_can_start(self):
        code, out, _ = self.call('explain', self.write(
            'System Management Mode not supported by this hypervisor.'))
        self.assertIn('No host can start this server: it asks for secure '
                      'boot', out)

    def test_a_guest_that_ran(self):
        code, out, _ = self.call('explain', self.write(
            'qemu-system-x86_64: cpus are not resettable, terminating\n'))
        self.assertEqual(0, code)
        self.assertTrue(out.startswith('The guest was reset from inside'))

    def test_nothing_is_known(self):
        for text in ('', PLAIN, b'\xff' * 99,
                     'AMD SEV-ES support detected: 15 guests\n'):
            code, out, err = self.call('explain', self.write(text))
            self.assertEqual((1, 'Nothing of this is known.\n', ''),
                             (code, out, err))

    def test_what_is_not_known_is_shown(self):
        code, out, err = self.call('explain', self.write(UNKNOWN * 3))
        self.assertEqual(
            (1, 'Nothing of this is known.\n'
                'Of memory encryption, and not known:\n'
                '  line 3, the last of 3: SEV: unable to set CPU context: '
                'Busy\n', ''), (code, out, err))

    def test_json(self):
        code, out, err = self.call('explain', '--json', self.write(
            POLICY + UNKNOWN))
        found = json.loads(out)
        self.assertEqual((0, ''), (code, err))
        explanation, = found['explanations']
        self.assertEqual(
            (True, 1, 1, causes.POLICY.remedy,
             'troubleshooting.html#cause-policy'),
            tuple(explanation[key] for key in (
                'elsewhere', 'number', 'times', 'remedy', 'see')))
        self.assertEqual(1, len(found['unknown']))

    def test_what_cannot_be_read(self):
        folder = self.useFixture(fixtures.TempDir()).path
        for path, said in ((folder, 'Is a directory'),
                           (folder + '/none', 'No such file')):
            code, out, err = self.call('explain', path)
            self.assertEqual((2, ''), (code, out))
            self.assertTrue(err.startswith(path + ' cannot be read: ' + said))
            self.assertEqual(1, err.count('\n'))

    def test_nothing_that_moves_a_cursor_is_printed(self):
        _, out, _ = self.call('explain', self.write(
            '\x1b[2J\x07' + POLICY[:-1] + '\x1b]0;x\x07\n'))
        self.assertEqual(set(), {*out} & {'\x1b', '\x07'})

    def test_it_needs_no_nova(self):
        script = ('import sys\n'
                  'sys.modules["nova"] = None\n'
                  'from nova_mem_encryption import cli\n'
                  'code = cli.main(["explain", sys.argv[1]])\n'
                  'assert not {"oslo_log", "oslo_config", "libvirt"} '
                  '& {*sys.modules}\n'
                  'sys.exit(code)\n')
        done = subprocess.run(
            [sys.executable, '-I', '-S', '-c',
             'import sys; sys.path.insert(0, %r)\n%s' % (
                 tree.root(), script), self.write(NO_ASID)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        self.assertIn('misc.max', done.stdout)
