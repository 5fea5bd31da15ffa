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
"""Sources of Nova, and the places in which a way of patching wants them."""
import glob
import os
import re
import shutil
import subprocess
import sys
import typing as ty
import zipfile

from nova_mem_encryption.engine import fingerprints
import series

# Where tools/tox keeps wheels, below the environment
WHEELS = os.path.join(sys.prefix, 'nova')
DEBIAN = 'debian'  # the name of the source that is Debian's
SUITES = {'debian': 'trixie', 'debian-security': 'trixie-security'}
KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
MIRRORS = re.compile(r'https?://[^\s/]+(?=/debian)')
RELEASE_OF_DEBIAN = next(iter(  # of Nova, in Debian 13
    fingerprints.table()['distributions'])).split()[1].split(
        ':')[-1].partition('-')[0]
# Those of which the page says how one goes back
REVERSIBLE = ('quilt', 'git', 'debian')
# Those that patch nothing but what runs
PARTIAL = ('kolla',)
# What RDO's nova.spec does with patches
SPEC = """\
Name:           openstack-nova
Version:        %(release)s
Release:        1
Summary:        OpenStack Compute
License:        Apache-2.0
Source0:        nova-%%{version}.tar.gz

%%description
OpenStack Compute

%%prep
%%autosetup -n nova-%%{version} -S git

%%changelog
* Mon Nov 10 2025 Nobody <nobody@localhost> %(release)s-1
- Another release
"""
CONTROL = """\
Source: nova
Maintainer: Nobody <nobody@localhost>
Standards-Version: 4.7.0

Package: python3-nova
Architecture: all
Description: OpenStack Compute
 As Debian's package is laid out.
"""
CHANGELOG = """\
nova (2:%s-1) unstable; urgency=medium

  * Another release.

 -- Nobody <nobody@localhost>  Mon, 10 Nov 2025 00:00:00 +0000
"""
# A folder is / for kolla's script. Its arguments: the folder.
KOLLA = """
set -e
for name in bin lib lib64; do ln -s usr/$name "$1/$name"; done
mkdir -p "$1/usr" "$1/etc/kolla" "$1/tmp"
mount --bind /usr "$1/usr"
exec chroot "$1" /bin/bash /kolla_patch.sh
"""


class Unreachable(Exception):
    """A source that this machine cannot fetch."""


class Source(ty.NamedTuple):
    """A Nova that is not patched.

    :param name: as one asks for it
    :param release: of Nova
    :param folder: that holds nova/
    :param archive: of a Debian source package, or None
    """

    name: str
    release: str
    folder: str
    archive: ty.Optional[str]


def releases() -> ty.List[str]:
    """Return the releases of Nova that the project is for, in order."""
    return fingerprints.table()['releases']


def add_release(parser):
    """Have a command take one release of Nova, the last by default."""
    parser.add_argument('--release', default=releases()[-1],
                        choices=releases(), help='of Nova')


def add_wheels(parser):
    """Have a command take the folder that get_wheel has them in."""
    parser.add_argument('--wheels', default=WHEELS, metavar='FOLDER',
                        help='where the wheels of Nova are, or are put')


def get_wheel(release: str, folder: str = WHEELS) -> str:
    """Return the path of the wheel of a release; it is downloaded once.

    :raises series.Wrong: if pip cannot download it
    """
    path = os.path.join(folder, 'nova-%s-py3-none-any.whl' % release)
    if not os.path.exists(path):
        done = subprocess.run(
            [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps',
             '--disable-pip-version-check', '-d', folder, 'nova==' + release],
            text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not os.path.exists(path):
            raise series.Wrong('pip cannot download Nova %s: %s' % (
                release, done.stdout.strip()))
    return path


def unpack(wheel: str, folder: str) -> str:
    """Unpack a wheel into a folder that is made; return it."""
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)
    return folder


