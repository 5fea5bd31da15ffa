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

"""Say what was measured: aims, tables, a plot.

    benchmarks/report.py     writes what doc/source/benchmarks.rst shows again
"""
import collections
import json
import os
import statistics
import typing as ty

import environments
import profiles
import pyperf
import ratios
import tabulate

RESULTS = os.path.join(environments.HERE, 'results')
QUICK = os.path.join(environments.TREE, 'build', 'benchmarks')
DOCS = os.path.join(environments.TREE, 'doc', 'source', 'benchmarks')
NAMES = {'nova31': 'Nova 31.3.1', 'series': 'with the series',
         'nova32': 'Nova 32.2.1'}
UNITS = {'second': ((1, 's'), (1e-3, 'ms'), (1e-6, 'us')),
         'byte': ((1 << 20, 'MiB'), (1 << 10, 'KiB'))}
KINDS = ('plain', 'sev', 'sev-es')
ASKED = (*KINDS, 'sev-es-by-group')  # of Placement
MACHINE = ('date', 'processor', 'memory', 'kernel', 'Python')
LINEAR = 1.1  # an exponent of growth that is taken to be


class Aim(ty.NamedTuple):
    """What a benchmark is to show of the series."""

    text: str
    benchmark: str
    base: str               # the environment that it is compared with
    most: float             # of the ratio; or of the difference, in seconds
    differ: bool = False
    other: str = ''         # the benchmark of that, where it is another


def _list_imports(changed, text):
    return [Aim('import of %s%s' % (program, text), 'start/%s%s' % (
        changed, program), 'nova31', 1.02, other='start/' + program)
        for program in ('nova-compute', 'nova-api')]


AIMS = (
    Aim('start of Python, more than without', 'start/python', 'nova31', 5e-4,
        True),
    *_list_imports('', ''),
    *_list_imports('changed ', ', two files unknown'),
    Aim('launch, plain', 'launch/plain', 'nova31', 1.05),
    *(Aim('launch, %s' % kind, 'launch/' + kind, 'nova31', 1.05,
          other='launch/sev') for kind in KINDS[1:]),
    Aim('request, plain', 'request/plain', 'nova31', 1.02),
    Aim('check in the API, plain', 'api/plain', 'nova31', 1.02),
    *(Aim('%s, %s' % (text, kind), '%s/%s' % (name, kind), 'nova32', 1.0)
      for text, name in (('request', 'request'), ('check in the API', 'api'))
      for kind in KINDS[1:]),
    *(Aim("driver's part of the reshape of %d servers" % size,
          'reshape driver/%d' % size, 'nova32', 1.0)
      for size in (10, 100, 500, 2000)),
    *(Aim("the same without what it asks Placement, %d servers" % size,
          'reshape driver alone/%d' % size, 'nova32', 1.0)
      for size in (10, 100, 500, 2000)),
    Aim('memory of the reshape of 500 servers', 'reshape memory/500',
        'nova32', 1.0),
    Aim('check, seconds', 'command/check', '', 2.5),
    Aim('explain, seconds', 'command/explain', '', 0.3),
)
LARGEST, SMALLEST = 100000, 1000  # servers of the upgrade check
GROWS = 1.1  # a ratio of memory that is taken for none


class Results:
    """The results of one run."""

    def __init__(self, folder):
        self.suites = {}
        for name in (*NAMES, 'placement'):
            suite = pyperf.BenchmarkSuite.load(
                os.path.join(folder, name + '.json'))
            self.suites[name] = {bench.get_name(): bench
                                 for bench in suite.get_benchmarks()}
        with open(os.path.join(folder, 'facts.json')) as f:
            self.facts = json.load(f)

    def rounds(self, name, benchmark):
        """Return the values of each round, None if it was not measured."""
        bench = self.suites[name].get(benchmark)
        return bench and [run.values for run in bench.get_runs()]

    def compare(self, benchmark, base, differ=False, other=''):
        """Return median, low and high of the series to another, or None.

        :param str base: the environment that it is compared with; none for
            the values themselves
        :param str other: the benchmark that it has for it, if another
        """
        first = self.rounds('series', benchmark)
        if not base:
            return first and ratios.summarize(
                list(map(statistics.median, first)))
        second = self.rounds(base, other or benchmark)
        if not first or not second:
            return None
        compare = ratios.differ if differ else ratios.pair
        return ratios.summarize(compare(first, second))

    def grow(self, name, benchmark):
        """Return the exponent of growth of a benchmark with its size."""
        points = {}
        for full in self.suites[name]:
            start, _, size = full.rpartition('/')
            if start == benchmark:
                points[int(size)] = statistics.median(
                    self.suites[name][full].get_values())
        return ratios.growth(points)

    def count(self, name, when, guests, *starts):
        """Return the calls that begin with one of the words."""
        calls = self.facts['calls'][name][guests][when]
        return sum(number for call, number in calls.items()
                   if call.startswith(starts))


