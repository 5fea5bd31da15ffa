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

"""Test that 'nova-mem-encryption check' blames a cause, and nothing else."""
import json
import os
import re

import ddt
from oslotest import base

from nova.tests.fixtures import made_host
from nova.tests.fixtures import recorded_host as fake
from nova.tests.fixtures import tables
from nova.tests.unit import test_check

CPUID, CAPABILITIES = made_host.CPUID, made_host.CAPABILITIES
KVM_AMD = fake.KVM_AMD
DESCRIPTOR = 'root/usr/share/qemu/firmware/60-edk2-x86_64.json'
# What who follows a remedy changes of a host: words of it, files and answers
ACTS = (
    ('Take a host with', fake.CPUINFO, CPUID),
    ('SEV in the BIOS', fake.CPUINFO, CPUID),
    ('clearcpuid=', fake.CPUINFO),
    ('Update the BIOS', CPUID),
    ("Raise 'Minimum SEV non-ES ASID'", CPUID, CAPABILITIES),
    (r'Load kvm_amd with sev=1', KVM_AMD + 'sev'),
    (r'Load kvm_amd with sev_es=1', KVM_AMD + 'sev_es'),
    (r'sev_snp=0|SEV-SNP .*BIOS', KVM_AMD + 'sev_snp', fake.CPUINFO),
    ('SEV firmware|boot the host|power off', 'commands/platform-status'),
    ('SVM in the BIOS|by the group of', 'commands/kvm-access'),
    ('Load kvm_amd again', fake.CAPACITY),
    ('ccp again', 'commands/dev-sev'),
    ('Upgrade it to|Install libvirt', 'commands/version'),
    ('Upgrade libvirt and QEMU|/var/cache/libvirt', CAPABILITIES),
    ("'namespaces' out of", 'commands/qemu-conf'),
    ('Install UEFI firmware', DESCRIPTOR),
    ('install -D -m 644', test_check.DESCRIPTOR),
    ('IOMMU in the BIOS', test_check.IOMMU),
    ('for its table|boot the host|power off', 'commands/snp-status'),
    (r'Load kvm_amd with sev_snp=1', KVM_AMD + 'sev_snp'),
    ('SEV-SNP on in the BIOS', fake.CPUINFO),
    ('os-traits', 'commands/placement'),
    ('enable_amd_sev_snp = true|file_backed_memory = 0',
     'commands/nova-conf'),
    ("[Ss]ee 'nova-mem-encryption status'|with pip", 'commands/engine'),
    ('-m pip install|umask', 'commands/services'),
    ('Install libvirt-python', 'commands/libvirt-python'),
    ('Set compute_driver|virt_type', 'commands/nova-conf'),
    ('Restart nova-compute', 'commands/placement'),
)
CLIENT = (23, 24, 'AMD Ryzen 7 PRO 3700U')
# The cause: parts of a host, and what it is changed besides; what fails
CAUSES = (
    ('Intel', {'vendor': 'GenuineIntel', 'flags': '', 'sev': None,
               'cpu': (6, 106, 'Intel(R) Xeon(R) Gold 6330'), 'eax': 0,
               'sev_es': None, 'sev_snp': None, 'dev_sev': False,
               'offered': False, 'last': 0, 'first_sev': 1}, (), 'processor'),
    ('Ryzen', {'cpu': CLIENT, 'last': 15, 'first_sev': 1, 'sev_es': 'N',
               'dev_sev': False, 'offered': False}, (), 'processor'),
    ('Ryzen, old', {
        'cpu': CLIENT, 'last': 15, 'first_sev': 1, 'sev_es': None,
        'sev_snp': None, 'dev_sev': False, 'offered': False,
        'kernel': '5.4.0', 'libvirt': '8.0.0'}, (), 'processor'),
    ('SMEE is off', {'flags': 'svm', 'sev': 'N', 'sev_es': 'N',
                     'dev_sev': False, 'offered': False}, (), 'sev'),
    ('SEV is off', {'flags': 'svm sme', 'eax': 1, 'sev': 'N', 'sev_es': 'N',
                    'dev_sev': False, 'offered': False}, (), 'sev'),
    ('virtual', {'flags': 'svm hypervisor', 'eax': 0, 'sev': 'N',
                 'sev_es': 'N', 'dev_sev': False, 'offered': False}, (),
     'sev'),
    ('clearcpuid', {'flags': 'svm sme sev', 'sev_es': 'N'}, (), 'sev-es'),
    ('BIOS split', {'first_sev': 1, 'sev_es': 'N'}, (), 'split'),
    ('old kernel', {'kernel': '5.4.0-216', 'flags': 'svm sme sev',
                    'sev_es': None, 'sev_snp': None}, (), 'kernel'),
    ('5.10', {'kernel': '5.10.0-8-amd64', 'sev_es': None, 'sev_snp': None},
     (), 'kernel'),
    ('not loaded', {'sev': None, 'sev_es': None, 'sev_snp': None,
                    'offered': False}, (), 'kvm_amd.sev'),
    ('backport, not loaded', {
        'kernel': '4.18.0-553.el8_10', 'sev': None, 'sev_es': None,
        'sev_snp': None, 'offered': False}, (), 'kvm_amd.sev'),
    ('backport, off', {'kernel': '4.18.0-553.el8_10', 'sev_es': '0',
                       'sev_snp': None}, (), 'kvm_amd.sev_es'),
    ('npt is off', {'sev': 'N', 'sev_es': 'N', 'offered': False},
     ((KVM_AMD + 'npt', 'Y', 'N'),), 'kvm_amd.sev'),
    ('lbrv is off', {'sev_es': 'N'}, ((KVM_AMD + 'lbrv', '1', '0'),),
     'kvm_amd.sev_es'),
    ('SEV-SNP', {'sev_snp': 'Y', 'flags': 'svm sme sev sev_es sev_snp'}, (),
     'kvm_amd.sev_snp'),
    ('no ccp', {'dev_sev': False, 'offered': False}, (), '/dev/sev'),
    ('not initialised', {'offered': False}, (
        ('platform-status', {'state': 0, 'es': False}),
        ('placement', {'amd_sev': None, 'amd_sev_es': None})), 'psp'),
    ('no TMR', {}, (('platform-status', {'es': False}),
                    ('placement', {'amd_sev_es': None})), 'psp.sev-es'),
    ('old SEV firmware', {}, (
        ('platform-status', {'api': [0, 16]}),
        ('placement', {'amd_sev_es': None})), 'psp.sev-es'),
    ('no rights', {}, (('kvm-access', {'error': 13}),), '/dev/kvm'),
    ('old libvirt', {'libvirt': '6.0.0'}, (), 'libvirt'),
    ('old QEMU', {'qemu': '5.2.0', 'machine': 'pc-q35-5.2'}, (), 'qemu'),
    ('no firmware', {}, ((DESCRIPTOR, 'amd-sev', 'a'),
                         ('placement', {'amd_sev_es': None})), 'firmware'),
    ('nova-compute without the series', {}, (
        ('services', {'services': [{
            'command': '/usr/bin/nova-compute', 'python': '/usr/bin/python3',
            'state': 'absent'}]}),
        ('placement', {
            'amd_sev': None, 'amd_sev_es': None, 'root': {
                'total': 907, 'reserved': 0, 'used': 0,
                'traits': ['HW_CPU_X86_AMD_SEV']}})), 'services'),
    ('emulated', {}, (
        ('nova-conf', {'libvirt__virt_type': 'qemu'}),
        ('placement', {'amd_sev': None, 'amd_sev_es': None})), 'nova.conf'),
)


