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

"""Make the table of fingerprints from releases of Nova, and compare."""
import argparse
import json
import os
import sys
import typing as ty

from nova_mem_encryption.engine import collect
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import tree

HELP = 'Make the table of fingerprints from releases of Nova, and compare.'
EPILOG = 'For maintainers. Without an option the table is printed.'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument('release', nargs='+',
                        help='a wheel of Nova, a .deb of it, or a '
                             'site-packages folder with an installed one')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--check', action='store_true',
                       help='compare with the table of the package')
    group.add_argument('--refresh', action='store_true',
                       help='write the table of the package')


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    known: ty.Dict[str, ty.Any] = {'releases': []}
    if os.path.exists(fingerprints.TABLE):
        known = fingerprints.table()
    try:
        made = collect.collect(tree.tree(), args.release, known)
    except (OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    text = json.dumps(made, indent=1, sort_keys=False) + '\n'
    if args.refresh:
        with open(fingerprints.TABLE, 'w', encoding='utf-8') as f:
            f.write(text)
        print('%s: %d functions of Nova %s' % (
            fingerprints.TABLE, sum(map(len, made['functions'].values())),
            ', '.join(made['releases'])))
        return 0
    if not args.check:
        print(text, end='')
        return 0
    for release in made['releases']:
        print('%-8s %s' % (release, 'known' if release in known['releases']
                           else 'not in the table'))
    if made != known:
        print('The table is not that of these releases; make it again with '
              '--refresh.', file=sys.stderr)
        return 1
    print('The series fits: %d functions are the same in all of them.'
          % sum(map(len, made['functions'].values())))
    return 0
