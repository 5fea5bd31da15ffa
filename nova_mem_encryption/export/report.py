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

"""Write the patches for a Nova into a folder, and say what they are."""
import argparse
import json
import os
import re
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption.cli import status
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import packages
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption import errors
from nova_mem_encryption.export import data
from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import mail
from nova_mem_encryption.export import progress
from nova_mem_encryption.export import series

PACKAGE = 'nova/mem_encryption/__init__.py'


class Refused(Exception):
    """The series is not for this Nova."""

    def __init__(self, reason: str, misfits: ty.Sequence[ty.Any] = ()) -> None:
        super().__init__(reason)
        self.misfits = misfits


def main(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    try:
        found = export(args)
    except Refused as e:
        print(e, file=sys.stderr)
        for misfit in e.misfits:
            status.print_misfit(misfit._asdict())
        return 1
    except (OSError, ValueError) as e:
        raise errors.CannotRun(_explain(e)) from e
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 0


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return '%s: %s.' % (error.filename, error.strerror)
    return str(error).rstrip('.') + '.'


def export(args: argparse.Namespace) -> ty.Dict[str, ty.Any]:
    """Write the patches.

    :returns: what is printed as JSON
    :raises Refused: if the series does not fit Nova
    :raises ValueError: if the folder is not empty, or a patch cannot be made
    :raises OSError: if something cannot be read or written
    """
    check_python(args.python)
    check_folder(args.folder)
    package = packages.open_package(args.nova or find_nova())
    judge(package)
    made = series.Series(package.read)
    total = len(decisions.SUBJECTS) + 2 * data.is_checkout()
    patches = []
    with progress.Progress('Making patches', total) as bar:
        for patch in made.make_all():
            patches.append(patch)
            bar.step()
    made.check()
    style = mail.make_style(args.style, args.python)
    texts = {mail.file_name(n, patch): mail.write(patch, n, total, style)
             for n, patch in enumerate(patches, 1)}
    texts['series'] = ''.join(name + '\n' for name in texts)
    folder = os.path.join(args.folder, style.folder)
    os.makedirs(folder, exist_ok=True)
    for name, text in texts.items():
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as f:
            f.write(text)
    return describe(args, package, made, patches, folder)


def check_python(version: str) -> None:
    """See that a version of Python is one.

    :raises ValueError: if not
    """
    if not re.fullmatch(r'3\.\d{1,2}', version):
        raise ValueError("--python is '%s', which is no version such as 3.12"
                         % version)


def check_folder(folder: str) -> None:
    """See that nothing is lost where the patches go.

    :raises ValueError: if there is something
    :raises OSError: if it is no folder
    """
    if os.path.lexists(folder) and os.listdir(folder):
        raise ValueError('%s is not empty; name a folder that is, or a new '
                         'one' % folder)


def find_nova() -> str:
    """Return the folder where the Nova of this Python is.

    :raises ValueError: if there is none
    """
    for folder in sys.path:
        if os.path.isfile(os.path.join(folder, 'nova', '__init__.py')):
            return folder or '.'
    raise ValueError('Nova is not installed in %s; name one with --nova'
                     % sys.prefix)


def judge(package: packages.Package) -> None:
    """See that the series fits a Nova, as the gate does.

    :raises Refused: if not
    """
    path, text = package.find('nova.mem_encryption')
    if path is not None:
        version = re.search(rb"^VERSION = '(.*)'", text, re.M)
        raise Refused('%s: it is patched already, by nova-mem-encryption %s; '
                      'name a Nova without patches' % (
                          package.path, version and version[1].decode(
                              'ascii', 'replace') or '(of unknown version)'))
    state, reason, misfits = gate.judge(
        fingerprints.table(), package.find, lambda: package.version)
    if state != engine.APPLIED:
        raise Refused('%s: Nova %s: %s%s' % (
            package.path, package.version or 'of unknown version', state,
            ': ' + reason if reason else ''), misfits)


def describe(args, package, made, patches, folder) -> ty.Dict[str, ty.Any]:
    """Return what was written."""
    return {
        'version': nova_mem_encryption.__version__,
        'folder': folder, 'style': args.style,
        'nova': package.version, 'path': package.path,
        'releases': [] if made.unknown else [
            *fingerprints.table()['releases'],
            *fingerprints.table()['distributions']],
        'unknown_files': sorted(made.unknown),
        'patches': [{
            'file': mail.file_name(n, patch), 'title': patch.title,
            'files': len(patch.changes),
            'hunks': sum(len(change.hunks) for change in patch.changes),
            'insertions': sum(mail.count(c)[0] for c in patch.changes),
            'deletions': sum(mail.count(c)[1] for c in patch.changes)}
            for n, patch in enumerate(patches, 1)],
        'taken': {each.name: each.taken for each in made.by_hand
                  if each.taken},
        'left_out': {module.replace('.', '/') + '.py': reason
                     for module, reason in made.left_out().items()}}


def _print(found: ty.Mapping[str, ty.Any]) -> None:
    print('%-32s %5s %5s %6s %4s' % ('Patch', 'Files', 'Hunks', '+', '-'))
    numbers = 'files', 'hunks', 'insertions', 'deletions'
    for patch in found['patches']:
        print('%-32s %5d %5d %6d %4d' % (
            patch['file'], *(patch[name] for name in numbers)))
    print('%-32s %5d %5d %6d %4d' % ('', *(
        sum(patch[name] for patch in found['patches']) for name in numbers)))
    print('\nApply to: %s' % (', '.join(found['releases']) or (
        'this Nova only, as these files are of no release that is known: ' +
        ', '.join(found['unknown_files']))))
    print('\nNot in the patches:')
    for reason in dict.fromkeys(found['left_out'].values()):
        print('  %s:' % reason)
        for name in (n for n, r in found['left_out'].items() if r == reason):
            print('    ' + name)
    print('\nWritten to %s' % found['folder'])
