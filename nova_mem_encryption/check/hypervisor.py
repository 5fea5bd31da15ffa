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

"""Check libvirt, QEMU, the firmware, and whether QEMU may use /dev/sev."""
import re
import typing as ty

from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import models

MACHINE = 'pc-q35-6.2'  # where libvirt does not tell
CACHE = ('Delete /var/cache/libvirt/qemu/capabilities, then restart libvirtd '
         '(or virtqemud).')
# One that allows something; a comment may come after it
RULE = re.compile(r'(?:audit\s+)?("?)/dev/sev\1\s+([a-zA-Z]+)\s*,')
PROFILE = '/etc/apparmor.d/local/abstractions/libvirt-qemu'


def check_libvirt(host: hosts.Host) -> tree.Finding:
    """Look at the version of the daemon."""
    try:
        version = facts.get_versions(host).libvirt
    except hosts.Unanswered as e:
        return tree.failed(
            'libvirt does not answer. %s' % e,
            'Install libvirt with its QEMU driver and virsh, and start '
            'libvirtd (or virtqemud). ' + host.again(hosts.ROOT_ONLY))
    return _compare('libvirt', version, max(
        model.min_libvirt for model in models.MODELS.values()))


def check_qemu(host: hosts.Host) -> tree.Finding:
    """Look at the version."""
    return _compare('QEMU', facts.get_versions(host).qemu, max([
        models.NOVA_QEMU,
        *(model.min_qemu for model in models.MODELS.values())]))


def _compare(name: str, version: ty.Tuple[int, ...],
             lowest: ty.Tuple[int, ...]) -> tree.Finding:
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
                           CACHE + ' It looks at /dev/sev and asks QEMU.')
    return tree.passed('libvirt offers %s to KVM guests on %s' % (
        models.NATIVE.title, found.machine))


def check_counts(host: hosts.Host) -> tree.Finding:
    """Compare libvirt's count of guests with the kernel's of ASIDs."""
    counts = facts.get_capabilities(host).counts
    for model in models.MODELS.values():
        if model.count.required and model.count.element not in counts:
            return tree.failed('libvirt does not tell ' + model.count.element,
                               remedies.COUNTS)
    found = ', '.join('%s is %d' % item for item in sorted(counts.items()))
    for model in models.get_added():
        if not counts.get(model.count.element, 1):
            return tree.failed(
                '%s: %s' % (found, model.count.none),
                '%s %s' % (remedies.get_asids(model), CACHE))
    try:
        capacity = facts.get_capacity(host)
    except hosts.Unanswered:
        return tree.passed(found)
    kernel = {model.count.element: capacity[model.count.asids]
              for model in models.MODELS.values()}
    if any(counts[name] != kernel[name] for name in counts):
        return tree.warned('%s; the kernel has %s ASIDs' % (
            found, names.enumerate_words(
                kernel[name] for name in sorted(kernel))), CACHE)
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


def check_access(host: hosts.Host) -> tree.Finding:
    """See whether QEMU's user can open /dev/sev.

    libvirt adds it to the devices that a SEV guest's cgroup may use, and
    gives its owner's rights to QEMU in the guest's mount namespace (see
    qemuSetupSEVCgroup and virSecurityDACSetSEVLabel of libvirt).
    """
    conf = host.ask_json('qemu-conf')
    if conf['namespaces'] is None or 'mount' in conf['namespaces']:
        return tree.passed('libvirt gives QEMU a /dev/sev of its own, with '
                           'the rights, and adds it to the device cgroup')
    user = (conf['user'] or [None])[0]
    if user in ('root', '+0', '0'):
        return tree.passed('QEMU runs as root')
    device = host.ask_json('dev-sev')
    mode = int(device['mode'], 8) if device else 0
    found = 'QEMU runs as %s, without a mount namespace' % (
        user or "the distribution's user")
    if mode & 0o006 == 0o006 or (device and user == device['user'] and
                                 mode & 0o600 == 0o600):
        return tree.passed(found + '; /dev/sev is open to it')
    return tree.failed(
        '%s; /dev/sev has mode %04o' % (found, mode),
        "Take 'namespaces' out of /etc/libvirt/qemu.conf, or give QEMU's "
        'user /dev/sev by a udev rule.')


def check_apparmor(host: hosts.Host) -> tree.Finding:
    """See whether AppArmor lets guests use /dev/sev."""
    found = host.ask_json('apparmor')
    if not found['enabled']:
        return tree.passed('AppArmor is off')
    drivers = host.ask_json('qemu-conf')['security_driver']
    if drivers is not None and 'apparmor' not in drivers:
        return tree.passed('libvirt does not confine guests by AppArmor')
    matches = [(rule, RULE.match(rule)) for rule in found['rules']]
    allowed = [rule for rule, match in matches
               if match and {'r', 'w'} <= set(match.group(2))]
    if allowed and len(allowed) == len(found['rules']):
        return tree.passed('AppArmor allows it: ' + allowed[0])
    return tree.warned(
        "libvirt's AppArmor profile of guests has no rule that allows "
        '/dev/sev, so QEMU may be refused it',
        "Add the line '/dev/sev rw,' to %s." % PROFILE)


def check_firmware(host: hosts.Host) -> tree.Finding:
    """Choose the firmware for guests, as the driver does."""
    try:
        machine = facts.get_capabilities(host).machine or MACHINE
    except hosts.Unanswered:
        machine = MACHINE
    found = []
    for model in models.MODELS.values():
        if not model.firmware.required:
            continue
        selected = selection.choose(model.value, machine, host.root)
        if selected.firmware is None:
            return tree.failed(
                'no firmware can start %s guests: %s' % (
                    model.title, str(selected)),
                'Install UEFI firmware with %s support and without secure '
                'boot (ovmf of Debian 12 or later, edk2-ovmf).' % model.title)
        found.append('%s, by %s' % (selected.firmware.executable,
                                    selected.firmware.path))
    return tree.passed('; '.join(dict.fromkeys(found)))


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    kernel = tuple(map(names.kernel, models.get_added()))
    yield tree.Check('libvirt', None, check_libvirt)
    yield tree.Check('qemu', 'libvirt', check_qemu)
    yield tree.Check('capabilities', 'qemu', check_capabilities,
                     ('/dev/sev',))
    yield tree.Check('guests', 'capabilities', check_counts, kernel)
    yield tree.Check('in-use', 'guests', check_in_use)
    yield tree.Check('access', 'libvirt', check_access, ('/dev/sev',))
    yield tree.Check('apparmor', 'access', check_apparmor)
    yield tree.Check(names.FIRMWARE, None, check_firmware)
