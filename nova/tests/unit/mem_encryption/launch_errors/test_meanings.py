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

"""Test what the words of QEMU, libvirt and the kernel are taken to mean.

corpus.txt has them, with the cause that each tells.
"""
import collections
import errno
import os
import re

import ddt
from oslotest import base

from nova.tests.fixtures import tables

from nova_mem_encryption.nova.mem_encryption.launch_errors import answers
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes_of_snp
from nova_mem_encryption.nova.mem_encryption.launch_errors import codes
from nova_mem_encryption.nova.mem_encryption.launch_errors import complaints
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings

CORPUS = os.path.join(os.path.dirname(__file__), 'corpus.txt')
# How many of its lines are of memory encryption, and not known: of guests with
# IGVM, which Nova does not start, of devices of theirs, and of queries. Where
# one is added, consider whether it should be known.
UNKNOWN = 13
NAMES = meanings.NAMES
# What is a pattern, and no sentence of ours
TABLE = [complaint for complaint in meanings.EVERYTHING
         if complaint not in meanings.FAULTS]
# QEMU 6.2 to 10.0, target/i386/sev.c, sev_fw_errlist; beyond it prints
# "unknown error"
QEMU = (
    '', 'Platform state is invalid', 'Guest state is invalid',
    'Platform configuration is invalid', 'Buffer too small',
    'Platform is already owned', 'Certificate is invalid',
    'Policy is not allowed', 'Guest is not active', 'Invalid address',
    'Bad signature', 'Bad measurement', 'ASID is already owned',
    'Invalid ASID', 'WBINVD is required', 'DF_FLUSH is required',
    'Guest handle is invalid', 'Invalid command', 'Guest is active',
    'Hardware error', 'Hardware unsafe', 'Feature not supported',
    'Invalid parameter', 'Required firmware resource depleted',
    'Part-specific integrity check failure')


def name_in_qemu(number):
    return QEMU[number] if 0 <= number < len(QEMU) else 'unknown error'


def read_corpus():
    """Yield its lines: section, name of the cause, line."""
    section = None
    with open(CORPUS, encoding='utf-8') as f:
        for line in f.read().splitlines():
            if line.startswith('== '):
                section = line[3:]
            elif line and not line.startswith('#'):
                yield (section, *line.split(' ', 1))


def judge(line):
    """Return what a line is taken for, as corpus.txt has it."""
    meaning = meanings.find_in_line(line)
    if meaning is not None:
        return NAMES[meaning.cause]
    return '?' if list(meanings.find_unknown(line)) else '-'


