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
import contextlib
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
from nova_mem_encryption.engine import patched
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption import errors
from nova_mem_encryption import export as choices
from nova_mem_encryption.export import mail
from nova_mem_encryption.export import progress
from nova_mem_encryption.export import series


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
    check_python(args)
    check_folder(args.folder)
    package = open_nova(args.nova)
    judge(package)
    style = mail.make_style(args.style, args.python)
    made = series.Series(package.read, is_image=not style.git)
    patches = []
    with progress.Progress('Making patches', made.total) as bar:
        for patch in made.make_all():
            patches.append(patch)
            bar.step()
    made.check()
    texts = {mail.file_name(n, patch): mail.write(
        patch, n, len(patches), style) for n, patch in enumerate(patches, 1)}
    texts['series'] = ''.join(name + '\n' for name in texts)
    return describe(args, package, made, patches,
                    write(args.folder, style.folder, texts))


def write(folder: str, below: str, texts: ty.Mapping[str, str]) -> str:
    """Write files, all or none.

    :param folder: that is empty, or is made
    :param below: of it, where the files go; '' if not below it
    :param texts: name of each file to its text
    :returns: the folder that the files are in
    :raises OSError: if they cannot be written
    """
    is_new, place = not os.path.lexists(folder), os.path.join(folder, below)
    try:
        os.makedirs(place, exist_ok=True)
        for name, text in texts.items():
            with open(os.path.join(place, name), 'w', encoding='utf-8') as f:
                f.write(text)
    except OSError as e:
        # NOTE: half a series applies, and is none.
        for name in texts:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(place, name))
        with contextlib.suppress(OSError):
            if below:
                os.rmdir(place)
            if is_new:
                os.rmdir(folder)
        raise OSError(e.errno, e.strerror, e.filename or place) from e
    return place


def check_python(args: argparse.Namespace) -> None:
    """See that a version of Python is one, and is wanted.

    :raises ValueError: if not
    """
    if args.python is not None and args.style != choices.KOLLA:
        raise ValueError("--python is for --style %s; leave it out with %s"
                         % (choices.KOLLA, args.style))
    if not re.fullmatch(r'3\.\d{1,2}', args.python or choices.PYTHON):
        raise ValueError("--python is '%s', which is no version such as %s"
                         % (args.python, choices.PYTHON))


def check_folder(folder: str) -> None:
    """See that patches can be written to a folder, and nothing is lost there.

    :raises ValueError: if not
    """
    what = ('is not empty' if os.path.isdir(folder) and os.listdir(folder) else
            'is no folder' if os.path.lexists(folder) and not os.path.isdir(
                folder) else None)
    above = os.path.abspath(folder)
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if what is None and not os.path.isdir(above):
        what = 'cannot be made, as %s is no folder' % above
    if what is None and not os.access(above, os.W_OK | os.X_OK):
        what = 'cannot be written, as nothing can be made in %s' % above
    if what:
        raise ValueError('%s %s; name a folder that is empty, or a new one'
                         % (folder, what))


def open_nova(path: ty.Optional[str]) -> packages.Package:
    """Open the Nova that the patches are for.

    :param path: of it; None for that of this Python
    :raises ValueError: if there is none
    """
    try:
        return packages.open_package(path or find_nova())
    except (OSError, ValueError) as e:
        if path is None:
            raise
        raise ValueError('--nova: %s; name %s' % (
            _explain(e).rstrip('.'), choices.NOVA)) from e


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
    if package.find(patched.PACKAGE)[0] is not None:
        raise Refused('%s: it is patched already, by nova-mem-encryption %s; '
                      'name a Nova without patches' % (
                          package.path, patched.version(package.find) or
                          '(of unknown version)'))
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
                     for module, reason in made.left_out().items()},
        'patches_left_out': made.not_made,
        'tests_left_out': made.tests_left_out}


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
    if found['tests_left_out']:
        print('  %d modules and parts of tests: see --json' % len(
            found['tests_left_out']))
    for slug, reason in found['patches_left_out'].items():
        print('  %s: %s' % (slug, reason))
    print('\nWritten to %s' % found['folder'])