def fails(results):
    return [name for name, result in results.items()
            if result.verdict == 'FAIL']


@ddt.ddt
class ConsequencesTest(base.BaseTestCase):

    @tables.data(*CAUSES, by=0)
    @ddt.unpack
    def test_what_follows_from_a_cause_is_not_blamed(self, _, parts, changes,
                                                     name):
        host = self.useFixture(made_host.MadeHost(**parts))
        for change in changes:
            host.change(*change)
        results = host.check()
        self.assertEqual([name], fails(results))
        follows = [result for result in results.values()
                   if result.parent == name]
        self.assertEqual({'SKIP'} if follows else set(),
                         {result.verdict for result in follows})

    def test_the_host_of_all_default_parts_is_ready(self):
        results = self.useFixture(made_host.MadeHost()).check()
        self.assertEqual({'PASS'}, {
            result.verdict for name, result in results.items()
            if name not in test_check.OPT_IN})

    @tables.data(*[(kind, *change[:3]) for kind, changes in (
        ('ready', test_check.CHANGES), ('snp-ready', test_check.SNP_CHANGES))
        for change in changes if change[2] == 'FAIL'], by=2)
    @ddt.unpack
    def test_a_remedy_undoes_what_fails(self, kind, change, name, _):
        host = self.useFixture(fake.RecordedHost(kind))
        ready = self.useFixture(fake.RecordedHost(kind))
        host.change(*change)
        remedy = host.check()[name].remedy
        followed = [paths for words, *paths in ACTS
                    if re.search(words, remedy)]
        self.assertNotEqual([], followed, remedy)
        for path in sum(followed, []):
            if os.path.exists(os.path.join(ready.path, path)):
                host.write(path, ready.read(path))
        self.assertEqual({}, test_check.unlike(host.check()), remedy)

    def test_a_service_that_cannot_be_told_hides_nothing(self):
        host = self.useFixture(fake.RecordedHost())
        host.fail('services', 'It cannot be told.')
        results = host.check()
        self.assertEqual({'services': 'WARN'}, test_check.unlike(results))
        self.assertEqual('PASS', results['amd_sev_es'].verdict)

    def test_counts_that_differ_are_not_blamed_on_nova(self):
        host = self.useFixture(fake.RecordedHost())
        host.replace(CAPABILITIES, '>99<', '>15<')
        for total in (15, 99):
            placement = json.loads(host.read('commands/placement'))
            host.update('placement', amd_sev_es={
                **placement['amd_sev_es'], 'total': total})
            results = host.check()
            self.assertEqual({'guests': 'WARN'}, test_check.unlike(results))
            self.assertIn('15 and 99', results['amd_sev_es'].found)
