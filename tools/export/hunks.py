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
"""Drop each hunk of the series in turn, and see that a test fails.

    tools/export/hunks.py [--release 31.3.1] [--patch 0003] [--again]

The tests of the series are run once, to see which of them reach the lines of
each hunk. Then each hunk is taken away from a Nova that has all patches, and
those tests are run until one fails: the unit tests, then the functional ones;
first some that are likely to, then all.
Where neither does, as what a hunk has is run when it is imported, all unit
tests are. What no test sees has to stand in unseen.txt, with the reason, and
is not tried with functional ones; or it changes no code, but comments and
docstrings. What is known is kept in a folder of the environment, so that a run
that was broken off goes on where it was.
"""
import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time

import coverage
import patched
import series
import sources

import run  # patched has put its folder on the path

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(sys.prefix, 'hunks')
KNOWN = os.path.join(FOLDER, 'known.json')
REASONS = os.path.join(HERE, 'unseen.txt')
SECONDS = 1800  # that the tests of a hunk may take
SUITES = ('unit', 'functional')
ALL = 'all of unit'
SEEN, UNSEEN, TIMEOUT, NO_CODE = 'seen', 'unseen', 'timeout', 'no code'
SETTINGS = """\
[run]
data_file = %(folder)s/data
parallel = true
concurrency = eventlet
source = %(site)s/nova
omit = */nova/tests/*
disable_warnings = no-data-collected
"""

# Runs tests of modules, those whose ids it reads or all, up to a failure, and
# tells coverage, if it looks on, which one it is.
RUN = """\
import sys, unittest
import coverage
wanted = set(sys.stdin.read().split())
class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        if coverage.Coverage.current() is not None:
            coverage.Coverage.current().switch_context(test.id())
def of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from of(test)
        elif not wanted or test.id() in wanted or (
                'Failed' in type(test).__name__):
            yield test
tests = unittest.TestSuite(of(unittest.defaultTestLoader.loadTestsFromNames(
    sys.argv[1:])))
result = unittest.TextTestRunner(
    failfast=True, verbosity=0, resultclass=Result).run(tests)
sys.exit(not result.wasSuccessful())
"""


class Reach:
    """Which tests of a suite reach which lines.

    :param nova: a patched.Patched with all patches
    :param suite: one of SUITES
    :param modules: of the tests
    """

    def __init__(self, nova, suite, modules):
        self.nova, self.suite, self.modules = nova, suite, modules
        self.folder = os.path.join(FOLDER, suite)
        texts = series.get_texts(os.path.join(nova.site, 'nova'))
        self.state = repr(sorted(texts.items()))

    def measure(self):
        """Run all the tests, if they were not run with the same files.

        :raises series.Wrong: if one fails
        """
        done = os.path.join(self.folder, 'done')
        if not os.path.exists(done) or open(done).read() != self.state:
            self._run(series.make_anew(self.folder))
            with open(done, 'w', encoding='utf-8') as f:
                f.write(self.state)
        found = coverage.CoverageData(os.path.join(self.folder, 'data'))
        found.read()
        self.data = found

    def _run(self, folder):
        path = os.path.join(folder, 'settings')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(SETTINGS % {'folder': folder, 'site': self.nova.site})
        script = os.path.join(folder, 'run.py')
        with open(script, 'w', encoding='utf-8') as f:
            f.write(RUN)
        count = os.cpu_count() or 1
        processes = [subprocess.Popen(
            [self.nova.python, '-m', 'coverage', 'run', '--rcfile', path,
             script, *self.modules[number::count]],
            cwd=self.nova.folder, env=self.nova.environ,
            stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT,
            stdout=open(os.path.join(folder, '%d.log' % number), 'w'))
            for number in range(count)]
        if any([process.wait() for process in processes]):
            raise series.Wrong('With all patches a test fails; see %s/*.log'
                               % folder)
        combined = coverage.Coverage(data_file=os.path.join(folder, 'data'),
                                     config_file=path)
        combined.combine([folder])
        combined.save()

    def tests(self, hunk):
        """Return the ids of tests that reach a hunk, or what it is for.

        There may be none where all that is there has run when it was imported.

        :returns: those that reach the line that fewest do; one of each class;
            and all, the shortest list first
        """
        path = os.path.join(self.nova.site, hunk.path)
        with open(path, encoding='utf-8') as f:
            text = f.read()
        at = self.data.contexts_by_lineno(os.path.realpath(path))
        lines = series.add_uses(series.find_lines(hunk, text), text)
        found = [tests for tests in (
            set(at.get(line, ())) - {''} for line in lines) if tests]
        tests = sorted(set().union(*found))
        classes = {test.rpartition('.')[0]: test for test in tests}
        lists = {tuple(sorted(min(found, key=len, default=()))),
                 tuple(sorted(classes.values())), tuple(tests)}
        return sorted(lists, key=len)

    def order(self, hunk):
        """Return the modules, first those that name what a hunk defines."""
        names = re.findall(r'(?m)^\+ *(?:class |def )?(\w{4,})(?: =|\()',
                           hunk.text)
        if not names:
            return self.modules
        defined = re.compile(r'\b(%s)\b' % '|'.join(names))

        def is_other(module):
            with open(os.path.join(self.nova.site, module.replace(
                    '.', os.sep) + '.py'), encoding='utf-8') as f:
                return not defined.search(f.read())

        return sorted(self.modules, key=is_other)