def get(name, wheels, folder):
    """Return a source; it is put below a folder.

    :param name: a release, or DEBIAN
    :raises Unreachable: if it cannot be fetched
    :raises series.Wrong: if pip fails
    """
    if name == DEBIAN:
        return get_debian(os.path.join(folder, name))
    return Source(name, name, unpack(
        get_wheel(name, wheels), os.path.join(folder, name)), None)


def get_debian(folder):
    """Fetch the newest source of Debian 13 that its archive gives.

    :raises Unreachable: if it gives none, or nothing here can unpack it
    """
    for program in ('apt-get', 'dpkg-source'):
        if shutil.which(program) is None:
            raise Unreachable('there is no %s' % program)
    series.make_anew(folder)
    apt = _make_apt(folder)
    done = subprocess.run(['apt-get', *apt, 'update'], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    versions = re.findall(r'(?m)^Version: (\S+)', subprocess.run(
        ['apt-cache', *apt, 'showsrc', 'nova'], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    for version in dict.fromkeys(versions):
        # The newest may be on its way to the mirror yet.
        done = subprocess.run(
            ['apt-get', *apt, 'source', '--only-source', 'nova=' + version],
            cwd=folder, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        unpacked = glob.glob(os.path.join(folder, 'nova-*', 'debian'))
        if not done.returncode and unpacked:
            tree = os.path.dirname(unpacked[0])
            return Source('debian (%s)' % version, tree.rpartition('-')[2],
                          tree, glob.glob(os.path.join(
                              folder, 'nova_*.orig.tar.*[!c]'))[0])
        print('debian: %s cannot be fetched' % version)
    raise Unreachable(' '.join(done.stdout.splitlines()[-1:]) or
                      'no source of Nova in the archive')


def _make_apt(folder):
    """Return options of apt for Debian 13, without the machine's lists."""
    mirror = next((found.group() for path in [
        '/etc/apt/sources.list', *glob.glob('/etc/apt/sources.list.d/*')]
        if os.path.isfile(path) for found in [MIRRORS.search(open(
            path, encoding='utf-8').read())] if found), None)
    if mirror is None:
        raise Unreachable('apt has no mirror of Debian')
    path = os.path.join(folder, 'sources.list')
    with open(path, 'w', encoding='utf-8') as f:
        for archive, suite in SUITES.items():
            f.write('deb-src [signed-by=%s] %s/%s %s main\n' % (
                KEYRING, mirror, archive, suite))
    os.makedirs(os.path.join(folder, 'lists', 'partial'))
    return ['-q', *('-o%s=%s' % option for option in (
        ('APT::Sandbox::User', 'root'),
        ('Dir::Etc::SourceList', path),
        ('Dir::Etc::SourceParts', '/dev/null'),
        ('Dir::State::Lists', os.path.join(folder, 'lists')),
        ('Dir::Cache', os.path.join(folder, 'cache'))))]


# -- places ------------------------------------------------------------------

def _copy(source, folder, name=None):
    """Copy a source without what quilt and Debian have put there."""
    path = os.path.join(folder, name or 'nova-' + source.release)
    shutil.copytree(source.folder, path, symlinks=True, ignore=lambda at, of: [
        each for each in of if at == source.folder and
        each in series.BESIDE])
    return path


def _call(*words, folder):
    done = subprocess.run(words, cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode:
        raise series.Wrong('%s: %s' % (' '.join(words[:3]), done.stdout))
    return done.stdout


def make_repository(source, folder):
    """Make a git repository of a source, with the tag of its release."""
    path = _copy(source, folder, 'nova')
    for words in (['init', '-q'], ['config', 'core.autocrlf', 'false'],
                  ['add', '--all', '--force'],
                  ['-c', 'user.name=Nobody', '-c', 'user.email=@', 'commit',
                   '-q', '-m', 'Nova ' + source.release],
                  ['tag', source.release]):
        _call('git', *words, folder=path)
    return path


def make_debian_source(source, folder):
    """Lay out a Debian source package: that of Debian, or one made here."""
    if source.archive:
        path = os.path.join(folder, os.path.basename(source.folder))
        shutil.copytree(source.folder, path, symlinks=True)
        shutil.copy(source.archive, folder)
        return path
    path = _copy(source, folder)
    name = os.path.basename(path)
    _call('tar', 'czf', 'nova_%s.orig.tar.gz' % source.release, name,
          folder=folder)
    for file, text in {'control': CONTROL, 'source/format': '3.0 (quilt)\n',
                       'changelog': CHANGELOG % source.release,
                       'patches/series': ''}.items():
        file = os.path.join(path, 'debian', file)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with open(file, 'w', encoding='utf-8') as f:
            f.write(text)
    # What dpkg-source leaves of a package that it has unpacked
    _call('dpkg-source', '--before-build', path, folder=folder)
    os.makedirs(os.path.join(path, '.pc'), exist_ok=True)
    for file, text in {'.version': '2\n', 'applied-patches': '',
                       '.quilt_patches': 'debian/patches\n',
                       '.quilt_series': 'series\n'}.items():
        with open(os.path.join(path, '.pc', file), 'w') as f:
            f.write(text)
    return path


def make_rpm_folder(source, folder):
    """Lay out the folder of an RPM: its spec file and Nova's archive."""
    path = _copy(source, folder)
    package = os.path.join(folder, 'nova-rpm')
    os.mkdir(package)
    _call('tar', 'czf', os.path.join(package, os.path.basename(path) +
                                     '.tar.gz'), os.path.basename(path),
          folder=folder)
    with open(os.path.join(package, 'nova.spec'), 'w', encoding='utf-8') as f:
        f.write(SPEC % {'release': source.release})
    return path


PLACES = {'quilt': _copy, 'kolla': _copy, 'git': make_repository,
          'debian': make_debian_source, 'rpm': make_rpm_folder}


def finish(way, source, folder, check):
    """Do what follows the commands; return where the result is, if elsewhere.

    :param check: called with what a program has said
    :raises series.Wrong: if that is not as it has to be
    """
    if way == 'rpm':
        return os.path.join(folder, 'rpmbuild', 'BUILD',
                            'nova-' + source.release)
    if way == 'kolla':
        return patch_as_kolla(source, folder, check)
    if way == 'debian':
        built, = glob.glob(os.path.join(folder, 'nova_*+sev1.dsc'))
        check(_call('dpkg-source', '--extract', built, 'again',
                    folder=folder))
        differ = series.compare(*(series.get_texts(os.path.join(folder, name))
                                  for name in (
                                      'again', 'nova-' + source.release)))
        if differ:
            raise series.Wrong('the source package that is built has another '
                               '%s' % ', '.join(differ[:5]))
    return None


def patch_as_kolla(source, folder, check):
    """Have the script of kolla-build patch Nova as an image has it.

    :returns: the folder that holds nova/
    """
    work = os.path.join(folder, 'kolla-work', 'docker')
    root = os.path.join(folder, 'root')
    os.mkdir(root)
    shutil.copy(os.path.join(work, 'base', 'kolla_patch.sh'), root)
    shutil.copytree(os.path.join(work, 'nova', 'nova-base', 'patches'),
                    os.path.join(root, 'patches'))
    found = {match.group(1) for patch in series.read(
        os.path.join(root, 'patches')) for match in re.finditer(
            r'(?m)^\+\+\+ /?(var/lib/kolla/venv/\S+?)/nova/', patch.text)}
    if len(found) != 1:
        raise series.Wrong('its paths are not those of an image of Kolla')
    place = os.path.join(root, *found)
    shutil.copytree(os.path.join(source.folder, 'nova'),
                    os.path.join(place, 'nova'))
    check(_call('unshare', '--mount', 'sh', '-c', KOLLA, 'sh', root,
                folder=folder))
    return place


def limit(way, texts):
    """Return of the texts of files those that a way has in its place.

    patch leaves a file as it was beside one in which lines have moved.
    """
    return texts if way not in PARTIAL else {
        path: text for path, text in texts.items()
        if path.startswith('nova/') and not (
            path.startswith('nova/tests/') or path.endswith('.orig'))}
