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

"""Check what changed: lint, types, layers, and the unit tests that it has.

    tools/quick.py [COMMIT]    since COMMIT, by default the last one

Exit status: 0 all passed; 1 not all.
"""
import concurrent.futures
import os
import subprocess
import sys
import time

import tests_of


def commands(base):
    """Yield what is to be run, the longest first.

    :param base: a commit
    """
    changed = [path for path in tests_of.changed(base)
               if os.path.exists(path)]
    modules = tests_of.modules(tests_of.tests_of_all(changed), 'unit')
    for path in changed:
        if path.endswith('.py') and not tests_of.modules(
                tests_of.tests_of_all([path]), 'unit'):
            print('No unit test mirrors or names %s: run all.' % path)
    count = os.cpu_count() or 1
    for i in range(min(count, len(modules))):
        # NOTE: stestr would import all tests, to run some.
        yield [sys.executable, '-m', 'testtools.run', *modules[i::count]]
    sources = [path for path in changed if path.endswith('.py')]
    if sources:
        yield ['flake8', *sources]
    yield ['mypy']
    yield [sys.executable, 'tools/check_layers.py']
    yield [sys.executable, 'tools/check_tree.py']
    yield ['ruff', 'check']


def run(command):
    """Run a command, and print what it says; return whether it passed."""
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    name = ' '.join(command).replace(sys.executable, 'python')
    print('%s\n%s%4.1f s  %s\n' % (
        name, done.stdout, time.monotonic() - start,
        'FAILED' if done.returncode else 'passed'), flush=True)
    return not done.returncode


def main(base='HEAD'):
    """Run it all; return the exit status."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as executor:
        return 0 if all(list(executor.map(run, commands(base)))) else 1


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
