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

"""Say in plain words what libvirt or QEMU complain of."""
import re

from oslo_log import log as logging

from nova.i18n import _

from nova_mem_encryption.nova.virt.libvirt import guest_config

LOG = logging.getLogger(__name__)

# What libvirt and QEMU say of a guest that they do not start: how to know it,
# what the server's user is told, and what the operator is. -16, -22 and -25
# are the kernel's EBUSY, EINVAL and ENOTTY: see sev_guest_init and
# sev_asid_new in arch/x86/kvm/svm/sev.c, and misc_cg_try_charge in
# kernel/cgroup/misc.c.
COMPLAINTS = [
    (r'failed to initialize ret=-16',
     _('all its ASIDs for guests of this model are in use.'),
     'More guests of this model run here than Nova knows of, or misc.max of '
     'the cgroup that guests run in allows no more. See which guests are not '
     'its own (virsh list).'),
    # Kernels before 6.9 say EINVAL where there is none.
    (r'failed to initialize ret=-(22|25)',
     _('its kernel has no ASID for guests of this model, or does not support '
       'it.'),
     'Check kernel parameters kvm_amd.sev and kvm_amd.sev_es, and how the '
     'BIOS splits the ASIDs.'),
    (r'host SEV-ES support unavailable',
     _('its secure processor does not support SEV-ES.'),
     'Check kernel parameters kvm_amd.sev_es and kvm_amd.sev_snp, and that '
     'the BIOS sets ASIDs aside for SEV-ES.'),
    (r'reset vector|SEV information block',
     _('the firmware of the guest does not support SEV-ES.'),
     'Install firmware that has the SEV-ES reset block.'),
    (r'cbitpos check failed|reduced_phys_bits check failed',
     _('its processor is not the one that libvirt knows.'),
     'Restart libvirtd, and nova-compute after it.'),
    (r'Failed to open /dev/sev',
     _('QEMU cannot use its secure processor.'),
     'Check the rights of /dev/sev, cgroup devices and AppArmor or SELinux.'),
    (r'Policy is not allowed',
     _('its secure processor does not allow the policy of the guest.'),
     'The platform owner or the firmware forbids it, as with SEV-SNP on.'),
    (r"(SEV|'sev') launch security is not supported",
     _('its libvirt or QEMU does not support AMD SEV any more.'),
     'Check /dev/sev and kernel parameter kvm_amd.sev.'),
    # Now and then libvirt notices first that QEMU has ended.
    (r'failed to connect to monitor socket',
     _('QEMU ended before libvirt could read why.'),
     'QEMU says why in /var/log/libvirt/qemu.'),
]


def refuse(config, error, instance):
    """Say why libvirt does not start a guest.

    :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
    :param libvirt.libvirtError error: what libvirt says
    :param nova.objects.Instance instance: the server
    :raises nova.exception.MemEncryptionUnavailable: with one sentence, if
        the complaint is of memory encryption
    """
    for line in str(error).splitlines():
        for pattern, reason, remedy in COMPLAINTS:
            if not re.search(pattern, line):
                continue
            LOG.error('Memory encryption model %(model)s cannot be given: '
                      '%(complaint)s. %(remedy)s',
                      {'model': config.model, 'remedy': remedy,
                       # Without date and program
                       'complaint': re.sub(r'.*qemu-system-\w+: ', '',
                                           line).rstrip('.')},
                      instance=instance)
            guest_config.refuse(config, reason)
