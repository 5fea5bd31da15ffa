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

"""Be the first process of a host: make it, and keep it running."""
import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time

import psp

HERE = os.path.dirname(os.path.abspath(__file__))
LIBVIRTD = '/usr/sbin/libvirtd'
# All these are in the host's own mount namespace.
STATE = '/run/sevhost'
LIBRARY = STATE + '/sevhost.so'
OPTIONS = STATE + '/options.json'  # what the host is to be
READY = STATE + '/ready'
COUNTED = STATE + '/asids-counted'  # removed by who waits for it
INITIALISED = STATE + '/psp-initialised'  # see src/psp.c
SOCKET = '/run/libvirt/libvirt-sock'
CPUINFO = '/proc/cpuinfo'
CMDLINE = '/proc/cmdline'
# Of the folder that a host lives in: what is mounted where
MOUNTS = {'run': '/run', 'etc': '/etc/libvirt', 'lib': '/var/lib/libvirt',
          'cache': '/var/cache/libvirt', 'log': '/var/log/libvirt',
          'module': '/sys/module', 'cgroup': '/sys/fs/cgroup'}


class Init:
    """The first process of a host's PID namespace.

    All others of the host end when it does. SIGHUP boots the host again.
    """

    def __init__(self, folder):
        self.folder = folder
        self.libvirtd = None
        self.capacity = None
        self.cpuinfo = read(CPUINFO)
        self.cmdline = read(CMDLINE)
        # The profile of libvirtd has QEMU start without LD_PRELOAD.
        self.prefix = (['aa-exec', '--profile=unconfined', '--']
                       if has_apparmor() else [])
        self.boot = True
        signal.signal(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self, number, frame):
        self.boot = True

    def run(self):
        """Run until it is killed."""
        # NOTE: that is still the outer /proc, with its own number for us.
        write(self.folder + STATE + '/pid', os.readlink('/proc/self'))
        self._mount()
        while True:
            if self.boot:
                self.boot = False
                self._boot()
            elif self.libvirtd.poll() is not None:
                self._start_libvirtd()  # as systemd does when it failed
            self._count_asids()
            self._reap()
            time.sleep(0.05)

    def _mount(self):
        dev = os.path.join(self.folder, 'dev')
        mount('-t', 'proc', 'proc', '/proc')
        _make_dev(dev)
        for name, path in MOUNTS.items():
            os.makedirs(path, exist_ok=True)
            mount('--bind', os.path.join(self.folder, name), path)
        mount('--rbind', dev, '/dev')
        for path in (CPUINFO, CMDLINE):
            write(STATE + path, '')
            mount('--bind', STATE + path, path)
        usr = json.loads(read(OPTIONS))['usr']
        if usr != '/usr':
            mount('-t', 'overlay', '-o', 'lowerdir=%s:/usr' % usr, 'sevhost',
                  '/usr')  # where this fails the kernel lacks overlayfs
            # Their modules must not be mixed with those below.
            for modules in glob.glob(usr + '/lib/*/libvirt') + glob.glob(
                    usr + '/lib/*/qemu'):
                mount('--bind', modules, '/usr' + modules[len(usr):])

    def _boot(self):
        """Do what a reset of the machine does, with new options."""
        for pid in filter(str.isdigit, os.listdir('/proc')):
            if _program(pid).startswith(('qemu-system-', 'libvirtd')):
                os.kill(int(pid), signal.SIGKILL)
        if self.libvirtd:
            self.libvirtd.wait()
        while any(used_asids().values()):
            time.sleep(0.01)
        if os.path.exists(INITIALISED):
            os.unlink(INITIALISED)
        options = json.loads(read(OPTIONS))
        socket.sethostname(options['hostname'])
        self.capacity = _write_kernel(options)
        _write_processor(options, self.cpuinfo)
        _write_mounted(CMDLINE, self.cmdline.rstrip() +
                       ' iommu=pt' * options['iommu_pt'] + '\n')
        # What libvirt remembers of QEMU, and what lasts until a reset
        for path in ('/var/cache/libvirt/qemu', '/run/libvirt'):
            shutil.rmtree(path, ignore_errors=True)
        self._start_libvirtd()
        write(READY, '')

    def _count_asids(self):
        asked = not os.path.exists(COUNTED)  # who asks wants a later count
        current = _misc(used_asids(), self.capacity)
        if read('/sys/fs/cgroup/misc.current') != current:
            write('/sys/fs/cgroup/misc.current', current)
        if asked:
            write(COUNTED, '')

    def _start_libvirtd(self):
        for path in ('/run/libvirtd.pid', SOCKET):
            if os.path.exists(path):
                os.unlink(path)
        self.libvirtd = subprocess.Popen(
            [*self.prefix, LIBVIRTD],
            env={**os.environ, 'LD_PRELOAD': LIBRARY})
        while not os.path.exists(SOCKET):
            if self.libvirtd.poll() is not None:
                sys.exit('libvirtd ended at its start, with status %d'
                         % self.libvirtd.returncode)
            time.sleep(0.01)

    def _reap(self):
        """Take leave of those who ended and whose parents did before."""
        while True:
            ended = os.waitid(os.P_ALL, 0,
                              os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == self.libvirtd.pid:
                return
            os.waitpid(ended.si_pid, 0)


def has_apparmor():
    """Tell whether AppArmor is on; :returns: bool."""
    path = '/sys/module/apparmor/parameters/enabled'
    return os.path.exists(path) and read(path).strip() == 'Y'


def kernel(options):
    """Return what the kernel and the processor of a host are.

    :param options: a dict of the options of 'start', and the hostname
    :returns: a dict, name to number, as the library reads it
    """
    sev = not options['no_sev']
    es = bool(sev and not options['no_es'] and options['es_asids'])
    state = psp.STATES[options['psp']]
    return {
        'sev': sev, 'es': es,
        # sev_hardware_setup: as SEV-SNP has the ASIDs of SEV-ES
        'kvm_snp': es and options['snp'] and not options['iommu_pt'],
        'cbitpos': options['cbitpos'], 'min_asid': options['es_asids'] + 1,
        'max_asid': options['es_asids'] + options['sev_asids'],
        'snp': has_snp(options) and state.knows_snp and (
            not options['iommu_pt']),  # iommu_snp_enable
        'psp': sev and state.device, 'psp_es': state.es,
        'psp_minor': state.minor, 'psp_error': state.error,
        'psp_dead': state.dead, 'psp_lazy': state.lazy,
        'psp_no_cpuid': state.no_cpuid}


def has_snp(options):
    """Tell whether the BIOS has SEV-SNP on; kvm_amd need not use it."""
    return not options['no_sev'] and (
        options['snp'] or psp.STATES[options['psp']].snp)


def _write_kernel(options):
    """Write what the kernel says; return how many ASIDs it has."""
    host = kernel(options)
    for name, on in (('sev', host['sev']), ('sev_es', host['es']),
                     ('sev_snp', host['kvm_snp'])):
        write('/sys/module/kvm_amd/parameters/' + name, 'NY'[on] + '\n')
    write('/sys/module/ccp/parameters/psp_init_on_probe',
          'YN'[host['psp_lazy']] + '\n')
    # Documentation/admin-guide/cgroup-v2.rst of Linux, "Misc"
    capacity = {'sev': options['sev_asids'] * host['sev'],
                'sev_es': options['es_asids'] * host['es']}
    write('/sys/fs/cgroup/misc.capacity', _misc(capacity, capacity))
    write('/sys/fs/cgroup/misc.current', '')
    write(STATE + '/host.conf', ''.join(
        '%s=%d\n' % item for item in host.items()))
    if os.path.exists('/dev/sev'):
        os.unlink('/dev/sev')
    if host['psp']:
        _make_null('/dev/sev')
    return capacity


def _write_processor(options, cpuinfo):
    """Write what those who do not ask the processor itself look at."""
    host = kernel(options)
    flags = ' sme sev sev_es' * host['sev'] + ' sev_snp' * has_snp(options)
    for name, value in (('vendor_id', 'AuthenticAMD'), ('cpu family', '25'),
                        ('model', '17'), ('model name', 'AMD EPYC')):
        cpuinfo = re.sub(r'(?m)^(%s\s*:).*$' % name, r'\1 ' + value, cpuinfo)
    cpuinfo = re.sub(r'(?m) (sme|sev\w*|hypervisor)\b', '', cpuinfo)
    cpuinfo = re.sub(r'(?m)^(flags\s*:.*)$', r'\1' + flags, cpuinfo)
    _write_mounted(CPUINFO, cpuinfo)
    # See cpuid.c; the kernel's device, too, has leaves by their offset.
    registers = ((0x1f, host['cbitpos'] | 1 << 6, host['max_asid'],
                  host['min_asid']) if host['sev'] else (0, 0, 0, 0))
    os.makedirs('/dev/cpu/0', exist_ok=True)
    with open('/dev/cpu/0/cpuid', 'wb') as f:
        f.seek(0x8000001f)
        f.write(struct.pack('<4I', *registers))


def _write_mounted(path, text):
    """Write a file that is mounted, and so must not be another one."""
    with open(STATE + path, 'w') as f:
        f.write(text)


def used_asids():
    """Return how many ASIDs are in use; a locked file stands for each.

    :returns: a dict, by the names of the misc cgroup
    """
    files = {os.stat(path).st_ino: os.path.basename(path).partition('-')[0]
             for path in glob.glob(STATE + '/asids/*')}
    used = {'sev': 0, 'sev_es': 0}
    # NOTE: to try a lock would be to take it, for a moment.
    for line in read('/proc/locks').splitlines():
        inode = int(line.split()[-3].split(':')[2])
        if inode in files:
            used[files.pop(inode)] += 1
    return used


def _misc(counts, capacity):
    """Return counts as the kernel does: only of what there is."""
    return ''.join('%s %d\n' % (name, count) for name, count
                   in counts.items() if capacity[name])


def _make_dev(dev):
    """Make a /dev of the host's own, with what the machine's has."""
    mount('-t', 'tmpfs', '-o', 'mode=755', 'sevhost', dev)
    for entry in os.scandir('/dev'):
        path = os.path.join(dev, entry.name)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), path)
        elif entry.name == 'cpu':
            continue  # has this machine's processor
        elif entry.is_dir():
            os.mkdir(path)
            mount('--rbind', entry.path, path)
        elif entry.name not in ('kvm', 'sev'):
            _copy_device(entry, path)
    _make_null(os.path.join(dev, 'kvm'))


def _copy_device(entry, path):
    with contextlib.suppress(FileNotFoundError):  # it has just gone
        status = entry.stat()
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            os.mknod(path, status.st_mode, status.st_rdev)
            os.chmod(path, stat.S_IMODE(status.st_mode))  # past the umask
            os.chown(path, status.st_uid, status.st_gid)


def _make_null(path):
    """Make a device that can be opened; the library does the rest."""
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def _program(pid):
    try:
        return os.path.basename(os.readlink('/proc/%s/exe' % pid))
    except OSError:  # it ended, or is of the kernel
        return ''


def mount(*args):
    """Mount something; :raises subprocess.CalledProcessError: if not."""
    subprocess.run(('mount', *args), check=True)


def write(path, text):
    """Write a file, so that no reader sees a part of it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + '.new', 'w') as f:
        f.write(text)
    os.rename(path + '.new', path)


def read(path):
    """Return the text of a file."""
    with open(path) as f:
        return f.read()
