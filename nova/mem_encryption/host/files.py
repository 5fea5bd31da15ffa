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

"""Open files of a host, or of one that was recorded, and nothing else."""
import contextlib
import os
import stat
import typing as ty

ROOT = '/'  # folder of the files of this host
# Nanoseconds by which file systems tell time, at most: that of FAT, ext3's
# is a half of it. A file may change within without telling.
CLOCK = 2 * 10 ** 9


class Unfit(Exception):
    """A file that cannot be used; the message says why."""


class State(ty.NamedTuple):
    """What tells a file from another, and from itself once it has changed."""

    device: int
    number: int   # of the inode
    mode: int
    size: int
    modified: int  # nanoseconds since 1970
    changed: int   # the same, of its status

    def is_before(self, when):
        """Tell whether it has certainly not changed since then.

        :param int when: nanoseconds since 1970
        """
        return max(self.modified, self.changed) < when - CLOCK


# Of no file: what differs from what any has
ANOTHER = State(0, 0, 0, 0, 0, 0)


def get_state(path):
    """Return the State of a file or folder, None if it has none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: no name of a file
        return None
    return State(found.st_dev, found.st_ino, found.st_mode, found.st_size,
                 found.st_mtime_ns, found.st_ctime_ns)


def locate(root, path):
    """Return where a file of a host is.

    :param str root: the folder that has the host's files, '/' for this host
    :param str path: the file's absolute path on the host
    :raises Unfit: if a link leads out of the folder
    """
    if root == '/':
        return path
    root = os.path.realpath(root)
    found = root + os.path.normpath('/' + path.lstrip('/'))
    if os.path.realpath(found) != os.devnull and os.path.commonpath(
            [root, os.path.realpath(found)]) != root:
        raise Unfit('it is a link to what is not below %s' % root)
    return found


@contextlib.contextmanager
def open_regular(path):
    """Open a file, but nothing that is not one, such as a pipe.

    :returns: a context manager with the file, in binary mode, and its status
    :raises Unfit: if it cannot be read
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise Unfit('it is not a regular file')
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 'rb') as f:
            yield f, os.fstat(f.fileno())
    except (OSError, ValueError) as e:  # ValueError: no name of a file
        raise Unfit('it cannot be read: %s' % (
            getattr(e, 'strerror', None) or e)) from e
