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

"""Write the series as ordinary patches, for who patches Nova."""
import argparse

from nova_mem_encryption.cli import configuration
from nova_mem_encryption import export

HELP = 'Write the series as ordinary patches, for who patches Nova.'
EPILOG = """\
A Nova that is patched needs no engine, and the package only for its commands.
The patches are the same whichever release of Nova 2025.1 they are made from,
and apply to all of them. For example:

    nova-mem-encryption export patches
    cd nova && git am ../patches/*.patch

exit status: 0 written; 1 Nova is not one that the series fits, or is patched
already; 2 it cannot be done: Nova cannot be read, or DIR is not empty"""
CANNOT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument('folder', metavar='DIR',
                        help='where the patches go; made if it is not there')
    parser.add_argument('--nova', metavar='PATH',
                        help=export.NOVA + ' (default: that of this Python)')
    parser.add_argument('--style', choices=export.STYLES,
                        default=export.GIT,
                        help='git: for git am, quilt and dpkg-source, with '
                             '-p1; kolla: for its patches_path, with -p0 from '
                             '/ (default: git)')
    parser.add_argument('--python', metavar='VERSION',
                        help='with kolla only: the Python of its image '
                             '(default: %s, of Ubuntu and Rocky Linux; '
                             'Debian 12 has 3.11)' % export.PYTHON)
    configuration.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    from nova_mem_encryption.export import report
    return report.main(args)
