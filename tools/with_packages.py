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

"""Run a command that needs root and Debian packages, or say why not.

    tools/with_packages.py PROFILE... -- COMMAND...

The packages are those of profiles of bindep.txt. Where the command cannot be
run for good, it is skipped: the exit status is 0, but 1 in CI, where the
variable CI is set.
"""
import fcntl
import os
import shutil
import subprocess
import sys
import time

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The profile by which libvirt-python can be built; it is, then.
LIBVIRT = 'libvirt'
# How long another process, as the system's own timer, may hold a lock of apt
LOCK_SECONDS = 600
LOCKED = 'Could not get lock'


def find_obstacle():
    """Return why it cannot be run on this machine, None if it can."""
    system = os.uname()
    if (system.sysname, system.machine) != ('Linux', 'x86_64'):
        return 'it needs Linux on x86_64'
    if os.geteuid() != 0:
        return 'it needs root, for packages, namespaces and mounts'
    return None


def install(profiles):
    """Install the packages that are missing, one process at a time.

    :raises SystemExit: if that cannot be done; it names them
    """
    with open(os.path.join(TREE, 'bindep.txt')) as listed:
        # NOTE: two environments of tox may want the same at the same time.
        fcntl.flock(listed, fcntl.LOCK_EX)
        _install(profiles, listed.name)


def _install(profiles, listed):
    found = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), 'bindep'), '-b', '-f',
         listed, *profiles], text=True, stdout=subprocess.PIPE)
    names = found.stdout.split()
    if not names:
        if found.returncode:
            sys.exit('bindep, which is to tell what is missing, failed.')
        return
    if shutil.which('apt-get') is None:
        sys.exit('Packages are missing; their names in Debian are: %s'
                 % ' '.join(names))
    print('Installing Debian packages: %s' % ' '.join(names), flush=True)
    for command in (['update', '-q'],
                    ['install', '-qy', '--no-install-recommends', *names]):
        done = _run_apt(command)
        if done.returncode:
            sys.exit('apt-get %s failed:\n%s' % (' '.join(command),
                                                 done.stdout))


def _run_apt(command):
    # NOTE: apt's DPkg::Lock::Timeout is for dpkg's locks, and not for those of
    # the lists and the archives.
    end = time.monotonic() + LOCK_SECONDS
    while True:
        done = subprocess.run(
            ['apt-get', *command], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive',
                 'LC_ALL': 'C'})
        if (not done.returncode or LOCKED not in done.stdout or
                time.monotonic() >= end):
            return done
        time.sleep(5)


def main(arguments):
    """Become the command; return an exit status where it cannot be run."""
    end = arguments.index('--')
    profiles, command = arguments[:end], arguments[end + 1:]
    reason = find_obstacle()
    if reason is not None:
        print('Skipped: %s.' % reason)
        return 1 if 'CI' in os.environ else 0
    install(profiles)
    if LIBVIRT in profiles:
        # Only now it can be built.
        subprocess.check_call([
            sys.executable, '-m', 'pip', '--disable-pip-version-check', '-q',
            'install', '-c', os.path.join(TREE, 'constraints-2025.1.txt'),
            'libvirt-python'])
    sys.stdout.flush()
    # NOTE: as a child it would be killed a quarter of a second after SIGINT,
    # and not get SIGTERM at all; what it has started would be left.
    os.execvp(command[0], command)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
