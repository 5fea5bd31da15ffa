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

"""Test what 'nova-mem-encryption check' says of hosts that were reported.

Each with others of its kind, which nobody has reported.
"""
import ddt
from oslotest import base

from nova.tests.fixtures import made_host
from nova.tests.fixtures import tables
from nova.tests.unit import test_check

AMDSEV = 'https://github.com/AMDESE/AMDSEV/issues/'
SEVCTL = 'https://github.com/virtee/sevctl/issues/203'
SEV_TOOL = 'https://github.com/AMDESE/sev-tool/issues/43'
QEMU = 'https://github.com/AMDESE/qemu/issues/3'
KUBEVIRT = 'https://github.com/kubevirt/kubevirt/issues/17118'
OVH = 'https://github.com/ovh/docs: Enable and use AMD SME/SEV'

ROME = {'cpu': (23, 49, 'AMD EPYC 7742 64-Core Processor'), 'last': 509,
        'cbitpos': 47, 'reduced': 5}
MILAN = {'cpu': (25, 1, 'AMD EPYC 7763 64-Core Processor'), 'last': 509,
         'reduced': 5}
MILAN_253 = {**MILAN, 'last': 253}
BERGAMO = {'cpu': (25, 160, 'AMD EPYC 9754 128-Core Processor'), 'reduced': 6}
TURIN = {'cpu': (26, 2, 'AMD EPYC 9755 128-Core Processor'), 'reduced': 6}
TO_COME = {'cpu': (27, 0, 'AMD EPYC A155 256-Core Processor'), 'last': 2046}
SNP = 'svm sme sev sev_es sev_snp'
NONE = {'sev_es': None, 'sev_snp': None}
DEAD = {'dev_sev': False, 'offered': False}

