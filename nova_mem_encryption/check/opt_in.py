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

"""Check what a host needs for the models that it offers only if told to.

Nothing of it is asked for where it is not told to: then all is skipped.
"""
import functools
import os
import typing as ty

from nova_mem_encryption.check import examples
from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import hypervisor
from nova_mem_encryption.check import kernel
from nova_mem_encryption.check import names
from nova_mem_encryption.check import offered
from nova_mem_encryption.check import processor
from nova_mem_encryption.check import secure_processor
from nova_mem_encryption.check import slots
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host import processor as cpu
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption.host import secure_processor \
    as psp
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models


def check_option(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """See whether this host is to offer a model."""
    found = '[libvirt] %s is ' % model.option
    if offered.is_enabled(host, model):
        return tree.passed(found + 'true')
    return tree.Finding(tree.SKIP, '%sfalse: no %s is offered here' % (
        found, model.title))


def check_iommu(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """See whether there is an IOMMU that the kernel uses as it has to be."""
    remedy = remedies.switch_on_iommu(model)
    if cpu.leaves_snp_alone(host.root):
        return tree.failed('the kernel was told to leave the IOMMU alone '
                           '(/proc/cmdline)', remedy)
    groups = host.ask_json('iommu')
    if not groups:
        return tree.failed('there is no IOMMU',
                           'Enable the IOMMU in the BIOS. ' + remedy)
    return tree.passed('the IOMMU has %d groups of devices' % groups)


def check_parameters(model: model_row.Model, host: hosts.Host
                     ) -> tree.Finding:
    """See whether the kernel has it on."""
    for name in model.parameters_on:
        finding = kernel.check_added(model, name, host)
        if finding.verdict != tree.PASS:
            return finding
    return finding


def check_initialised(model: model_row.Model, host: hosts.Host
                      ) -> tree.Finding:
    """See whether the secure processor was initialised for SEV-SNP."""
    found = host.ask_json('snp-status')
    if 'error' in found:
        # NOTE: to JSON Schema 16.0 is an integer, too.
        error = OSError(int(found['error']), os.strerror(int(found['error'])))
        fault = psp.read_error(error)
        if fault is None:
            raise hosts.Unanswered('snp-status: %s.' % error.strerror)
    else:
        fault = psp.find_fault_of_snp(found['initialised'], model)
    if fault is not None:
        return secure_processor.fail(host, fault)
    return tree.passed('it was initialised for %s' % model.title)


def check_libvirt(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """Look at the version that the model needs."""
    return hypervisor.compare('libvirt', facts.get_versions(host).libvirt,
                              model.min_libvirt)


def check_qemu(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """Look at the version that the model needs."""
    return hypervisor.compare('QEMU', facts.get_versions(host).qemu,
                              model.min_qemu)


def check_capabilities(model: model_row.Model, host: hosts.Host
                       ) -> tree.Finding:
    """See whether libvirt offers it."""
    found = facts.get_capabilities(host)
    if model.launch_security.element not in found.elements:
        return tree.failed('libvirt says that KVM guests cannot have %s'
                           % model.title, remedies.CACHE)
    return tree.passed('libvirt offers %s to KVM guests on %s' % (
        model.title, found.machine))


def check_firmware(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """Choose the firmware for guests; say how a descriptor is installed."""
    finding = hypervisor.check_firmware(host, [model])
    act = examples.install(model, host.root)
    if finding.verdict != tree.FAIL:
        return finding
    if act is None:
        example = examples.find_descriptor(model)
        return finding if example is None else tree.failed(
            finding.found, '%s Some firmware has no such descriptor: once %s '
            'is there, which is that of ovmf of Debian 13, this tells how to '
            'install one.' % (finding.remedy, example.executable))
    return tree.failed(finding.found, 'Run as root: %s. Then restart nova-'
                       'compute. A package of firmware that has such a '
                       'descriptor itself does as well.' % act)


def check_trait(model: model_row.Model, host: hosts.Host) -> tree.Finding:
    """See whether Placement knows the trait of a model."""
    unknown = host.ask_json('placement').get('unknown')
    if unknown is None:
        return tree.Finding(tree.SKIP, 'it was not recorded')
    if model.suffix in unknown:
        return tree.failed(
            'Placement does not know trait ' + model.trait,
            'Upgrade os-traits to %s or later where Placement is installed, '
            'and restart Placement.' % model.os_traits)
    return tree.passed('Placement knows trait ' + model.trait)


def _get_checks_of(model: model_row.Model) -> ty.Iterator[tree.Check]:
    def check(name, parent, function, *needs, vital=True):
        return tree.Check(name, parent, functools.partial(function, model),
                          needs, vital)

    def name(what):
        return names.of(what, model)

    option, has = str(model.option), names.processor(model)
    native = models.NATIVE
    yield check(option, None, check_option, vital=False)
    # Without it the kernel does not see what the processor has.
    yield check(name('iommu'), option, check_iommu)
    yield check(has, name('iommu'), processor.check_model,
                names.processor(native))
    yield check(name(names.KERNEL), has, check_parameters,
                names.kernel(native), *map(names.kernel, names.ADDED))
    needs = [name(names.KERNEL), name('sectype'), name(names.FIRMWARE)]
    if 'file_backed_memory' in model.lacks:
        needs.append('file-backed')
    if model.needs_snp:
        needs.append(names.psp(model))
        yield check(names.psp(model), name(names.KERNEL), check_initialised,
                    '/dev/sev', vital=False)
    yield check(name('libvirt'), option, check_libvirt, 'libvirt')
    yield check(name('qemu'), name('libvirt'), check_qemu, 'qemu')
    yield check(name('sectype'), name('qemu'), check_capabilities,
                'capabilities')
    yield check(name(names.FIRMWARE), option, check_firmware)
    if model.os_traits is not None:
        needs.append(name('trait'))
        yield check(name('trait'), option, check_trait, 'placement')
    yield check(names.provider(model), option, slots.check_provider,
                'placement', *needs)


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    for model in models.get_added():
        if model.option is not None:
            yield from _get_checks_of(model)