def judge(nova, hunk, tests, modules):
    """Take a hunk away, and run tests until one fails.

    :param tests: ids of those to run; empty for all
    :param modules: of all the tests, in the order in which they are run
    :returns: SEEN and the test that failed, NO_CODE, or UNSEEN or TIMEOUT and
        why
    :raises series.Wrong: if that test fails by itself with the hunk, too
    """
    path = os.path.join(nova.site, hunk.path)
    code = series.get_code(path)
    try:
        series.apply(nova.site, hunk.head + hunk.text, '--reverse')
    except series.Wrong as e:
        return UNSEEN, 'it cannot be taken away alone: %s' % (
            str(e).splitlines()[-1])
    try:
        if series.get_code(path) == code:
            return NO_CODE, 'a comment or a docstring'
        done = run_tests(nova, tests, modules)
    except subprocess.TimeoutExpired:
        return TIMEOUT, 'the tests do not end in %d s' % SECONDS
    finally:
        series.apply(nova.site, hunk.head + hunk.text)
    if done.returncode:
        failed = re.search(
            r'(?m)^(?:FAIL|ERROR): (\S+) \((\S+)\)', done.stdout)
        if failed is None:
            return SEEN, (done.stdout.strip().splitlines() or ['?'])[-1]
        name, where = failed.groups()
        if not where.startswith('nova.'):
            return SEEN, name  # it could not be imported
        # Python 3.11 and later have the name of the test in both.
        test = where if where.endswith('.' + name) else where + '.' + name
        if run_tests(nova, [test], modules).returncode:
            raise series.Wrong('%s fails by itself with all patches' % test)
        return SEEN, test
    return UNSEEN, 'none of %s tests fails' % (len(tests) or 'all')


