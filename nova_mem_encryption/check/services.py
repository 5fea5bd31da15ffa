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

"""Check Nova on this host."""
import functools
import typing as ty

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import offered
from nova_mem_encryption.check import presence
from nova_mem_encryption.check import rights
from nova_mem_encryption.check import slots
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import models


def check_conf(host: hosts.Host) -> tree.Finding:
    """See whether nova-compute runs KVM guests by libvirt."""
    conf = host.ask_json('nova-conf')
    driver, kind = conf['compute_driver'], conf['libvirt.virt_type']
    found = 'compute_driver is %s, [libvirt] virt_type %s' % (driver, kind)
    if not conf['files']:
        return tree.warned(
            'no nova.conf was found: its defaults were looked at',
            host.again('Give the one of nova-compute by --config-file, or run '
                       'this as root.'))
    if driver not in (presence.NOVAS, presence.OURS):
        return tree.failed(found, 'Set compute_driver = %s.' % presence.OURS)
    if kind != 'kvm':
        return tree.failed(found, remedies.VIRT_TYPE)
    return tree.passed(found)


def check_libvirt_python(host: hosts.Host) -> tree.Finding:
    """See whether nova-compute's Python can talk to libvirt."""
    answer = host.ask_json('libvirt-python')
    if answer['version'] is None:
        return tree.failed(
            'nova-compute cannot import libvirt-python, and does not start: %s'
            % answer['fault'],
            'Install libvirt-python for the Python that nova-compute runs on: '
            'python3-libvirt of the distribution, or, in a virtual '
            'environment, pip install --force-reinstall libvirt-python.')
    lowest = max(model.min_libvirt for model in names.MODELS)
    found = 'libvirt-python has libvirt ' + '.'.join(
        map(str, answer['version']))
    if tuple(answer['version']) < lowest:
        return tree.warned(found, remedies.upgrade(lowest))
    return tree.passed(found)


def check_machine_type(host: hosts.Host) -> tree.Finding:
    """See whether guests get q35 by default."""
    types = dict(item.partition('=')[::2] for item in host.ask_json(
        'nova-conf')['libvirt.hw_machine_type'])
    found = types.get('x86_64', '')
    if 'q35' not in found:
        return tree.warned(
            '[libvirt] hw_machine_type of x86_64 is %s' % (
                found or 'not set, so that guests get pc'),
            'Set [libvirt] hw_machine_type = x86_64=q35, or have property '
            'hw_machine_type=q35 in each image.')
    return tree.passed('[libvirt] hw_machine_type of x86_64 is ' + found)


def check_memory(host: hosts.Host) -> tree.Finding:
    """See whether memory is promised twice, which cannot be swapped."""
    conf = host.ask_json('nova-conf')
    # NOTE: 0.0 means that it is not set.
    ratio = (conf['ram_allocation_ratio'] or
             conf['initial_ram_allocation_ratio'])
    found = ('ram_allocation_ratio is %.60s, reserved_host_memory_mb %d'
             % (ratio, conf['reserved_host_memory_mb']))
    if not 0 < ratio <= 1:
        return tree.warned(
            found, 'Set ram_allocation_ratio = 1.0: all memory of encrypted '
            'guests stays in RAM. Reserve for the host what QEMU needs '
            'besides, by reserved_host_memory_mb.')
    return tree.passed(found)


def check_file_backed_memory(host: hosts.Host) -> tree.Finding:
    """See whether the memory of guests is that of files.

    KVM pins the memory of an encrypted guest, since Linux 6.15 for long ("KVM:
    SEV: Use long-term pin when registering encrypted memory regions"). Since
    Linux 6.5 mm/gup.c refuses that for shared files that are to be written to
    a disk, as those of file_backed_memory are unless they are on tmpfs.
    """
    size = host.ask_json('nova-conf').get('libvirt.file_backed_memory')
    if size is None:
        return tree.Finding(tree.SKIP, 'it was not recorded')
    found = '[libvirt] file_backed_memory is %d' % size
    for row in offered.get_added(host):
        if size and 'file_backed_memory' in row.lacks:
            return tree.failed('%s. Of %s guests: %s' % (
                found, row.title, row.lacks['file_backed_memory']),
                remedies.FILE_BACKED)
    if size:
        return tree.warned(
            found + ': Linux 6.15 and later start no encrypted guest whose '
            'memory is a file on a disk',
            'Set [libvirt] file_backed_memory = 0, or have '
            'memory_backing_dir of /etc/libvirt/qemu.conf on tmpfs.')
    return tree.passed(found)


def check_cpu_model(host: hosts.Host) -> tree.Finding:
    """See whether guests get an AMD processor."""
    conf = host.ask_json('nova-conf')
    mode, models = conf['libvirt.cpu_mode'], conf['libvirt.cpu_models']
    found = '[libvirt] cpu_mode is %s' % (mode or 'not set: host-model')
    if mode == 'custom':
        found += ', cpu_models %s' % ', '.join(models)
    if mode == 'none' or mode == 'custom' and not (models and all(
            model.upper().startswith('EPYC') for model in models)):
        return tree.warned(
            found, 'Set cpu_mode = host-model, or cpu_models of EPYC: a guest '
            'looks for SEV only on a processor of AMD that can have it.')
    return tree.passed(found)


def check_deprecated(host: hosts.Host) -> tree.Finding:
    """See whether the slots of SEV are capped."""
    limit = host.ask_json('nova-conf')['libvirt.num_memory_encrypted_guests']
    if limit is not None:
        return tree.warned(
            '[libvirt] num_memory_encrypted_guests is %d: it caps plain %s, '
            'and not %s' % (limit, models.NATIVE.title, ' and '.join(
                model.title for model in names.ADDED)),
            'Take it out, as it is deprecated: libvirt tells both counts.')
    return tree.passed('[libvirt] num_memory_encrypted_guests is not set')


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    yield tree.Check('nova', None, presence.check_engine)
    yield tree.Check('services', 'nova', presence.check_services, vital=False)
    yield tree.Check('libvirt-python', 'nova', check_libvirt_python,
                     vital=False)
    yield tree.Check('nova.conf', 'nova', check_conf)
    yield tree.Check('compute-driver', 'nova.conf', presence.check_driver)
    yield tree.Check('machine-type', 'nova.conf', check_machine_type)
    yield tree.Check('memory', 'nova.conf', check_memory)
    yield tree.Check('file-backed', 'nova.conf', check_file_backed_memory)
    yield tree.Check('iommu', 'nova.conf', rights.check_iommu)
    yield tree.Check('cpu-model', 'nova.conf', check_cpu_model)
    yield tree.Check('deprecated', 'nova.conf', check_deprecated)
    yield tree.Check('placement', 'nova.conf', slots.check_placement,
                     ('guests', 'services', 'libvirt-python'))
    for model in names.MODELS:
        needs = list(map(names.parameter_off, model.parameters_off))
        if model.needs_es:
            needs.append(names.psp(model))
        if model.firmware.required:
            needs.append(names.FIRMWARE)
        yield tree.Check(names.provider(model), 'placement',
                         functools.partial(slots.check_provider, model),
                         tuple(needs))
    yield tree.Check('usage', 'placement', slots.check_usage)
