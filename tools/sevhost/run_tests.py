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

"""Test the imitated host, and Nova's libvirt driver inside of it.

With libvirt and QEMU of this machine, and with those of Debian 13.
"""
import argparse
import glob
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading

import newer

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
TOOL = [sys.executable, os.path.join(HERE, 'sevhost.py')]
OURS = 'nova/tests/functional'
SEED = 'NOVA_MEM_ENCRYPTION_SEED'
# Nearly all in them needs libvirt and QEMU of Debian 13.
NEWER = {'test_digest', 'test_sevhost_snp', 'test_snp'}


class Run(threading.Thread):
    """The tests with one libvirt and QEMU.

    :param nova: Python and folder of a patched Nova that has such tests; None
        for those of the checkout, with the series
    """

    def __init__(self, usr, folder, pattern, modules=None, nova=None):
        super().__init__()
        self.python, self.top = nova or (sys.executable, TREE)
        self.only_nova = nova is not None
        self.usr = usr
        self.folder = folder
        self.pattern = pattern
        self.of_modules = () if modules is None else (
            r'\b(%s)\.' % '|'.join(modules),)
        self.name = 'this machine'
        self.counts = {'Passed': 0, 'Failed': 0, 'Skipped': 0}
        self.failed = True  # until all is done
        self.bad = False  # whether a command has failed
        self.told = []  # what is said of the tests that failed

    def run(self):
        """Run them all; failed and counts tell how that went."""
        host = os.path.join(self.folder, 'host')
        try:
            self._run([*TOOL, 'start', host, '--hostname', 'host1', '--usr',
                       self.usr])
            if self.bad:
                return
            version = subprocess.check_output(
                [*TOOL, 'exec', host, 'virsh', '-c', 'qemu:///system',
                 'version'], text=True)
            self.name = 'libvirt %s, QEMU %s' % (
                re.search('library: libvirt (.*)', version).group(1),
                re.search('hypervisor: QEMU (.*)', version).group(1))
            self._stestr('functional', [*TOOL, 'exec', host, 'env'],
                         os.path.join(self.top, OURS), self.top,
                         *(self.of_modules or (
                             self.pattern or r'\.test_sevhost_',)))
            self._tell_of_kernel(host)
        finally:
            self._run([*TOOL, 'stop', host])
        if not self.pattern and not self.only_nova:
            self._stestr('host', ['env', 'SEVHOST_USR=' + self.usr], HERE,
                         HERE, *self.of_modules)
        self.failed = self.bad

    def _stestr(self, name, prefix, path, top, *options):
        repository = os.path.join(self.folder, name + '.stestr')
        os.mkdir(repository)
        self._run([
            *prefix, 'no_proxy=*', self.python, '-m', 'stestr',
            '--test-path', path, '--top-dir', top, '--repo-url', repository,
            'run', '--concurrency', '1', *options])

    def _run(self, command):
        # NOTE: a Python imports from where it is started.
        process = subprocess.Popen(command, cwd=self.top, text=True,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        of_failed = False
        for line in process.stdout:
            if re.match(r'\{\d+\} |=====', line):
                of_failed = line.endswith(' FAILED\n')
            if of_failed:
                self.told.append(line)
            total = re.match(r' - (\w+): (\d+)$', line)
            if total and total.group(1) in self.counts:
                self.counts[total.group(1)] += int(total.group(2))
            print('[%s] %s' % (self.name, line), end='', flush=True)
        if process.wait():
            self.bad = True

    def _tell_of_kernel(self, host):
        calls = json.loads(subprocess.check_output([*TOOL, 'log', host]))
        seen = {}
        for call in calls:
            if call['guest'] and re.search('INIT|LAUNCH_START', call['call']):
                what = call['call'] + (
                    ' policy 0x%02x' % call['policy']
                    if 'policy' in call else '') + (
                    '' if call['result'] == 0 else
                    ' result %d' % call['result'])
                seen[what] = seen.get(what, 0) + 1
        for what, count in sorted(seen.items()):
            print('[%s] the imitated kernel saw %3d x %s' % (
                self.name, count, what), flush=True)


def deal(seed):
    """Deal the modules of tests to the two, for each some of both kinds."""
    hands = [[], sorted(NEWER)]
    for place in (os.path.join(TREE, OURS, 'libvirt', 'test_sevhost_*.py'),
                  os.path.join(HERE, 'test_*.py')):
        modules = sorted({os.path.basename(path)[:-3]
                          for path in glob.glob(place)} - NEWER)
        random.Random(seed).shuffle(modules)
        for number, module in enumerate(modules):
            hands[number % 2].append(module)
    return hands


def main():
    """Run the tests; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--half', action='store_true',
                        help='run each module with one of the two, another '
                             'one each time; %s repeats one' % SEED)
    parser.add_argument('--nova', nargs=2, metavar=('PYTHON', 'FOLDER'),
                        help='take the tests that are in a folder of a '
                             'patched Nova, by its Python; of the host, none')
    parser.add_argument('pattern', nargs='?',
                        help='regular expression of the ids to run')
    args = parser.parse_args()
    if args.half and args.pattern:
        parser.error('--half takes its own pattern')
    hands = [None, None]
    if args.half:
        seed = os.environ.get(SEED) or str(random.randrange(10 ** 6))
        print('Each module with one of the two, %s=%s' % (SEED, seed),
              flush=True)
        hands = deal(seed)
    debian = newer.get(newer.FOLDER)
    with tempfile.TemporaryDirectory(prefix='sevhost-') as folder:
        runs = []
        for name, usr, hand in zip(('own', 'newer'), ('/usr', debian), hands):
            os.mkdir(os.path.join(folder, name))
            runs.append(Run(usr, os.path.join(folder, name), args.pattern,
                            hand, args.nova))
            runs[-1].start()
        for run in runs:
            run.join()
    # Once more, as one of the two may have ended minutes before the other.
    for run in runs:
        for line in run.told:
            print('[%s] %s' % (run.name, line), end='')
    passed, failed, skipped = (
        sum(run.counts[name] for run in runs)
        for name in ('Passed', 'Failed', 'Skipped'))
    # Nothing is to be skipped inside of a host.
    failed = failed or skipped + sum(run.failed for run in runs) + (
        not passed)
    print('%d passed, %d failed, %d skipped' % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
