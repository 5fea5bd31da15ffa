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

"""Feed 'nova-mem-encryption check' with hosts that make no sense."""
import json
import os
import random
import re
import sys
import uuid

import hypothesis
from hypothesis import strategies
from oslotest import base

from nova.tests.fixtures import firmware
from nova.tests.fixtures import recorded_host as fake

from nova_mem_encryption.check import commands
from nova_mem_encryption.check import libvirt
from nova_mem_encryption.check import report
from nova_mem_encryption.check import terminal

EXAMPLES = int(os.environ.get('CHECK_EXAMPLES', '150'))
CODE = 'root/usr/share/OVMF/OVMF_CODE_4M.fd'
DESCRIPTOR = 'root/usr/share/qemu/firmware/60-edk2-x86_64.json'
RESET_BLOCK = uuid.UUID(firmware.RESET_BLOCK).bytes_le
ES = fake.KVM_AMD + 'sev_es'
ES_TRAIT = 'HW_CPU_X86_AMD_SEV_ES'
VERDICTS = {'PASS', 'WARN', 'FAIL', 'SKIP'}
# What a file of a recorded host may be instead
TEXTS = strategies.one_of(
    strategies.binary(max_size=60),
    strategies.text(max_size=60).map(lambda text: text.encode(
        errors='surrogatepass')),
    strategies.sampled_from([
        b'', b'Y', b'N', b'1', b'-1', b'0', b'null', b'{}', b'[]', b'[' * 9999,
        b'sev 5\nsev_es -1', b'sev_es ' + b'9' * 5000, b'\0', b'<a/>',
        b'eax=0xffffffff ebx=0xffffffff ecx=0xffffffff edx=0xffffffff']))
NUMBERS = strategies.one_of(
    strategies.integers(-2, 200), strategies.sampled_from(
        ['', '-0', '+1', '1e3', '0x10', '\u0663', '9' * 30, ' ', '1.0', 'NaN',
         '2147483647', '4294967296']))
VENDORS = ('AuthenticAMD', 'AuthenticAMD', 'HygonGenuine', 'GenuineIntel', '')
PROCESSORS = (
    'AMD EPYC 9354 32-Core Processor', 'AMD EPYC 3151 4-Core Processor',
    'AMD EPYC-Milan Processor', 'AMD Ryzen 9 5950X 16-Core Processor',
    'AMD Ryzen Threadripper PRO 5995WX 64-Cores', 'AMD Eng Sample: 100-000053',
    'Hygon C86 7265 24-core Processor', 'QEMU TCG CPU version 2.5+')
CAPABILITIES = '''\
%(head)s<domainCapabilities>
  <domain>%(domain)s</domain><machine>%(machine)s</machine>
  <arch>%(arch)s</arch>
  <features>
    <sev supported=%(quote)s%(supported)s%(quote)s>%(first)s
      <maxGuests>%(sev)s</maxGuests><maxESGuests>%(sev_es)s</maxESGuests>
    </sev>
  </features>
</domainCapabilities>%(tail)s'''
ENTITY = ('<!DOCTYPE d [<!ENTITY a "99"><!ENTITY f SYSTEM "file:///etc/hostname'
          '">]>')
# What is there most of the time, and what may be there
PARTS = {
    'head': ['', '', ENTITY, '<?xml version="1.0" encoding="utf-7"?>', '\0'],
    'domain': ['kvm', 'kvm', 'qemu', '', '&f;'],
    'arch': ['x86_64', 'x86_64', 'aarch64', ''],
    'machine': ['pc-q35-7.2', 'pc', '', '[z-a]', '*', '%s', '&a;'],
    'quote': ['"', '"', '"', "'", ''],
    'supported': ['yes', 'yes', 'no', 'YES', ''],
    'first': ['', '', '<maxESGuests>99</maxESGuests>', '<![CDATA[x]]>', '&a;'],
    'tail': ['', '', '<a/>', '\n\n'],
}


