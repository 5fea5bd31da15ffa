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
import functools
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models

# The flag that tells of SMEE, without which the kernel takes those of SEV away
SME = 'sme'
# Of AMD, and no EPYC: they have the bits of CPUID, but AMD supports SEV, which
# needs firmware, on EPYC alone (github.com/AMDESE/AMDSEV, issue 1).
OTHERS = ('ryzen', 'threadripper', 'athlon')


def _buy() -> str:
    return 'Take a host with %s.' % names.enumerate_words(dict.fromkeys(
        remedies.name_processor(model) for model in names.ADDED))


def check_processor(host: hosts.Host) -> tree.Finding:
    """Look at vendor, family, model and name."""
    cpu = facts.get_processor(host)
    found = '%s (%s), family %d, model %d' % (
        cpu.name, cpu.vendor, cpu.family, cpu.model)
    generation = cpu.family, cpu.model
    if cpu.vendor != 'AuthenticAMD' or generation < models.NATIVE.generation:
        return tree.failed('%s: %s is supported on AMD EPYC alone' % (
            found, models.NATIVE.title), _buy())
    if 'epyc' not in cpu.name.lower():
        return _judge_other(cpu, found, host)
    for model in names.ADDED:
        if generation < model.generation:
            return _judge_earlier(model, found)
    return tree.passed(found)


def _judge_other(cpu: facts.Processor, found: str, host: hosts.Host
                 ) -> tree.Finding:
    if not any(name in cpu.name.lower() for name in OTHERS):
        return tree.warned(found + ': its name does not tell whether it is an '
                           'EPYC, on which alone AMD supports SEV', _buy())
    found += ': it is no EPYC, on which alone AMD supports SEV'
    try:
        works = facts.get_capabilities(host).supported
    except hosts.Unanswered:
        works = False
    if works:
        return tree.warned(found + ', although libvirt offers it here', _buy())
    return tree.failed(found, _buy())


def _judge_earlier(model: model_row.Model, found: str) -> tree.Finding:
    found += ': %s is supported from %s (%s) on' % (
        model.title, model.codename, model.processor)
    if model.earlier_firmware is None:
        return tree.warned(found, _buy())
    return tree.warned(
        '%s; this generation has run it with SEV firmware %d.%d and later' % (
            found, *model.earlier_firmware),
        'Update the BIOS and the SEV firmware (/lib/firmware/amd) if it is '
        "older: 'dmesg | grep \"SEV API\"' tells.")


def _knows_flag(model: model_row.Model, host: hosts.Host) -> bool:
    try:
        return facts.get_kernel(host) >= model.flag_kernel
    except hosts.Unanswered:
        return True


def check_model(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """Compare what processor and kernel say of a model."""
    name = model.title
    cpu = facts.get_processor(host)
    told = facts.get_memory_encryption(host)
    flagged = model.cpu_flag in cpu.flags
    unknown = ('flag %s is not in /proc/cpuinfo, as Linux before %d.%d does '
               'not know it' % (model.cpu_flag, *model.flag_kernel))
    if told is None:
        if not flagged and not _knows_flag(model, host):
            return tree.Finding(tree.SKIP, unknown + '; root can ask CPUID')
        has, source = flagged, '/proc/cpuinfo'
    else:
        has, source = told.has(model), 'CPUID 0x8000001F'
    found = '%s %s, by %s' % (
        'the processor has' if has else 'no', name, source)
    if has and flagged:
        return tree.passed(found)
    if has and not _knows_flag(model, host):
        return tree.passed('%s; %s' % (found, unknown))
    if has:
        # The kernel takes the flags away, in early_detect_mem_encrypt of
        # arch/x86/kernel/cpu/amd.c; all of them.
        return tree.failed(
            'the processor has %s, but the kernel does not see it: flag %s is '
            'not in /proc/cpuinfo%s' % (
                name, model.cpu_flag, '' if SME in cpu.flags else
                ', nor is %s: SMEE is off' % SME),
            'Enable memory encryption (SMEE, Secure Memory Encryption) and '
            'SEV in the BIOS, with the SMM lock on; do not boot with '
            'clearcpuid=.' if model.native else '%sBoot without clearcpuid=, '
            'which takes flags away.' % (
                'Switch %s on in the BIOS (%s). ' % (name, model.bios)
                if model.bios else ''))
    if 'hypervisor' in cpu.flags:
        return tree.failed(
            found + '; this is a virtual machine',
            'Run nova-compute on the machine itself: guests of a virtual '
            'machine cannot have %s.' % name)
    if model.native:
        remedy = 'Enable SEV in the BIOS.'
    elif told is None:
        remedy = 'Boot without clearcpuid=, which takes flags away.'
    else:
        remedy = 'Update the BIOS.'
    return tree.failed(found, '%s If it does not help: %s' % (remedy, _buy()))


def check_split(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """See whether the BIOS sets ASIDs aside.

    :param model: the first that has these
    """
    cpu = facts.get_memory_encryption(host)
    if cpu is None:
        # The kernel tells everybody.
        count = facts.get_capacity(host)[model.count.asids]
        if not count:
            host.ask('cpuid')  # says why there is no answer
        return tree.passed('%d ASIDs are for %s, by misc.capacity' % (
            count, model.title))
    found = ('the last ASID is %d, plain %s begins at %d (ECX, EDX of CPUID '
             '0x8000001F)' % (cpu.last, models.NATIVE.title, cpu.first_sev))
    if cpu.first_sev <= 1:
        return tree.failed('%s: none is for %s' % (found, model.title),
                           remedies.get_asids(model))
    if cpu.last < 1 or cpu.first_sev > cpu.last + 1:
        return tree.failed(found + ', which makes no sense',
                           'Update the BIOS. ' + remedies.get_asids(model))
    return tree.passed('%s: %d for %s' % (found, cpu.first_sev - 1,
                                          model.title))


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    yield tree.Check(names.PROCESSOR, None, check_processor)
    for model in names.MODELS:
        yield tree.Check(
            names.processor(model), names.PROCESSOR if model.native else
            names.processor(models.NATIVE),
            functools.partial(check_model, model))
        if [model] == models.get_pools().get(
                misc_cgroup.SEV_ES, [])[:1]:
            yield tree.Check(names.SPLIT, names.processor(model),
                             functools.partial(check_split, model))
