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


def _buy(*wanted: model_row.Model) -> str:
    return ' '.join('%s needs an AMD %s (%s) or later.' % (
        model.title, model.processor, model.codename) for model in wanted)


def check_processor(host: hosts.Host) -> tree.Finding:
    """Look at vendor, family and model."""
    cpu = facts.get_processor(host)
    found = '%s (%s), family %d, model %d' % (
        cpu.name, cpu.vendor, cpu.family, cpu.model)
    generation = cpu.family, cpu.model
    if cpu.vendor != 'AuthenticAMD' or generation < models.NATIVE.generation:
        return tree.failed(found, _buy(*models.get_added()))
    has = max((model for model in models.MODELS.values()
               if model.generation <= generation),
              key=lambda model: model.generation)
    for model in models.get_added():
        if generation < model.generation:
            return tree.warned('%s: %s, of the generation before %s' % (
                found, has.processor, model.title), _buy(model))
    return tree.passed(found)


def check_model(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """Compare what processor and kernel say of a model."""
    name = model.title
    cpu = facts.get_processor(host)
    told = facts.get_memory_encryption(host)
    if told is None:
        has, source = model.cpu_flag in cpu.flags, '/proc/cpuinfo'
    else:
        has, source = told.has(model), 'CPUID 0x8000001F'
    if has and model.cpu_flag in cpu.flags:
        return tree.passed('the processor has %s, by %s' % (name, source))
    if has:
        # The kernel takes the flags away, in early_detect_mem_encrypt of
        # arch/x86/kernel/cpu/amd.c.
        return tree.failed(
            'the processor has %s, but the kernel does not see it: flag %s is '
            'not in /proc/cpuinfo' % (name, model.cpu_flag),
            'Enable memory encryption (SMEE, Secure Memory Encryption) and '
            'SEV in the BIOS, with the SMM lock on; do not boot with '
            'clearcpuid=.')
    if 'hypervisor' in cpu.flags:
        return tree.failed(
            'no %s, by %s; this is a virtual machine' % (name, source),
            'Run nova-compute on the machine itself: guests of a virtual '
            'machine cannot have %s.' % name)
    return tree.failed(
        'no %s, by %s' % (name, source),
        'Where the processor has it, enable SEV in the BIOS. ' + _buy(
            *(models.get_added() if model.native else [model])))


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
    for model in models.MODELS.values():
        yield tree.Check(
            names.processor(model), names.PROCESSOR if model.native else
            names.processor(models.NATIVE),
            functools.partial(check_model, model))
        if [model] == models.get_pools().get(
                misc_cgroup.SEV_ES, [])[:1]:
            yield tree.Check(names.SPLIT, names.processor(model),
                             functools.partial(check_split, model))
