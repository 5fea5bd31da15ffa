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

"""Make the recorded hosts, from debian-12 and what differs from it.

'python tools/check_hosts/make.py [DIR]'. See README.rst.
"""
import json
import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = 'debian-12'
KVM_AMD = 'root/sys/module/kvm_amd/parameters/'
AT_ONCE = 'root/sys/module/ccp/parameters/psp_init_on_probe'
CAPACITY = 'root/sys/fs/cgroup/misc.capacity'
CURRENT = 'root/sys/fs/cgroup/misc.current'
FIRMWARE = 'root/usr/share/qemu/firmware'
CPUID = 'eax=0x%08x ebx=0x%08x ecx=0x%08x edx=0x%08x\n'
CPUINFO = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: %d
model\t\t: %d
model name\t: %s
flags\t\t: svm sme sev sev_es
"""
CAPABILITIES = """\
<domainCapabilities>
  <domain>kvm</domain>
  <machine>pc-q35-7.2</machine>
  <arch>x86_64</arch>
  <features>
    <sev supported="yes">
      <cbitpos>%d</cbitpos>
      <reducedPhysBits>%d</reducedPhysBits>
      <maxGuests>%d</maxGuests>
      <maxESGuests>%d</maxESGuests>
    </sev>
  </features>
</domainCapabilities>
"""
NO_SEV = """\
<domainCapabilities>
  <domain>kvm</domain>
  <machine>pc-q35-7.2</machine>
  <arch>x86_64</arch>
  <features>
    <sev supported="no"/>
  </features>
</domainCapabilities>
"""


def _json(value):
    return json.dumps(value, indent=1) + '\n'


def _provider(total=0, used=0, traits=()):
    return {'total': total, 'reserved': 0, 'used': used,
            'traits': list(traits)}


def _placement(sev, sev_es, used=0):
    return {'commands/placement.error': None,
            'commands/placement': _json({
                'root': _provider(),
                'amd_sev': _provider(sev, 0, ['HW_CPU_X86_AMD_SEV']),
                'amd_sev_es': sev_es and _provider(
                    sev_es, used, ['HW_CPU_X86_AMD_SEV_ES']) or None})}


def _asids(last, first_sev):
    """Return what follows from ECX and EDX, where SEV is on."""
    sev, sev_es = last - first_sev + 1, first_sev - 1
    return {
        'commands/cpuid': CPUID % (0xf, 51 | 1 << 6, last, first_sev),
        'commands/domcapabilities': CAPABILITIES % (51, 1, sev, sev_es),
        CAPACITY: 'sev %d\n' % sev + 'sev_es %d\n' % sev_es * bool(sev_es),
        KVM_AMD + 'sev_es': 'NY'[bool(sev_es)] + '\n',
        **_placement(sev, sev_es)}


def _status(state=1, es=True):
    return _json({'api': [1, 55], 'build': 24, 'state': state, 'es': es})


# What differs from BASE, and then from READY: the text, or None for no file
READY = {
    'root/proc/cpuinfo': CPUINFO % (25, 17, 'AMD EPYC 9354 32-Core Processor'),
    'commands/kernel': '6.8.0-60-generic x86_64\n',
    KVM_AMD + 'sev_snp': 'N\n', AT_ONCE: 'Y\n',
    'commands/platform-status': _status(),
    'commands/kernel-log': _json([]),
    'commands/kvm-access': _json({
        'user': 'libvirt-qemu', 'guessed': False, 'error': 0}),
    'commands/selinux': _json({'enforcing': False, 'type': None}),
    'commands/iommu': '75\n',
    'commands/libvirtd': _json({'may_raise': True, 'memlock': 8388608}),
    'commands/apparmor': _json({'enabled': True, 'rules': ['/dev/sev rw,']}),
    'commands/nova-conf': _json({
        'files': 1, 'compute_driver': 'mem_encryption.LibvirtDriver',
        'ram_allocation_ratio': 1.0, 'initial_ram_allocation_ratio': 1.0,
        'reserved_host_memory_mb': 16384, 'libvirt.virt_type': 'kvm',
        'libvirt.hw_machine_type': ['x86_64=q35'],
        'libvirt.cpu_mode': 'host-model', 'libvirt.cpu_models': [],
        'libvirt.num_memory_encrypted_guests': None,
        'libvirt.file_backed_memory': 0,
        'pci.device_spec': 0}),
    **_asids(1006, 100),
    **_placement(907, 99, 2),
    CURRENT: 'sev 0\nsev_es 2\n',
    'commands/guests': _json({'sev': 0, 'sev_es': 2})}
IDLE = {CURRENT: 'sev 0\nsev_es 0\n',
        'commands/guests': _json({'sev': 0, 'sev_es': 0})}
HOSTS = {
    'ready': {},
    'split-forgotten': {**IDLE, **_asids(1006, 1), CURRENT: 'sev 0\n'},
    'snp-on': {**IDLE, KVM_AMD + 'sev_snp': 'Y\n', **_placement(907, 0)},
    'naples': {
        **IDLE, **_asids(15, 5), 'root/proc/cpuinfo': CPUINFO % (
            23, 1, 'AMD EPYC 7551 32-Core Processor')},
    'psp-not-initialised': {
        **IDLE, 'commands/platform-status': _status(0, False),
        'commands/kernel-log': _json([
            'ccp 0000:22:00.1: SEV: failed to INIT error 0x13, rc -5']),
        'commands/domcapabilities': NO_SEV, **_placement(0, 0)},
    'psp-no-es': {
        **IDLE, 'commands/platform-status': _status(es=False),
        'commands/kernel-log': _json([
            'ccp 0000:22:00.1: SEV: TMR allocation failed, SEV-ES support '
            'unavailable']), **_placement(907, 0)},
    'snp-in-bios': {
        'root/proc/cpuinfo': CPUINFO.replace('sev_es', 'sev_es sev_snp') % (
            25, 17, 'AMD EPYC 9354 32-Core Processor')},
    'no-firmware': {**IDLE, FIRMWARE: None, **_placement(907, 0)},
}


def make(folder):
    """Make all hosts but the first.

    :param folder: where to
    """
    for name, differences in HOSTS.items():
        host = os.path.join(folder, name)
        shutil.rmtree(host, ignore_errors=True)
        shutil.copytree(os.path.join(HERE, BASE), host)
        for path, text in {**READY, **differences}.items():
            path = os.path.join(host, path)
            if os.path.isdir(path):
                shutil.rmtree(path)
                # git has no empty folders.
                if not os.listdir(os.path.dirname(path)):
                    os.rmdir(os.path.dirname(path))
            elif text is not None:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, 'w') as f:
                    f.write(text)
            elif os.path.exists(path):
                os.unlink(path)


if __name__ == '__main__':
    make(*sys.argv[1:] or [HERE])