class CorpusTest(base.BaseTestCase):

    def test_what_qemu_prints_can_be_so(self):
        """The kernel passes a status code on only with EIO.

        -1 is of INIT alone, and means that the firmware was not asked (Linux:
        sev-dev.c, __sev_platform_init_locked).
        """
        count = 0
        for section, _, line in read_corpus():
            found = re.search(
                r"(initialize|(?:SNP_)?LAUNCH_\w+) ret=(-?\d+) "
                r"fw_error=(-?\d+) '(.*)'", line)
            if found is None or not section.startswith('QEMU'):
                continue
            count += 1
            step, (ret, number) = found.group(1), map(int, found.groups()[1:3])
            allowed = {1} if step == 'LAUNCH_START' else (
                # The latter is of the command before it: snp_context_create
                {-errno.EIO, -errno.ENOTTY} if step == 'SNP_LAUNCH_START' and (
                    number > 0) else
                {-errno.EIO} if number > 0 else
                {-errno.EBUSY} if (step, number) == ('initialize', -1) else
                {-answer.number for answer in answers.ANSWERS}
                if number == 0 else set())
            self.assertIn(ret, allowed, line)
            self.assertEqual(name_in_qemu(
                -ret if step == 'LAUNCH_MEASURE' else number), found.group(4),
                line)
        self.assertGreater(count, 40)

    def test_each_line_has_its_cause(self):
        lines = list(read_corpus())
        self.assertGreater(len(lines), 150)
        self.assertEqual([], [
            (name, judge(line), line) for _, name, line in lines
            if judge(line) != name])

    def test_how_many_are_not_known(self):
        count = collections.Counter(name for _, name, _ in read_corpus())
        self.assertEqual(UNKNOWN, count['?'])

    def test_each_pattern_is_the_first_that_finds_some_line(self):
        found = {next((c for c in meanings.EVERYTHING
                       if re.search(c.pattern, line)), None)
                 for _, _, line in read_corpus()}
        self.assertEqual([], [
            complaint.pattern for complaint in TABLE
            if complaint not in found])

    def test_each_branch_of_a_pattern_finds_some_line(self):
        lines = [line for _, _, line in read_corpus()]
        for complaint in TABLE:
            for branch in re.split(r'\|(?![^(]*\))', complaint.pattern):
                self.assertTrue(any(re.search(branch, line)
                                    for line in lines), branch)

    def test_each_answer_of_the_kernel_is_in_some_line(self):
        found = {answers.get(line) for _, _, line in read_corpus()}
        self.assertEqual({*answers.ANSWERS}, found - {None})
        for answer in answers.ANSWERS:
            self.assertEqual(answer.number, getattr(errno, answer.name))

    def test_each_cause_is_told_by_some_line(self):
        told = {name for _, name, _ in read_corpus()}
        self.assertEqual({*NAMES.values()}, told - {'?', '-'})

    def test_no_line_is_passed_over(self):
        for _, name, line in read_corpus():
            if name != '-':
                self.assertTrue(meanings.may_mean(line), line)

    def test_a_fault_alone_has_a_cause_with_its_reason(self):
        for cause in NAMES:
            if NAMES[cause] in {**vars(causes), **vars(causes_of_snp)}:
                meaning = meanings.find_in_line(
                    'because this host cannot give it: ' + cause.reason)
                self.assertEqual(cause.reason, meaning.cause.reason)
                self.assertTrue(meanings.may_mean(cause.reason))

    def test_whether_to_try_elsewhere_is_said(self):
        for complaint in complaints.COMPLAINTS:
            self.assertIn(complaint.cause.elsewhere, (True, False))

    def test_no_remedy_is_taken_for_a_complaint(self):
        """nova-compute logs it behind the words that it is for."""
        for cause in NAMES:
            self.assertIsNone(meanings.find_in_line(cause.remedy),
                              cause.remedy)
            self.assertEqual(cause.remedy.strip(), cause.remedy)
            self.assertTrue(cause.remedy.endswith(('.', '".')))


