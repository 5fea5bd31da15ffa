#!/usr/bin/env python3
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

"""Run a host with AMD SEV and SEV-ES on a machine that has neither.

libvirtd and QEMU are the machine's own, unmodified. The kernel and the
processor below them are imitated: see README.rst.
"""
import argparse
import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from xml.etree import ElementTree

import inside
import psp

QEMU = 'bin/qemu-system-x86_64'  # below /usr
PACKAGES = {  # of Debian, by program
    'make': 'make', 'cc': 'gcc',
    'objdump': 'binutils', 'unshare': 'util-linux',
    'nsenter': 'util-linux', 'flock': 'util-linux'}
START_SECONDS = 60

LIBVIRTD_CONF = '''\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
log_filters = "4:util.dbus 4:node_device 4:network"
'''
# Nothing that wants systemd, another user, or cgroups
QEMU_CONF = '''\
stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
remember_owner = 0
namespaces = []
cgroup_controllers = []
'''


class Unfit(Exception):
    """This machine cannot do that; the message says why, and the remedy."""


class Host:
    """A host, by the folder that it lives in."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)

    def path(self, path):
        """Return where a file of the host's /run is outside."""
        return self.folder + path

    @property
    def pid(self):
        """The number of its first process; None if it does not run."""
        try:
            pid = int(inside.read(self.path(inside.STATE + '/pid')))
            command = inside.read('/proc/%d/cmdline' % pid).split('\0')
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The number may be another process's by now.
        return pid if self.folder in command else None

    def enter(self, command):
        """Return the command that runs one inside."""
        if os.path.exists(inside.OPTIONS) and os.path.samefile(
                inside.OPTIONS, self.path(inside.OPTIONS)):
            return command  # this is inside
        pid = self.pid
        if pid is None:
            raise Unfit('no host runs in %s' % self.folder)
        # NOTE: nsenter's --wd would be the folder outside, which another one
        # may hide inside.
        preload = ':'.join(filter(None, (inside.LIBRARY,
                                         os.environ.get('LD_PRELOAD'))))
        return ['nsenter', '--target=%d' % pid, '--mount', '--uts', '--pid',
                '--', 'env', '--chdir=' + os.getcwd(),
                'LD_PRELOAD=' + preload, *command]

    def write_options(self, options):
        """Say what the host is to be after its next boot."""
        if os.path.exists(self.path(inside.READY)):
            os.unlink(self.path(inside.READY))
        inside.write(self.path(inside.OPTIONS), json.dumps(options))

    def wait(self, options, process=None):
        """Wait until it has booted.

        :param options: what it is to be
        :param process: what runs it, if that is a child
        :raises Unfit: if it does not boot, or is something else
        """
        deadline = time.monotonic() + START_SECONDS
        while not os.path.exists(self.path(inside.READY)):
            if time.monotonic() > deadline or (
                    process is not None and process.poll() is not None):
                raise Unfit('the host did not start: %s' % self.last_words())
            time.sleep(0.02)
        state = psp.STATES[options['psp']]
        able = state.initialises and not options['no_sev']
        expected = {
            'maxGuests': options['sev_asids'],
            'maxESGuests': options['es_asids']} if able else {}
        found = self._guest_counts()
        if found != expected:
            raise Unfit(
                'this libvirt or QEMU does not see the imitated processor: '
                'it reports %s and not %s' % (found, expected))
        if state.lazy and able:
            # QEMU had it initialised when libvirt asked for its abilities. A
            # libvirtd that has them from before the boot does not ask.
            os.unlink(self.path(inside.INITIALISED))

    def _guest_counts(self):
        """Return how many guests libvirt says the host can run."""
        command = self.enter(['virsh', '-c', 'qemu:///system',
                              'domcapabilities', '--machine', 'q35'])
        try:
            found = run(*command)
        except Unfit as e:
            # Once in some hundred boots libvirt 9.0 says no more than "An
            # error occurred, but the cause is unknown".
            print('sevhost: %s; asked again' % e, file=sys.stderr)
            found = run(*command)
        sev = ElementTree.fromstring(found).find('features/sev')
        return {} if sev is None or sev.get('supported') != 'yes' else {
            name: int(sev.findtext(name))
            for name in ('maxGuests', 'maxESGuests')}

    def last_words(self):
        """Return the ends of its logs, in a line."""
        lines = []
        for name in ('sevhost.log', 'libvirtd.log'):
            path = os.path.join(self.folder, 'log', name)
            if os.path.exists(path):
                lines += inside.read(path).splitlines()[-3:]
        return ' | '.join(lines) or 'it said nothing'

    def remove(self):
        """End all its processes and remove its folder."""
        pid = self.pid
        if pid is not None:
            process = os.pidfd_open(pid)
            signal.pidfd_send_signal(process, signal.SIGKILL)
            # It ends when all the others have ended.
            select.select([process], [], [])
            os.close(process)
        shutil.rmtree(self.folder)


