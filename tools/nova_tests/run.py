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

"""Run Nova's own tests with the series on.

Those in superseded.txt must fail, for the reason that stands there, and no
others may.
"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import time

import subunit
import test_nova
import testtools

from nova_mem_encryption.engine import finder

HERE = os.path.dirname(os.path.abspath(__file__))
SUITES = ('unit', 'functional')
SEED = 'NOVA_MEM_ENCRYPTION_SEED'


def superseded(path=os.path.join(HERE, 'superseded.txt')):
    """Return the tests that must fail: id to reason.

    :raises ValueError: if one has no reason
    """
    found = {}
    with open(path) as f:
        for line in f:
            if line.strip() and not line.startswith('#'):
                test, _, reason = line.strip().partition(' ')
                if not reason.strip():
                    raise ValueError('%s: no reason for %s' % (path, test))
                found[test] = reason.strip()
    return found


class Results(testtools.StreamToDict):
    """Collect the results of a suite, and show how far it is."""

    def __init__(self, suite):
        super().__init__(self.on_test)
        self.suite = suite
        self.statuses = {}
        self.tracebacks = {}
        self.skipped = {}

    def on_test(self, test):
        """Take in one test."""
        if test['status'] == 'exists':
            return
        self.statuses[test['id']] = test['status']
        if test['status'] == 'fail':
            self.tracebacks[test['id']] = '\n'.join(
                detail.as_text() for name, detail in test['details'].items()
                if name.startswith(('traceback', 'reason')))
        if test['status'] == 'skip' and 'reason' in test['details']:
            self.skipped[test['id']] = test['details']['reason'].as_text()
        self.show(test)

    def show(self, test):
        """Show how far it is, after a test."""
        if sys.stderr.isatty() or len(self.statuses) % 250 == 0:
            print('%s: %d tests' % (self.suite, len(self.statuses)),
                  end='\r' if sys.stderr.isatty() else '\n',
                  file=sys.stderr, flush=True)

    def count(self, *statuses):
        """Return how many tests have one of these statuses."""
        return sum(s in statuses for s in self.statuses.values())

    def read(self, stream):
        """Take in all tests of a stream of subunit."""
        self.startTestRun()
        subunit.ByteStreamToStreamResult(
            stream, non_subunit_name='log').run(self)
        self.stopTestRun()
        self.statuses.pop('log', None)


def run(suite, concurrency, pattern, python=sys.executable,
        environ=os.environ):
    """Run one suite.

    :param str suite: 'unit' or 'functional'; where environ has test_nova.
        MODULES, these are run, and this is how they are called
    :param int concurrency: number of processes
    :param str pattern: regular expression of the ids to run, or None
    :param str python: the interpreter that runs the tests
    :param environ: the environment that it has, a mapping
    :returns: Results
    """
    env = dict(environ, NOVA_TESTS=suite, PYTHONWARNINGS='ignore',
               OS_STDOUT_CAPTURE='1', OS_STDERR_CAPTURE='1',
               OS_LOG_CAPTURE='1', OS_TEST_TIMEOUT='320')
    with tempfile.TemporaryDirectory() as repository:
        command = [
            python, '-m', 'stestr', '--test-path', HERE,
            '--top-dir', HERE, '--repo-url', repository, 'run', '--subunit',
            '--concurrency', str(concurrency)] + ([pattern] if pattern else [])
        process = subprocess.Popen(command, env=env, cwd=HERE,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL)
        results = Results(suite)
        results.read(process.stdout)
        process.wait()
    return results


def judge(results, must_fail, listed='superseded.txt'):
    """Yield what is wrong with the results of a suite.

    :param must_fail: ids of the tests that must, others must not
    :param listed: the file that has them
    """
    if not results.statuses:
        yield '%s: no test was run' % results.suite
    for test, status in sorted(results.statuses.items()):
        if status in ('success', 'xfail', 'skip'):
            if test in must_fail:
                yield '%s is in %s, but does not fail (%s)' % (
                    test, listed, status)
        elif test not in must_fail:
            yield '%s: %s\n%s' % (
                test, status, results.tracebacks.get(test, ''))


def main():
    """Run the suites and judge them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--concurrency', type=int, default=os.cpu_count(),
                        help='number of processes (default: of CPUs)')
    parser.add_argument('--suite', choices=SUITES, action='append',
                        help='only this one')
    parser.add_argument('--part', action='store_true',
                        help='of the functional suite, take one in %d of its '
                             'modules, others each time; %s repeats one'
                             % (test_nova.PARTS, SEED))
    parser.add_argument('pattern', nargs='?',
                        help='regular expression of the ids to run')
    args = parser.parse_args()
    if args.part:
        os.environ[test_nova.PART] = os.environ.get(SEED) or str(
            random.randrange(10 ** 6))
        print('One in %d of the functional modules, %s=%s' % (
            test_nova.PARTS, SEED, os.environ[test_nova.PART]))
    finder.load()
    must_fail = superseded()
    passed = skipped = 0
    wrong = []
    for suite in args.suite or SUITES:
        started = time.monotonic()
        results = run(suite, args.concurrency, args.pattern)
        print('%s: %d tests in %d s' % (
            suite, len(results.statuses), time.monotonic() - started))
        passed += results.count('success', 'xfail')
        skipped += results.count('skip')
        wrong += judge(results, must_fail)
        if not args.pattern:
            loaded = {test.rsplit('.', 2)[0] for test in results.statuses}
            wrong += ['%s is in superseded.txt, but there is no such test'
                      % test for test in must_fail if test.startswith(
                          'nova.tests.%s.' % suite) and
                      test not in results.statuses and (
                          not args.part or test.rsplit('.', 2)[0] in loaded)]
    for line in wrong:
        print(line)
    print('%d tests of Nova pass with the series on, %d are skipped, %d are '
          'superseded, %d are wrong' % (
              passed, skipped, len(must_fail), len(wrong)))
    print('%d passed, %d failed, %d skipped' % (passed, len(wrong), skipped))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
