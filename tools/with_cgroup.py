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

"""Run a command as on a machine with other cgroups, or say why not so.

    tools/with_cgroup.py {2,none} COMMAND...

It sees no cgroup of version 1: there is the cpu controller of version 2, or
nothing. A mount namespace of its own makes it so, which needs root. Where that
cannot be, the command runs with the cgroups of this machine, and that is told
as a suite tells of a skipped test, for CI to count.
"""
import os
import subprocess
import sys

CONTROLLERS = {'2': 'cpuset cpu io memory hugetlb pids rdma misc', 'none': ''}
# Its arguments are controllers and the command.
INSIDE = '''
umount --recursive --lazy /sys/fs/cgroup 2>/dev/null
mount -t tmpfs none /sys/fs/cgroup || exit
if awk '$3 == "cgroup" { found = 1 } END { exit !found }' /proc/self/mounts
then
    echo "cgroups of version 1 are mounted below no /sys/fs/cgroup." >&2
    exit 1
fi
[ -z "$0" ] || echo "$0" > /sys/fs/cgroup/cgroup.controllers
exec "$@"
'''


def find_obstacle():
    """Return why there is no such namespace here, None if there is one."""
    try:
        done = subprocess.run(['unshare', '--mount', 'true'], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        return 'there is no command unshare'
    return done.stderr.strip() if done.returncode else None


def main(version, *command):
    """Become the command, which so gets the signals that are for it."""
    reason = find_obstacle()
    if reason is not None:
        print('Not with other cgroups, as that needs root: %s.\n'
              '0 passed, 0 failed, 1 skipped' % reason, flush=True)
    else:
        command = ('unshare', '--mount', 'sh', '-c', INSIDE,
                   CONTROLLERS[version], *command)
    os.execvp(command[0], command)


if __name__ == '__main__':
    main(*sys.argv[1:])
