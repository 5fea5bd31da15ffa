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

ROOT = '/'  # folder of the files of this host


class Unfit(Exception):
    """A file that cannot be used; the message says why."""


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