# Reports by their kinds: who reported it; the parts of the host; those of
# others of its kind; verdicts, one of these where there are two; what is said
# by a check, as regular expressions, and with an exclamation mark what not
REPORTS = {
    'BIOS split': (
        (AMDSEV + '84', {
            'cpu': (25, 1, 'AMD EPYC 7543 32-Core Processor'), 'flags': SNP,
            'eax': 0x1f, 'reduced': 5, 'last': 509, 'first_sev': 1,
            'kernel': '5.19.0-snp-host', 'sev_es': 'N'},
         (ROME, MILAN_253, {**TURIN, 'first_sev': 0}),
         {'split': 'FAIL', 'kvm_amd.sev_es': 'SKIP', 'verdict': 'FAIL'},
         {'split': ("'Minimum SEV non-ES ASID'", 'above 1', '!sev_es=1')}),
        (AMDSEV + '23', {
            'cpu': (25, 1, 'AMD EPYC 7313 16-Core Processor'), 'reduced': 5,
            'last': 509, 'first_sev': 510},
         ({**ROME, 'kernel': '6.14.0-29-generic'},
          {**MILAN_253, 'first_sev': 254}, {**TURIN, 'last': 1006,
                                            'first_sev': 1007}),
         {'verdict': 'PASS', 'amd_sev': 'PASS', 'amd_sev_es': 'PASS'},
         {'amd_sev': ('no provider',)}),
    ),
    'PSP not usable': (
        (AMDSEV + '246', {
            **DEAD, 'cpu': (25, 160, 'AMD EPYC 8024P 8-Core Processor'),
            'flags': SNP, 'eax': 0x1f, 'reduced': 6, 'first_sev': 256,
            'kernel': '6.11.0-snp-host', 'sev_snp': 'Y'},
         ({**ROME, 'kernel': '6.12.9'}, {**TURIN, 'kernel': '6.14.0'}),
         {'/dev/sev': 'FAIL', 'kvm_amd.sev_snp': 'FAIL'},
         {'/dev/sev': ('log|dmesg', 'ccp', 'pdate', 'BIOS')}),
        (SEV_TOOL, {
            'cpu': (25, 1, 'AMD EPYC 7313 16-Core Processor'), 'reduced': 5,
            'last': 509, 'kernel': '5.15.0-91-generic', 'sev_snp': None,
            'offered': False},
         ({**ROME, 'kernel': '5.14.0-427.el9'},
          {**BERGAMO, 'kernel': '6.1.0-28-amd64', 'libvirt': '11.3.0'}),
         {'capabilities': 'FAIL', 'kvm_amd.sev_es': 'PASS'},
         {'capabilities': ('dmesg', 'ccp', 'SMEE', 'BIOS', 'SEV firmware')}),
    ),
    'SNP on outside kvm_amd': (
        (AMDSEV + '189', {
            'cpu': (25, 1, 'AMD EPYC 7443P 24-Core Processor'), 'flags': SNP,
            'eax': 0x1f, 'reduced': 5, 'last': 509, 'sev_snp': 'Y',
            'kernel': '6.5.0-rc2-snp-host', 'offered': False},
         ({**BERGAMO, 'kernel': '6.11.0'}, {**TURIN, 'kernel': '6.16.3'}),
         {'kvm_amd.sev_snp': 'FAIL', 'capabilities': 'FAIL'},
         {'kvm_amd.sev_snp': ('BIOS', '!with sev_snp=0[.]'),
          'capabilities': ('log|dmesg',)}),
        (AMDSEV + '282', {
            'cpu': (25, 1, 'AMD EPYC 7543 32-Core Processor'), 'flags': SNP,
            'eax': 0x1f, 'reduced': 5, 'last': 509, 'libvirt': '11.0.0',
            'kernel': '6.14.0-29-generic', 'qemu': '9.2.1',
            'machine': 'pc-q35-9.2'},
         ({**BERGAMO, 'kernel': '6.12.57+deb13-amd64'},
          {**TURIN, 'kernel': '6.17.0', 'first_sev': 17}),
         {'kvm_amd.sev_snp': 'WARN FAIL'},
         {'kvm_amd.sev_snp': ('sev_snp', 'CVE-2025-48514', 'BIOS')}),
    ),
    'SNP on': (
        (KUBEVIRT, {
            'cpu': (25, 17, 'AMD EPYC 9474F 48-Core Processor'), 'flags': SNP,
            'eax': 0x1f, 'reduced': 6, 'first_sev': 253, 'sev_snp': 'Y',
            'kernel': '6.11.0-rc3-snp-host', 'libvirt': '11.3.0',
            'qemu': '10.0.2', 'machine': 'pc-q35-10.0'},
         ({**MILAN, 'kernel': '6.11.4'}, {**TURIN, 'sev_snp': '1'}),
         {'kvm_amd.sev_snp': 'FAIL', 'amd_sev_es': 'SKIP'},
         {'kvm_amd.sev_snp': ('BIOS',)}),
    ),
    'processor generation': (
        (SEVCTL, {
            'cpu': (23, 1, 'AMD EPYC 3151 4-Core Processor'), 'cbitpos': 47,
            'reduced': 5, 'last': 15, 'first_sev': 9, 'qemu': '9.0.2',
            'kernel': '6.8.12-4-pve', 'machine': 'pc-q35-9.0'},
         ({'cpu': (23, 1, 'AMD EPYC 7251 8-Core Processor'), 'first_sev': 5},
          {'cpu': (23, 1, 'AMD EPYC 7601 32-Core Processor'),
           'first_sev': 16, 'kernel': '5.15.0-91-generic'},
          {'cpu': (23, 1, 'AMD EPYC 3451 16-Core Processor'), 'reduced': 1}),
         {'processor': 'WARN', 'verdict': 'WARN', 'amd_sev_es': 'PASS'},
         {'processor': ('SEV firmware 0[.]17', '-> Update', '!EPYC 7001',
                        '!needs')}),
        (AMDSEV + '1', {
            **DEAD, 'cpu': (23, 24, 'AMD Ryzen 7 PRO 3700U w/ Radeon Vega '
                                    'Mobile Gfx'),
            'cbitpos': 47, 'reduced': 5, 'last': 15, 'first_sev': 1,
            'kernel': '5.10.0-8-amd64', 'sev': 'Y', **NONE},
         ({'cpu': (25, 33, 'AMD Ryzen 9 5950X 16-Core Processor')},
          {'cpu': (25, 8, 'AMD Ryzen Threadripper PRO 5995WX 64-Cores'),
           'last': 509, 'first_sev': 100, 'kernel': '6.8.0', 'sev_es': 'Y'},
          {'cpu': (23, 24, 'AMD Athlon 3000G with Radeon Vega Graphics')},
          {'cpu': (26, 68, 'AMD Ryzen 9 9950X 16-Core Processor'),
           'kernel': '6.11.0', 'sev_es': 'N', 'sev_snp': 'N'}),
         {'processor': 'FAIL', 'sev': 'SKIP', 'kernel': 'SKIP',
          '/dev/sev': 'SKIP', 'capabilities': 'SKIP'},
         {'processor': ('it is no EPYC', '!EPYC 7001')}),
    ),
    'processor vendor': (
        (AMDSEV + '191', {
            **DEAD, 'vendor': 'HygonGenuine', 'flags': 'svm sme sev',
            'cpu': (24, 1, 'Hygon C86 7265 24-core Processor'), 'eax': 3,
            'cbitpos': 47, 'reduced': 5, 'last': 15, 'first_sev': 1,
            'kernel': '5.10.0-60.18.0.50.oe2203.x86_64', 'sev': '1', **NONE},
         ({'cpu': (24, 2, 'Hygon C86 7390 32-core Processor'),
           'flags': 'svm sme sev sev_es', 'eax': 0xb, 'kernel': '6.6.0',
           'sev': 'Y', 'sev_es': 'Y'},
          {'vendor': 'GenuineIntel', 'flags': '', 'eax': 0, 'sev': None,
           'cpu': (6, 106, 'Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz')},
          {'vendor': 'CentaurHauls', 'flags': '', 'eax': 0, 'sev': None,
           'cpu': (7, 59, 'ZHAOXIN KaiSheng KH-40000/32')}),
         {'processor': 'FAIL', 'sev': 'SKIP', 'sev-es': 'SKIP',
          'split': 'SKIP', 'kernel': 'SKIP', 'kvm_amd.sev': 'SKIP',
          '/dev/sev': 'SKIP', 'capabilities': 'SKIP', 'placement': 'SKIP'},
         {'processor': ('AMD EPYC',)}),
    ),
    'old versions': (
        (AMDSEV + '31', {
            'cpu': (23, 1, 'AMD EPYC 7251 8-Core Processor'), 'sev': '1',
            'cbitpos': 47, 'reduced': 5, 'last': 15, 'first_sev': 1,
            'flags': 'svm sme sev', 'kernel': '5.1.8-302.fc30.x86_64', **NONE,
            'libvirt': '5.1.0', 'qemu': '3.1.0', 'machine': 'pc-q35-3.1'},
         ({**ROME, 'kernel': '4.19.0-27-amd64', 'libvirt': '5.0.0'},
          {**MILAN, 'kernel': '5.9.16', 'libvirt': '7.10.0',
           'qemu': '5.2.0', 'machine': 'pc-q35-5.2'}),
         {'kernel': 'FAIL', 'libvirt': 'FAIL', 'split': 'FAIL',
          'sev-es': 'PASS', 'kvm_amd.sev_es': 'SKIP', 'qemu': 'SKIP'},
         {'kernel': ('5[.]11',), 'libvirt': ('8[.]0[.]0',)}),
    ),
    'version number against evidence': (
        (AMDSEV + '291', {
            'cpu': (25, 1, 'AMD EPYC 7313 16-Core Processor'), 'reduced': 5,
            'last': 509, 'kernel': '4.18.0-553.el8_10.x86_64', 'sev': '1',
            'sev_es': '1', 'sev_snp': None, 'libvirt': '8.0.0',
            'qemu': '6.2.0', 'machine': 'pc-q35-rhel8.6.0'},
         ({**ROME, 'kernel': '5.10.134-16.al8.x86_64',
           'machine': 'pc-q35-6.2'},
          {**BERGAMO, 'kernel': '5.3.18-150300.59.106-default',
           'flags': 'svm sme sev', 'machine': 'pc-q35-6.2'}),
         {'kernel': 'WARN', 'verdict': 'WARN', 'kvm_amd.sev_es': 'PASS',
          'guests': 'PASS', 'amd_sev_es': 'PASS', 'firmware': 'PASS'},
         {'kernel': ('a backport', 'kvm_amd.sev_es')}),
    ),
    'consequence reported as cause': (
        (QEMU, {
            'cpu': (23, 49, 'AMD EPYC 7402P 24-Core Processor'),
            'cbitpos': 47, 'reduced': 5, 'last': 509, 'flags': 'svm sme sev',
            'kernel': '5.4.0-216-generic', **NONE, 'libvirt': '6.0.0',
            'qemu': '4.2.1', 'machine': 'pc-q35-4.2'},
         ({**MILAN, 'kernel': '4.19.0-27-amd64'},
          {**BERGAMO, 'kernel': '5.9.16-200.fc33.x86_64',
           'libvirt': '8.0.0', 'qemu': '6.2.0', 'machine': 'pc-q35-6.2'},
          # It has the flag, for guests, and no hosts.
          {'kernel': '5.10.0-8-amd64', 'flags': 'svm sme sev sev_es',
           'libvirt': '8.0.0', 'qemu': '6.2.0'}),
         {'kernel': 'FAIL', 'sev-es': 'PASS', 'split': 'PASS',
          'kvm_amd.sev_es': 'SKIP'},
         {'kernel': ('5[.]11',), 'sev-es': ('CPUID', '!BIOS')}),
    ),
}
ROWS = [('%s %d' % (kind, number), {**parts, **other}, verdicts, words)
        for kind, reports in REPORTS.items()
        for number, (_, parts, others, verdicts, words) in enumerate(reports)
        for other in ({}, *others)]


