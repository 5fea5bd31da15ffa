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

"""Ask this host for what its processor, kernel and /dev/sev say.

Each answer is text, and has no more than the checks need.
"""
import grp
import json
import os
import platform
import pwd
import shutil
import stat
import struct
import typing as ty

from nova_mem_encryption.check import commands
from nova_mem_encryption.nova.mem_encryption.host import dev_sev
from nova_mem_encryption.nova.mem_encryption.host import secure_processor
from nova_mem_encryption.nova.mem_encryption.launch_errors import kernel_log
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings

CPUID = '/dev/cpu/0/cpuid'
LEAF = 0x8000001F
DMESG = 'dmesg'
IOMMU_GROUPS = '/sys/kernel/iommu_groups'
DEV_SEV = dev_sev.DEVICE


def get_cpuid() -> str:
    """Return EAX, EBX, ECX and EDX of the leaf of memory encryption."""
    try:
        with open(CPUID, 'rb', buffering=0) as f:
            data = os.pread(f.fileno(), 16, LEAF)
    except PermissionError as e:
        raise commands.NoAnswer('%s cannot be read.' % CPUID, True) from e
    except OSError as e:
        raise commands.NoAnswer('%s cannot be read: %s. Run modprobe cpuid.'
                                % (CPUID, e.strerror)) from e
    if len(data) != 16:
        raise commands.NoAnswer('%s is not the device of the kernel.' % CPUID)
    return ' '.join('%s=0x%08x' % pair for pair in zip(
        ('eax', 'ebx', 'ecx', 'edx'), struct.unpack('<4I', data)))


def get_kernel() -> str:
    """Return its version, and the architecture."""
    return '%s %s' % (platform.release(), platform.machine())


def get_dev_sev() -> str:
    """Return what /dev/sev is, and whose."""
    try:
        status = os.stat(DEV_SEV)
    except FileNotFoundError:
        return json.dumps(None)
    except OSError as e:
        raise commands.NoAnswer('%s: %s.' % (DEV_SEV, e.strerror), True) from e
    return json.dumps({
        'device': stat.S_ISCHR(status.st_mode),
        'mode': '%04o' % stat.S_IMODE(status.st_mode),
        'user': _name(pwd.getpwuid, status.st_uid),
        'group': _name(grp.getgrgid, status.st_gid)})


def get_platform_status() -> str:
    """Return what the secure processor says, or why it says nothing."""
    try:
        status = secure_processor.read_status('/')
    except OSError as e:
        fault = secure_processor.read_error(e)
        if fault is None:
            raise commands.NoAnswer('%s: %s.' % (DEV_SEV, e.strerror), True
                                    ) from e
        return json.dumps({'error': e.errno})
    return json.dumps(status._asdict())


def get_snp_status() -> str:
    """Return whether it is initialised for SEV-SNP, or why none tells."""
    try:
        return json.dumps({'initialised': secure_processor.read_snp('/')})
    except OSError as e:
        if secure_processor.read_error(e) is None:
            raise commands.NoAnswer('%s: %s.' % (DEV_SEV, e.strerror), True
                                    ) from e
        return json.dumps({'error': e.errno})


def get_iommu() -> str:
    """Return how many groups of devices the IOMMU has."""
    try:
        return json.dumps(len(os.listdir(IOMMU_GROUPS)))
    except FileNotFoundError:
        return json.dumps(0)


def get_kernel_log() -> str:
    """Return those lines of its ring buffer that explain what SEV lacks.

    Or null without dmesg, as in a container.
    """
    if shutil.which(DMESG) is None:
        return json.dumps(None)
    found = (meanings.find_in_line(line, kernel_log.WORDS)
             for line in commands.run(DMESG, '--notime').splitlines())
    return json.dumps(list(dict.fromkeys(
        meaning.line for meaning in found if meaning)))


def _name(function: ty.Callable[[int], ty.Any], number: int) -> str:
    try:
        return function(number)[0]
    except KeyError:
        return str(number)
