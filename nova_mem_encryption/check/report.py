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
import textwrap
import typing as ty

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import hypervisor
from nova_mem_encryption.check import kernel
from nova_mem_encryption.check import processor
from nova_mem_encryption.check import record
from nova_mem_encryption.check import services
from nova_mem_encryption.check import tree

# Each after those that it needs
CHECKS: ty.List[tree.Check] = [
    *processor.get_checks(), *kernel.get_checks(), *hypervisor.get_checks(),
    *services.get_checks()]
# As of nova-status and upgrade-check
CODES = {tree.PASS: 0, tree.SKIP: 0, tree.WARN: 1, tree.FAIL: 2}
CANNOT = 255
WIDTH, NAME = 79, 23


def main(args: argparse.Namespace) -> int:
    """Run the command.

    :param args: config, json, record, recorded
    :returns: exit status
    """
    try:
        if args.record is not None:
            count = record.record(hosts.Live(args.config),
                                  args.record)
            print('%s: %d files and answers, and a README. Nothing in it is '
                  'meant to be secret; read it before you send it.'
                  % (args.record, count))
            return 0
        host: hosts.Host = (
            hosts.Live(args.config) if args.recorded is None else
            hosts.Recorded(args.recorded))
    except (OSError, hosts.Unanswered) as e:
        print(e, file=sys.stderr)
        return CANNOT
    results = []
    for result in tree.run(CHECKS, host):
        results.append(result)
        if not args.json:
            print(_format(result), flush=True)
    verdict = max((result.verdict for result in results), key=_severity)
    if args.json:
        print(json.dumps({
            'verdict': verdict,
            'checks': [{key: value for key, value in
                        result._asdict().items() if key != 'depth'}
                       for result in results]}, indent=2))
    else:
        print('%s: %s' % (verdict, ', '.join('%d %s' % (
            sum(result.verdict == name for result in results), name)
            for name in (tree.FAIL, tree.WARN, tree.PASS, tree.SKIP))))
    return CODES[verdict]


def _severity(verdict: str) -> int:
    return (tree.SKIP, tree.PASS, tree.WARN, tree.FAIL).index(verdict)


def _format(result: tree.Result) -> str:
    start = '%s  %s' % (result.verdict, '  ' * result.depth + result.name)
    indent = ' ' * (NAME + 6)

    def fill(text, first, rest):
        # What is printed comes from elsewhere.
        text = ''.join(c if c.isprintable() else '?' for c in text)
        return textwrap.fill(
            text, WIDTH, initial_indent=first, subsequent_indent=rest,
            break_long_words=False, break_on_hyphens=False)

    text = fill(result.found, start.ljust(NAME + 5) + ' ', indent)
    if result.remedy:
        text += '\n' + fill(result.remedy, indent + '-> ', indent + '   ')
    return text
