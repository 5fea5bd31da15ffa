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

"""Show what was found of servers: to people, to machines and to Prometheus."""
import csv
import itertools
import json
import sys
import textwrap
import typing as ty

import prettytable
import prometheus_client

from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption.servers import open_flavors
from nova_mem_encryption.nova.mem_encryption.servers import problems

# What is told to Prometheus, with its description and labels
METRICS = {
    'servers': ('Servers that ask for a model.', ['host', 'model']),
    'servers_differing': ('Servers of which something does not agree.',
                          ['host', 'problem']),
    'host_tells': ('Whether nova-compute tells what its servers run with: 1, '
                   'or 0 as it is without the series.', ['host']),
    'open_flavors': ('Public flavors by which any user may take a slot.',
                     ['asked_by']),
}
ROWS = 500  # of a table, that are held at a time


def write_table(found, files):
    """Print servers for people: first what does not agree."""
    for server in found.servers:
        for problem in server.problems:
            _print(_('Server %(uuid)s (%(name)s) %(text)s %(remedy)s') % {
                **server._asdict(), **problem._asdict()})
    for line in _draw(found.servers):
        print(line)
    _print(_('%(count)d servers, %(differing)d with something that does not '
             'agree.') % vars(found.servers))
    for by, what in open_flavors.BY.items():
        names = [row.flavor for row in found.open_flavors
                 if row.asked_by == by]
        if names:
            _print(_('Public flavors with which %(what)s: %(names)s') % {
                'what': what, 'names': ', '.join(names)})


def _print(text):
    print(textwrap.fill(text, 79, subsequent_indent='  ',
                        break_long_words=False, break_on_hyphens=False))


def _draw(servers):
    """Yield the lines of a table, which is as wide as its widest row."""
    names = ['UUID', 'Name', 'Project', 'Host', 'State', 'Asked', 'Slot of',
             'Runs', 'Differs']
    widths = list(map(len, names))
    for server in servers:
        widths = [max(width, len(cell)) for width, cell in zip(
            widths, _get_cells(server))]
    rows, line, first = iter(servers), '', True
    while True:
        part = list(itertools.islice(rows, ROWS))
        if not part and not first:
            yield line
            return
        table = prettytable.PrettyTable(names)
        table.align, table.header = 'l', first
        for name, width in zip(names, widths):
            table.min_width[name] = width
        for server in part:
            table.add_row(_get_cells(server))
        *lines, line = str(table).splitlines()
        yield from lines if first else lines[1:]
        first = False


def _get_cells(server: problems.Server) -> ty.List[str]:
    *cells, slots, runs, found = server
    return [*cells, ' '.join(slots) or problems.NOTHING, runs,
            ' '.join(problem.kind for problem in found) or problems.NOTHING]


def write_json(found, files):
    """Print servers as JSON, with the files of configuration."""
    print('{\n  "files": %s,\n  "servers": [' % json.dumps(files), end='')
    comma = ''
    for server in found.servers:
        print(comma + '\n' + textwrap.indent(json.dumps({
            **server._asdict(), 'problems': [
                problem._asdict() for problem in server.problems]},
            indent=2), '    '), end='')
        comma = ','
    print('\n  ],\n' + json.dumps({
        'count': found.servers.count, 'differing': found.servers.differing,
        'hosts': [{'host': host, 'tells': tells}
                  for host, tells in sorted(found.hosts.items())],
        'open_flavors': [row._asdict() for row in found.open_flavors],
        'not_looked_at': found.reasons}, indent=2)[2:])


def write_csv(found, files):
    """Print servers as CSV (RFC 4180), with a line of names."""
    table = csv.writer(sys.stdout)
    table.writerow([*problems.Server._fields[:-1], 'differs', 'problems'])
    for server in found.servers:
        table.writerow([
            *server[:-3], ' '.join(server.slots), server.runs,
            ' '.join(problem.kind for problem in server.problems),
            ' '.join('%s %s' % (problem.text, problem.remedy)
                     for problem in server.problems)])


def write_prometheus(found, files):
    """Print metrics, for the textfile collector of Prometheus."""
    registry = prometheus_client.CollectorRegistry()
    gauges = {name: prometheus_client.Gauge(
        'nova_mem_encryption_' + name, description, labels, registry=registry)
        for name, (description, labels) in METRICS.items()}
    servers = found.servers
    hosts = found.hosts.keys() | {host for host, _model in servers.by_model}
    for host in sorted(hosts):
        # To have none is a value, which can be seen to change.
        for model in models.MODELS:
            gauges['servers'].labels(host, model).set(
                servers.by_model[host, model])
        for kind in problems.KINDS:
            gauges['servers_differing'].labels(host, kind).set(
                servers.by_problem[host, kind])
    for host, tells in sorted(found.hosts.items()):
        gauges['host_tells'].labels(host).set(tells)
    for by in open_flavors.BY:
        gauges['open_flavors'].labels(by).set(sum(
            row.asked_by == by for row in found.open_flavors))
    print(prometheus_client.generate_latest(registry).decode().rstrip())


FORMATS = {'table': write_table, 'json': write_json, 'csv': write_csv,
           'prometheus': write_prometheus}
