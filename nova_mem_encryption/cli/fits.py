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

"""Tell whether the series fits a Nova that is not installed."""
import argparse
import json
import sys
import typing as ty

from nova_mem_encryption.cli import configuration
from nova_mem_encryption.cli import status
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import packages
from nova_mem_encryption.engine import patched
from nova_mem_encryption.engine import state as engine

HELP = 'Tell whether the series fits a Nova that is not installed.'
EPILOG = """\
Ask before an upgrade of Nova, not after it:

    apt-get download python3-nova
    nova-mem-encryption fits python3-nova_*.deb

exit status: 0 it fits each of them, or is not needed with it, or carried by it
as patches; 1 it would be refused; 2 there is one that cannot be read"""
CANNOT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument('file', nargs='+', metavar='FILE',
                        help='a wheel of Nova, a .deb of it, one of them '
                             'unpacked, a source tree, or a folder in which '
                             'it is installed')
    configuration.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    table = fingerprints.table()
    code, verdicts = 0, []
    for path in args.file:
        try:
            verdict = _judge(table, path)
        except (OSError, ValueError) as e:
            print(e, file=sys.stderr)
            code = 2
            continue
        verdicts.append(verdict)
        code = max(code, status.EXIT_CODES[verdict['state']])
        if not args.json:
            _print(verdict)
    if args.json:
        print(json.dumps(verdicts, indent=2))
    return code


def _judge(table, path) -> ty.Dict[str, ty.Any]:
    package = packages.open_package(path)
    read: ty.Dict[str, bytes] = {}

    def find(module):
        path, text = package.find(module)
        if module in table['files']:
            read[module] = text
        return path, text

    state, reason, misfits = gate.judge(table, find, lambda: package.version)
    return {
        'path': path, 'package': package.name, 'nova': package.version,
        'state': state, 'reason': reason or None,
        'patches': patched.version(find) if state == engine.PATCHED else None,
        'misfits': [m._asdict() for m in misfits],
        'unknown_files': sorted(
            module for module, text in read.items()
            if not fingerprints.is_known(table, module, text))}


def _print(verdict) -> None:
    fits = verdict['state'] == engine.APPLIED
    print('%s: Nova %s: %s' % (
        verdict['path'], verdict['nova'] or 'of unknown version',
        'the series fits' if fits else
        verdict['state'] + (': ' + verdict['reason']
                            if verdict['reason'] else '')))
    if fits and verdict['unknown_files']:
        print('  changed, but no function that the series is about: ' +
              ', '.join(verdict['unknown_files']))
    for misfit in verdict['misfits']:
        status.print_misfit(misfit)
