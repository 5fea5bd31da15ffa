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

"""Run tests of Tempest, and judge what comes of them.

    PYTHONPATH=tools/nova_tests:. PYTHON run_tempest.py FOLDER MODEL \\
        CONCURRENCY [PATTERN]

PYTHON is that of an environment with Tempest, FOLDER one for what stestr
keeps. Of each test it prints a line, and in the end JSON: see main. Those in
tempest_fails.txt must fail, for the reason that stands there, and no others
may.
"""
import collections
import importlib.util
import json
import os
import re
import subprocess
import sys

import run  # of tools/nova_tests

FAILS = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     'tempest_fails.txt')
SUITE = r'^tempest\.(serial_tests\.)?api\.compute\.'
# What shares its servers is not to be run by two processes.
GROUP = r'([^\.]*\.)*'
SLOWEST = 10


def get_listed(path, model):
    """Return the tests that must fail: name to reason.

    :param path: of a file; a line is as in superseded.txt, and where it is
        for some models only, those come first: 'amd-sev,amd-sev-es:NAME'
    :param model: what the servers have
    """
    found = {}
    for key, reason in run.superseded(path).items():
        of, _, name = key.rpartition(':')
        if not of or model in of.split(','):
            found[name] = reason
    return found


def judge(results, listed, whole):
    """Return what is wrong, as lines.

    :param results: a Results
    :param listed: as of get_listed
    :param whole: whether it was to be all of them
    """
    name = os.path.basename(FAILS)
    wrong = list(run.judge(results, listed, name))
    if whole:
        wrong += ['%s is in %s, but there is no such test' % (test, name)
                  for test in listed if test not in results.statuses]
    return wrong


class Results(run.Results):
    """Results by name, without the ID and the tags that Tempest appends."""

    def __init__(self):
        super().__init__('tempest')
        self.seconds = {}

    def on_test(self, test):
        super().on_test({**test, 'id': re.sub(r'\[.*\]$', '', test['id'])})

    def show(self, test):
        begun, ended = test['timestamps']
        self.seconds[test['id']] = (ended - begun).total_seconds()
        print(len(self.statuses), test['status'], test['id'], flush=True)


def take(folder, concurrency, pattern):
    """Run tests; return Results."""
    package = os.path.dirname(importlib.util.find_spec('tempest').origin)
    os.makedirs(folder)
    process = subprocess.Popen([
        sys.executable, '-m', 'stestr', '--test-path',
        os.path.join(package, 'test_discover'), '--top-dir',
        os.path.dirname(package), '--group-regex', GROUP, '--repo-url',
        folder, 'run', '--subunit', '--concurrency', concurrency, pattern],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    results = Results()
    results.read(process.stdout)
    process.wait()
    return results


def main(folder, model, concurrency, pattern=None):
    """Run tests, all by default; print what is said of them, as JSON."""
    results = take(folder, concurrency, pattern or SUITE)
    listed = get_listed(FAILS, model)
    wrong = judge(results, listed, pattern is None)
    print(json.dumps({
        'passed': results.count('success', 'xfail'),
        'skipped': results.count('skip'),
        'failed': len(results.statuses) - results.count(
            'success', 'xfail', 'skip'),
        'wrong': wrong,
        # Test: reason
        'listed': {test: reason for test, reason in listed.items()
                   if test in results.tracebacks},
        'reasons': collections.Counter(results.skipped.values()),
        'slowest': sorted(results.seconds.items(),
                          key=lambda item: -item[1])[:SLOWEST]}))


if __name__ == '__main__':
    main(*sys.argv[1:])
