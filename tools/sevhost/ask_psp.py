#!/usr/bin/env python3
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

"""Ask the secure processor of a host, and print its answer as JSON.

    sevhost.py exec DIR tools/sevhost/ask_psp.py [COMMAND]

    status            SEV_PLATFORM_STATUS (the default)
    snp-status        SNP_PLATFORM_STATUS
    export            SEV_PDH_CERT_EXPORT, which has it initialised
    export-read-only  the same, by a file that is not open for writing

Nothing here is of the imitated host: on a real one it does the same.
"""
import ctypes
import errno
import fcntl
import json
import os
import sys

# linux/psp-sev.h: SEV_ISSUE_CMD is _IOWR('S', 0, struct sev_issue_cmd).
SEV_ISSUE_CMD = 3 << 30 | 16 << 16 | ord('S') << 8
SEV_PLATFORM_STATUS, SEV_PDH_CERT_EXPORT, SNP_PLATFORM_STATUS = 1, 5, 9
UNTOUCHED = 0xabcd  # no code of the firmware
CERTIFICATE = 2084


class Issue(ctypes.Structure):
    """struct sev_issue_cmd."""

    _pack_ = 1
    _fields_ = [('command', ctypes.c_uint32), ('data', ctypes.c_uint64),
                ('error', ctypes.c_uint32)]


class Status(ctypes.Structure):
    """struct sev_user_data_status."""

    _pack_ = 1
    _fields_ = [('api_major', ctypes.c_uint8), ('api_minor', ctypes.c_uint8),
                ('state', ctypes.c_uint8), ('flags', ctypes.c_uint32),
                ('build', ctypes.c_uint8), ('guest_count', ctypes.c_uint32)]


class SnpStatus(ctypes.Structure):
    """struct sev_user_data_snp_status."""

    _pack_ = 1
    _fields_ = [('api_major', ctypes.c_uint8), ('api_minor', ctypes.c_uint8),
                ('state', ctypes.c_uint8), ('rmp_initialised', ctypes.c_uint8),
                ('build', ctypes.c_uint32), ('flags', ctypes.c_uint32),
                ('guest_count', ctypes.c_uint32),
                ('current_tcb_version', ctypes.c_uint64),
                ('reported_tcb_version', ctypes.c_uint64)]


class Export(ctypes.Structure):
    """struct sev_user_data_pdh_cert_export."""

    _pack_ = 1
    _fields_ = [('address', ctypes.c_uint64), ('length', ctypes.c_uint32),
                ('chain_address', ctypes.c_uint64),
                ('chain_length', ctypes.c_uint32)]


def ask(command, data, mode=os.O_RDWR):
    """Have it execute a command.

    :param command: its number, as linux/psp-sev.h has it
    :param data: its structure
    :param mode: to open /dev/sev with
    :returns: a dict: errno, a name or None; and the firmware's error, None
        if /dev/sev could not be opened or the kernel gave none
    """
    try:
        fd = os.open('/dev/sev', mode)
    except OSError as e:
        return {'errno': errno.errorcode[e.errno], 'error': None}
    issue = Issue(command, ctypes.addressof(data), UNTOUCHED)
    failure = None
    try:
        fcntl.ioctl(fd, SEV_ISSUE_CMD, issue)
    except OSError as e:
        failure = errno.errorcode[e.errno]
    finally:
        os.close(fd)
    return {'errno': failure,
            'error': None if issue.error == UNTOUCHED else issue.error}


def status(command=SEV_PLATFORM_STATUS, kind=Status):
    """Return what it says of itself."""
    data = kind()
    answer = ask(command, data)
    if answer['errno'] is None:
        answer.update((name, getattr(data, name)) for name, _ in kind._fields_)
    return answer


def export(mode=os.O_RDWR):
    """Have it export its certificates."""
    blob = ctypes.create_string_buffer(4 * CERTIFICATE)
    address = ctypes.addressof(blob)
    return ask(SEV_PDH_CERT_EXPORT, Export(
        address, CERTIFICATE, address + CERTIFICATE, 3 * CERTIFICATE), mode)


COMMANDS = {'status': status,
            'snp-status': lambda: status(SNP_PLATFORM_STATUS, SnpStatus),
            'export': export,
            'export-read-only': lambda: export(os.O_RDONLY)}

if __name__ == '__main__':
    print(json.dumps(COMMANDS[(*sys.argv[1:], 'status')[0]]()))
