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

"""Check the processor, and how the BIOS has set it up."""
from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.virt.libvirt import misc_cgroup
from nova_mem_encryption.nova.virt.libvirt import remedies

# "Processor Programming Reference" of AMD: Zen is family 17h, and Zen 2, that
# of EPYC 7002, begins with its model 30h.
ZEN, ZEN_2 = 0x17, 0x30
BUY = 'SEV-ES needs an AMD EPYC 7002 (Rome) or later.'


def check_processor(host: hosts.Host) -> tree.Finding:
    """Look at vendor, family and model."""
    cpu = facts.get_processor(host)
    found = '%s (%s), family %d, model %d' % (
        cpu.name, cpu.vendor, cpu.family, cpu.model)
    if cpu.vendor != 'AuthenticAMD' or cpu.family < ZEN:
        return tree.failed(found, BUY)
    if cpu.family == ZEN and cpu.model < ZEN_2:
        return tree.warned(
            found + ': EPYC 7001, of the generation before SEV-ES', BUY)
    return tree.passed(found)


def check_sev(host: hosts.Host) -> tree.Finding:
    """Compare what processor and kernel say of SEV."""
    return _compare(host, 'sev', 'SEV')


def check_sev_es(host: hosts.Host) -> tree.Finding:
    """Compare what processor and kernel say of SEV-ES."""
    return _compare(host, 'sev_es', 'SEV-ES')


def _compare(host: hosts.Host, flag: str, name: str) -> tree.Finding:
    cpu = facts.get_processor(host)
    told = facts.get_memory_encryption(host)
    if told is None:
        has, source = flag in cpu.flags, '/proc/cpuinfo'
    else:
        has, source = getattr(told, flag), 'CPUID 0x8000001F'
    if has and flag in cpu.flags:
        return tree.passed('the processor has %s, by %s' % (name, source))
    if has:
        # The kernel takes the flags away, in early_detect_mem_encrypt of
        # arch/x86/kernel/cpu/amd.c.
        return tree.failed(
            'the processor has %s, but the kernel does not see it: flag %s is '
            'not in /proc/cpuinfo' % (name, flag),
            'Enable memory encryption (SMEE, Secure Memory Encryption) and '
            'SEV in the BIOS, with the SMM lock on; do not boot with '
            'clearcpuid=.')
    if 'hypervisor' in cpu.flags:
        return tree.failed(
            'no %s, by %s; this is a virtual machine' % (name, source),
            'Run nova-compute on the machine itself: guests of a virtual '
            'machine cannot have %s.' % name)
    return tree.failed('no %s, by %s' % (name, source), 'Where the processor '
                       'has it, enable SEV in the BIOS. ' + BUY)


def check_split(host: hosts.Host) -> tree.Finding:
    """See whether the BIOS sets ASIDs aside for SEV-ES."""
    cpu = facts.get_memory_encryption(host)
    if cpu is None:
        # The kernel tells everybody.
        count = facts.get_capacity(host)[misc_cgroup.SEV_ES]
        if not count:
            host.ask('cpuid')  # says why there is no answer
        return tree.passed(
            '%d ASIDs are for SEV-ES, by misc.capacity' % count)
    found = ('the last ASID is %d, plain SEV begins at %d (ECX, EDX of CPUID '
             '0x8000001F)' % (cpu.last, cpu.first_sev))
    if cpu.first_sev <= 1:
        return tree.failed(found + ': none is for SEV-ES', remedies.SPLIT)
    if cpu.last < 1 or cpu.first_sev > cpu.last + 1:
        return tree.failed(found + ', which makes no sense',
                           'Update the BIOS. ' + remedies.SPLIT)
    return tree.passed('%s: %d for SEV-ES' % (found, cpu.first_sev - 1))


CHECKS = [
    tree.Check('processor', None, check_processor),
    tree.Check('sev', 'processor', check_sev),
    tree.Check('sev-es', 'sev', check_sev_es),
    tree.Check('split', 'sev-es', check_split),
]
