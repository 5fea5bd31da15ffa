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

"""Time the start of an interpreter, and of Nova's services in it.

The seconds are those of the CPU.
"""
import resource
import subprocess
import sys

import pyperf

# What it runs, and how often for one value
PROGRAMS = {
    'python': ('pass', 20),
    'nova-compute': ('import nova.cmd.compute', 1),
    'nova-api': ('import nova.api.openstack.wsgi_app', 1),
}
# NOTE: the peak of the process itself; that which wait4 tells begins with
# its parent's.
PEAK = '''
with open('/proc/self/status') as f:
    print([line.split()[1] for line in f if line.startswith('VmHWM')][0])'''


class Program:
    """What a new interpreter runs; its time, and the peak of its memory."""

    def __init__(self, code):
        self.code = code
        self.peak = 0

    def run(self, loops, inner):
        """Return the CPU seconds of new interpreters."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(loops * inner):
            self.peak = 1024 * int(subprocess.run(
                [sys.executable, '-Wignore', '-c', self.code + PEAK],
                check=True, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL).stdout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime - before.ru_utime +
                after.ru_stime - before.ru_stime)

    def get_peak(self, loops):
        """Return the peak of the last one, in bytes."""
        return loops * self.peak


def main():
    """Be a worker of pyperf."""
    runner = pyperf.Runner()
    for name, (code, inner) in PROGRAMS.items():
        program = Program(code)
        runner.bench_time_func('start/' + name, program.run, inner,
                               inner_loops=inner)
        runner.bench_time_func('memory/' + name, program.get_peak,
                               metadata={'unit': 'byte'})


if __name__ == '__main__':
    main()