@ddt.ddt
class ReportedHostsTest(base.BaseTestCase):

    def check(self, parts, *changes):
        host = self.useFixture(made_host.MadeHost(**parts))
        for change in changes:
            host.change(*change)
        return host.check()

    def get_verdict(self, results):
        return max((result.verdict for result in results.values()),
                   key=('SKIP', 'PASS', 'WARN', 'FAIL').index)

    @tables.data(*ROWS, by=0)
    @ddt.unpack
    def test_it_is_told_what_it_is(self, _, parts, verdicts, words):
        results = self.check(parts)
        for name, verdict in verdicts.items():
            found = (self.get_verdict(results) if name == 'verdict' else
                     results[name].verdict)
            self.assertIn(found, verdict.split(), (name, results))
        for name, parts in words.items():
            said = '%s -> %s' % (results[name].found, results[name].remedy)
            for part in parts:
                if part.startswith('!'):
                    self.assertNotRegex(said, part[1:])
                else:
                    self.assertRegex(said, part)

    def test_each_kind_has_two_hosts_that_nobody_reported(self):
        for kind, reports in REPORTS.items():
            for url, parts, others, _, _ in reports:
                self.assertTrue(url.startswith('https://'))
                self.assertLessEqual(2, len(others), kind)
                for other in others:
                    self.assertNotEqual(parts, {**parts, **other})

    @ddt.data(ROME, MILAN, MILAN_253, BERGAMO, TURIN, TO_COME)
    def test_an_epyc_that_is_supported(self, parts):
        self.assertEqual('PASS', self.get_verdict(self.check(parts)))

    def test_a_threadripper_where_libvirt_offers_sev(self):
        results = self.check({'cpu': (
            25, 8, 'AMD Ryzen Threadripper PRO 5995WX 64-Cores'),
            'last': 509})
        self.assertEqual({'processor': 'WARN'}, test_check.unlike(results))
        self.assertIn('although libvirt', results['processor'].found)

    @ddt.data('5.4.0-216-generic', '4.19.0-27-amd64')
    def test_a_user_who_cannot_ask_cpuid_of_an_old_kernel(self, kernel):
        host = self.useFixture(made_host.MadeHost(
            kernel=kernel, flags='svm sme sev', libvirt='8.0.0', **NONE))
        host.fail('cpuid', '/dev/cpu/0/cpuid cannot be read. Run this as '
                  'root.')
        results = host.check()
        self.assertEqual({'kernel': 'FAIL'}, {
            name: result.verdict for name, result in results.items()
            if result.verdict in ('WARN', 'FAIL')})
        self.assertIn('does not know', results['sev-es'].found)

    # OVH, and others of its kind
    @ddt.data([], ['/dev/sev r,'], ['deny /dev/sev rw,'], ['/dev/kvm rw,'])
    def test_a_profile_of_apparmor_that_keeps_guests_off(self, rules):
        change = 'apparmor', {'rules': rules}
        results = self.check({'libvirt': '11.3.0'}, change)
        self.assertEqual('WARN', self.get_verdict(results))
        self.assertEqual('WARN', results['apparmor'].verdict)
        self.assertIn("'/dev/sev rw,'", results['apparmor'].remedy)
        results = self.check({'libvirt': '11.3.0'}, change, (
            'apparmor', {'rules': ['/dev/sev rw,']}))
        self.assertEqual('PASS', self.get_verdict(results))