@ddt.ddt
class CodesTest(base.BaseTestCase):

    def judge(self, line):
        return meanings.find_in_line('qemu-system-x86_64: ' + line).cause

    def test_all_that_the_manuals_have_are_there(self):
        # AMD 55766 and 56860; they reserve 0x1E.
        self.assertEqual({*range(1, 0x29)} - {0x1E}, {*codes.CODES})

    @ddt.data(*codes.CODES)
    def test_as_qemu_prints_it(self, number):
        said = "fw_error=%d '%s'" % (number, name_in_qemu(number))
        cause = codes.CODES[number].cause
        for line in ('-accel kvm: sev_kvm_init: failed to initialize ret=-5 ',
                     '-accel kvm: sev_launch_start: LAUNCH_START ret=1 ',
                     'sev_launch_update_data: LAUNCH_UPDATE ret=-5 ',
                     'sev_launch_finish: LAUNCH_FINISH ret=-5 '):
            self.assertIs(cause, self.judge(line + said))
        self.assertIs(cause, self.judge(
            'sev_kvm_init: failed to get platform status ret=-1 '
            "fw_error='%d: %s'" % (number, name_in_qemu(number))))
        self.assertIs(cause, self.judge(
            'SEV: Failed to export PDH cert ret=-1 fw_err=%d (%s)' % (
                number, name_in_qemu(number))))
        # QEMU takes its name from errno, EIO.
        self.assertIs(cause, self.judge(
            'sev_launch_get_measure: LAUNCH_MEASURE ret=-5 fw_error=%d '
            "'Platform is already owned'" % number))
        # The same is wrong with the processor, whatever the step.
        self.assertIs(
            causes.OLD_FIRMWARE if number == 3 else cause, self.judge(
                'sev_launch_update_vmsa: LAUNCH_UPDATE_VMSA ret=-5 ' + said))

    @ddt.data(*codes.CODES)
    def test_as_qemu_prints_it_of_sev_snp(self, number):
        said = "ret=-5 fw_error=%d '%s'" % (number, name_in_qemu(number))
        cause = codes.CODES[number].cause
        policy = {0x07: causes_of_snp.SNP_POLICY, 0x15: causes.OLD_FIRMWARE}
        update = {**policy, 0x16: causes_of_snp.CPUID_REFUSED}
        for step, others in (
                ('sev_snp_launch_start: SNP_LAUNCH_START', policy),
                ('SNP_LAUNCH_UPDATE', update),
                ('SNP_LAUNCH_FINISH', policy)):
            meaning = meanings.find_in_line('%s %s' % (step, said))
            self.assertIs(others.get(number, cause), meaning.cause)
            self.assertIn('status code 0x%02x %s: ' % (
                number, codes.CODES[number].name), meaning.why)

    @ddt.data(*codes.CODES)
    def test_as_the_kernel_prints_it(self, number):
        self.assertIs(
            causes.NOT_FIRST if number == 1 else codes.CODES[number].cause,
            self.judge('ccp 0000:42:00.1: SEV: failed to INIT error %#x, '
                       'rc -5' % number))
        self.assertIs(
            causes.NOT_FIRST if number == 1 else codes.CODES[number].cause,
            self.judge('ccp 0000:42:00.1: SEV: INIT failed %#x, rc -5' %
                       number))
        self.assertIs(codes.CODES[number].cause, self.judge(
            'ccp 0000:42:00.1: SEV: failed to get status. Error: %#x' %
            number))

    @ddt.data(0x8000, 0x8003, 0x8004, 0x9000, 0xffff)
    def test_those_of_the_secure_processor_itself(self, number):
        for line in ("sev_kvm_init: failed to initialize ret=-5 fw_error=%d "
                     "'unknown error'", 'SEV: failed to INIT error %#x, rc -5',
                     'SEV: failed to get status. Error: %#x'):
            meaning = meanings.find_in_line(line % number)
            self.assertIs(causes.NO_FIRMWARE_RUNS, meaning.cause)
            self.assertIn('0x%x: no code of the SEV firmware' % number,
                          meaning.why)

    @tables.data('0x7fff', '0x1e', '0x29', '0x10000', '0xfffffffe')
    def test_a_number_that_nobody_has_tells_nothing(self, number):
        meaning = meanings.find_in_line(
            'SEV: failed to INIT error %s, rc -5' % number)
        self.assertEqual((causes.UNINITIALISED, ''),
                         (meaning.cause, meaning.why))

    def test_no_firmware_is_to_be_updated_that_took_sev_es_away(self):
        for number, code in codes.CODES.items():
            self.assertEqual(
                number == 0x15, code.cause is causes.SNP_ON)
        self.assertNotIn('pdate', causes.SNP_ON.remedy)
        self.assertIn('BIOS', causes.SNP_ON.remedy)

    def test_numbers_are_not_mixed_up(self):
        """21 of the kernel, in hexadecimal, is not 21 of QEMU."""
        self.assertIs(causes.OLD_FIRMWARE, self.judge(
            'SEV: failed to INIT error 0x21, rc -5'))
        self.assertIs(causes.SNP_ON, self.judge(
            'sev_launch_start: LAUNCH_START ret=1 fw_error=21 '))
