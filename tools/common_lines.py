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

"""Find which lines of what the patches change are in all releases of Nova.

    tools/common_lines.py --refresh RELEASE...    write the table anew
    tools/common_lines.py --check RELEASE...      compare with it

A release is a wheel, a .deb, or a folder. The package has to be installed, or
PYTHONPATH=. to be set. Exit status: 0 well; 1 not.
"""
import argparse
import json
import sys
import typing as ty

from nova_mem_encryption.engine import packages
from nova_mem_encryption.export import common
from nova_mem_encryption.export import series


def _key(release: packages.Package) -> ty.Tuple[bool, ty.List[int]]:
    """Return what to sort by: those of PyPI first, the newest of them."""
    if release.name is not None or not release.version:
        return True, []
    return False, [-int(n) for n in release.version.split('.')]


def main(argv: ty.Optional[ty.Sequence[str]] = None) -> int:
    """Run the command; :returns: exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('release', nargs='+',
                        help='a wheel of Nova, a .deb of it, or a folder')
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument('--check', action='store_true',
                       help='compare with the table')
    group.add_argument('--refresh', action='store_true',
                       help='write the table')
    args = parser.parse_args(argv)
    releases = sorted(map(packages.open_package, args.release), key=_key)
    paths = series.Series(releases[0].read).changed_paths()
    made = common.make(paths, [release.read for release in releases])
    text = json.dumps(made, indent=None, sort_keys=True).replace(
        '}, "nova', '},\n"nova') + '\n'
    if args.refresh:
        with open(common.TABLE, 'w', encoding='utf-8') as f:
            f.write(text)
    elif json.loads(text) != common.table():
        print('The table is not that of these releases; make it again with '
              '--refresh.', file=sys.stderr)
        return 1
    print('%d files in %d releases: %d lines are in all of each.' % (
        len(made), len(releases), sum(
            block[2] for versions in made.values()
            for block in next(iter(versions.values())))))
    return 0


if __name__ == '__main__':
    sys.exit(main())
