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

"""Show SEV-ES at work in a small cloud on an imitated host."""
import argparse

from nova_mem_encryption.cli import configuration

HELP = 'Show SEV-ES at work in a small cloud on an imitated host.'
EPILOG = """\
Nova and Placement run in this process, and nothing of the machine is changed.
It shows what a host offers, servers with and without SEV-ES, and refusals.
For example:

    nova-mem-encryption demo
    nova-mem-encryption demo --no-es
    nova-mem-encryption demo --snp

exit status: 0 all went as expected; 1 not, or the series is not applied; 2 it
cannot be run: what it needs besides Nova is missing"""
CANNOT = 2


def _slots(text: str) -> int:
    if not text.isdecimal() or int(text) > 16:
        raise argparse.ArgumentTypeError(
            '%r is not a number from 0 to 16 (the demo fills all slots)'
            % text)
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    configuration.add_json(parser)
    parser.add_argument('--es-slots', type=_slots, default=2, metavar='N',
                        help='SEV-ES guests, or with --snp SEV-SNP guests, '
                             'that the imitated host can run: 0 to 16 '
                             '(default: 2)')
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument('--no-es', action='store_true',
                       help='imitate a host without SEV-ES')
    kinds.add_argument('--snp', action='store_true',
                       help='imitate a host that offers SEV-SNP, and so no '
                            'SEV-ES')
    parser.add_argument('--verbose', action='store_true',
                        help="show the services' logs")


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    from nova_mem_encryption.demo import report
    # The green threads of the services: greenlet complains of some when
    # Python ends.
    args.unfinished = True
    return report.main(args)
