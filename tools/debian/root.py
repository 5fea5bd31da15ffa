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

"""A Debian 13 of its own: packages in a folder, and what is done in it."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

RELEASE = 'trixie'
# What a machine of each kind has of the distribution
PACKAGES = (
    # Nova, and what it is used with
    'nova-api', 'nova-compute-kvm', 'nova-conductor', 'nova-scheduler',
    'placement-api', 'glance-api', 'python3-openstackclient',
    'python3-osc-placement',
    # To build packages, and to look at them
    'autopkgtest', 'build-essential', 'lintian',
    # tools/cloud and tools/sevhost
    'python3-docutils', 'python3-psutil',
)
# No service is started by the installation of its package.
SETUP = ('mkdir -p "$1/usr/sbin"; echo exit 101 > "$1/usr/sbin/policy-rc.d"; '
         'chmod 755 "$1/usr/sbin/policy-rc.d"')
ENVIRON = {'HOME': '/root', 'LANG': 'C.UTF-8', 'TERM': 'dumb',
           'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
           'DEBIAN_FRONTEND': 'noninteractive', 'no_proxy': '127.0.0.1'}
# 'nocheck' leaves out the tests of the build.
PASSED = 'DEB_BUILD_OPTIONS'
# Its arguments: the folder of packages, that of what is changed, the command.
# NOTE: pivot_root, as nsenter would leave a chroot.
INSIDE = '''
set -e
base=$0 new=$1 checkout=$2
shift 2
root=$new/root
mount -t overlay overlay -o \
    "lowerdir=$base,upperdir=$new/upper,workdir=$new/work" "$root"
mount --bind "$checkout" "$root/mnt"
mount -o remount,bind,ro "$root/mnt"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
cat /etc/resolv.conf > "$root/etc/resolv.conf"
mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
exec chroot . sh -c 'umount -l /.old && exec "$@"' sh "$@"
'''


def make(folder):
    """Make a folder of packages, if there is none of the same.

    :param folder: where it is to be
    :returns: its path, and whether it had to be made
    """
    command = ['mmdebstrap', '--quiet', '--variant=apt',
               '--setup-hook=' + SETUP, '--aptopt=APT::Sandbox::User "root"',
               # It is not kept over a failure of the machine.
               '--dpkgopt=force-unsafe-io',
               '--include=' + ','.join(PACKAGES), RELEASE]
    base = os.path.join(folder, 'debian-%s-%s' % (RELEASE, hashlib.sha256(
        repr(command).encode()).hexdigest()[:8]))
    if os.path.exists(base):
        return base, False
    # What was broken off is not taken for the whole.
    shutil.rmtree(base + '.new', ignore_errors=True)
    subprocess.run([*command, base + '.new'], check=True)
    os.rename(base + '.new', base)
    return base, True


class Root:
    """A Debian 13 that is gone when it is left.

    :param base: the folder of packages; nothing of it is changed
    :param checkout: a folder that is read-only at /mnt
    """

    def __init__(self, base, checkout):
        self.base, self.checkout = base, checkout

    def __enter__(self):
        # Below the base, as not each file system has overlays above it.
        self.folder = tempfile.mkdtemp(prefix='run-',
                                       dir=os.path.dirname(self.base))
        for name in ('upper', 'work', 'root'):
            os.mkdir(os.path.join(self.folder, name))
        return self

    def __exit__(self, *args):
        shutil.rmtree(self.folder)

    def command(self, *words, user=None, **environ):
        """Return the command that runs one inside, and its environment."""
        prefix = [] if user is None else ['setpriv', '--reuid', user,
                                          '--regid', user, '--init-groups']
        return (['unshare', '--mount', '--pid', '--fork', '--kill-child',
                 '--propagation=private', 'sh', '-c', INSIDE, self.base,
                 self.folder, self.checkout, *prefix, *words],
                {**ENVIRON, PASSED: os.environ.get(PASSED, ''), **environ})

    def run(self, *words, show=False, **kwargs):
        """Run a command inside.

        :param show: whether to print what it prints, as it does
        :returns: its exit status, and all that it prints
        """
        command, environ = self.command(*words, **kwargs)
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            errors='replace')
        lines = []
        for line in process.stdout:
            lines.append(line)
            if show:
                sys.stdout.write(line)
                sys.stdout.flush()
        return process.wait(), ''.join(lines)
