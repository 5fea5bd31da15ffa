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

"""Record the firmware of a host: what makes it fit for guests, and no more."""
import os
import typing as ty

from nova_mem_encryption.check import examples
from nova_mem_encryption.check import hosts
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import descriptors
from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption import models

# What the size of an image is to be a multiple of, by its device
MULTIPLES = {row.firmware.kind.device: row.firmware.kind.multiple
             for row in models.MODELS.values()}


def get_files(host: hosts.Host) -> ty.Iterator[ty.Tuple[str, bytes]]:
    """Yield paths of the recorded host, and what is there."""
    for folder in descriptors.FOLDERS:
        try:
            names = os.listdir(files.locate(host.root, folder))
        except (OSError, files.Unfit):
            continue
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not name.endswith('.json'):
                continue
            if os.path.realpath(os.path.join(
                    host.root, path.lstrip('/'))) == os.devnull:
                yield hosts.FILES + path, b''  # it hides another one
                continue
            try:
                yield hosts.FILES + path, host.read(path).encode()
            except hosts.Unanswered:
                continue
    yield from _get_images(host).items()


def _get_images(host: hosts.Host) -> ty.Dict[str, bytes]:
    images: ty.Dict[str, bytes] = {}
    found = descriptors.read_descriptors(host.root)[0]
    # What the examples name may be there without a descriptor.
    found += filter(None, map(examples.find_descriptor, models.get_added()))
    for descriptor in found:
        for path in (descriptor.executable, descriptor.nvram_template):
            # NOTE: all that matters of a template is that it is there.
            data = None if path is None else _get_end(
                host, path, MULTIPLES.get(descriptor.device, 1))
            if data is not None and path == descriptor.nvram_template:
                data = b''
            if data is not None:
                images[hosts.FILES + os.path.normpath(str(path))] = data
    return images


def _get_end(host: hosts.Host, path: str, multiple: int
             ) -> ty.Optional[bytes]:
    """Return a file that is as good as a firmware's image."""
    try:
        with files.open_regular(
                files.locate(host.root, path)) as (f, status):
            if status.st_size % multiple or (
                    status.st_size > guided_table.LARGEST):
                return bytes(1)  # not of a size that QEMU takes
            f.seek(max(0, status.st_size - guided_table.MOST_BYTES))
            data = f.read(guided_table.MOST_BYTES)
    except files.Unfit:
        return None
    used = _get_used(data)
    # NOTE: a descriptor may name any file. What has no table is not taken for
    # firmware, and nothing of it is kept.
    kept = {used: data[len(data) - used:]} if used else {}
    kept.update(_get_metadata(data) if used else {})
    size = max(1, -(-max(kept, default=0) // multiple)) * multiple
    image = bytearray(size)
    for end, part in sorted(kept.items(), reverse=True):
        image[size - end:size - end + len(part)] = part
    return bytes(image)


def _get_used(data: bytes) -> int:
    """Return how many bytes the table has, to the end of the image."""
    trailer = guided_table.TRAILER
    end = len(data) - guided_table.END
    if end < trailer.size:
        return 0
    length, guid = trailer.unpack_from(data, end - trailer.size)
    if guid == guided_table.FOOTER.bytes_le:
        return guided_table.END + trailer.size + sum(
            len(entry) + trailer.size
            for _, entry in guided_table.get_entries(data))
    if guid == guided_table.RESET_BLOCK.bytes_le and (
            trailer.size <= length <= end):
        return guided_table.END + length
    return 0


def _get_metadata(data: bytes) -> ty.Dict[int, bytes]:
    """Return the metadata of SEV-SNP, by where they begin before the end."""
    for guid, entry in guided_table.get_entries(data):
        if guid != guided_table.SNP_METADATA or (
                len(entry) < guided_table.ADDRESS.size):
            continue
        from_end, = guided_table.ADDRESS.unpack_from(entry)
        if guided_table.METADATA.size <= from_end <= len(data):
            start = len(data) - from_end
            _, length, _, _ = guided_table.METADATA.unpack_from(data, start)
            return {from_end: data[start:start + min(length, from_end)]}
    return {}
