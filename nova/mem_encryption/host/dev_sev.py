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

"""Ask the kernel's driver of the secure processor (PSP), by /dev/sev.

Of Nova only nova/mem_encryption is imported.
"""
import ctypes
import fcntl
import os
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import files

DEVICE = '/dev/sev'
# Linux: include/uapi/linux/psp-sev.h; _IOWR('S', 0, struct sev_issue_cmd)
SEV_ISSUE_CMD = 0xC0105300
SEV_PLATFORM_STATUS = 1
SNP_PLATFORM_STATUS = 9  # since Linux 6.11
FLAG_ES = 1 << 8  # SEV_STATUS_FLAGS_CONFIG_ES


class PlatformStatus(ctypes.LittleEndianStructure):
    """Struct sev_user_data_status, as the kernel writes it."""

    _pack_ = 1
    _fields_ = [('api_major', ctypes.c_uint8), ('api_minor', ctypes.c_uint8),
                ('state', ctypes.c_uint8), ('flags', ctypes.c_uint32),
                ('build', ctypes.c_uint8), ('guest_count', ctypes.c_uint32)]


class SNPPlatformStatus(ctypes.LittleEndianStructure):
    """Struct sev_user_data_snp_status, as the kernel writes it."""

    _pack_ = 1
    _fields_ = [('api_major', ctypes.c_uint8), ('api_minor', ctypes.c_uint8),
                ('state', ctypes.c_uint8), ('rmp', ctypes.c_uint8),
                ('build', ctypes.c_uint32), ('flags', ctypes.c_uint32),
                ('guest_count', ctypes.c_uint32),
                ('current_tcb', ctypes.c_uint64),
                ('reported_tcb', ctypes.c_uint64)]


class Command(ctypes.LittleEndianStructure):
    """Struct sev_issue_cmd."""

    _pack_ = 1
    _fields_ = [('cmd', ctypes.c_uint32), ('data', ctypes.c_uint64),
                ('error', ctypes.c_uint32)]


def ask(root: str, cmd: int, status: ty.Any) -> ty.Any:
    """Ask the secure processor for a status.

    It is asked by any file descriptor of the device: see sev_ioctl in the
    kernel's drivers/crypto/ccp/sev-dev.c.

    :param root: folder that stands for that of the host
    :param cmd: which status
    :param status: the structure for the answer
    :returns: the structure
    :raises OSError: of opening the device, or of asking
    """
    command = Command(cmd=cmd, data=ctypes.addressof(status))
    device = os.open(files.locate(root, DEVICE), os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, SEV_ISSUE_CMD, command)
    finally:
        os.close(device)
    return status
