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

"""Build the Debian package, and live with it, in a Debian 13 of its own.

All is the distribution's: Python, Nova, Placement, libvirt and QEMU. Only the
kernel and the processor below them are imitated, by tools/sevhost.
"""
import argparse
import os
import shutil
import sys
import time

import prettytable  # noqa: F401 - of report

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path[1:1] = [os.path.join(TREE, 'tools', 'cloud'),
                 os.path.join(TREE, 'tools')]
import report  # noqa: E402
import root  # noqa: E402
import steps  # noqa: E402
import tests_of  # noqa: E402
import with_cgroup  # noqa: E402

CHECKOUT = os.path.join(sys.prefix, 'checkout')


def copy_checkout(folder):
    """Copy a checkout without what tools have left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in tests_of.listed(TREE):
        source, target = (os.path.join(top, name) for top in (TREE, folder))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(source, target)


def main():
    """Take the steps; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'step', nargs='*', metavar='STEP',
        help='only these, with %s, which all need: %s' % (
            ' and '.join(steps.FIRST), ', '.join(steps.STEPS)))
    args = parser.parse_args()
    unknown = {*args.step} - {*steps.STEPS}
    if unknown:
        parser.error('no such step: %s; there are %s' % (
            ', '.join(sorted(unknown)), ', '.join(steps.STEPS)))
    reason = with_cgroup.find_obstacle()
    if reason is not None:
        print('Skipped, as it needs namespaces: %s.' % reason)
        return 1 if 'CI' in os.environ else 0
    copy_checkout(CHECKOUT)
    failed = []
    begun = time.monotonic()
    base, made = root.make(sys.prefix)
    print('%s (%.0f s)' % (
        'Debian 13 was made' if made else
        'Debian 13 is there from before, and brought up to date',
        time.monotonic() - begun), flush=True)
    with root.Root(base, CHECKOUT) as debian:
        for name, take in steps.choose(args.step):
            step, start = report.Step(take.__doc__), time.monotonic()
            print('\n== %s: %s' % (name, take.__doc__), flush=True)
            try:
                take(debian, step)
            except Exception as e:
                step.check('%s: %s' % (type(e).__name__, e), False)
            step.seconds = time.monotonic() - start
            print(step.as_text(name + ': '), flush=True)
            failed += [check for check, ok in step.checks.items() if not ok]
            if failed and name in steps.FIRST:
                break
    print('\n%s (%.0f s)' % (
        'FAILED: ' + '; '.join(failed) if failed else 'All as expected.',
        time.monotonic() - begun))
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
