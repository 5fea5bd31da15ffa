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

"""Tell whether the image of a firmware can start guests of a model."""
import struct
import uuid

from nova_mem_encryption.nova.mem_encryption.host import files

# The GUIDed table of an image ends 32 bytes before the image does. Source:
# "QEMU/Guest Firmware Interface for AMD SEV and SEV-ES" of QEMU's
# documentation, and OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm of edk2.
END = 0x20
FOOTER = uuid.UUID('96b582de-1fb2-45f7-baea-a366c55a082d')
SNP_METADATA = uuid.UUID('dc886566-984a-4798-a75e-5585a7bf67cc')
RESET_BLOCK = uuid.UUID('00f771de-1a7e-4fcb-890e-68c77e2fb44e')
# Behind the data of each entry, and of the footer: how long all of it is
TRAILER = struct.Struct('<H16s')
ADDRESS = struct.Struct('<I')
MOST_BYTES = END + TRAILER.size + 0xffff  # that can matter
# The metadata of SEV-SNP begin with this, their length and two numbers more:
# OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm of edk2
METADATA = struct.Struct('<4sIII')
SIGNATURE = b'ASEV'
# QEMU takes no more unless it is told to, which Nova does not do
# (hw/i386/pc_sysfw.c).
LARGEST = 8 << 20


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


def has_snp_metadata(image, size, read):
    """Tell whether QEMU finds the metadata of SEV-SNP in an image.

    As pc_system_parse_sev_metadata of its hw/i386/pc_sysfw_ovmf.c does.

    :param bytes image: the last MOST_BYTES of it
    :param int size: of the whole image
    :param read: returns bytes of it, called with where and how many
    """
    for guid, data in get_entries(image):
        if guid == SNP_METADATA and len(data) >= ADDRESS.size:
            from_end, = ADDRESS.unpack_from(data)
            if not METADATA.size <= from_end <= size:
                return False
            signature, length, _, _ = METADATA.unpack(
                read(size - from_end, METADATA.size))
            return (signature == SIGNATURE and
                    METADATA.size <= length <= from_end)
    return False


def find_flaw(path, wanted):
    """Say why an image cannot start guests of a model.

    :param str path: the image
    :param model.Firmware wanted: what it must be
    :returns: the reason, or None if it can
    """
    try:
        with files.open_regular(path) as (f, status):
            return _judge(f, status.st_size, wanted)
    except files.Unfit as e:
        return str(e)


def _judge(f, size, wanted):
    multiple = wanted.kind.multiple
    if not size or size % multiple or size > LARGEST:
        return ('it has %d bytes, which is not a multiple of %d up to %d'
                % (size, multiple, LARGEST))

    def read(start, count):
        f.seek(start)
        return f.read(count)

    image = read(max(0, size - MOST_BYTES), MOST_BYTES)
    if wanted.reset_block and not get_reset_address(image):
        return 'it has no SEV-ES reset block'
    if wanted.snp_metadata and not has_snp_metadata(image, size, read):
        return 'it has no SEV-SNP metadata'
    return None
