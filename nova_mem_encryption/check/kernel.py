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
from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import tree
from nova_mem_encryption.nova.virt.libvirt import misc_cgroup
from nova_mem_encryption.nova.virt.libvirt import remedies

MIN_KERNEL = (5, 11)
# Without these the kernel leaves SEV, or SEV-ES, off; see sev_hardware_setup
# in arch/x86/kvm/svm/sev.c. Not every kernel has them all.
FOR_SEV = (('kvm_amd', 'npt'), ('kvm_amd', 'nrips'))
FOR_SEV_ES = (('kvm', 'mmio_caching'), ('kvm_amd', 'lbrv'))


def check_kernel(host: hosts.Host) -> tree.Finding:
    """Look at the version."""
    version = facts.get_kernel(host)
    found = 'Linux %d.%d' % version
    if version < MIN_KERNEL:
        return tree.failed(found, 'Upgrade it to %d.%d or later.' % MIN_KERNEL)
    return tree.passed(found)


def check_sev(host: hosts.Host) -> tree.Finding:
    """See whether the kernel has SEV on."""
    on = facts.get_parameter(host, 'kvm_amd', 'sev')
    if on:
        return tree.passed('kernel parameter kvm_amd.sev is on')
    if on is None:
        return tree.failed(
            'kernel module kvm_amd is not loaded, or was built without SEV',
            'Enable SVM in the BIOS, and load kvm_amd with sev=1, of a kernel '
            'with CONFIG_KVM_AMD_SEV.')
    return _off(host, 'sev', FOR_SEV, 'Load kvm_amd with sev=1. If that does '
                'not help, see what the kernel log says of SEV and ccp.')


def check_sev_es(host: hosts.Host) -> tree.Finding:
    """See whether the kernel has SEV-ES on."""
    if facts.get_parameter(host, 'kvm_amd', 'sev_es'):
        return tree.passed('kernel parameter kvm_amd.sev_es is on')
    return _off(host, 'sev_es', FOR_SEV_ES, remedies.SEV_ES)


def _off(host, name, parameters, remedy):
    guilty = ['%s.%s' % parameter for parameter in parameters
              if facts.get_parameter(host, *parameter) is False]
    found = 'kernel parameter kvm_amd.%s is off' % name
    if guilty:
        return tree.failed(
            '%s, as %s is off' % (found, ' and '.join(guilty)),
            'Load the module with %s, then kvm_amd with %s=1.' % (
                ' and '.join('%s=1' % parameter.partition('.')[2]
                             for parameter in guilty), name))
    return tree.failed(found, remedy)


def check_sev_snp(host: hosts.Host) -> tree.Finding:
    """See whether SEV-SNP gets in the way."""
    if facts.get_parameter(host, 'kvm_amd', 'sev_snp'):
        return tree.failed('kernel parameter kvm_amd.sev_snp is on, which can '
                           'disable SEV-ES', remedies.SEV_SNP)
    return tree.passed('kernel parameter kvm_amd.sev_snp is off')


def check_asids(host: hosts.Host) -> tree.Finding:
    """Compare the kernel's count of ASIDs with the processor's."""
    reading = misc_cgroup.read_capacity(host.root)
    if reading.path is None:
        return tree.Finding(tree.SKIP, 'the kernel does not tell how many '
                            'ASIDs it has (Linux 5.13 does)')
    counts = facts.get_capacity(host)
    found = 'the kernel has %d ASIDs for SEV, %d for SEV-ES' % (
        counts[misc_cgroup.SEV], counts[misc_cgroup.SEV_ES])
    if not counts[misc_cgroup.SEV_ES]:
        return tree.failed(found + ' (misc.capacity)', remedies.SPLIT)
    cpu = facts.get_memory_encryption(host)
    if cpu is not None and counts[misc_cgroup.SEV_ES] != cpu.first_sev - 1:
        return tree.warned(
            '%s; the processor has %d for SEV-ES' % (found, cpu.first_sev - 1),
            'Look for what else uses ASIDs, as SEV-SNP does, in the kernel '
            'log.')
    return tree.passed(found)


def check_dev_sev(host: hosts.Host) -> tree.Finding:
    """See whether the secure processor can be reached."""
    found = host.ask_json('dev-sev')
    if found is None:
        return tree.failed(
            'there is no /dev/sev',
            'Load kernel module ccp, and see what the kernel log says of it. '
            'The secure processor (PSP) may be off in the BIOS.')
    if not found['device']:
        return tree.failed('/dev/sev is not a device',
                           'Delete it, and load kernel module ccp again.')
    return tree.passed('/dev/sev is there: mode %(mode)s, user %(user)s, '
                       'group %(group)s' % found)


CHECKS = [
    tree.Check('kernel', None, check_kernel),
    tree.Check('kvm_amd.sev', 'kernel', check_sev, ('sev',)),
    tree.Check('kvm_amd.sev_es', 'kvm_amd.sev', check_sev_es,
               ('sev-es', 'split')),
    tree.Check('kvm_amd.sev_snp', 'kvm_amd.sev_es', check_sev_snp),
    tree.Check('asids', 'kvm_amd.sev_es', check_asids),
    tree.Check('/dev/sev', 'kvm_amd.sev', check_dev_sev),
]
