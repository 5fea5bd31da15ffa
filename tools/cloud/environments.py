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

"""The environments of the Novas of a cloud, made of the one that tox makes."""
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

TREE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
WHEEL = os.path.join(TREE, 'tools', 'export', 'wheel.py')
NAME = 'nova-patched'
# That of tox, where the package is laid over Nova
OVERLAID = os.path.dirname(sys.prefix) if (
    os.path.basename(sys.prefix) == NAME) else sys.prefix
# Patched Novas: with the package beside, and without it
PATCHED = os.path.join(OVERLAID, NAME)
ALONE = PATCHED + '-alone'
# The digests of all of what they were made of
MADE_OF = os.path.join(ALONE, 'made-of')


def make_patched():
    """Make the two environments of a patched Nova, if they are not there."""
    with tempfile.TemporaryDirectory(prefix='nova-patched-') as folder:
        wheel = subprocess.check_output(
            [sys.executable, WHEEL, folder, '--release',
             importlib.metadata.version('nova')], text=True).strip()
        made_of = get_records(wheel)
        if os.path.exists(MADE_OF):
            with open(MADE_OF, encoding='utf-8') as f:
                if f.read() == made_of:
                    return
        for path in (PATCHED, ALONE):
            shutil.rmtree(path, ignore_errors=True)
        copy(OVERLAID, PATCHED)
        pip(PATCHED, 'install', '--no-deps', '--force-reinstall', wheel)
    copy(PATCHED, ALONE)
    pip(ALONE, 'uninstall', '-y', 'nova-mem-encryption')
    with open(MADE_OF, 'w', encoding='utf-8') as f:
        f.write(made_of)


def get_records(wheel):
    """Return the digests of all files of a wheel, and of this package."""
    with zipfile.ZipFile(wheel) as opened:
        record, = (name for name in opened.namelist()
                   if name.endswith('.dist-info/RECORD'))
        return opened.read(record).decode() + importlib.metadata.distribution(
            'nova-mem-encryption').read_text('RECORD')


def is_patched():
    """Tell whether this runs in that of a patched Nova."""
    return sys.prefix == PATCHED


def become_patched():
    """Start this process anew in that of a patched Nova."""
    os.execv(os.path.join(PATCHED, 'bin', 'python'),
             [os.path.join(PATCHED, 'bin', 'python'), *sys.argv])


def pip(prefix, *words):
    """Run pip in an environment; what it says goes to stderr."""
    subprocess.check_call([
        os.path.join(prefix, 'bin', 'python'), '-m', 'pip', '-q',
        '--disable-pip-version-check', *words], stdout=sys.stderr)


def copy(source, target):
    """Copy an environment, by links where that can be done.

    :param source: its folder
    :param target: that of the copy, in which its commands are to run
    """
    def ignore(folder, names):
        return () if folder != source else set(names) - {
            'bin', 'etc', 'lib', 'lib64', 'pyvenv.cfg', 'share'}

    shutil.copytree(source, target, symlinks=True, copy_function=_link,
                    ignore=ignore)
    for entry in os.scandir(os.path.join(target, 'bin')):
        if not entry.is_file(follow_symlinks=False):
            continue
        with open(entry.path, 'rb') as f:
            text = f.read() if f.read(2) == b'#!' else b''
        if text:
            mode = os.stat(entry.path).st_mode
            os.unlink(entry.path)  # the other name of it is the source's
            with open(entry.path, 'wb') as f:
                f.write(b'#!' + text.replace(os.fsencode(source + '/bin/'),
                                             os.fsencode(target + '/bin/')))
            os.chmod(entry.path, mode)


def _link(source, target):
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
