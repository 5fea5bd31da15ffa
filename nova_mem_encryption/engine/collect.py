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

"""Make the table of fingerprints from releases of Nova."""
import io
import os
import tarfile
import typing as ty
import zipfile

from nova_mem_encryption.engine import declared
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import source


class Release(ty.NamedTuple):
    """Where a release of Nova, or a distribution's package of it, is."""

    package: ty.Optional[str]  # name of the distribution's package
    version: str
    read: ty.Callable[[str], bytes]


def open_release(path: str) -> Release:
    """Open a release of Nova.

    :param path: of a wheel, of a .deb, or of a site-packages
    :raises ValueError: if there is no Nova
    """
    names: ty.Iterable[str]
    if path.endswith('.deb'):
        return _open_deb(path)
    if os.path.isdir(path):
        names = os.listdir(path)

        def read(name):
            with open(os.path.join(path, name), 'rb') as f:
                return f.read()
    else:
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as e:
            raise ValueError('%s: neither a folder nor a wheel' % path) from e
        names = {name.split('/')[0] for name in archive.namelist()}
        read = archive.read
    for name in names:
        if name.startswith('nova-') and name.endswith('.dist-info'):
            return Release(None, name[len('nova-'):-len('.dist-info')], read)
    raise ValueError('%s: no nova-*.dist-info in it' % path)


def _open_deb(path: str) -> Release:
    """Open a .deb: an ar archive of two tar archives."""
    archives = {}
    with open(path, 'rb') as f:
        if f.read(8) != b'!<arch>\n':
            raise ValueError('%s: not a .deb' % path)
        while True:
            header = f.read(60)
            if len(header) < 60:
                break
            size = int(header[48:58])
            name = header[:16].decode().strip().rstrip('/').partition('.')[0]
            archives[name] = f.read(size)
            f.read(size % 2)
    control = tarfile.open(fileobj=io.BytesIO(archives['control']))
    member = control.extractfile('./control')
    assert member is not None
    fields = dict(line.split(': ', 1) for line in
                  member.read().decode().splitlines() if ': ' in line)
    data = tarfile.open(fileobj=io.BytesIO(archives['data']))

    def read(name):
        member = data.extractfile('./usr/lib/python3/dist-packages/' + name)
        assert member is not None
        return member.read()

    return Release(fields['Package'], fields['Version'], read)


def _wanted(tree, what) -> ty.Dict[str, ty.Set[str]]:
    """Return what all files of the tree declare."""
    wanted: ty.Dict[str, ty.Set[str]] = {}
    for module, path in tree.items():
        with open(path, encoding='utf-8') as f:
            for name, found in what(f.read(), module).items():
                wanted.setdefault(name, set()).update(found)
    return wanted


def _read(release: Release, module: str) -> bytes:
    for ending in ('.py', '/__init__.py'):
        try:
            return release.read(module.replace('.', '/') + ending)
        except (FileNotFoundError, KeyError):
            pass
    raise ValueError('Nova %s has no %s' % (release.version, module))


def collect(
    tree: ty.Mapping[str, str],
    releases: ty.Sequence[str],
    known: ty.Optional[ty.Mapping[str, ty.Any]] = None,
) -> ty.Dict[str, ty.Any]:
    """Make the table.

    :param tree: the modules of the tree, name to file
    :param releases: paths of wheels, of .deb or of site-packages
    :param known: the table as it is; of distributions that are not among the
        releases, those files are kept of which no more is wanted now
    :returns: the table, see fingerprints.table()
    :raises ValueError: if a function that is wrapped or leaned on differs
        between the releases, or does not exist in one, or if a name that is
        added is taken
    """
    wanted = _wanted(tree, declared.functions)
    additions = _wanted(tree, declared.additions)
    modules = sorted({*wanted, *additions})
    result: ty.Dict[str, ty.Any] = {
        'releases': [], 'distributions': {},
        'files': {m: {} for m in modules},
        'functions': {m: {} for m in sorted(wanted)},
        'additions': {m: sorted(additions[m]) for m in sorted(additions)}}
    for release in sorted(
            map(open_release, releases), key=lambda r: (
                r.package or '', [int(n) for n in r.version.split('.')]
                if r.package is None else [r.version])):
        changed: ty.Dict[str, ty.Dict[str, int]] = {}
        if release.package is None:
            result['releases'].append(release.version)
        for module in modules:
            text = _read(release, module)
            digest = fingerprints.digest(text)
            if digest in result['files'][module]:
                continue  # so are its functions
            _check(result, release, module, source.Source(text),
                   wanted.get(module, ()))
            files = (result['files'] if release.package is None else changed)
            files.setdefault(module, {})[digest] = len(text)
        if release.package is not None:
            result['distributions']['%s %s' % release[:2]] = changed
    _keep(result, known)
    return result


def _check(result, release, module, found, wanted) -> None:
    """Compare the functions of a module with those of the first release."""
    for name in sorted(wanted):
        value = found.fingerprint(name)
        if value is None:
            raise ValueError('Nova %s: %s has no %s'
                             % (release.version, module, name))
        first = result['functions'][module].setdefault(name, value)
        if first != value:
            raise ValueError('Nova %s: %s: %s is not that of Nova %s' % (
                release.version, module, name, result['releases'][0]))
    for name in result['additions'].get(module, ()):
        problem = found.find_problem(name)
        if problem:
            raise ValueError('Nova %s: %s: %s'
                             % (release.version, module, problem))


def _keep(result, known) -> None:
    for name, files in ((known or {}).get('distributions') or {}).items():
        if name in result['distributions']:
            continue
        result['distributions'][name] = {
            module: digests for module, digests in files.items()
            if module in result['files'] and
            all(known['functions'].get(module, {}).get(function) == value
                for function, value in
                result['functions'].get(module, {}).items()) and
            set(result['additions'].get(module, ())) <=
            set(known['additions'].get(module, ()))}
