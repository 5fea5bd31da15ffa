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
import os
import py_compile
import resource
import shutil
import subprocess
import sys
import tempfile

import pyperf

# What it runs, and how often for one value
PROGRAMS = {
    'python': ('pass', 20),
    'nova': ('import nova', 10),
    'nova-compute': ('import nova.cmd.compute', 1),
    'nova-api': ('import nova.api.openstack.wsgi_app', 1),
}
for _name in ('nova-compute', 'nova-api'):
    PROGRAMS['changed ' + _name] = PROGRAMS[_name]
# What Debian has changed
CHANGED = ('compute/api.py', 'virt/libvirt/driver.py')
# NOTE: the peak of the process itself; that which wait4 tells begins with
# its parent's.
PEAK = '''
with open('/proc/self/status') as f:
    print([line.split()[1] for line in f if line.startswith('VmHWM')][0])'''


class Program:
    """What a new interpreter runs; its time, and the peak of its memory."""

    def __init__(self, code, path=''):
        self.code = code
        self.path = path  # where it looks first
        self.peak = 0

    def run(self, loops, inner):
        """Return the CPU seconds of new interpreters."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(loops * inner):
            self.peak = 1024 * int(subprocess.run(
                [sys.executable, '-Wignore', '-c', self.code + PEAK],
                check=True, stdout=subprocess.PIPE,
                env={**os.environ, 'PYTHONPATH': self.path},
                stderr=subprocess.DEVNULL).stdout)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime - before.ru_utime +
                after.ru_stime - before.ru_stime)

    def get_peak(self, loops):
        """Return the peak of the last one, in bytes."""
        return loops * self.peak


def copy_changed(folder):
    """Copy Nova, with one more line in files that a distribution changes.

    The series does not know these to the byte then.
    """
    import nova
    copy = os.path.join(folder, 'nova')
    shutil.copytree(os.path.dirname(nova.__file__), copy,
                    ignore=shutil.ignore_patterns('tests', 'locale'))
    for file in CHANGED:
        path = os.path.join(copy, file)
        with open(path, 'a') as f:
            f.write('# Another line\n')
        py_compile.compile(path, doraise=True)


def main():
    """Be a worker of pyperf."""
    runner = pyperf.Runner()
    with tempfile.TemporaryDirectory() as folder:
        copy_changed(folder)
        measure(runner, folder)


def measure(runner, changed):
    """Time each program."""
    for name, (code, inner) in PROGRAMS.items():
        program = Program(code, changed if 'changed' in name else '')
        runner.bench_time_func('start/' + name, program.run, inner,
                               inner_loops=inner)
        runner.bench_time_func('memory/' + name, program.get_peak,
                               metadata={'unit': 'byte'})


if __name__ == '__main__':
    main()
