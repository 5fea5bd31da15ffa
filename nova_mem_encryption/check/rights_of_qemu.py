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
import grp
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
    return json.dumps(_read_settings('user', 'namespaces', 'security_driver'))


def _read_settings(*names: str) -> ty.Dict[str, ty.Optional[ty.List[str]]]:
    """Return settings of qemu.conf: what is in quotes, of either kind."""
    found: ty.Dict[str, ty.Optional[ty.List[str]]] = dict.fromkeys(names)
    try:
        with open(QEMU_CONF, encoding='utf-8', errors='replace') as f:
            text = re.sub(r'^\s*#.*', '', f.read(), flags=re.MULTILINE)
    except FileNotFoundError:
        return found
    except OSError as e:
        raise commands.NoAnswer('%s cannot be read.' % QEMU_CONF, True) from e
    for name in names:
        match = re.findall(
            r'^\s*%s\s*=\s*(\[[^]]*\]|"[^"]*"|\'[^\']*\')' % name, text,
            re.MULTILINE)
        if match:
            found[name] = [value for _, value in re.findall(
                r'(["\'])(.*?)\1', match[-1])]
    return found


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
    settings = _read_settings('user', 'group')
    user = _find(pwd.getpwnam, pwd.getpwuid, settings['user'] or USERS)
    group = user.pw_gid if not settings['group'] else _find(
        grp.getgrnam, grp.getgrgid, settings['group']).gr_gid
    if os.geteuid() != 0:
        raise commands.NoAnswer('Only root can be user %s.' % user.pw_name,
                                True)
    child = os.fork()
    if not child:
        os._exit(_try_as(user, group, KVM))
    return json.dumps({
        'user': user.pw_name,
        # Without it, libvirt may be elsewhere, with users of its own.
        'guessed': not os.path.exists(QEMU_CONF),
        'error': os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


def _try_as(user: pwd.struct_passwd, group: int, path: str) -> int:
    """Be a user, and open a file; return the error number, 0 for none."""
    try:
        os.setgroups(os.getgrouplist(user.pw_name, group))
        os.setgid(group)
        os.setuid(user.pw_uid)
        os.open(path, os.O_RDWR)
    except OSError as e:
        return e.errno or errno.EIO
    return 0


def _find(by_name: ty.Callable[[str], ty.Any],
          by_number: ty.Callable[[int], ty.Any],
          names: ty.Sequence[str]) -> ty.Any:
    """Return the first user or group that there is."""
    for name in names:
        try:
            return (by_number(int(name)) if name.lstrip('+').isdigit() else
                    by_name(name))
        except KeyError:
            continue
    raise commands.NoAnswer('There is no user or group %s.'
                            % ' or '.join(names))


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
    # NOTE: first those that see the same files: others may be of a container.
    for same in (True, False):
        for path in glob.glob('/proc/[0-9]*/comm'):
            folder = os.path.dirname(path)
            if _sees_the_same(folder) is same:
                found = _read_process(folder)
                if found is not None:
                    return json.dumps(found)
    raise commands.NoAnswer('There is no process %s here.'
                            % ' or '.join(DAEMONS))


def _sees_the_same(folder: str) -> bool:
    try:
        return os.path.samefile(folder + '/root', '/')
    except OSError:
        return False


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