# -- is this machine fit for it? ---------------------------------------------

def check_machine(usr):
    """Check what a host needs of this machine, and build the library.

    :param usr: the folder that has libvirt and QEMU, /usr or another one
    :raises Unfit: if it lacks something
    """
    if os.uname().machine != 'x86_64':
        raise Unfit('it imitates an x86_64 processor, and this one is %s'
                    % os.uname().machine)
    if os.geteuid() != 0:
        raise Unfit('it needs root, for namespaces and mounts')
    if usr != '/usr' and (re.search('[:,]', usr) or not os.path.isabs(usr)):
        raise Unfit('--usr %s: it must be an absolute path without : and ,'
                    % usr)
    if inside.has_apparmor() and shutil.which('aa-exec') is None:
        raise Unfit("AppArmor is on, and aa-exec, to run libvirtd without it, "
                    "is missing; install Debian's apparmor")
    for program, package in PACKAGES.items():
        if shutil.which(program) is None:
            raise Unfit("there is no %s; install Debian's %s"
                        % (program, package))
    for program, package in ((QEMU, 'qemu-system-x86'),
                             ('sbin/libvirtd', 'libvirt-daemon-system'),
                             ('bin/virsh', 'libvirt-clients')):
        if not os.path.exists(os.path.join(usr, program)):
            raise Unfit("there is no %s/%s; install Debian's %s"
                        % (usr, program, package))
    # One at a time, if several hosts are started at once.
    run('flock', os.path.join(inside.HERE, 'Makefile'),
        'make', '-s', '-C', inside.HERE)


def find_cpuid(program):
    """Return the addresses of the instruction CPUID in a program.

    :raises Unfit: if there is none
    """
    addresses = [line.split(':')[0].strip()
                 for line in run('objdump', '-d', program).splitlines()
                 if line.split()[-1:] == ['cpuid']]
    if not addresses:
        raise Unfit('no instruction CPUID was found in %s' % program)
    return addresses


def run(*command):
    """Run a command and return what it printed.

    :raises Unfit: if it fails
    """
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True).stdout
    except subprocess.CalledProcessError as e:
        raise Unfit('%s failed: %s' % (' '.join(command),
                                       e.stderr.strip())) from e


# -- commands ----------------------------------------------------------------

def start(args):
    """start a host"""
    check_machine(args.usr)
    host = Host(args.folder)
    if os.path.exists(host.folder) and os.listdir(host.folder):
        raise Unfit('%s is not empty; if a host is left there, stop it'
                    % host.folder)
    os.makedirs(host.folder, exist_ok=True)
    os.chmod(host.folder, 0o700)  # who may use this libvirtd may be root
    options = _options(args)
    addresses = find_cpuid(os.path.join(args.usr, QEMU))
    for name in (*inside.MOUNTS, 'dev'):
        os.makedirs(os.path.join(host.folder, name))
    for name, text in (('libvirtd.conf', LIBVIRTD_CONF),
                       ('qemu.conf', QEMU_CONF), ('libvirt.conf', '')):
        inside.write(os.path.join(host.folder, 'etc', name), text)
    inside.write(host.path(inside.STATE + '/cpuid-sites'),
                 '\n'.join(addresses) + '\n')
    os.mkdir(host.path(inside.STATE + '/asids'))
    # A copy, as the one in the checkout may be built again meanwhile, and no
    # blank may be in the path.
    shutil.copy(os.path.join(inside.HERE, 'build/sevhost.so'),
                host.path(inside.LIBRARY))
    host.write_options(options)
    with open(os.path.join(host.folder, 'log/sevhost.log'), 'w') as output:
        process = subprocess.Popen(
            ['unshare', '--mount', '--uts', '--pid', '--fork', '--kill-child',
             '--propagation=private', sys.executable,
             os.path.abspath(__file__), 'init', host.folder],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True)
    try:
        host.wait(options, process)
    except BaseException:
        process.kill()
        process.wait()
        host.remove()
        raise


