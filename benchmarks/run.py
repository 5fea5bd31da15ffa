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

"""Measure speed and scale of the series against Nova 31 and Nova 32.

    benchmarks/run.py             all; an hour, on a machine left alone
    benchmarks/run.py --quick     a few minutes, small sizes
    benchmarks/run.py --smoke     each benchmark once, with this Python alone
    benchmarks/run.py --profile NAME   what takes the time of one, of those
                                  that the table has: launch/sev-es

See doc/source/benchmarks.rst. The first form writes what that shows.
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import typing as ty

import environments
import profiles
import pyperf
import report
import tqdm

ALL = ('nova31', 'series', 'nova32')
# Of what pyperf tells of each run, what is not of somebody's machine
METADATA = ('name', 'unit', 'inner_loops', 'loops', 'date', 'duration',
            'candidates', 'perf_version', 'python_version')


class Topic(ty.NamedTuple):
    """One script, run in turn by the environments."""

    script: str
    environments: ty.Tuple[str, ...]
    rounds: int
    values: int = 1
    warmups: int = 0
    sizes: str = ''
    environ: ty.Tuple[ty.Tuple[str, str], ...] = ()

    def shrink(self, most):
        """Return what is run of it in less time.

        :param most: the largest size
        """
        return self._replace(
            rounds=max(3, self.rounds // 4),
            sizes=' '.join(s for s in self.sizes.split() if int(s) <= most))


TOPICS: ty.Sequence[Topic] = (
    Topic('start', ALL, 16),
    Topic('request', ALL, 10, 5, 1),
    Topic('update', ALL, 8, sizes='0 10'),
    Topic('update', ALL, 6, sizes='500'),
    Topic('reshape', ('series', 'nova32'), 6, sizes='10 100 500'),
    Topic('reshape', ('series', 'nova32'), 3, sizes='2000'),
    Topic('reshape', ('series', 'nova32'), 1, sizes='10 100 500',
          environ=(('NOVA_BENCHMARK_MEMORY', '1'),)),
    Topic('launch', ALL, 10, 5, 1),
    Topic('commands', ('series',), 6),
    Topic('upgrade', ('series',), 1, sizes='10 1000 10000 100000'),
)
HOSTS = '100 1000 10000'
SECONDS = 6  # for each share of used slots and size of region
UPDATES = '0 10 500'  # guests, where calls are counted


class Run:
    """The run, and the folder of what it measures."""

    def __init__(self, args, pythons, folder):
        self.args, self.pythons, self.folder = args, pythons, folder
        self.topics: ty.Sequence[Topic] = TOPICS
        self.hosts = HOSTS
        if args.quick or args.smoke:
            self.topics, self.hosts = [
                topic.shrink(10 if args.smoke else 100) for topic in TOPICS
            ], '100' if args.smoke else '100 1000'
        if args.smoke:
            self.topics = [topic._replace(
                environments=('series',), rounds=1, values=1, warmups=0)
                for topic in self.topics]
        self.facts: ty.Dict[str, ty.Any] = {}

    def run(self):
        """Take all steps."""
        with environments.mariadb() as mariadb:
            databases = ['sqlite://'] + [mariadb] * (
                mariadb is not None and not self.args.smoke)
            steps = [step for step in self._steps(databases)]
            # In a log, now and then a line
            bar = tqdm.tqdm(steps, unit='step', mininterval=0.1 if
                            sys.stderr.isatty() else 30)
            for text, step in bar:
                bar.set_description(text)
                step()
        self._clean()
        if not self.args.smoke:
            self._profile_missed()

    def _steps(self, databases):
        """Yield a text and a function for each."""
        # First what could fail for want of a database
        for name in ('series',) if self.args.smoke else ALL:
            yield 'calls ' + name, lambda n=name: self._count(n)
        for database in databases:
            yield ('candidates ' + database.partition(':')[0],
                   lambda d=database: self._ask_placement(d))
        for topic in self.topics:
            if not topic.sizes and topic.script in ('update', 'reshape'):
                continue  # all of it takes long
            for number in range(topic.rounds):
                # NOTE: there and back, so that nobody is always the first.
                order = topic.environments[::-1 if number % 2 else 1]
                for name in order:
                    yield ('%s %d/%d %s' % (topic.script, number + 1,
                                            topic.rounds, name),
                           lambda t=topic, n=name: self._measure(t, n))

    def _python(self, name, script, *arguments, environ=(), **kwargs):
        with tempfile.TemporaryFile('w+') as log:
            done = subprocess.run(
                [self.pythons[name], '-Wignore',
                 os.path.join(environments.HERE, script + '.py'), *arguments],
                env={**os.environ, **dict(environ)}, stderr=log, **kwargs)
            log.seek(0)
            if done.returncode:
                sys.exit('%s failed with %s:\n%s' % (script, name, log.read()))
            return done

    def _measure(self, topic, name):
        self._python(
            name, topic.script, '--worker', '--loops=1', '--quiet',
            '--warmups=%d' % topic.warmups, '--values=%d' % topic.values,
            '--append', os.path.join(self.folder, name + '.json'),
            environ=(('NOVA_BENCHMARK_SIZES', topic.sizes), *topic.environ),
            stdout=subprocess.DEVNULL)

    def _count(self, name):
        sizes = '0 10' if self.args.smoke or self.args.quick else UPDATES
        for fact, script, argument in (('queries', 'request', 'queries'),
                                       ('calls', 'update', 'calls')):
            done = self._python(
                name, script, argument, stdout=subprocess.PIPE,
                environ=(('NOVA_BENCHMARK_SIZES', sizes),))
            self.facts.setdefault(fact, {})[name] = json.loads(done.stdout)

    def _ask_placement(self, database):
        queries = dict(self.facts['queries']['series'])
        # What could be asked instead, and finds the same
        queries['sev-es-by-group'] = queries['sev-es'].replace(
            'required=', 'required_1=').replace(
            '%2CMEM_ENCRYPTION_CONTEXT%3A1', '') + (
            '&resources_1=MEM_ENCRYPTION_CONTEXT%3A1')
        self._python(
            'series', 'candidates', database, json.dumps(queries),
            os.path.join(self.folder, 'placement.json'),
            '0' if self.args.smoke else str(SECONDS), *self.hosts.split(),
            stdout=subprocess.DEVNULL)

    def _clean(self):
        """Write results that tell nothing of the machine but its kind."""
        for file in os.listdir(self.folder):
            path = os.path.join(self.folder, file)
            suite = pyperf.BenchmarkSuite.load(path)
            pyperf.BenchmarkSuite([
                pyperf.Benchmark([pyperf.Run(
                    run.values, warmups=run.warmups, collect_metadata=False,
                    metadata={key: value for key, value in
                              run.get_metadata().items() if key in METADATA})
                    for run in bench.get_runs()])
                for bench in suite.get_benchmarks()]).dump(path, replace=True)
        with open('/proc/cpuinfo') as f:
            models = [line.partition(': ')[2].strip() for line in f
                      if line.startswith('model name')]
        self.facts['machine'] = {
            'date': datetime.date.today().isoformat(),
            'processor': '%d x %s' % (len(models), models[0]),
            'memory': '%d GiB' % round(os.sysconf('SC_PHYS_PAGES') *
                                       os.sysconf('SC_PAGE_SIZE') / 2 ** 30),
            'kernel': 'Linux ' + platform.release().partition('-')[0],
            'Python': platform.python_version()}
        self._write_facts()

    def _write_facts(self):
        with open(os.path.join(self.folder, 'facts.json'), 'w') as f:
            json.dump(self.facts, f, indent=1, sort_keys=True)
            f.write('\n')

    def _profile_missed(self):
        """Add what dominates where an aim is missed."""
        missed = report.list_missed(report.Results(self.folder))
        self.facts['profiles'] = {
            name: profiles.take(self.pythons['series'], name)
            for name in tqdm.tqdm(missed, unit='profile')}
        self._write_facts()


def main():
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--quick', action='store_true',
                      help='small sizes, in a few minutes')
    size.add_argument('--smoke', action='store_true',
                      help='only see that each benchmark runs')
    size.add_argument('--profile', metavar='NAME',
                      help='tell what takes the time of one benchmark')
    args = parser.parse_args()
    if args.profile and not profiles.has(args.profile):
        parser.error('argument --profile: there is no benchmark %r; it is '
                     'one of %s, with a size where one has sizes' % (
                         args.profile, ', '.join(profiles.SCRIPTS)))
    if args.smoke:
        pythons = dict.fromkeys(ALL, sys.executable)
    else:
        pythons = environments.prepare(
            lambda text: print(text, file=sys.stderr))
    if args.profile:
        print(profiles.show(args.profile, profiles.take(
            pythons['series'], args.profile)))
        return
    with tempfile.TemporaryDirectory(prefix='nova-benchmarks-') as folder:
        Run(args, pythons, folder).run()
        if args.smoke:
            print('All benchmarks run.')
            return
        kept = report.QUICK if args.quick else report.RESULTS
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
    report.write(kept, docs=not args.quick)


if __name__ == '__main__':
    main()
