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

"""The command check: run all checks, and print what they found."""
import argparse
import json
import sys
import typing as ty

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import hypervisor
from nova_mem_encryption.check import kernel
from nova_mem_encryption.check import opt_in
from nova_mem_encryption.check import processor
from nova_mem_encryption.check import record
from nova_mem_encryption.check import rights
from nova_mem_encryption.check import secure_processor
from nova_mem_encryption.check import services
from nova_mem_encryption.check import terminal
from nova_mem_encryption.check import tree

# Each after those that it needs
CHECKS: ty.List[tree.Check] = [
    *processor.get_checks(), *kernel.get_checks(),
    *secure_processor.get_checks(), *hypervisor.get_checks(),
    *rights.get_checks(), *services.get_checks(), *opt_in.get_checks()]
# As of nova-status and upgrade-check
CODES = {tree.PASS: 0, tree.SKIP: 0, tree.WARN: 1, tree.FAIL: 2}
CANNOT = 255


def main(args: argparse.Namespace) -> int:
    """Run the command.

    :param args: config, json, short, all, record, recorded
    :returns: exit status
    """
    try:
        if args.recorded is None:
            host: hosts.Host = hosts.Live(args.config, terminal.waiting)
        else:
            host = hosts.Recorded(args.recorded)
        if args.record is not None:
            count = record.record(host, args.record)
            print('%s: %d files and answers, and a README. Nothing in it is '
                  'meant to be secret; read it before you send it.'
                  % (args.record, count))
            return 0
    except (OSError, hosts.Unanswered) as e:
        print(e, file=sys.stderr)
        return CANNOT
    page = terminal.Page()
    shown = _get_shown(args)
    results = []
    for result in tree.run(CHECKS, host):
        results.append(result)
        if result.verdict in shown:
            print(page.format(result), flush=True)
    verdict = max((result.verdict for result in results), key=_severity)
    if args.json:
        print(json.dumps({
            'verdict': verdict, 'files': _get_files(host),
            'checks': [{**{key: value for key, value in
                           result._asdict().items() if key != 'depth'},
                        'see': result.see} for result in results]},
            indent=2))
    else:
        print('\n'.join(page.summarise(results, verdict)))
    return CODES[verdict]


def _get_files(host: hosts.Host) -> ty.List[str]:
    """Return the files that nova.conf was read from."""
    try:
        return host.ask_json('nova-conf').get('paths', [])
    except hosts.Unanswered:
        return []


def _get_shown(args: argparse.Namespace) -> ty.Set[str]:
    """Return which results get lines."""
    if args.json:
        return set()
    shown = {tree.WARN, tree.FAIL}
    if not args.short:
        shown.add(tree.PASS)
    if args.all:
        shown.add(tree.SKIP)
    return shown


def _severity(verdict: str) -> int:
    return (tree.SKIP, tree.PASS, tree.WARN, tree.FAIL).index(verdict)
