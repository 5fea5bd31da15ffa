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
"""Test a patched Nova inside of imitated hosts, with real libvirt and QEMU.

    tools/export/hosts.py [--release 31.3.1] [--half] [PATTERN]

The patches are applied to a Nova in an environment of its own, where the
project's package cannot be imported. It gets the tests of tools/sevhost, too,
as the exporter puts tests into Nova, and what they have of the demo.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import patched
import series
import sources

from nova_mem_encryption.engine import packages
from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import layout
from nova_mem_encryption.export import series as exported
from nova_mem_encryption.export import source

RUN = os.path.join(series.TREE, 'tools', 'sevhost', 'run_tests.py')
FOLDER = 'nova.tests.functional.libvirt.'
DEMO = ('cloud', 'services', 'steps')
# What the tests import of the demo, and have in Nova instead
IMPORT = r'from nova_mem_encryption\.demo import (\w+)'
INSTEAD = r'from nova.tests.functional.libvirt import demo_\1 as \1'
OURS = re.compile(r'nova/tests/functional/libvirt/(test_sevhost_|sevhost|demo_'
                  r')\w*\.py$')


def make_tests(nova):
    """Make the tests as they are inside of a patched Nova.

    :param nova: for which: a wheel or a folder that holds nova/
    :returns: path to text; and name of a module, a class or a test that is
        left out, to the reason
    """
    made = exported.Series(packages.open_package(nova).read, rows=[
        row for row in decisions.LEFT_OUT_TESTS
        if row[1] != decisions.IMITATED])
    for name in DEMO:
        module = FOLDER + 'demo_' + name
        made.tree[module] = source.Source(
            module, module.replace('.', '/') + '.py',
            layout.read(module, os.path.join(
                series.TREE, 'nova_mem_encryption', 'demo', name + '.py')))
    for module, found in made.tree.items():
        if OURS.match(found.path):
            made.tree[module] = source.Source(
                module, found.path, re.sub(IMPORT, INSTEAD, found.text))
    for _ in made.make_all():
        pass
    return ({path: text for path, text in made.texts().items()
             if OURS.match(path)},
            {name: reason for name, reason in made.tests_left_out.items()
             if OURS.match(re.sub('[.:]', '/', name.split(':')[0]) + '.py')})


def main():
    """Run the tests; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sources.add_release(parser)
    sources.add_wheels(parser)
    parser.add_argument('--half', action='store_true',
                        help='run each module with one libvirt and QEMU of '
                             'two, another one each time')
    parser.add_argument('pattern', nargs='?', metavar='PATTERN',
                        help='regular expression of the ids to run')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='hosts-') as folder:
        try:
            wheel = sources.get_wheel(args.release, args.wheels)
            series.write(os.path.join(folder, 'patches'), wheel)
            nova = patched.Patched(os.path.join(folder, 'venv'), wheel)
            for patch in series.read(os.path.join(folder, 'patches')):
                nova.apply(patch)
            print(nova.see_absence())
            # The demo looks for api-paste.ini where pip puts it.
            os.symlink(os.path.join(nova.site, 'etc'),
                       os.path.join(nova.folder, 'etc'))
        except series.Wrong as e:
            print(e, file=sys.stderr)
            return 1
        tests, left_out = make_tests(wheel)
        for path, text in tests.items():
            with open(os.path.join(nova.site, path), 'w') as f:
                f.write(text)
        for name, reason in left_out.items():
            print('left out: %s: %s' % (name, reason))
        print('Nova %s, patched: %d files of tests' % (
            args.release, len(tests)), flush=True)
        nova.compile()
        return subprocess.call(
            [sys.executable, RUN, '--nova', nova.python, nova.site,
             *['--half'] * args.half, *filter(None, [args.pattern])],
            env={**nova.environ, 'OS_LOG_CAPTURE': '1'})


if __name__ == '__main__':
    sys.exit(main())
