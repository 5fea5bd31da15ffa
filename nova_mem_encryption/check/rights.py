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


"""Check what the host lets QEMU do: its devices, and memory that is locked."""
import errno
import os
import re
import typing as ty

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import names
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.mem_encryption import models

# One that allows something; a comment may come after it
RULE = re.compile(r'(?:audit\s+)?("?)/dev/sev\1\s+([a-zA-Z]+)\s*,')
PROFILE = '/etc/apparmor.d/local/abstractions/libvirt-qemu'
# Of /dev/sev: selinux-policy 3.14.3 of Fedora and later
SELINUX_TYPE = 'sev_device_t'


def check_kvm(host: hosts.Host) -> tree.Finding:
    """See whether QEMU's user can open /dev/kvm."""
    answer = host.ask_json('kvm-access')
    found = "QEMU's user %s " % answer['user']
    if not answer['error']:
        return tree.passed(found + 'can open /dev/kvm')
    if answer['error'] in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return tree.failed('there is no /dev/kvm that works',
                           'Enable SVM in the BIOS, and load kvm_amd.')
    judge = tree.warned if answer['guessed'] else tree.failed
    # NOTE: to JSON Schema 13.0 is an integer, too.
    return judge(
        '%scannot open /dev/kvm: %s' % (
            found, os.strerror(int(answer['error']))),
        'Give it the rights, by the group of /dev/kvm (usermod -aG kvm %s), '
        "and see that the container's devices and AppArmor or SELinux allow "
        'it.' % answer['user'])


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


def check_selinux(host: hosts.Host) -> tree.Finding:
    """See whether SELinux knows /dev/sev."""
    found = host.ask_json('selinux')
    if not found['enforcing']:
        return tree.passed('SELinux is off, or only tells')
    if found['type'] == SELINUX_TYPE:
        return tree.passed('SELinux knows /dev/sev: ' + SELINUX_TYPE)
    return tree.warned(
        'SELinux has /dev/sev %s, and not as %s, so QEMU may be refused it' % (
            'as %s' % found['type'] if found['type'] else 'without a label',
            SELINUX_TYPE),
        'Update selinux-policy, then restorecon -v /dev/sev.')


def check_locked_memory(host: hosts.Host) -> tree.Finding:
    """See whether libvirt can let QEMU lock all memory of a guest.

    It raises the limit of QEMU, which only CAP_SYS_RESOURCE allows beyond its
    own (virProcessSetMaxMemLock; prlimit(2)).
    """
    found = host.ask_json('libvirtd')
    if found['may_raise']:
        return tree.passed('libvirt can raise the limit of locked memory')
    if found['memlock'] is None:
        return tree.passed('locked memory has no limit')
    return tree.warned(
        'libvirt cannot raise the limit of locked memory, and has %d bytes '
        'itself' % found['memlock'],
        'Give its daemon LimitMEMLOCK=infinity, or in a container '
        'CAP_SYS_RESOURCE: all memory of %s guests is locked.'
        % names.enumerate_words(model.title for model in
                                names.MODELS if model.locked))


def check_iommu(host: hosts.Host) -> tree.Finding:
    """See whether PCI devices can be passed through, if any are."""
    devices = host.ask_json('nova-conf').get('pci.device_spec')
    groups = host.ask_json('iommu')
    if groups:
        return tree.passed('there is an IOMMU: %d groups of devices' % groups)
    if devices:
        return tree.warned(
            'there is no IOMMU, and [pci] device_spec has %d devices to pass '
            'through' % devices,
            'Enable the IOMMU in the BIOS, and boot without amd_iommu=off.')
    # NOTE: a model that needs one has a check of its own.
    return tree.passed('there is no IOMMU, which only PCI passthrough needs '
                       'here')


def get_checks() -> ty.Iterator[tree.Check]:
    """Yield the checks, each after those that it needs."""
    yield tree.Check('/dev/kvm', 'libvirt', check_kvm,
                     (names.kernel(models.NATIVE),))
    yield tree.Check('access', 'libvirt', check_access, ('/dev/sev',))
    yield tree.Check('apparmor', 'access', check_apparmor)
    yield tree.Check('selinux', 'access', check_selinux)
    yield tree.Check('locked-memory', 'libvirt', check_locked_memory)
