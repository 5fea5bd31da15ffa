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

"""Check libvirt, QEMU and the firmware."""
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import model as model_row
from nova_mem_encryption.nova.mem_encryption import models

MACHINE = 'pc-q35-6.2'  # where libvirt does not tell


def check_libvirt(host: hosts.Host) -> tree.Finding:
    """Look at the version of the daemon."""
    try:
        version = facts.get_versions(host).libvirt
    except hosts.Unanswered as e:
        return tree.failed(
            'libvirt does not answer. %s' % e,
            'Install libvirt with its QEMU driver and virsh, and start '
            'libvirtd (or virtqemud). ' + host.again(e.remedy))
    return compare('libvirt', version, max(
        model.min_libvirt for model in names.MODELS))


def check_qemu(host: hosts.Host) -> tree.Finding:
    """Look at the version."""
    return compare('QEMU', facts.get_versions(host).qemu, max([
        models.NOVA_QEMU,
        *(model.min_qemu for model in names.MODELS)]))


def compare(name: str, version: ty.Tuple[int, ...],
            lowest: ty.Tuple[int, ...]) -> tree.Finding:
    """Compare a version with that which is needed."""
    found = '%s %s' % (name, '.'.join(map(str, version)))
    if version < lowest:
        return tree.failed(found, remedies.upgrade(lowest))
    return tree.passed(found)


def check_capabilities(host: hosts.Host) -> tree.Finding:
    """See whether libvirt offers SEV."""
    found = facts.get_capabilities(host)
    if not found.supported:
        return tree.failed('libvirt says that KVM guests cannot have %s'
                           % models.NATIVE.title,
                           remedies.NOT_OFFERED)
    return tree.passed('libvirt offers %s to KVM guests on %s' % (
        models.NATIVE.title, found.machine))


def check_counts(host: hosts.Host) -> tree.Finding:
    """Compare libvirt's count of guests with the kernel's of ASIDs."""
    counts = facts.get_capabilities(host).counts
    for model in names.MODELS:
        if model.count.required and model.count.element not in counts:
            return tree.failed('libvirt does not tell ' + model.count.element,
                               remedies.COUNTS)
    found = ', '.join('%s is %d' % item for item in sorted(counts.items()))
    for model in names.ADDED:
        if not counts.get(model.count.element, 1):
            return tree.failed(
                '%s: %s' % (found, model.count.none),
                '%s %s' % (remedies.get_asids(model), remedies.CACHE))
    try:
        capacity = facts.get_capacity(host)
    except hosts.Unanswered:
        return tree.passed(found)
    kernel = {model.count.element: capacity[model.count.asids]
              for model in names.MODELS}
    if any(counts[name] != kernel[name] for name in counts):
        return tree.warned('%s; the kernel has %s ASIDs' % (
            found, names.enumerate_words(
                kernel[name] for name in sorted(kernel))), remedies.CACHE)
    return tree.passed(found)


def check_in_use(host: hosts.Host) -> tree.Finding:
    """Compare the kernel's count of used ASIDs with libvirt's guests."""
    current = misc_cgroup.read_current(host.root)
    if current.path is None:
        return tree.Finding(tree.SKIP, 'the kernel does not tell how many '
                            'ASIDs are in use (Linux 6.5 does)')
    kernel = facts.get_current(host)
    guests = host.ask_json('guests')
    pools = models.get_pools()
    found = 'ASIDs in use: %s; guests of libvirt: %s' % (
        ', '.join('%d of %s' % (kernel[key], pool[0].title)
                  for key, pool in pools.items()),
        names.enumerate_words(guests[key] for key in pools))
    if any(kernel[key] > guests[key] for key in pools):
        return tree.warned(found, 'Find who else has encrypted guests: '
                           'pgrep -a qemu, other container or user.')
    return tree.passed(found)


def check_firmware(host: hosts.Host, rows: ty.Iterable[model_row.Model] =
                   names.MODELS) -> tree.Finding:
    """Choose the firmware for guests, as the driver does."""
    try:
        machine = facts.get_capabilities(host).machine or MACHINE
    except hosts.Unanswered:
        machine = MACHINE
    found = []
    for model in rows:
        if not model.firmware.required:
            continue
        selected = selection.choose(model.value, machine, host.root)
        if selected.firmware is None:
            return tree.failed(
                'no firmware can start %s guests: %s' % (
                    model.title, str(selected)),
                'Install UEFI firmware with %s support and without secure '
                'boot%s.' % (model.title, ' (ovmf of Debian 12 or later, '
                             'edk2-ovmf)' * (model.option is None)))
        found.append('%s, by %s' % (selected.firmware.executable,
                                    selected.firmware.path))
    return tree.passed('; '.join(dict.fromkeys(found)))


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    kernel = tuple(map(names.kernel, names.ADDED))
    yield tree.Check('libvirt', None, check_libvirt)
    yield tree.Check('qemu', 'libvirt', check_qemu)
    yield tree.Check('capabilities', 'qemu', check_capabilities,
                     ('/dev/sev', names.PSP))
    yield tree.Check('guests', 'capabilities', check_counts, kernel)
    yield tree.Check('in-use', 'guests', check_in_use)
    yield tree.Check(names.FIRMWARE, None, check_firmware)
