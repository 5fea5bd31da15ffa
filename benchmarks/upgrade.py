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

They are processes, with SQLite for the cell and a Placement of its own, which
has slots on a host for each 33 servers.
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


class Measured:
    """Time, CPU time and memory of a command, each time that it runs."""

    def __init__(self):
        self.seconds = self.cpu = self.peak = 0.0

    def run(self, arguments, out):
        """Run it; return its exit status."""
        begun = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        self.seconds += time.perf_counter() - begun
        self.cpu += usage.ru_utime + usage.ru_stime
        self.peak = max(self.peak, usage.ru_maxrss * 1024)
        return os.waitstatus_to_exitcode(status)


class Cloud:
    """A cloud with servers, and what was measured of each of COMMANDS."""

    def __init__(self, count):
        self.count = count
        self.measured = {name: Measured() for name in COMMANDS}

    def run(self, loops):
        """Return the seconds of the first command."""
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
        return self.measured[FIRST].seconds

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
            for name in COMMANDS:
                self._run_command(name, conf, wrong)

    def _run_command(self, name, conf, wrong):
        with tempfile.TemporaryFile('w+') as out:
            status = self.measured[name].run(
                [sys.executable, '-Wignore', *commands.get_profiler(
                    '%s/%d' % (name, self.count)), '-m',
                 'nova_mem_encryption.cli', name, '--json',
                 '--config-file', conf], out)
            out.seek(0)
            COMMANDS[name](json.load(out), status, *wrong)


def check_upgrade(found, status, wrong, _others):
    """Check what upgrade-check has found."""
    rows = [finding['object'] for finding in found['findings']
            if finding['check'] == 'servers']
    # Without failures the images, which cannot be checked, are a warning.
    if (len(rows), status) != (wrong, 2 if wrong else 1):
        raise RuntimeError('%d servers are wrong and not %d: %s' % (
            len(rows), wrong, rows[:5]))


def check_servers(found, status, _wrong, others):
    """Check what servers has found."""
    if (found['differing'], status) != (others, int(others > 0)):
        raise RuntimeError('%d servers differ and not %d: %s' % (
            found['differing'], others, found['servers'][:5]))


# Each command, and what looks at what it prints
COMMANDS = {'upgrade-check': check_upgrade, 'servers': check_servers}
FIRST = next(iter(COMMANDS))


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
    if sys.argv[1:2] == ['table']:
        import tabulate  # which a worker needs not have
        clouds = [Cloud(int(size)) for size in sys.argv[2:]]
        for cloud in clouds:
            cloud.run(1)
        print(tabulate.tabulate(
            [[cloud.count, name, '%.1f' % found.seconds,
              '%.1f' % found.cpu, '%.0f' % (found.peak / (1 << 20))]
             for cloud in clouds for name, found in cloud.measured.items()],
            ['servers', 'command', 'seconds', 'of CPU', 'peak, MiB']))
        for name in COMMANDS if len(clouds) > 1 else ():
            print('%s, exponents of growth: ' % name + ', '.join(
                '%s %.2f' % (text, ratios.growth({
                    cloud.count: getattr(cloud.measured[name], of)
                    for cloud in clouds}))
                for text, of in (('time', 'seconds'), ('CPU time', 'cpu'),
                                 ('memory', 'peak'))))
        return
    runner = pyperf.Runner()
    for count in SIZES:
        cloud = Cloud(count)
        for name, found in cloud.measured.items():
            if name == FIRST:
                runner.bench_time_func('%s/%d' % (name, count), cloud.run)
            else:
                runner.bench_time_func('%s/%d' % (name, count),
                                       lambda loops, f=found: f.seconds)
            runner.bench_time_func('%s cpu/%d' % (name, count),
                                   lambda loops, f=found: f.cpu)
            runner.bench_time_func('%s memory/%d' % (name, count),
                                   lambda loops, f=found: f.peak,
                                   metadata={'unit': 'byte'})


if __name__ == '__main__':
    main()
