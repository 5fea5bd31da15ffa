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

"""Time commands that look at a host or a log, in CPU seconds.

'check' is run with --record, which asks all that there is to ask, whatever
the machine is. Placement is one that refuses connections.
"""
import os
import resource
import subprocess
import sys
import tempfile

import pyperf
import timing

CONF = """\
[libvirt]
virt_type = kvm
[placement]
auth_type = none
endpoint = http://127.0.0.1:9
"""
LINES = 10000  # of the log
LOG = 'nova.virt.libvirt.driver [None req-1 - - - - -] Nothing of interest\n'
LAST = ('qemu-system-x86_64: sev_kvm_init: failed to initialize ret=-16 '
        'fw_error=0\n')


def get_profiler(name):
    """Return what Python is called with, to have a program profiled.

    :param str name: of the benchmark that the program is of
    """
    return ['-m', 'cProfile', '-o', timing.OUTPUT] if (
        name == timing.WANTED) else []


def run(loops, name, make_arguments):
    """Return the CPU seconds of a command, with all that it starts."""
    seconds = 0.0
    for _ in range(loops):
        with tempfile.TemporaryDirectory() as folder:
            arguments = make_arguments(folder)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            done = subprocess.run(
                [sys.executable, '-Wignore', *get_profiler(name), '-m',
                 'nova_mem_encryption.cli', *arguments],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in (0, 1, 2):
            raise RuntimeError('%s: %s' % (name, done.stderr))
        seconds += (after.ru_utime - before.ru_utime +
                    after.ru_stime - before.ru_stime)
    return seconds


def _check(folder):
    conf = os.path.join(folder, 'nova.conf')
    with open(conf, 'w') as f:
        f.write(CONF)
    return ('check', '--config-file', conf, '--record',
            os.path.join(folder, 'host'))


def _explain(folder):
    log = os.path.join(folder, 'log')
    with open(log, 'w') as f:
        f.write(LOG * LINES + LAST)
    return 'explain', log


def main():
    """Be a worker of pyperf."""
    runner = pyperf.Runner()
    for name, make in (('command/check', _check),
                       ('command/explain', _explain)):
        runner.bench_time_func(name, run, name, make)


if __name__ == '__main__':
    main()