def verdict(value, most, low=None):
    """Say whether an aim is met."""
    if value <= most:
        return 'met'
    return 'within the spread' if (value if low is None else low) <= most \
        else 'not met'


def judge(results):
    """Yield each Aim that was measured, what was found, and the verdict."""
    for aim in AIMS:
        found = results.compare(aim.benchmark, aim.base, aim.differ,
                                aim.other)
        if found is not None:
            yield aim, found, verdict(found[0], aim.most, found[1])


def list_missed(results):
    """Return the benchmarks of aims that are missed, and have a profile."""
    found = [aim.benchmark for aim, _, said in judge(results)
             if said != 'met' and profiles.has(aim.benchmark)]
    return list(dict.fromkeys(found))


def list_aims(results):
    """Return the table of aims."""
    rows = []
    for aim, found, said in judge(results):
        scale, form, unit = (1e3, '%.2f', ' ms') if aim.differ else (
            1, '%.3f', '')
        value, low, high = (form % (scale * x) for x in found)
        rows.append([
            aim.text, NAMES.get(aim.base, ''),
            '<= ' + form % (scale * aim.most) + unit, value + unit,
            '%s to %s' % (low, high), said])
    for guests in results.facts['calls']['series']:
        for text, words in (('Placement', 'placement'),
                            ('libvirt', 'libvirt')):
            more = (results.count('series', 'update', guests, words) -
                    results.count('nova32', 'update', guests, words))
            rows.append(['more calls to %s per update, %s guests' % (
                text, guests), NAMES['nova32'], '<= 0', more, '',
                verdict(more, 0)])
    opened = max(results.count('series', when, guests, 'open')
                 for guests in results.facts['calls']['series']
                 for when in ('update', 'refresh'))
    rows.append(['host files read after the start', '', '<= 0', opened, '',
                 verdict(opened, 0)])
    for benchmark, text in (('reshape', 'reshape'),
                            ('upgrade-check', 'upgrade check')):
        if benchmark == 'upgrade-check' and not results.rounds(
                'series', 'upgrade-check/%d' % SMALLEST):
            continue
        exponent = results.grow('series', benchmark)
        rows.append(['growth of the %s, exponent' % text, '',
                     '<= %.1f' % LINEAR, '%.2f' % exponent, '',
                     verdict(exponent, LINEAR)])
    sizes = results.suites['series']
    peaks = [sizes.get('upgrade-check memory/%d' % size)
             for size in (LARGEST, SMALLEST)]
    if all(peaks):
        most, least = (statistics.median(bench.get_values())
                       for bench in peaks)
        rows.append(['memory of the upgrade check, %d servers' % LARGEST,
                     '%d servers' % SMALLEST, '<= %.2f' % GROWS,
                     '%.2f' % (most / least), '',
                     verdict(most / least, GROWS)])
    queries = results.facts['queries']
    same = queries['series'] == queries['nova32']
    rows.append(["what Placement is asked for is Nova 32's", '', 'yes',
                 'yes' if same else 'no', '', 'met' if same else 'not met'])
    return ['aim', 'compared with', 'at most', 'found', '95 %', ''], rows


def list_times(results):
    """Return the table of all that was measured in turn."""
    rows = []
    for benchmark, bench in results.suites['series'].items():
        row = [benchmark]
        for name in NAMES:
            values = results.suites[name].get(benchmark)
            row.append('n/a' if values is None else show(
                statistics.median(values.get_values()), bench.get_unit()))
        for base in ('nova31', 'nova32'):
            found = results.compare(benchmark, base)
            row.append('n/a' if found is None else
                       '%.3f (%.3f to %.3f)' % found)
        rows.append(row)
    return ['', *NAMES.values(), 'series / 31', 'series / 32'], rows


def list_calls(results):
    """Return the table of calls."""
    rows = []
    for when in ('start', 'update', 'refresh'):
        for guests, all_calls in results.facts['calls']['series'].items():
            if when == 'start' and guests != '0':
                continue
            for call in sorted({call for name in NAMES for call in
                                results.facts['calls'][name][guests][when]}
                               | set(all_calls[when])):
                rows.append([when, guests, call] + [
                    results.facts['calls'][name][guests][when].get(call, 0)
                    for name in NAMES])
    return ['', 'guests', 'call', *NAMES.values()], rows


def list_candidates(results):
    """Return the table of requests to Placement."""
    cells: ty.Dict[ty.Tuple, ty.Dict] = collections.defaultdict(dict)
    for full, bench in results.suites['placement'].items():
        name, share, hosts = full.split('/')
        _, database, kind = name.split(' ')
        cells[database, int(hosts), int(share)][kind] = bench
    rows = []
    for key, kinds in cells.items():
        row = list(key)
        for kind in ASKED:
            values = kinds[kind].get_values()
            row += [show(ratios.percentile(values, share), 'second')
                    for share in (0.5, 0.99)]
        rows.append([*row, len(values)])
    return ['database', 'hosts', 'used, %'] + [
        '%s p%d' % (kind, p) for kind in ASKED for p in (50, 99)
    ] + ['requests'], rows


