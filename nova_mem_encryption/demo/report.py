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

"""Run the demo, and print it."""
import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import typing as ty
import warnings

import nova_mem_encryption
from nova_mem_encryption.demo import steps
from nova_mem_encryption.engine import state as engine

EPILOGUE = {
    'real': 'nova-api, nova-conductor, nova-scheduler, nova-compute and the '
            'libvirt driver, with the series; Placement; their databases, '
            'which are SQLite in memory.',
    'imitated': 'libvirt, the processor, the kernel parameters and the '
                'disks; Keystone, Glance, Neutron and the message bus. No '
                'guest runs.',
}


def _text(name: str, fact: ty.Any) -> str:
    """Return a fact as text; it is a string, or a table as dicts."""
    fact = fact or 'nothing'
    if isinstance(fact, str):
        lines = fact.splitlines() if '\n' in fact else textwrap.wrap(fact, 58)
        return '     %-15s%s' % (name, ('\n' + ' ' * 20).join(lines))
    import prettytable  # a requirement of Nova
    table = prettytable.PrettyTable(fact[0].keys(), align='l', border=False,
                                    left_padding_width=0)
    for row in fact:
        table.add_row([
            ', '.join(cell) or '-' if isinstance(cell, list) else
            textwrap.fill(cell, 42) if isinstance(cell, str) else
            '-' if cell is None else cell for cell in row.values()])
    return '\n'.join('     ' + line.rstrip()
                     for line in table.get_string().splitlines())


def _fail(code: int, message: str) -> int:
    print('nova-mem-encryption demo: %s' % message, file=sys.stderr)
    return code


def _run(args: argparse.Namespace, cloud: ty.Any) -> ty.List[ty.Dict]:
    """Take the steps; print each if people are to read it."""
    taken = []
    progress = sys.stderr.isatty() and not args.verbose

    def tell(line):
        if progress:
            print('\r\033[K' + line, end='', file=sys.stderr, flush=True)

    tell('0/%d  Nova and Placement start ...' % len(steps.STEPS))
    try:
        with cloud.Cloud({
            'sev': 'Y', 'sev_es': 'N' if args.no_es else 'Y',
            'sev_snp': 'Y' if args.snp else 'N',
        }, (steps.NATIVE_GUESTS, args.es_slots), steps.SHOWN[
            'amd-sev-snp' if args.snp else 'amd-sev-es'],
                args.verbose) as running:
            demo = steps.Demo(args, running)
            for number, (name, step) in enumerate(steps.STEPS, 1):
                title = '%d/%d  %s' % (number, len(steps.STEPS), name)
                tell(title + ' ...')
                facts, checks = step(demo)
                taken.append({'title': name, 'facts': facts,
                              'checks': checks})
                tell('')
                if not args.json:
                    print('\n'.join(['', title] + [
                        _text(*fact) for fact in facts.items()] + [
                        '     %-7s%s' % ('ok' if ok else 'FAILED', check)
                        for check, ok in checks.items()]), flush=True)
    finally:
        tell('')
    return taken


def main(args: argparse.Namespace) -> int:
    """Run the demo.

    :param args: es_slots, no_es, snp, json and verbose, of the command line
    :returns: exit status: 0 if all went as expected; 1 if not, or if the
        series is not applied; 2 if the demo's requirements are missing
    """
    if not args.verbose:
        warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory(prefix='nova-mem-encryption-') as folder:
        # What Nova and its libraries write goes there. Nor does it matter
        # then whether the working directory can be read, or is there.
        tempfile.tempdir = os.environ['XDG_CACHE_HOME'] = folder
        os.chdir(folder)

        def stop(number, frame):
            # NOTE: a KeyboardInterrupt would be raised in whatever eventlet
            # runs just then, which may well drop it.
            shutil.rmtree(folder, ignore_errors=True)
            os.write(2, b'\nInterrupted.\n')
            os._exit(128 + number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        return _demo(args)


def _demo(args):
    try:
        importlib.import_module('nova')
        if engine.applied():
            cloud = importlib.import_module('nova_mem_encryption.demo.cloud')
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            return _fail(2, "%s. The demo runs on Nova's own test fixtures. "
                         "Install what they need: in a checkout, pip install "
                         "'.[demo]'; of a wheel, pip install 'PATH[demo]'; "
                         "beside Debian's package, what it suggests, see "
                         'apt-cache depends python3-nova-mem-encryption' % e)
    state = engine.state()
    if not engine.applied():
        return _fail(1, 'the series is not applied: %s' % (
            engine.error() if state.name == engine.REFUSED else
            state.reason or "see 'nova-mem-encryption status'"))
    if cloud.services.PASTE is None:
        return _fail(2, "Nova's api-paste.ini is neither in %s/etc/nova nor "
                     'in /etc/nova' % sys.prefix)
    if not args.json:
        print('nova-mem-encryption %s on Nova %s' % (
            nova_mem_encryption.__version__, state.nova))
    taken = _run(args, cloud)
    failed = [check for step in taken
              for check, ok in step['checks'].items() if not ok]
    if args.json:
        print(json.dumps({
            'version': nova_mem_encryption.__version__, 'nova': state.nova,
            'ok': not failed, 'steps': taken, **EPILOGUE}, indent=2))
    else:
        print('\n' + '\n'.join(_text(*fact) for fact in EPILOGUE.items()))
        print('\n' + ('FAILED: ' + '; '.join(failed) if failed else
                      'All as expected.'))
    return 1 if failed else 0
