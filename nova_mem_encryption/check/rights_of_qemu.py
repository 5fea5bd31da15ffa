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


"""Ask this host for what it lets QEMU do.

Each answer is text, and has no more than the checks need.
"""
import errno
import glob
import json
import os
import pwd
import re
import resource
import typing as ty

from nova_mem_encryption.check import commands
from nova_mem_encryption.check import system

KVM = '/dev/kvm'
QEMU_CONF = '/etc/libvirt/qemu.conf'
DMESG = 'dmesg'
APPARMOR = '/sys/module/apparmor/parameters/enabled'
# What libvirt's AppArmor profiles of guests include
ABSTRACTIONS = ['/etc/apparmor.d/' + name for name in (
    'abstractions/libvirt-qemu', 'local/abstractions/libvirt-qemu',
    'abstractions/libvirt-qemu.d/', 'libvirt/TEMPLATE.qemu')]
# Whom distributions run QEMU as, without a word in qemu.conf
USERS = ('libvirt-qemu', 'qemu', 'root')
SELINUX = '/sys/fs/selinux/enforce'
DAEMONS = ('libvirtd', 'virtqemud')
CAP_SYS_RESOURCE = 1 << 24  # include/uapi/linux/capability.h


def get_qemu_conf() -> str:
    """Return those settings of QEMU that decide who may open /dev/sev."""
    found: ty.Dict[str, ty.Optional[ty.List[str]]] = {
        'user': None, 'namespaces': None, 'security_driver': None}
    try:
        with open(QEMU_CONF, encoding='utf-8', errors='replace') as f:
            text = f.read()
    except FileNotFoundError:
        return json.dumps(found)
    except OSError as e:
        raise commands.NoAnswer('%s cannot be read.' % QEMU_CONF, True) from e
    for name in found:
        match = re.findall(
            r'^\s*%s\s*=\s*(\[[^]]*\]|"[^"]*")' % name, text, re.MULTILINE)
        if match:
            found[name] = re.findall('"([^"]*)"', match[-1])
    return json.dumps(found)


def get_apparmor() -> str:
    """Tell whether AppArmor is on, and its rules for /dev/sev."""
    rules = []
    try:
        with open(APPARMOR) as f:
            on = f.read().strip() == 'Y'
    except OSError:
        on = False
    for path in ABSTRACTIONS if on else ():
        names = [path]
        if path.endswith('/'):
            names = [os.path.join(path, name) for name in sorted(
                os.listdir(path) if os.path.isdir(path) else ())]
        for name in names:
            try:
                with open(name, encoding='utf-8', errors='replace') as f:
                    rules += [line.strip() for line in f if re.match(
                        r'\s*(audit\s+)?(deny\s+)?("?)/dev/sev\3\s', line)]
            except FileNotFoundError:
                continue
            except OSError as e:
                raise commands.NoAnswer('%s cannot be read.' % name, True
                                        ) from e
    return json.dumps({'enabled': on, 'rules': rules})


def get_kvm_access() -> str:
    """Tell whether QEMU's user can open /dev/kvm, by trying it."""
    user = _get_user()
    if os.geteuid() != 0:
        raise commands.NoAnswer('Only root can be user %s.' % user.pw_name,
                                True)
    child = os.fork()
    if not child:
        os._exit(_try_as(user, KVM))
    return json.dumps({
        'user': user.pw_name,
        'error': os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


def _try_as(user: pwd.struct_passwd, path: str) -> int:
    """Be a user, and open a file; return the error number, 0 for none."""
    try:
        os.setgroups(os.getgrouplist(user.pw_name, user.pw_gid))
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.open(path, os.O_RDWR)
    except OSError as e:
        return e.errno or errno.EIO
    return 0


def _get_user() -> pwd.struct_passwd:
    named = json.loads(get_qemu_conf())['user']
    for name in named or USERS:
        try:
            return (pwd.getpwuid(int(name)) if name.lstrip('+').isdigit() else
                    pwd.getpwnam(name))
        except KeyError:
            continue
    raise commands.NoAnswer('There is no user %s.' % ' or '.join(
        named or USERS))


def get_selinux() -> str:
    """Tell whether SELinux is enforcing, and what it has /dev/sev as."""
    try:
        with open(SELINUX) as f:
            enforcing = f.read().strip() == '1'
    except OSError:
        return json.dumps({'enforcing': False, 'type': None})
    try:
        # user:role:type:level
        label = os.getxattr(system.DEV_SEV, 'security.selinux').decode()
    except OSError as e:
        if e.errno == errno.ENOENT:
            raise commands.NoAnswer('There is no %s.' % system.DEV_SEV) from e
        return json.dumps({'enforcing': enforcing, 'type': None})
    return json.dumps({'enforcing': enforcing,
                       'type': ''.join(label.split(':')[2:3])})


def get_libvirtd() -> str:
    """Tell whether libvirt's daemon can raise the limit of locked memory."""
    for path in glob.glob('/proc/[0-9]*/comm'):
        found = _read_process(os.path.dirname(path))
        if found is not None:
            return json.dumps(found)
    raise commands.NoAnswer('There is no process %s here.'
                            % ' or '.join(DAEMONS))


def _read_process(folder: str) -> ty.Optional[ty.Dict[str, ty.Any]]:
    try:
        with open(folder + '/comm') as f:
            if f.read().strip() not in DAEMONS:
                return None
        with open(folder + '/status') as f:
            match = re.search('^CapEff:\t([0-9a-f]+)$', f.read(), re.MULTILINE)
        limit = resource.prlimit(int(os.path.basename(folder)),
                                 resource.RLIMIT_MEMLOCK)[1]
    except PermissionError as e:
        raise commands.NoAnswer("The limits of libvirt's daemon cannot be "
                                'read.', True) from e
    except OSError:
        return None  # it has ended
    may_raise = match is not None and bool(
        int(match.group(1), 16) & CAP_SYS_RESOURCE)
    return {'may_raise': may_raise,
            'memlock': None if limit == resource.RLIM_INFINITY else limit}
