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
import struct
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
BASE = 'debian-12'
KVM_AMD = 'root/sys/module/kvm_amd/parameters/'
IMAGE = 'root/usr/share/ovmf/OVMF.fd'
DESCRIPTOR = 'root/etc/qemu/firmware/70-amd-sev-snp.json'
EXAMPLE = os.path.join(HERE, '../../etc/firmware',
                       os.path.basename(DESCRIPTOR))
# What QEMU looks for in firmware: the reset block of SEV-ES, the metadata of
# SEV-SNP, and the table of both
RESET_BLOCK = '00f771de-1a7e-4fcb-890e-68c77e2fb44e'
METADATA = 'dc886566-984a-4798-a75e-5585a7bf67cc'
TABLE = '96b582de-1fb2-45f7-baea-a366c55a082d'
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
VERSION = """\
Compiled against library: libvirt 11.3.0
Using library: libvirt 11.3.0
Using API: QEMU 11.3.0
Running hypervisor: QEMU 10.0.7
Running against daemon: 11.3.0
"""
SECTYPES = """\
    </sev>
    <launchSecurity supported="yes">
      <enum name="sectype">
        <value>sev</value>
        <value>sev-snp</value>
      </enum>
    </launchSecurity>
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
def _image(size=64 << 10):
    """Return what is recorded of Debian 13's OVMF.fd."""
    def entry(guid, data=b'', more=0):
        return data + struct.pack('<H16s', len(data) + 18 + more,
                                  uuid.UUID(guid).bytes_le)

    entries = entry(METADATA, struct.pack('<I', 1352)) + entry(
        RESET_BLOCK, bytes.fromhex('04b08000'))
    end = entries + entry(TABLE, more=len(entries)) + bytes(32)
    metadata = struct.pack('<4sIII', b'ASEV', 16, 1, 0)
    return metadata.rjust(size - 1352 + 16, b'\0') + end.rjust(
        1352 - 16, b'\0')


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
with open(EXAMPLE) as example:
    SNP = {
        'root/proc/cpuinfo': CPUINFO.replace('sev_es', 'sev_es sev_snp') % (
            25, 17, 'AMD EPYC 9354 32-Core Processor'),
        'commands/cpuid': CPUID % (0x1f, 51 | 1 << 6, 1006, 100),
        'commands/kernel': '6.12.57+deb13-amd64 x86_64\n',
        'commands/version': VERSION,
        'commands/libvirt-python': _json({'version': [11, 3, 0],
                                          'fault': None}),
        'commands/domcapabilities': (CAPABILITIES % (51, 1, 907, 99)).replace(
            '7.2', '10.0').replace('    </sev>\n', SECTYPES),
        'commands/snp-status': _json({'initialised': True}),
        'commands/nova-conf': _json({
            **json.loads(READY['commands/nova-conf']),
            'libvirt.enable_amd_sev_snp': True}),
        'commands/placement': _json({
            'root': _provider(), 'amd_sev': _provider(
                907, 0, ['HW_CPU_X86_AMD_SEV']), 'amd_sev_es': None,
            'amd_sev_snp': _provider(99, 2, ['HW_CPU_X86_AMD_SEV_SNP']),
            'unknown': []}),
        KVM_AMD + 'sev_snp': 'Y\n', IMAGE: _image(),
        DESCRIPTOR: example.read()}
NO_SLOTS = {'commands/placement': _json({
    **json.loads(SNP['commands/placement']), 'amd_sev_snp': None})}
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
    'snp-ready': SNP,
    'snp-not-initialised': {
        **SNP, **IDLE, **NO_SLOTS,
        'commands/snp-status': _json({'initialised': False})},
    'snp-no-descriptor': {**SNP, **IDLE, **NO_SLOTS, DESCRIPTOR: None},
    'snp-no-trait': {
        **SNP, **IDLE, 'commands/placement': _json({
            **json.loads(NO_SLOTS['commands/placement']),
            'unknown': ['amd_sev_snp']})},
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
                with open(path, 'wb') as f:
                    f.write(text if isinstance(text, bytes) else
                            text.encode())
            elif os.path.exists(path):
                os.unlink(path)


if __name__ == '__main__':
    make(*sys.argv[1:] or [HERE])
