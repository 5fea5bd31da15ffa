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

"""Read what QEMU's firmware descriptors say of a host's firmware.

Their order and overriding are those of docs/interop/firmware.json of QEMU.
"""
import json
import os
import stat
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import (
    descriptor_format)

# From general to specific. libvirt's system daemon does not look into the home
# folder of its user.
FOLDERS = ('/usr/share/qemu/firmware', '/etc/qemu/firmware')
MOST_BYTES = 1 << 20


class Rejected(ty.NamedTuple):
    """A firmware that is not used."""

    path: str  # of its descriptor
    reason: str

    def __str__(self):
        return '%s: %s' % self


def find_descriptors(root='/'):
    """Find the descriptors that are in effect.

    :param str root: the folder that has the host's files
    :returns: a list of their paths on the host, in the order to be tried
    :raises OSError: if a folder is there, but cannot be read
    :raises files.Unfit: if it is a link out of root
    """
    return [path for path in list_paths(root) if not _is_mask(root, path)]


def list_paths(root='/'):
    """Find the descriptors, and what is there only to hide others.

    :param root, returns, raises: as of find_descriptors
    """
    found = {}
    for folder in FOLDERS:
        try:
            names = os.listdir(files.locate(root, folder))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            if name.endswith('.json') and not name.startswith('.'):
                found[name] = os.path.join(folder, name)
    return [found[name] for name in sorted(found, key=os.fsencode)]


def _is_mask(root, path):
    """Tell whether a descriptor is there only to hide another one."""
    path = os.path.join(root, path.lstrip('/'))
    if os.path.realpath(path) == os.devnull:
        return True
    try:
        status = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def read_specs(root='/'):
    """Read all descriptors that are in effect, whatever they say.

    :param str root: the folder that has the host's files
    :returns: a dict, path on the host to the parsed JSON, in the order to be
        tried; and a list of Rejected: those that cannot be read, or a folder
        that cannot be: then the dict is empty, as that may hide any
    """
    return _read(root, lambda path, text: _load(text))


def read_descriptors(root='/'):
    """Read all descriptors that are in effect, and make sense.

    :param str root: the folder that has the host's files
    :returns: a list of Descriptor, in the order to be tried; and a list of
        Rejected, as of read_specs, and those that do not make sense
    """
    found, rejected = _read(root, _understand)
    return list(found.values()), rejected


def _read(root, interpret):
    """Read each descriptor, and return what is made of its path and text."""
    found, rejected = {}, []
    try:
        paths = find_descriptors(root)
    except OSError as e:
        return {}, [Rejected(e.filename, 'it cannot be read: %s' % e.strerror)]
    except files.Unfit as e:
        return {}, [Rejected(root, str(e))]
    for path in paths:
        try:
            with files.open_regular(files.locate(root, path)) as (f, _):
                text = f.read(MOST_BYTES + 1)
            found[path] = interpret(path, text)
        except files.Unfit as e:
            rejected.append(Rejected(path, str(e)))
    return found, rejected


def _load(text):
    """Return the JSON of a descriptor, parsed."""
    if len(text) > MOST_BYTES:
        raise files.Unfit('it has more than %d bytes' % MOST_BYTES)
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as e:
        raise files.Unfit('it is no JSON: %s' % e) from e


# NOTE: the files are read for each guest, so that one that changed counts at
# once; to validate them takes a hundred times as long.
def _understand(path, text):
    return descriptor_format.parse(path, _load(text))
