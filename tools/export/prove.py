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
"""Prove that a patched Nova does what Nova with the package does.

    tools/export/prove.py [short|all] [--release 31.3.1] [--stage alone]

The patches are applied to a Nova in an environment of its own, where the
project's package cannot be imported. Stages:

    alone       with each patch: what it touches compiles and can be imported
    own         with each patch: more of the unit tests of the series pass than
                before, and none fails that has passed
    unit        the project's unit tests, from the series
    functional  ... and functional tests
    before      Nova's own tests without the patch of the tests: the superseded
                ones fail, and those of before.txt, and no others
    nova        Nova's own tests with all patches: none fails

'short' takes alone, and of unit those of a part, on the last release.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import patched
import series
import sources

import run  # patched has put its folder on the path
import test_nova

STAGES = ('alone', 'own', 'unit', 'functional', 'before', 'nova')
# Releases of which two do what the others do in between
CHOSEN = ('31.0.0', '31.2.0', '31.3.1')
SHORT = {'alone': None, 'unit': r'\.unit\.(objects|scheduler|conf|cmd|'
                                r'conductor|virt\.test_)'}
# What fails besides the superseded ones without the patch of the tests
BEFORE = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      'before.txt')
SEVHOST = r'\.test_sevhost_'


def compare_ids(there, here, left_out):
    """Yield what is wrong with the ids of the tests of the series.

    :param there: those of the checkout
    :param here: those of the series
    :param left_out: name of a module, a class or a test to the reason
    """
    def is_left_out(test):
        # A test of many sets of data has a number for each.
        return any(re.match(re.escape(name) + r'(\.|_\d+|$)', test)
                   for name in left_out)

    for test in sorted(there - here):
        if not is_left_out(test):
            yield '%s is not in the series, which has no reason' % test
    for test in sorted(here - there):
        yield '%s is in the series alone' % test
    for test in sorted(here):
        if is_left_out(test):
            yield '%s is said to be left out, but in the series' % test


def list_ids(suite):
    """Return the ids of the tests of the checkout. :raises series.Wrong:"""
    with tempfile.TemporaryDirectory() as folder:
        # It lists none without a repository.
        for command in (['init'], ['list', '--exclude-regex', SEVHOST]):
            done = subprocess.run(
                [sys.executable, '-m', 'stestr', '--repo-url', folder,
                 '--test-path', './nova/tests/' + suite, *command],
                cwd=series.TREE, env=series.with_tools(), text=True,
                capture_output=True)
            if done.returncode:
                raise series.Wrong('stestr cannot list the tests: %s' % (
                    done.stdout + done.stderr)[-2000:])
    return {line for line in done.stdout.splitlines()
            if line.startswith('nova.tests.')}


class Proof:
    """The stages of a release.

    :param nova: a patched.Patched without patches
    :param patches: the series
    :param newest: whether it is the release that superseded.txt is of
    :param concurrency: number of processes
    """

    def __init__(self, nova, patches, newest, concurrency, pattern=None):
        self.newest = newest
        self.nova, self.patches = nova, patches
        self.concurrency, self.pattern = concurrency, pattern
        self.changes = [patch for patch in patches if patch.runs]
        self.passed = self.skipped = 0
        self.wrong = []

    @property
    def tests(self):
        return series.get_tests(self.patches)

    def tell(self, line):
        print(line, flush=True)

    def take(self, results, must_fail=()):
        """Count and judge the results of tests."""
        wrong = list(run.judge(results, must_fail))
        self.passed += results.count('success', 'xfail')
        self.skipped += results.count('skip')
        self.wrong += wrong
        self.tell('%s: %d passed, %d skipped, %d superseded, %d are wrong' % (
            results.suite, results.count('success', 'xfail'),
            results.count('skip'), len(must_fail and results.statuses.keys() &
                                       must_fail.keys()), len(wrong)))

    def apply(self, patches):
        """Apply those that are not yet."""
        for patch in patches[len(self.nova.patches):]:
            self.nova.apply(patch)

    def alone(self, patch):
        """Have what a patch touches compiled and imported."""
        modules = patched.get_modules(patch.paths)
        self.nova.see_compiled(
            [path for path in patch.paths if path.endswith('.py')])
        failed = self.nova.see_imports(modules)
        self.wrong += ['%s: %s: %s' % (patch.name, name, why)
                       for name, why in failed.items()]
        self.passed += len(modules) - len(failed)
        self.tell('%s: %d files compile, %d of %d modules import' % (
            patch.name, len(patch.paths), len(modules) - len(failed),
            len(modules)))

    def own(self, patch, before):
        """Run the tests that can be with the patches so far.

        :param before: ids of those that passed without this one
        :returns: ids of those that pass
        """
        series.apply(self.nova.site, self.tests.text)
        modules = patched.get_test_modules(series.get_new(self.tests), 'unit')
        absent = self.nova.see_imports(modules)
        results = self.nova.run_tests(
            patch.name, self.concurrency, self.pattern,
            [name for name in modules if name not in absent])
        after = {test for test, status in results.statuses.items()
                 if status in ('success', 'xfail')}
        self.wrong += ['%s: %s passes no longer\n%s' % (
            patch.name, test, results.tracebacks.get(test, ''))
            for test in sorted(before - after)]
        if not after - before:
            self.wrong.append('%s has no test of its own' % patch.name)
        self.passed += len(after - before)
        self.tell('%s: %d tests pass, %d more than before' % (
            patch.name, len(after), len(after - before)))
        series.apply(self.nova.site, self.tests.text, '--reverse')
        return after

    def ours(self, suite):
        """Run the project's tests of a suite."""
        modules = patched.get_test_modules(series.get_new(self.tests), suite)
        # stestr runs none where one cannot be imported.
        failed = self.nova.see_imports(modules)
        self.wrong += ['%s: %s' % item for item in sorted(failed.items())]
        modules = [name for name in modules if name not in failed]
        results = self.nova.run_tests('%s tests of the series' % suite,
                                      self.concurrency, self.pattern, modules)
        self.take(results)
        if not self.pattern:
            self.wrong += compare_ids(
                list_ids(suite), {*results.statuses},
                series.get_left_out(self.nova.wheel))

    def theirs(self, must_fail):
        """Run Nova's own tests, of all suites.

        :param must_fail: ids to reasons
        """
        ours = [name for patch in self.nova.patches for suite in
                test_nova.SUITES for name in patched.get_test_modules(
                    series.get_new(patch), suite)]
        pattern = r'^(?!(%s)\.)' % '|'.join(map(re.escape, ours or ['-']))
        for suite in test_nova.SUITES:
            expected = {test: reason for test, reason in must_fail.items()
                        if test.startswith('nova.tests.%s.' % suite)}
            results = self.nova.run_tests(
                suite, self.concurrency, self.pattern or pattern)
            self.take(results, expected)
            if not self.pattern and self.newest:
                self.wrong += ['%s is superseded, but there is no such test'
                               % test for test in
                               expected.keys() - results.statuses.keys()]

    def prove(self, stages):
        """Go through stages, in the order of STAGES."""
        self.tell(self.nova.see_absence())
        passing = set()
        for number, patch in enumerate(self.changes, 1):
            self.apply(self.changes[:number])
            if 'alone' in stages:
                self.alone(patch)
            if 'own' in stages:
                passing = self.own(patch, passing)
        self.nova.compile()
        if 'before' in stages:
            self.theirs({**run.superseded(), **run.superseded(BEFORE)})
        self.apply(self.patches)
        for suite in ('unit', 'functional'):
            if suite in stages:
                self.ours(suite)
        if 'nova' in stages:
            self.theirs({})


