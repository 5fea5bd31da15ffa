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

"""What the image of a firmware has for SEV-SNP, and its part of the digest."""
import hashlib
import struct
import typing as ty
import uuid

from nova_mem_encryption.measure import digest
from nova_mem_encryption.measure import kernel_hashes
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption import models

# An image ends at 4 GiB, and at 0xfec00000 is the I/O APIC.
TOP, LARGEST = 1 << 32, 0x1400000
BLOCK = models.MEMORY.multiple

# Of the GUIDed table: which memory is for the hashes of a kernel, and how much
# (target/i386/sev.c of QEMU)
HASHES = uuid.UUID('7255371f-3a3b-4b04-927b-1da6efa8d454')
AREA = struct.Struct('<II')
# The metadata begin with signature, length, version and number of sections; a
# section has address, size and type.
HEAD, SECTION = guided_table.METADATA, struct.Struct('<III')
SECRETS, CPUID, KERNEL_HASHES = 2, 3, 0x10
# QEMU gives memory of another type to the guest as zeros, whatever it is.
KINDS = {SECRETS: digest.SECRETS, CPUID: digest.CPUID}
# Of all sections; that of edk2 have some 30
MOST_PAGES = 1 << 14

Unfit = files.Unfit


class Section(ty.NamedTuple):
    """Memory that the firmware wants to find prepared."""

    address: int
    size: int
    kind: int  # its type, as the metadata has it


class Firmware:
    """An image that can start SEV-SNP guests.

    :param content: of the image
    :raises Unfit: if it cannot
    """

    def __init__(self, content: bytes) -> None:
        size = len(content)
        if not size or size % BLOCK or size > LARGEST:
            raise Unfit('it has %d bytes, which is not a multiple of %d up to '
                        '%d' % (size, BLOCK, LARGEST))
        self.sha256 = hashlib.sha256(content).hexdigest()
        entries: ty.Dict[uuid.UUID, bytes] = {}
        for guid, data in guided_table.get_entries(content):
            entries.setdefault(guid, data)
        self.sections = _read_sections(
            content, entries.get(guided_table.SNP_METADATA, b''))
        self.reset_address = guided_table.get_reset_address(content)
        if not self.reset_address:
            raise Unfit('it has no SEV-ES reset block, which tells where the '
                        'other processors start')
        self._area = entries.get(HASHES, b'')
        started = digest.Digest()
        started.add_all(digest.NORMAL, TOP - size, content)
        self.digest = started.value  # after its own pages

    def add_sections(self, launch: digest.Digest,
                     hashes: ty.Optional[kernel_hashes.Hashes]) -> None:
        """Add the pages of the sections to a digest.

        :param hashes: of the kernel, None if they are not measured
        :raises Unfit: if there is no place for hashes
        """
        if hashes is not None and not any(
                section.kind == KERNEL_HASHES for section in self.sections):
            raise Unfit('it does not measure kernels: its SEV-SNP metadata '
                        'has no section for their hashes')
        for section in self.sections:
            if section.kind == KERNEL_HASHES and hashes is not None:
                launch.add_all(digest.NORMAL, section.address,
                               self._make_pages(section, hashes))
            else:
                launch.add_blank(KINDS.get(section.kind, digest.ZERO),
                                 section.address, section.size)

    def _make_pages(self, section: Section, hashes: kernel_hashes.Hashes
                    ) -> bytes:
        if len(self._area) < AREA.size:
            raise Unfit('its GUIDed table does not say where the hashes of a '
                        'kernel are')
        address, size = AREA.unpack_from(self._area)
        offset = address % digest.PAGE
        if not address or size < kernel_hashes.SIZE or not (
                kernel_hashes.fits(offset, section.size)):
            raise Unfit('it has no room for the hashes of a kernel: %d bytes '
                        'at 0x%x' % (size, address))
        return kernel_hashes.make_pages(hashes, offset, section.size)


def read(path: str) -> Firmware:
    """Return the firmware of a file; :raises Unfit: if it is none."""
    with files.open_regular(path) as (f, status):
        if status.st_size > LARGEST:
            raise Unfit('it has %d bytes, more than %d' % (
                status.st_size, LARGEST))
        return Firmware(f.read(LARGEST + 1))


def _read_sections(content: bytes, offset: bytes) -> ty.List[Section]:
    """Return what the metadata of SEV-SNP says.

    :param offset: the entry of the GUIDed table; empty if there is none
    """
    if len(offset) < guided_table.ADDRESS.size:
        raise Unfit('it has no SEV-SNP metadata')
    back, = guided_table.ADDRESS.unpack_from(offset)
    if not HEAD.size <= back <= len(content):
        raise Unfit('its SEV-SNP metadata is not within the image')
    start = len(content) - back
    signature, length, _, count = HEAD.unpack_from(content, start)
    if signature != guided_table.SIGNATURE:
        raise Unfit('its SEV-SNP metadata does not begin with %s'
                    % guided_table.SIGNATURE.decode())
    if length > back or HEAD.size + count * SECTION.size > length:
        raise Unfit('its SEV-SNP metadata has %d sections, and no room for '
                    'them' % count)
    sections = [Section(*SECTION.unpack_from(
        content, start + HEAD.size + number * SECTION.size))
        for number in range(min(count, MOST_PAGES + 1))]
    pages = 0
    for section in sections:
        if not section.size or (
                section.address | section.size) % digest.PAGE or (
                section.address + section.size > TOP - len(content)):
            raise Unfit('its SEV-SNP metadata has a section that makes no '
                        'sense: %d bytes at 0x%x' % (
                            section.size, section.address))
        pages += section.size // digest.PAGE
        if pages > MOST_PAGES:
            raise Unfit('its SEV-SNP metadata is of more than %d pages'
                        % MOST_PAGES)
    return sections
