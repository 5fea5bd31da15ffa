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

"""The hashes of a kernel that QEMU loads, as the guest's firmware has them.

Their table is that of target/i386/sev.c of QEMU (struct SevHashTable).
"""
import hashlib
import struct
import typing as ty
import uuid

from nova_mem_encryption.measure import digest
from nova_mem_encryption.nova.mem_encryption.host import files

TABLE = uuid.UUID('9438d606-4f22-4cc9-b479-a793d411fd21')
CMDLINE = uuid.UUID('97d02dd8-bd20-4c94-aa78-e7714d36ab2a')
INITRD = uuid.UUID('44baf731-3a2f-4bd7-9af1-41e29169781d')
KERNEL = uuid.UUID('4de79437-abd2-427f-b835-d5b172d2045b')
HEAD = struct.Struct('<16sH')  # GUID, and the length with this head
ALIGNMENT = 16
CHUNK = 1 << 20


class Hashes(ty.NamedTuple):
    """SHA-256 of each, as hexadecimal digits."""

    kernel: str
    initrd: str  # of nothing if there is none
    cmdline: str  # with the zero at its end


def _make_entry(guid: uuid.UUID, data: bytes) -> bytes:
    return HEAD.pack(guid.bytes_le, HEAD.size + len(data)) + data


# How long the table is
SIZE = HEAD.size + 3 * (HEAD.size + hashlib.sha256().digest_size)
SIZE += -SIZE % ALIGNMENT


def hash_file(path: str) -> str:
    """Return the hash of a file; :raises files.Unfit: if it is none."""
    found = hashlib.sha256()
    with files.open_regular(path) as (f, _):
        for chunk in iter(lambda: f.read(CHUNK), b''):
            found.update(chunk)
    return found.hexdigest()


def make(kernel: str, initrd: ty.Optional[str], cmdline: str) -> Hashes:
    """Return the hashes of what a guest is booted with.

    :param kernel: path of the kernel
    :param initrd: of the initial RAM disk, if there is one
    :param cmdline: the kernel's command line
    :raises files.Unfit: if a file cannot be read
    """
    return Hashes(
        hash_file(kernel), hash_file(initrd) if initrd else
        hashlib.sha256().hexdigest(),
        hashlib.sha256(cmdline.encode() + b'\0').hexdigest())


def make_pages(hashes: Hashes, offset: int, size: int) -> bytes:
    """Return the pages with the table.

    :param offset: where it is in the first of them
    :param size: of all pages
    """
    table = _make_entry(TABLE, b''.join((
        _make_entry(CMDLINE, bytes.fromhex(hashes.cmdline)),
        _make_entry(INITRD, bytes.fromhex(hashes.initrd)),
        _make_entry(KERNEL, bytes.fromhex(hashes.kernel)))))
    return (bytes(offset) + table).ljust(size, b'\0')


def fits(offset: int, size: int) -> bool:
    """Tell whether the pages have room for the table."""
    return offset < digest.PAGE and offset + SIZE <= size
