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

"""Open a Nova that is not installed: a wheel, a .deb, or a folder."""
import contextlib
import functools
import glob
import io
import lzma
import os
import tarfile
import typing as ty
import zipfile
import zlib

from nova_mem_encryption.engine import release

# Where a folder may have the package nova: as a checkout, an sdist or
# site-packages has it; an unpacked .deb; a virtual environment
PLACES = ('', 'usr/lib/python3/dist-packages', 'lib/python3*/site-packages')
DEBIAN = './usr/lib/python3/dist-packages/'
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error,
          EOFError, LookupError, NotImplementedError, RuntimeError, ValueError)


class Package(ty.NamedTuple):
    """A Nova in a file or in a folder."""

    path: str
    name: ty.Optional[str]     # of a distribution's package
    version: ty.Optional[str]  # None: nothing tells
    #: returns a file below the folder that has nova; raises OSError, KeyError
    read: ty.Callable[[str], bytes]

    def find(self, module: str) -> ty.Tuple[ty.Optional[str], bytes]:
        """Return the path and the text of the file of a module, if any.

        :raises OSError: if it cannot be read
        :raises ValueError: if the archive is damaged
        """
        for ending in ('.py', '/__init__.py'):
            path = module.replace('.', '/') + ending
            with contextlib.suppress(
                    FileNotFoundError, NotADirectoryError, KeyError):
                with _named(self.path, KeyError):
                    return path, self.read(path)
        return None, b''


@contextlib.contextmanager
def _named(path, *expected):
    """Name the file that an archive is in where it is damaged."""
    try:
        yield
    except (OSError, *expected):
        raise
    except DAMAGE as e:
        raise ValueError('%s: cannot be read: %s' % (path, e)) from e


def open_package(path: str) -> Package:
    """Open a Nova.

    :param path: of a wheel, of a .deb, of an unpacked one of these, of a
        source tree, of a site-packages or of a virtual environment
    :raises OSError: if it cannot be read
    :raises ValueError: if there is no Nova in it
    """
    if os.path.isdir(path):
        package = _open_folder(path)
    else:
        with open(path, 'rb') as f:
            start = f.read(8)
        with _named(path):
            if start == b'!<arch>\n':
                package = _open_deb(path)
            elif start[:2] == b'PK':
                package = _open_wheel(path)
            else:
                raise ValueError('neither a folder, nor a wheel, nor a .deb')
    if package is None or not package.find('nova')[0]:
        raise ValueError('%s: no Nova in it' % path)
    return package


def _open_folder(path: str) -> ty.Optional[Package]:
    for place in PLACES:
        for folder in sorted(glob.glob(
                os.path.join(glob.escape(path), place))):
            if os.path.isfile(os.path.join(folder, 'nova', '__init__.py')):
                return Package(path, None, release.version([folder]),
                               functools.partial(_read, folder))
    return None


def _read(folder: str, name: str) -> bytes:
    with open(os.path.join(folder, name), 'rb') as f:
        return f.read()


def _open_wheel(path: str) -> Package:
    archive = zipfile.ZipFile(path)
    version = None
    for name in archive.namelist():
        if name.startswith('nova-') and name.endswith('.dist-info/METADATA'):
            version = release.version_in(archive.read(name))
    return Package(path, None, version, archive.read)


def _open_deb(path: str) -> Package:
    """Open a .deb: an ar archive of two tar archives."""
    archives = {}
    with open(path, 'rb') as f:
        f.seek(8)
        while True:
            header = f.read(60)
            if len(header) < 60:
                break
            size = int(header[48:58])
            name, _, kind = header[:16].decode().strip().rstrip(
                '/').partition('.tar')
            data = io.BytesIO(f.read(size))
            f.read(size % 2)
            if name in ('control', 'data'):
                try:
                    archives[name] = tarfile.open(fileobj=data)
                except tarfile.ReadError as e:
                    raise ValueError(
                        "%s.tar%s; unpack it with 'dpkg-deb -x FILE FOLDER', "
                        'and name the folder' % (name, kind)) from e
    member = archives['control'].extractfile('./control')
    assert member is not None
    fields = dict(line.split(': ', 1) for line in
                  member.read().decode().splitlines() if ': ' in line)

    def read(name):
        member = archives['data'].extractfile(DEBIAN + name)
        if member is None:
            raise KeyError(name)
        return member.read()

    return Package(path, fields['Package'], fields['Version'], read)