def reboot(args):
    """boot it again, with the options given here; its guests end"""
    host = Host(args.folder)
    command = host.enter(['kill', '-HUP', '1'])
    options = {**json.loads(inside.read(host.path(inside.OPTIONS))),
               **_options(args)}
    host.write_options(options)
    run(*command)
    host.wait(options)


def settle(args):
    """wait until its misc cgroup tells the ASIDs that are in use now"""
    host = Host(args.folder)
    host.enter([])  # one runs
    path = host.path(inside.COUNTED)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    deadline = time.monotonic() + START_SECONDS
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise Unfit('the host does not count its ASIDs: %s'
                        % host.last_words())
        time.sleep(0.02)


def execute(args):
    """run a command inside; its variable SEVHOST is DIR, SEVHOST_TOOL this"""
    host = Host(args.folder)
    command = host.enter(args.command)
    os.environ['SEVHOST'] = host.folder
    os.environ['SEVHOST_TOOL'] = os.path.abspath(__file__)
    try:
        os.execvp(command[0], command)
    except OSError as e:
        raise Unfit('%s: %s' % (command[0], e.strerror)) from e


def log(args):
    """print what the imitated kernel was asked, as JSON"""
    host = Host(args.folder)
    path = host.path(inside.STATE + '/kernel.log')
    if not os.path.exists(host.path(inside.OPTIONS)):
        raise Unfit('no host lives in %s' % host.folder)
    lines = inside.read(path).splitlines() if os.path.exists(path) else []
    print('[%s]' % ',\n '.join(lines))


def stop(args):
    """end all that runs in it, and remove it"""
    host = Host(args.folder)
    if not os.path.exists(host.path(inside.OPTIONS)):
        raise Unfit('no host lives in %s' % host.folder)
    host.remove()


def init(args):
    """be its first process; 'start' runs this"""
    inside.Init(args.folder).run()


def _options(args):
    return {name: value for name, value in vars(args).items()
            if name not in ('folder', 'function')}


def _number(lowest, highest):
    def number(text):
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(
                '%r is not a number from %d to %d' % (text, lowest, highest))
        return int(text)
    return number


def _add_options(parser):
    parser.add_argument(
        '--sev-asids', type=_number(0, 1000), default=410, metavar='N',
        help='plain SEV guests that it can run (default: 410)')
    parser.add_argument(
        '--es-asids', type=_number(0, 1000), default=99, metavar='N',
        help="SEV-ES guests that it can run (default: 99); 0: the BIOS's "
             'split was left at 1')
    parser.add_argument('--no-sev', action='store_true',
                        help='the processor has no SEV')
    parser.add_argument('--no-es', action='store_true',
                        help='kvm_amd is loaded with sev_es=0')
    parser.add_argument('--snp', action='store_true',
                        help='SEV-SNP is on in the BIOS and in kvm_amd')
    parser.add_argument('--iommu-pt', action='store_true',
                        help='Linux is booted with iommu=pt, and so cannot '
                             'use SEV-SNP')
    parser.add_argument(
        '--psp', choices=psp.STATES, default=psp.DEFAULT, metavar='STATE',
        help='the secure processor; one of: %s (default: %s)' % ('; '.join(
            '%s: %s' % (name, state.says)
            for name, state in psp.STATES.items()), psp.DEFAULT))
    parser.add_argument(
        '--cbitpos', type=_number(32, 63), default=51, metavar='BIT',
        help='bit of a page table entry that marks encrypted memory '
             '(default: 51)')


def _parser():
    parser = argparse.ArgumentParser(
        prog='sevhost.py', description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    for name, function in (('start', start), ('reboot', reboot),
                           ('settle', settle), ('exec', execute),
                           ('log', log), ('stop', stop), ('init', init)):
        sub = commands.add_parser(
            name, **({} if function is init else {'help': function.__doc__}))
        sub.set_defaults(function=function)
        sub.add_argument('folder', metavar='DIR',
                         help='the folder that it lives in')
        if function in (start, reboot):
            _add_options(sub)
        if function is start:
            sub.add_argument('--hostname', default=socket.gethostname(),
                             help="(default: the machine's)")
            sub.add_argument(
                '--usr', default='/usr', metavar='DIR',
                help='lay this over /usr: another libvirt and QEMU')
        if function is execute:
            sub.add_argument('command', nargs=argparse.REMAINDER,
                             metavar='COMMAND', help='and its arguments')
    return parser


def main():
    """Run a command.

    :returns: exit status: 0; 1 if it cannot be done; that of the command run
    """
    args = _parser().parse_args()
    try:
        args.function(args)
    except Unfit as e:
        print('sevhost: %s' % e, file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