def is_ready(host):
    """Tell whether a host is ready, from its files alone.

    By other means than the command: of what decides, each thing is looked for
    in a single form, so this may say no where yes is right as well.
    """
    def has(path, pattern):
        try:
            text = host.read(path)
        except (OSError, UnicodeError):
            return False
        return re.search(pattern, text) is not None

    asked = os.path.exists(os.path.join(host.path, 'commands/cpuid'))
    try:
        if asked:
            registers = re.fullmatch(
                'eax=0x([0-9a-f]{8}) ebx=0x[0-9a-f]{8} ecx=0x([0-9a-f]{8}) '
                'edx=0x([0-9a-f]{8})', host.read('commands/cpuid').strip())
            eax, last, first_sev = (int(n, 16) for n in registers.groups())
            slots = first_sev - 1 if eax & 0xa == 0xa else 0
            if not 0 < slots <= last:
                return False
        else:  # not root
            slots = int(re.search(r'^sev_es ([0-9]+)$', host.read(
                fake.CAPACITY), re.MULTILINE).group(1))
        told = re.search('<maxESGuests>\\s*([0-9]+)\\s*</', host.read(
            'commands/domcapabilities'))
        answers = {name: json.loads(host.read('commands/' + name))
                   for name in ('dev-sev', 'engine', 'placement', 'nova-conf')}
        newer = {'platform-status': {'es': True, 'state': 1, 'api': [1, 0]},
                 'kernel-log': []}  # of those that were not recorded
        answers.update({
            name: json.loads(host.read('commands/' + name))
            if os.path.lexists(os.path.join(host.path, 'commands', name))
            else missing for name, missing in newer.items()})
        with open(os.path.join(host.path, CODE), 'rb') as f:
            image = f.read()
        conf = answers['nova-conf']
        return (0 < slots == int(told.group(1)) and
                slots == answers['placement']['amd_sev_es']['total'] and
                ES_TRAIT in answers['placement']['amd_sev_es']['traits'] and
                not answers['placement']['root']['total'] and
                answers['engine']['state'] in ('applied', 'not needed') and
                answers['engine']['armed'] is True and
                answers['dev-sev']['device'] is True and
                answers['platform-status']['es'] is True and
                answers['platform-status']['state'] > 0 and
                answers['platform-status']['api'] >= [0, 17] and
                not re.search('fail|time', str(answers['kernel-log'])) and
                not has(fake.CPUINFO, r'\bsev_snp\b') and
                conf['compute_driver'] in (
                    'libvirt.LibvirtDriver',
                    'mem_encryption.LibvirtDriver') and
                conf['libvirt.virt_type'] == 'kvm' and
                re.match('x86_64=.*q35', conf['libvirt.hw_machine_type'][-1])
                is not None and RESET_BLOCK in image and
                has(DESCRIPTOR, '"amd-sev(-es)?"') and
                has('commands/version', 'daemon: ([89]|[0-9]{2,4})\\.') and
                has('commands/version',
                    'QEMU (6\\.[2-9]|[789]|[0-9]{2,4}\\.)') and
                has('commands/kernel',
                    r'(?s)^(5\.1[1-9]|[6-9]\.|\d\d).*\sx86_64') and
                has(fake.CPUINFO, r'\bsev_es\b') and
                has(fake.CPUINFO, 'AuthenticAMD') and
                has(fake.CPUINFO, '(?i)epyc') and
                has(fake.KVM_AMD + 'sev', r'^\s*[Y1]\s*$') and
                has(fake.KVM_AMD + 'sev_es', r'^\s*[Y1]\s*$') and
                not has(fake.KVM_AMD + 'sev_snp', r'[Y1]'))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


class FuzzTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.counts = dict.fromkeys(('inputs', 'ready'), 0)
        self.addCleanup(lambda: print(
            '%d hostile inputs: %s, %d times ready' % (
                self.counts['inputs'], self.id().rpartition('.')[2],
                self.counts['ready']), file=sys.__stderr__))

    def judge(self, host, may_be_ready):
        """Check a host; a crash or a wrong yes is an error."""
        results = host.check()
        page = terminal.Page()
        self.assertEqual([check.name for check in report.CHECKS],
                         list(results))
        for result in results.values():
            self.assertIn(result.verdict, VERDICTS)
            page.format(result).encode()
        for line in page.summarise(list(results.values()), 'WARN'):
            line.encode()
        ready = max(report.CODES[result.verdict]
                    for result in results.values()) == 0
        self.counts['inputs'] += 1
        self.counts['ready'] += ready
        if ready:
            self.assertTrue(may_be_ready(host), results)

    def files(self, host):
        return sorted(
            os.path.relpath(os.path.join(folder, file), host.path)
            for folder, _, files in os.walk(host.path) for file in files)

    def test_files_and_answers(self):
        """Of the host that is ready, some are other ones."""
        original = self.useFixture(fake.RecordedHost())
        names = self.files(original)
        texts = {}
        for name in names:
            with open(os.path.join(original.path, name), 'rb') as f:
                texts[name] = f.read()

        @hypothesis.settings(deadline=None, max_examples=EXAMPLES,
                             database=None)
        @hypothesis.given(strategies.dictionaries(
            strategies.sampled_from(names), TEXTS | strategies.none(),
            min_size=1, max_size=3))
        def look(changes):
            try:
                for name, text in changes.items():
                    original.write(name, text)
                self.judge(original, is_ready)
            finally:
                for name in changes:
                    original.write(name, texts[name])

        look()
        self.assertGreaterEqual(self.counts['inputs'], EXAMPLES // 2)

    def test_bytes_of_files_and_answers(self):
        """Of the host that is ready, some bytes are other ones."""
        original = self.useFixture(fake.RecordedHost())
        names = [name for name in self.files(original)
                 if os.path.getsize(os.path.join(original.path, name))]

        @hypothesis.settings(deadline=None, max_examples=2 * EXAMPLES,
                             database=None)
        @hypothesis.given(strategies.sampled_from(names),
                          strategies.integers(0, 2 ** 32),
                          strategies.integers(1, 4))
        def look(name, seed, count):
            chance = random.Random(seed)
            with open(os.path.join(original.path, name), 'rb') as f:
                before = f.read()
            changed = bytearray(before)
            for _ in range(count):
                changed[chance.randrange(len(changed))] = chance.choice(
                    b'0123456789YN-x <>"{}[],:\n\xff\0')
            try:
                original.write(name, bytes(changed))
                self.judge(original, is_ready)
            finally:
                original.write(name, before)

        look()

    def test_capabilities(self):
        """What libvirt says, where all else is as it should be."""
        original = self.useFixture(fake.RecordedHost())

        @hypothesis.settings(deadline=None, max_examples=2 * EXAMPLES,
                             database=None)
        @hypothesis.given(strategies.fixed_dictionaries({
            'sev': NUMBERS | strategies.just(907),
            'sev_es': NUMBERS | strategies.just(99),
            **{name: strategies.sampled_from(values)
               for name, values in PARTS.items()}}))
        def look(parts):
            original.write('commands/domcapabilities', (
                CAPABILITIES % parts).encode())
            self.judge(original, lambda host: (
                str(parts['sev']).strip(), str(parts['sev_es']).strip(),
                parts['supported'], parts['domain'], parts['arch']) == (
                '907', '99', 'yes', 'kvm', 'x86_64') and
                'maxESGuests' not in parts['first'])

        look()

    def test_processors(self):
        """Another processor and kernel, where all else is as it should be."""
        original = self.useFixture(fake.RecordedHost())

        @hypothesis.settings(deadline=None, max_examples=2 * EXAMPLES,
                             database=None)
        @hypothesis.given(strategies.fixed_dictionaries({}, optional={
            'vendor': strategies.sampled_from(VENDORS),
            'family': strategies.sampled_from([23, 24, 26, 27]) | NUMBERS,
            'model': strategies.integers(0, 255) | NUMBERS,
            'name': strategies.sampled_from(PROCESSORS) | strategies.text(
                max_size=20),
            'flags': strategies.sampled_from([
                'svm sme sev', '', 'hypervisor sev', 'sev sev_es']),
            'kernel': strategies.tuples(
                strategies.integers(3, 8), strategies.integers(0, 22)),
            'es': strategies.sampled_from([b'1', b'N', None])}))
        def look(parts):
            parts = {'vendor': 'AuthenticAMD', 'family': 25, 'model': 17,
                     'name': PROCESSORS[0], 'flags': 'svm sme sev sev_es',
                     'kernel': (6, 8), 'es': b'Y', **parts}
            original.write(fake.CPUINFO, (
                'vendor_id : %(vendor)s\ncpu family : %(family)s\nmodel : '
                '%(model)s\nmodel name : %(name)s\nflags : %(flags)s\n'
                % parts).encode(errors='surrogatepass'))
            original.write('commands/kernel', '%d.%d.0 x86_64'
                           % parts['kernel'])
            original.write(ES, b'Y')
            original.write(ES, parts['es'])
            self.judge(original, lambda host: (
                parts['vendor'] == 'AuthenticAMD' and
                'epyc' in parts['name'].lower() and
                (int(parts['family']), int(parts['model'])) >= (23, 48) and
                parts['kernel'] >= (5, 11) and parts['es'] in (b'Y', b'1') and
                {'sev', 'sev_es'} <= set(parts['flags'].split())))

        look()

    def test_answers_of_virsh(self):
        """What libvirt says is reduced without a crash."""

        @hypothesis.settings(deadline=None, max_examples=4 * EXAMPLES,
                             database=None)
        @hypothesis.given(strategies.text(max_size=80) | (
            strategies.fixed_dictionaries({
                'sev': NUMBERS, 'sev_es': NUMBERS,
                **{name: strategies.sampled_from(values)
                   for name, values in PARTS.items()}}).map(
                       lambda parts: CAPABILITIES % parts)))
        def look(text):
            self.counts['inputs'] += 1
            try:
                kept = libvirt.reduce_capabilities(text)
            except commands.NoAnswer:
                return
            self.assertNotIn('CDATA', kept)
            self.counts['ready'] += 'yes' in kept

        look()
