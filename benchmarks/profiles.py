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

"""Tell what takes the time of one benchmark, with the series."""
import os
import pstats
import subprocess
import sys
import tempfile
import typing as ty

import environments
import tabulate

# The script that has a benchmark, by the beginning of its name
SCRIPTS = {'start': 'start', 'request': 'request', 'constraint': 'request',
           'api': 'request', 'update': 'update', 'reshape': 'reshape',
           'reshape driver': 'reshape', 'reshape driver alone': 'reshape',
           'launch': 'launch', 'command': 'commands',
           'upgrade-check': 'upgrade', 'servers': 'upgrade'}
MOST = 12  # rows


def has(name):
    """Tell whether there may be a benchmark of that name, as launch/sev."""
    start, _, rest = name.partition('/')
    return start in SCRIPTS and bool(rest)


def take(python, name):
    """Run a benchmark once, and return what took its time.

    :param str python: the interpreter of an environment
    :param str name: of the benchmark
    :returns: rows, as lists: what it is, how often it ran, and milliseconds
        in it alone and with what it calls; under a profiler, so that only
        their shares count. Of an import the seconds are those of modules.
    """
    start, _, rest = name.partition('/')
    if start == 'start':
        return _take_imports(python, rest)
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, 'profile')
        done = subprocess.run(
            [python, '-Wignore',
             os.path.join(environments.HERE, SCRIPTS[start] + '.py'),
             '--worker', '--loops=1', '--quiet', '--warmups=1', '--values=1'],
            env={**os.environ, 'NOVA_BENCHMARK_PROFILE': name,
                 'NOVA_BENCHMARK_OUTPUT': output, 'NOVA_BENCHMARK_SIZES':
                 rest if rest.isdigit() else ''},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode or not os.path.exists(output):
            sys.exit('%s cannot be profiled:\n%s' % (name, done.stderr))
        return _read(output)


def _read(output):
    stats = pstats.Stats(output).stats  # type: ignore[attr-defined]
    rows = sorted(([_name(*where), calls, 1e3 * own, 1e3 * whole]
                   for where, (_, calls, own, whole, _) in stats.items()),
                  key=lambda row: -row[2])
    return rows[:MOST]


def _name(file, line, function):
    """Return what to call a function, without where this machine has it."""
    for mark in ('/site-packages/', '/lib/python', environments.TREE + '/'):
        if mark in file:
            file = file.rpartition(mark)[2]
            break
    return function if file == '~' else '%s:%d %s' % (file, line, function)


def _take_imports(python, program):
    """Return the modules whose import takes longest, by -X importtime."""
    code = {'python': 'pass', 'nova': 'import nova',
            'nova-api': 'import nova.api.openstack.wsgi_app'}.get(
        program.rpartition(' ')[2], 'import nova.cmd.compute')
    told = subprocess.run(
        [python, '-Wignore', '-X', 'importtime', '-c', code],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        check=True).stderr
    rows: ty.List[ty.List[ty.Any]] = []
    for line in told.splitlines():
        own, _, rest = line.partition(':')[2].partition('|')
        whole, _, module = rest.partition('|')
        if own.strip().isdigit():
            rows.append([module.strip(), 1, int(own) / 1e3,
                         int(whole) / 1e3])
    ours = [row for row in rows if row[0].startswith('nova_mem_encryption')]
    return [['all modules', len(rows), sum(row[2] for row in rows), 0.0],
            ['those of the series', len(ours), sum(row[2] for row in ours),
             0.0], *sorted(ours, key=lambda row: -row[2])[:MOST]]


def show(name, rows):
    """Return a profile as a table.

    :param rows: as of take()
    """
    return tabulate.tabulate(
        [[what, str(calls), '%.2f' % own, '%.2f' % whole]
         for what, calls, own, whole in rows],
        [name, 'calls', 'own, ms', 'with calls, ms'], 'rst',
        disable_numparse=True)