def run_tests(nova, tests, modules):
    """Run tests until one fails; return the process as it has ended.

    :param tests: ids of those to run; empty for all
    :param modules: of all the tests, in the order in which they are run
    :raises subprocess.TimeoutExpired: if they do not end
    """
    names = [module for module in modules if not tests or any(
        test.startswith(module + '.') for test in tests)]
    return subprocess.run(
        [nova.python, '-c', RUN, *names], input='\n'.join(tests),
        cwd=nova.folder, env=nova.environ, text=True, timeout=SECONDS,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def main():
    """Try all hunks; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sources.add_release(parser)
    parser.add_argument('--patch', metavar='START',
                        help='only those whose name begins so')
    parser.add_argument('--again', action='store_true',
                        help='also those of which it is known')
    sources.add_wheels(parser)
    args = parser.parse_args()
    os.makedirs(FOLDER, exist_ok=True)
    try:
        wheel = sources.get_wheel(args.release, args.wheels)
        folder = os.path.join(FOLDER, 'patches')
        shutil.rmtree(folder, ignore_errors=True)
        series.write(folder, wheel)
        patches = series.read(folder)
        nova = patched.Patched(os.path.join(FOLDER, 'venv'), wheel)
        for patch in patches:
            nova.apply(patch)
        nova.compile()
        hunks = [hunk for patch in patches if patch.runs
                 if not args.patch or patch.name.startswith(args.patch)
                 for hunk in series.split(patch)]
        tests = series.get_tests(patches)
        known = Known(tests, args.again)
        reasons = run.superseded(REASONS)
        unit, functional = (
            Reach(nova, suite, patched.get_test_modules(
                series.get_new(tests), suite)) for suite in SUITES)
        try_all(unit, hunks, known)
        try_all(functional, [hunk for hunk in hunks
                             if hunk.key not in reasons], known)
        try_all(unit, hunks, known, ALL)
    except series.Wrong as e:
        print(e)
        return 1
    return report(hunks, known.outcomes, reasons)


class Known:
    """What is known of hunks, for as long as the tests are the same.

    What was seen stays so when tests are added.

    :param tests: the patch of the tests
    :param anew: whether to forget all
    """

    def __init__(self, tests, anew=False):
        self._tests = sorted({
            hashlib.sha256((hunk.path + line).encode()).hexdigest()[:10]
            for hunk in series.split(tests) if 'sevhost' not in hunk.path
            for line in hunk.added})
        #: key of a hunk to suite to outcome
        self.outcomes = {}
        if os.path.exists(KNOWN) and not anew:
            with open(KNOWN, encoding='utf-8') as f:
                found = json.load(f)
            if set(found['tests']) <= set(self._tests):
                self.outcomes = {
                    key: {suite: outcome for suite, outcome in of.items()
                          if outcome[0] in (SEEN, NO_CODE) or
                          found['tests'] == self._tests}
                    for key, of in found['outcomes'].items()}

    def add(self, hunk, suite, outcome):
        self.outcomes.setdefault(hunk.key, {})[suite] = outcome
        with open(KNOWN, 'w', encoding='utf-8') as f:
            json.dump({'tests': self._tests, 'outcomes': self.outcomes}, f,
                      indent=1, sort_keys=True)


def try_all(reach, hunks, known, name=None):
    """Try hunks that no test has seen, with a suite; add what comes of it.

    :param reach: a Reach
    :param known: a Known
    :param name: ALL, if all tests are to be run, and not those that reach it
    """
    suite = name or reach.suite
    unknown = [hunk for hunk in hunks
               if not has(known.outcomes, hunk, SEEN, NO_CODE)
               and suite not in known.outcomes.get(hunk.key, ())]
    print('%s: %d hunks to be tried of %d' % (
        suite, len(unknown), len(hunks)), flush=True)
    if not unknown:
        return
    reach.measure()
    for number, hunk in enumerate(unknown, 1):
        started = time.monotonic()
        outcome = UNSEEN, 'no test reaches it'
        modules = reach.order(hunk)
        for tests in [()] if name else reach.tests(hunk):
            if (tests or name) and outcome[0] in (UNSEEN, TIMEOUT):
                outcome = judge(reach.nova, hunk, tests, modules)
        known.add(hunk, suite, outcome)
        print('%s: %d of %d, %s, %s: %s: %s (%d s)' % (
            suite, number, len(unknown), hunk.patch[:4], hunk.key,
            *outcome, time.monotonic() - started), flush=True)


def has(known, hunk, *wanted):
    """Tell whether a hunk has one of outcomes with any suite."""
    return any(outcome in wanted
               for outcome, _ in known.get(hunk.key, {}).values())


def report(hunks, known, reasons):
    """Print the totals; return the exit status.

    :param known: key of a hunk to suite to outcome
    :param reasons: key of a hunk that no test sees to why not
    """
    silent = [hunk for hunk in hunks if has(known, hunk, NO_CODE)]
    unseen = [hunk for hunk in hunks if not has(known, hunk, SEEN, NO_CODE)]
    late = [hunk for hunk in unseen if has(known, hunk, TIMEOUT)]
    wrong = ['%s: %s\n%s' % (hunk.key, known.get(hunk.key), hunk.text)
             for hunk in unseen if hunk.key not in reasons]
    wrong += ['%s is in unseen.txt, but %s' % (
        hunk.key, 'it changes no code' if hunk in silent else
        'a test sees it') for hunk in hunks
        if hunk not in unseen and hunk.key in reasons]
    for line in wrong:
        print(line)
    seen = len(hunks) - len(unseen) - len(silent)
    print('%d hunks: %d seen, %d change no code, %d not seen, %d of them with '
          'a reason, of %d the tests did not end' % (
              len(hunks), seen, len(silent), len(unseen),
              sum(hunk.key in reasons for hunk in unseen), len(late)))
    print('%d passed, %d failed, 0 skipped' % (seen, len(wrong)))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
