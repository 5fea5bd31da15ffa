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

"""Tell whether the image of a firmware can start SEV-ES guests."""
import struct
import typing as ty
import uuid

from nova_mem_encryption.nova.mem_encryption.host import files

# The GUIDed table of an image ends 32 bytes before the image does. Source:
# "QEMU/Guest Firmware Interface for AMD SEV and SEV-ES" of QEMU's
# documentation, and OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm of edk2.
END = 0x20
FOOTER = uuid.UUID('96b582de-1fb2-45f7-baea-a366c55a082d')
RESET_BLOCK = uuid.UUID('00f771de-1a7e-4fcb-890e-68c77e2fb44e')
# Behind the data of each entry, and of the footer: how long all of it is
TRAILER = struct.Struct('<H16s')
ADDRESS = struct.Struct('<I')
MOST_BYTES = END + TRAILER.size + 0xffff  # that can matter
# QEMU takes multiples of the former, and no more than the latter unless it
# is told to, which Nova does not do (hw/i386/pc_sysfw.c).
SECTOR, LARGEST = 4096, 8 << 20

_judged: ty.Dict[str, ty.Tuple[tuple, ty.Optional[str]]] = {}


def get_entries(image):
    """Yield what the GUIDed table of an image has, last entry first.

    As QEMU does, this stops where an entry makes no sense.

    :param bytes image: the image, or its last MOST_BYTES
    :returns: pairs of uuid.UUID and bytes
    """
    end = len(image) - END - TRAILER.size
    if end < 0:
        return
    length, guid = TRAILER.unpack_from(image, end)
    left = length - TRAILER.size
    if guid != FOOTER.bytes_le or left > end:
        return
    while left >= TRAILER.size:
        length, guid = TRAILER.unpack_from(image, end - TRAILER.size)
        if not TRAILER.size <= length <= left:
            return
        yield (uuid.UUID(bytes_le=guid),
               bytes(image[end - length:end - TRAILER.size]))
        end -= length
        left -= length


def get_reset_address(image):
    """Return where the processors of an SEV-ES guest start.

    :param bytes image: the image, or its last MOST_BYTES
    :returns: int; 0 if it does not say, so that QEMU does not start it
    """
    for guid, data in get_entries(image):
        if guid == RESET_BLOCK:
            break
    else:
        # Before edk2 had the table, the block was alone in its place.
        end = len(image) - END
        if end < TRAILER.size:
            return 0
        length, found = TRAILER.unpack_from(image, end - TRAILER.size)
        if found != RESET_BLOCK.bytes_le or length > end:
            return 0
        data = image[end - length:end - TRAILER.size]
    if len(data) < ADDRESS.size:
        return 0
    return ADDRESS.unpack_from(data)[0]


def find_flaw(path):
    """Say why an image cannot start SEV-ES guests.

    What is found is remembered until the file changes.

    :param str path: the image
    :returns: the reason, or None if it can
    """
    try:
        with files.open_regular(path) as (f, status):
            key = (status.st_dev, status.st_ino, status.st_size,
                   status.st_mtime_ns)
            if _judged.get(path, (None,))[0] != key:
                _judged[path] = key, _judge(f, status.st_size)
            return _judged[path][1]
    except files.Unfit as e:
        return str(e)


def _judge(f, size):
    if not size or size % SECTOR or size > LARGEST:
        return ('it has %d bytes, which is not a multiple of %d up to %d'
                % (size, SECTOR, LARGEST))
    f.seek(max(0, size - MOST_BYTES))
    if not get_reset_address(f.read(MOST_BYTES)):
        return 'it has no SEV-ES reset block'
    return None
