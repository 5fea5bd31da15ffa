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

"""Tell whether the series is laid over the installed Nova."""
import argparse
import json
import os
import sys
import typing as ty

from nova_mem_encryption.cli import configuration
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption import services
from nova_mem_encryption import status

HELP = 'Tell whether the series is laid over the installed Nova.'
EPILOG = """\
It is also seen whether nova-compute and nova-api of this machine are run by a
Python that has the series. For example:

    nova-mem-encryption status
    nova-mem-encryption status --all | less -S

exit status: 0 applied, carried by this Nova as patches, or not needed with it;
1 refused, not armed, no Nova, or services run without it; 2 it cannot be run;
3 off by NOVA_MEM_ENCRYPTION=off"""
CANNOT = 2
EXIT_CODES = {
    engine.APPLIED: 0, engine.PATCHED: 0, engine.NOT_NEEDED: 0,
    engine.REFUSED: 1, engine.BACKPORTED: 1, engine.NO_NOVA: 1,
    engine.UNKNOWN: 1, engine.OFF: 3}
MISFITS = 1  # of which a screen has place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    form = parser.add_mutually_exclusive_group()
    configuration.add_json(form)
    form.add_argument('--brief', action='store_true',
                      help='print one line, as services log it')
    form.add_argument('--all', action='store_true',
                      help='also list each addition and wrap, in a table that '
                           'is wider than a screen')


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    found = status.examine()
    code = EXIT_CODES[found['state']]
    if not found['armed'] and found['state'] == engine.APPLIED:
        found['reason'] = (
            'nova_mem_encryption.pth did not arm the engine when this '
            'interpreter started, so services run without the series. '
            'Install the package into the environment of Nova with pip.')
        code = 1
    found.update(status.examine_services())
    beside = [services.Service(**each) for each in found['services']]
    faults = list(services.get_faults(beside, found['unreadable']))
    if faults and code == 0:
        found['reason'] = ' '.join('%s. %s' % fault for fault in faults)
        code = 1
    if args.json:
        print(json.dumps(found, indent=2))
        return code
    if args.brief:
        print(engine.summary() + (
            '; ' + found['reason'] if code and found['reason'] and
            found['reason'] != engine.state().reason else ''))
        return code
    print('nova-mem-encryption %s' % found['version'])
    print('Nova   %s' % (found['nova'] or 'of unknown version'
                         if found['state'] != engine.NO_NOVA else 'none'))
    print('State  %s%s' % (found['state'], ': ' + found['reason']
                           if found['reason'] else ''))
    for service in beside:
        print('By     %s (%s): %s' % (
            service.command, service.python or 'no Python in its first line',
            service.state or 'it cannot be told'))
    misfits = found['misfits'] if args.all else found['misfits'][:MISFITS]
    for misfit in misfits:
        print()
        print_misfit(misfit)
    if len(misfits) < len(found['misfits']):
        print('\nand %d more functions: see --all' % (
            len(found['misfits']) - len(misfits)))
    if engine.refused():
        print('\n' + (engine.error() if args.all else
                      engine.error().splitlines()[-1]), file=sys.stderr)
    if found['ledger'] and args.all:
        _print_ledger(found['ledger'])
    elif found['ledger']:
        verbs = [entry['verb'] for entry in found['ledger']]
        print('Has    %d additions, %d wraps: see --all' % (
            verbs.count('add'), len(verbs) - verbs.count('add')))
    return code


def print_misfit(misfit: ty.Mapping[str, ty.Any]) -> None:
    """Print which function is another than the known one."""
    print('%s: %s' % (misfit['module'], misfit['function']))
    print('  expected  %s' % misfit['expected'])
    print('  found     %s' % (misfit['found'] or 'nothing of that name'))
    print('  file      %s' % misfit['path'])


def _print_ledger(entries: ty.Iterable[ty.Mapping[str, ty.Any]]) -> None:
    import prettytable  # a requirement of Nova, which may not be there
    tables = {
        last: prettytable.PrettyTable(
            ['Verb', 'Module of Nova', 'Name', 'Line', last], align='l')
        for last in ('Fingerprint', 'Mends')}
    for e in entries:
        row = [e['verb'], e['module'], e['name'],
               '%s:%d' % (os.path.basename(e['file']), e['line'])]
        if e['mends']:
            tables['Mends'].add_row([*row, e['mends']])
        else:
            tables['Fingerprint'].add_row(
                [*row, (e['fingerprint'] or '')[:8]])
    print(tables['Fingerprint'])
    print("Faults of Nova's own, mended beside:")
    print(tables['Mends'])
