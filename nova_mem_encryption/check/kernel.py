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

"""Check the kernel, and what it makes of the processor."""
import functools
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import offered
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.host import processor
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models

MODULE = 'kvm_amd'


def check_kernel(host: hosts.Host) -> tree.Finding:
    """Look at the version, and at what contradicts it."""
    version = facts.get_kernel(host)
    latest = max(names.MODELS, key=lambda model: model.min_kernel)
    found = 'Linux %d.%d' % version
    if version >= latest.min_kernel:
        return tree.passed(found)
    remedy = remedies.upgrade(latest.min_kernel)
    parameter = latest.parameters_on[0]
    if facts.has_parameter(host, MODULE, parameter):
        return tree.warned(
            '%s, with kernel parameter kvm_amd.%s: %s is a backport' % (
                found, parameter, latest.title),
            'Ask who made the kernel whether that is supported. ' + remedy)
    if not facts.has_parameter(host, MODULE, models.NATIVE.parameters_on[0]):
        # Nothing tells what a module has that is not loaded.
        return tree.warned(
            '%s, which has %s only by a backport' % (found, latest.title),
            'Load kvm_amd, and run this again. ' + remedy)
    return tree.failed(
        '%s: it has no %s, and no kernel parameter kvm_amd.%s' % (
            found, latest.title, parameter), remedy)


def check_native(name: str, host: hosts.Host) -> tree.Finding:
    """See whether the kernel has a parameter of the native model on."""
    model = models.NATIVE
    on = facts.get_parameter(host, MODULE, name)
    if on:
        return tree.passed('kernel parameter kvm_amd.%s is on' % name)
    if on is None:
        return tree.failed(
            'kernel module kvm_amd is not loaded, or was built without %s'
            % model.title,
            'Enable SVM in the BIOS, and load kvm_amd with %s=1, of a kernel '
            'with CONFIG_KVM_AMD_SEV.' % name)
    return _off(host, model, name, 'Load kvm_amd with %s=1. If that does not '
                'help, see what the kernel log says of %s and ccp.' % (
                    name, model.title))


def check_added(model: model_row.Model, name: str, host: hosts.Host
                ) -> tree.Finding:
    """See whether the kernel has a parameter of an added model on."""
    if facts.get_parameter(host, MODULE, name):
        return tree.passed('kernel parameter kvm_amd.%s is on' % name)
    return _off(host, model, name, remedies.switch_on(model, name))


def _off(host: hosts.Host, model: model_row.Model, name: str, remedy: str
         ) -> tree.Finding:
    guilty = ['%s.%s' % parameter for parameter in model.parameters_behind
              if facts.get_parameter(host, *parameter) is False]
    found = 'kernel parameter kvm_amd.%s is off' % name
    if guilty:
        return tree.failed(
            '%s, as %s is off' % (found, ' and '.join(guilty)),
            'Load the module with %s, then kvm_amd with %s=1.' % (
                ' and '.join('%s=1' % parameter.partition('.')[2]
                             for parameter in guilty), name))
    return tree.failed(found, remedy)


def check_off(model: model_row.Model, name: str, host: hosts.Host
              ) -> tree.Finding:
    """See whether something gets in the way of an added model.

    The kernel initialises SEV-SNP where the processor has it on, and knows
    the flag only where it can (Linux 6.9, or as old as its distribution had
    it in): bsp_determine_snp in arch/x86/kernel/cpu/amd.c. Firmware that
    fixes CVE-2025-48514 refuses the guests then, and does not say so before.
    """
    found = 'kernel parameter kvm_amd.%s is ' % name
    others = [other for other in models.get_added()
              if name in other.parameters_on and other.option is not None]
    remedy = ' '.join([remedies.switch_off(name), *map(
        remedies.enable, others)])
    if facts.get_parameter(host, MODULE, name):
        found += 'on'
    elif name not in facts.get_processor(host).flags:
        return tree.passed(found + 'off')
    else:
        found += ('off, but the processor has it on (flag %s in /proc/cpuinfo)'
                  % name)
        if processor.leaves_snp_alone(host.root):
            return tree.warned(
                found + '; the kernel was told to leave it alone '
                '(/proc/cmdline)', remedies.LEFT_ALONE)
    excluding = offered.find_excluding(host, model)
    if excluding is not None:
        return tree.Finding(
            tree.SKIP, '%s: this host is to offer %s, and has no %s beside it'
            % (found, excluding.title, model.title))
    return tree.failed('%s, which can disable %s' % (found, model.title),
                       remedy)


def check_asids(host: hosts.Host) -> tree.Finding:
    """Compare the kernel's count of ASIDs with the processor's."""
    reading = misc_cgroup.read_capacity(host.root)
    if reading.path is None:
        return tree.Finding(tree.SKIP, 'the kernel does not tell how many '
                            'ASIDs it has (Linux 5.13 does)')
    counts = facts.get_capacity(host)
    pools = models.get_pools()
    first, *others = ((counts[key], pool[0].title)
                      for key, pool in pools.items())
    found = ', '.join(['the kernel has %d ASIDs for %s' % first] + [
        '%d for %s' % other for other in others])
    cpu = facts.get_memory_encryption(host)
    for model in names.ADDED:
        if not counts[model.count.asids]:
            # Where CPUID was asked, the BIOS has set them aside.
            return tree.failed(
                found + ' (misc.capacity)',
                'Load kvm_amd again, and see what the kernel log says of it.'
                if cpu and model.count.asids == misc_cgroup.SEV_ES else
                remedies.get_asids(model))
    for model in pools.get(misc_cgroup.SEV_ES, [])[:1]:
        if cpu and counts[misc_cgroup.SEV_ES] != cpu.first_sev - 1:
            return tree.warned(
                '%s; the processor has %d for %s' % (
                    found, cpu.first_sev - 1, model.title),
                'Look for what else uses ASIDs, as SEV-SNP does, in the '
                'kernel log.')
    return tree.passed(found)


def _get_checks_of_added(model: model_row.Model) -> ty.Iterator[tree.Check]:
    needs = [names.processor(model)]
    if model.count.asids == misc_cgroup.SEV_ES:
        needs.append(names.SPLIT)
    for name in model.parameters_on:
        yield tree.Check(
            names.parameter(name), names.kernel(models.NATIVE),
            functools.partial(check_added, model, name), tuple(needs))
    for name in model.parameters_off:
        yield tree.Check(names.parameter_off(name), names.kernel(model),
                         functools.partial(check_off, model, name))


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    yield tree.Check(names.KERNEL, None, check_kernel, (names.PROCESSOR,))
    for name in models.NATIVE.parameters_on:
        yield tree.Check(names.parameter(name), names.KERNEL,
                         functools.partial(check_native, name),
                         (names.processor(models.NATIVE),))
    for model in names.ADDED:
        yield from _get_checks_of_added(model)
    *others, last = map(names.kernel, names.ADDED)
    yield tree.Check('asids', last, check_asids, tuple(others))
