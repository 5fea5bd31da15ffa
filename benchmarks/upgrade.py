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

"""Time and weigh commands that look at all servers of a cloud.

    upgrade.py table SIZE...      prints a table, for so many servers
    upgrade.py servers SIZE...    the same, of the command 'servers'

It is the upgrade check, or that other, as a process, with SQLite for the cell
and a Placement of its own. Placement has its slots on a host for each 33
servers.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from wsgiref import simple_server

import commands
import environments
import pyperf
import ratios
import region

SIZES = [int(n) for n in
         os.environ.get('NOVA_BENCHMARK_SIZES', '1000').split()]
# SQLAlchemy's URL of an empty database
DATABASE = os.environ.get('NOVA_BENCHMARK_DATABASE')
CONF = """\
[database]
connection = {cell}
[api_database]
connection = sqlite:///{folder}/api
[placement]
auth_type = admin_token
token = admin
endpoint = http://127.0.0.1:{port}
"""
HOSTS = 0.03  # for a server: every third has 20 slots, every third 30


class Quiet(simple_server.WSGIRequestHandler):
    """Log no requests."""

    def log_message(self, *args):
        """Do nothing."""


class Cloud:
    """A cloud with servers; time, CPU time and memory of a command.

    :param check: looks at what the command prints, and raises if that is not
        what it should be; it has the name of the command
    """

    def __init__(self, count, check):
        self.count = count
        self.check = check
        self.seconds = self.cpu = self.peak = 0.0

    def run(self, loops):
        """Return the seconds of the command."""
        with tempfile.TemporaryDirectory() as folder:
            placement = 'sqlite:///%s/placement' % folder
            with subprocess.Popen(
                    [sys.executable, '-Wignore', __file__, 'placement',
                     placement, str(max(3, int(self.count * HOSTS)))],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                    ) as server:
                try:
                    port = int(next(iter(server.stdout or ())))
                    self._fill_and_check(folder, placement, port, loops)
                finally:
                    server.kill()
        return self.seconds

    def _fill_and_check(self, folder, placement, port, loops):
        conf = os.path.join(folder, 'nova.conf')
        with open(conf, 'w') as f:
            f.write(CONF.format(
                folder=folder, port=port,
                cell=DATABASE or 'sqlite:///%s/cell' % folder))
        wrong = [int(word) for word in subprocess.run(
            [sys.executable, '-Wignore',
             os.path.join(environments.HERE, 'cell.py'), conf,
             str(self.count), placement],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        ).stdout.split()]
        for _ in range(loops):
            self._run_command(conf, wrong)

    def _run_command(self, conf, wrong):
        with tempfile.TemporaryFile('w+') as out:
            begun = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, '-Wignore', *commands.get_profiler(
                    'upgrade/%d' % self.count), '-m',
                 'nova_mem_encryption.cli',
                 self.check.__name__.replace('_', '-'), '--json',
                 '--config-file', conf],
                stdout=out)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds += time.perf_counter() - begun
            self.cpu += usage.ru_utime + usage.ru_stime
            self.peak = max(self.peak, usage.ru_maxrss * 1024)
            out.seek(0)
            self.check(json.load(out), os.waitstatus_to_exitcode(status),
                       *wrong)


def upgrade_check(found, status, wrong, _others):
    """Check what upgrade-check has found."""
    rows = [finding['object'] for finding in found['findings']
            if finding['check'] == 'servers']
    # Without failures the images, which cannot be checked, are a warning.
    if (len(rows), status) != (wrong, 2 if wrong else 1):
        raise RuntimeError('%d servers are wrong and not %d: %s' % (
            len(rows), wrong, rows[:5]))


def servers(found, status, _wrong, others):
    """Check what servers has found."""
    if (found['differing'], status) != (others, int(others > 0)):
        raise RuntimeError('%d servers differ and not %d: %s' % (
            found['differing'], others, found['servers'][:5]))


def serve(placement, hosts):
    """Be Placement, with hosts whose slots are all used; print the port."""
    application = region.load(placement)
    filled = region.Region()
    filled.fill(int(hosts))
    filled.use(1)
    server = simple_server.make_server('127.0.0.1', 0, application,
                                       handler_class=Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


def main():
    """Print a table, or be a worker of pyperf."""
    if sys.argv[1:2] == ['placement']:
        serve(*sys.argv[2:])
    check = {'table': upgrade_check, 'servers': servers}.get(
        ''.join(sys.argv[1:2]))
    if check is not None:
        import tabulate  # which a worker needs not have
        rows = [_measure(int(size), check) for size in sys.argv[2:]]
        print(tabulate.tabulate(
            [[count, '%.1f' % seconds, '%.1f' % cpu,
              '%.0f' % (peak / (1 << 20))]
             for count, seconds, cpu, peak in rows],
            ['servers', 'seconds', 'of CPU', 'peak, MiB']))
        for column, name in enumerate(('time', 'CPU time', 'memory'), 1):
            if len(rows) > 1:
                print('growth of %s, exponent: %.2f' % (name, ratios.growth(
                    {row[0]: row[column] for row in rows})))
        return
    runner = pyperf.Runner()
    for count in SIZES:
        cloud = Cloud(count, upgrade_check)
        runner.bench_time_func('upgrade/%d' % count, cloud.run)
        runner.bench_time_func('upgrade cpu/%d' % count,
                               lambda loops, c=cloud: c.cpu)
        runner.bench_time_func('upgrade memory/%d' % count,
                               lambda loops, c=cloud: c.peak,
                               metadata={'unit': 'byte'})


def _measure(count, check):
    cloud = Cloud(count, check)
    return count, cloud.run(1), cloud.cpu, cloud.peak


if __name__ == '__main__':
    main()
