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

"""Read how many ASIDs the kernel has, and how many are in use.

Of Nova only nova/mem_encryption is imported, so whatever looks at a host can
use this.
"""
import os
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption import models

# Key of the ASIDs below EDX of CPUID 0x8000001F (AMD 24594, E.4.17), which the
# BIOS sets aside
SEV_ES = 'sev_es'
# The hierarchy of cgroup version 2, where systemd puts it beside those of
# version 1, and that of this controller in version 1
FOLDERS = ('sys/fs/cgroup', 'sys/fs/cgroup/unified', 'sys/fs/cgroup/misc')
LARGEST = 64 * 1024  # bytes of a file; it has some 30
LONGEST = len(str(2 ** 64 - 1))  # digits of the kernel's counts


class Reading(ty.NamedTuple):
    """What one file of the misc cgroup says."""

    counts: ty.Optional[ty.Dict[str, int]]  # by key; None: unknown
    reason: ty.Optional[str]  # why it is unknown, a sentence
    path: ty.Optional[str]  # the file; None if there is none


def read_capacity(root: str = '/') -> Reading:
    """Return how many ASIDs guests of each model can have in all.

    These are the numbers that the kernel itself goes by. Where kvm_amd is not
    loaded, or loaded without the model, it is 0. "Control Group v2" of the
    Linux kernel's documentation, section "Misc", tells of the files.

    :param root: folder that stands for that of the host
    """
    return _read(root, 'misc.capacity', 'Linux 5.13')


def read_current(root: str = '/') -> Reading:
    """Return how many ASIDs guests of each model have now.

    Counted are all guests of the host, whoever started them. Before Linux 6.5
    the root cgroup does not tell ("cgroup/misc: Expose misc.current on cgroup
    v2 root"), and systemd gives its slices no misc controller.

    :param root: folder that stands for that of the host
    """
    return _read(root, 'misc.current', 'Linux 6.5')


def _read(root: str, name: str, since: str) -> Reading:
    for folder in FOLDERS:
        path = os.path.join(root, folder, name)
        try:
            # NOTE: only the root cgroup has it. In a container that sees but
            # its own cgroup, misc.current is not that of the host.
            if not os.path.exists(files.locate(
                    root, '/%s/misc.capacity' % folder)):
                continue
            with files.open_regular(files.locate(
                    root, '/%s/%s' % (folder, name))) as (f, _):
                data = f.read(LARGEST + 1)
        except files.Unfit as e:
            if isinstance(e.__cause__, FileNotFoundError):
                continue
            return Reading(None, '%s: %s.' % (path, e), path)
        counts = _parse(data)
        if counts is None:
            return Reading(
                None, '%s is not as the kernel writes it, a name and a number '
                'on each line: %r.' % (path, data[:60]), path)
        return Reading(counts, None, path)
    return Reading(
        None, 'There is no %s of the root cgroup in %s. It is in %s and '
        'later, where that is built with CONFIG_CGROUP_MISC; a container '
        "needs the host's /sys/fs/cgroup." % (
            name, os.path.join(root, FOLDERS[0]), since), None)


def _parse(data: bytes) -> ty.Optional[ty.Dict[str, int]]:
    """Return the counts of a file, None if it is not one of the kernel's."""
    if len(data) > LARGEST:
        return None
    found: ty.Dict[bytes, int] = {}
    for line in data.splitlines():
        name, _, number = line.partition(b' ')
        if (not name or name in found or not number.isdigit() or
                len(number) > LONGEST):
            return None
        found[name] = int(number)
    # NOTE: it leaves out what there is none of.
    return {key: found.get(key.encode(), 0) for key in models.get_pools()}