def main():
    """Prove it; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('amount', nargs='?', choices=('short', 'all'),
                        default='all')
    parser.add_argument('--release', action='append', metavar='RELEASE',
                        choices=sources.releases(),
                        help='of Nova; default: %s' % ', '.join(CHOSEN))
    parser.add_argument('--stage', action='append', choices=STAGES)
    parser.add_argument('--pattern', metavar='EXPRESSION',
                        help='regular expression of the ids of tests')
    parser.add_argument('--concurrency', type=int, default=os.cpu_count(),
                        help='number of processes (default: of CPUs)')
    sources.add_wheels(parser)
    args = parser.parse_args()
    short = args.amount == 'short'
    stages = args.stage or (list(SHORT) if short else STAGES)
    passed = skipped = 0
    wrong = []
    for release in args.release or (CHOSEN[-1:] if short else CHOSEN):
        with tempfile.TemporaryDirectory(prefix='prove-') as folder:
            started, proof = time.monotonic(), None
            try:
                wheel = sources.get_wheel(release, args.wheels)
                series.write(os.path.join(folder, 'patches'), wheel)
                proof = Proof(
                    patched.Patched(os.path.join(folder, 'venv'), wheel),
                    series.read(os.path.join(folder, 'patches')),
                    release == sources.releases()[-1], args.concurrency,
                    args.pattern or (SHORT['unit'] if short else None))
                proof.prove(stages)
            except series.Wrong as e:
                wrong.append('Nova %s: %s' % (release, e))
            if proof:
                wrong += ['Nova %s: %s' % (release, line)
                          for line in proof.wrong]
                passed += proof.passed
                skipped += proof.skipped
            print('Nova %s: %s, %d s' % (
                release, ', '.join(stages), time.monotonic() - started))
    for line in wrong:
        print(line)
    print('%d passed, %d failed, %d skipped' % (passed, len(wrong), skipped))
    return 1 if wrong or not passed else 0


if __name__ == '__main__':
    sys.exit(main())
