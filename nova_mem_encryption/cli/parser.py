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

"""Parse the command line, and run the command that it names."""
import argparse
import os
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption.cli import check
from nova_mem_encryption.cli import demo
from nova_mem_encryption.cli import explain
from nova_mem_encryption.cli import export
from nova_mem_encryption.cli import fits
from nova_mem_encryption.cli import measure
from nova_mem_encryption.cli import revert
from nova_mem_encryption.cli import slots
from nova_mem_encryption.cli import status
from nova_mem_encryption.cli import upgrade_check

# Each has HELP, EPILOG, run, add_arguments and CANNOT: the exit status where
# it cannot be run. It may have MISUSED: that where the command line is wrong.
COMMANDS: ty.Dict[str, ty.Any] = {
    'status': status, 'check': check, 'explain': explain,
    'upgrade-check': upgrade_check, 'slots': slots, 'measure': measure,
    'fits': fits, 'export': export, 'revert': revert, 'demo': demo}
EPILOG = """\
For what a command does, its exit statuses and an example:

    nova-mem-encryption COMMAND --help

exit status: that of the command; 2 it is none, or there is none, which
shows this; 130 interrupted; 141 nobody reads what is printed"""


class _Parser(argparse.ArgumentParser):
    """That of all commands, or of one.

    :param misused: exit status where the command line is wrong
    """

    def __init__(self, misused: int = 2, **kwargs: ty.Any) -> None:
        super().__init__(
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        self.misused = misused

    def _print_message(self, message, file=None):
        # NOTE: argparse's own takes no notice of what cannot be written.
        (file or sys.stderr).write(message or '')

    def error(self, message: str) -> ty.NoReturn:
        """Print what is wrong, and exit."""
        self.print_usage(sys.stderr)
        self.exit(self.misused, '%s: error: %s\n' % (self.prog, message))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog='nova-mem-encryption', epilog=EPILOG,
        description='AMD SEV-ES for an installed, unmodified Nova 2025.1.')
    parser.set_defaults(function=None, error=parser.error)
    parser.add_argument('--version', action='version',
                        version=nova_mem_encryption.__version__)
    commands = parser.add_subparsers(metavar='COMMAND', parser_class=_Parser)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name, help=command.HELP, description=command.HELP,
            epilog=command.EPILOG, misused=getattr(command, 'MISUSED', 2))
        sub.set_defaults(function=command.run, error=sub.error,
                         cannot=command.CANNOT, prog=sub.prog)
        command.add_arguments(sub)
        sub.add_argument(
            '--debug', action='store_true',
            help='after an error, also show where it came about: lines of '
                 'code and paths, and nothing that is in nova.conf')
    return parser


def run(argv: ty.Optional[ty.Sequence[str]], args: argparse.Namespace) -> int:
    """Run a command.

    :param argv: its arguments, None for those of the process
    :param args: gets what they say
    :returns: exit status
    """
    parser = make_parser()
    if '_ARGCOMPLETE' in os.environ:
        _complete(parser)
    args, unknown = parser.parse_known_args(argv, args)
    if unknown:
        # NOTE: what a command does not know argparse hands back, to exit with
        # a status that is not the command's.
        args.error('unrecognized arguments: ' + ' '.join(unknown))
    if args.function is None:
        parser.print_help(sys.stderr)
        return 2
    return args.function(args)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what can come next, and exit."""
    try:
        import argcomplete  # where there is none, nothing is completed
    except ImportError:
        return
    argcomplete.autocomplete(parser)