def list_growth(results):
    """Return the table of exponents."""
    rows = [['%s, %s' % (benchmark, NAMES[name]),
             '%.2f' % results.grow(name, benchmark)]
            for benchmark in ('reshape', 'reshape driver', 'reshape memory')
            for name in ('series', 'nova32')]
    ends = ' cpu/%d' % SMALLEST
    rows += [['%s, %s' % (name + of, NAMES['series']),
              '%.2f' % results.grow('series', name + of)]
             for name in [full[:-len(ends)] for full in
                          results.suites['series'] if full.endswith(ends)]
             for of in ('', ' memory')]
    for full in results.suites['placement']:
        benchmark, _, hosts = full.rpartition('/')
        if hosts == '100':
            rows.append([benchmark.replace('/', ', ') + ' % used',
                         '%.2f' % results.grow('placement', benchmark)])
    return ['', 'exponent'], rows


def list_upgrade(results):
    """Return the table of what reads all servers of a cloud."""
    rows = []
    for full in results.suites['series']:
        name, _, size = full.partition('/')
        if '%s cpu/%s' % (name, size) in results.suites['series']:
            rows.append(['{:,}'.format(int(size)), name] + [
                show(statistics.median(
                    results.suites['series'][
                        '%s%s/%s' % (name, of, size)].get_values()), unit)
                for of, unit in (('', 'second'), (' cpu', 'second'),
                                 (' memory', 'byte'))])
    return ['servers', 'command', 'time', 'of the CPU', 'peak memory'], rows


TABLES = {'aims': list_aims, 'times': list_times, 'calls': list_calls,
          'candidates': list_candidates, 'growth': list_growth,
          'upgrade': list_upgrade}


def write_profiles(results):
    """Return a table for each missed aim: what takes its time."""
    if 'profiles' not in results.facts:
        return 'In the last run none was taken.'
    return '\n\n'.join(
        profiles.show(name, rows)
        for name, rows in results.facts['profiles'].items()
    ) or 'No aim is missed that a profile could tell of.'


def show(value, unit):
    """Return a value with a unit that suits it."""
    for size, name in UNITS[unit]:
        if value >= size:
            break
    return '%.3g %s' % (value / size, name)


def draw(results, path):
    """Draw how times grow."""
    import matplotlib  # which only this needs
    matplotlib.use('svg')
    matplotlib.rcParams.update({'svg.hashsalt': 'benchmarks',
                                'svg.fonttype': 'none'})
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4))
    for name in ('series', 'nova32'):
        _plot(axes[0], results.suites[name], 'reshape', NAMES[name])
    for database in ('sqlite', 'mysql'):
        for kind in KINDS:
            _plot(axes[1], results.suites['placement'],
                  'candidates %s %s/50' % (database, kind),
                  '%s, %s' % (kind, database))
    for axis, title, label in zip(
            axes, ('reshape', 'allocation candidates, half of the slots used'),
            ('servers on the host', 'hosts')):
        axis.set(title=title, xlabel=label, ylabel='seconds', xscale='log',
                 yscale='log')
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter('{x:g}')
            side.set_minor_formatter('')
        axis.legend()
        axis.grid(True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={'Date': None})


def _plot(axis, suite, benchmark, label):
    points = sorted(
        (int(full.rpartition('/')[2]), statistics.median(bench.get_values()))
        for full, bench in suite.items()
        if full.rpartition('/')[0] == benchmark)
    if points:
        axis.plot(*zip(*points), marker='o', label=label,
                  linestyle='--' if 'mysql' in benchmark else '-')


def write(folder, docs=True):
    """Print the tables, and write them where the documentation has them.

    :param folder: of the results
    :param docs: whether to write
    """
    results = Results(folder)
    machine = '; '.join('%s: %s' % (name, results.facts['machine'][name])
                        for name in MACHINE)
    texts = {name: tabulate.tabulate(
        [[str(cell) for cell in row] for row in rows], headers, 'rst',
        disable_numparse=True)
        for name, function in TABLES.items()
        for headers, rows in [function(results)]}
    texts['profiles'] = write_profiles(results)
    print('\n\n'.join([machine, *texts.values()]))
    if not docs:
        return
    os.makedirs(DOCS, exist_ok=True)
    for name, text in {**texts, 'machine': machine}.items():
        with open(os.path.join(DOCS, name + '.inc'), 'w') as f:
            f.write(text + '\n')
    draw(results, os.path.join(DOCS, 'growth.svg'))


if __name__ == '__main__':
    write(RESULTS)
