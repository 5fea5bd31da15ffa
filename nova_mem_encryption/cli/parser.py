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
import signal
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption.cli import check
from nova_mem_encryption.cli import demo
from nova_mem_encryption.cli import explain
from nova_mem_encryption.cli import fits
from nova_mem_encryption.cli import revert
from nova_mem_encryption.cli import slots
from nova_mem_encryption.cli import status
from nova_mem_encryption.cli import upgrade_check

# Each has HELP, run and add_arguments, and may have EPILOG, and MISUSED: the
# exit status where the command line is wrong.
COMMANDS: ty.Dict[str, ty.Any] = {
    'status': status, 'check': check, 'explain': explain,
    'upgrade-check': upgrade_check, 'slots': slots, 'fits': fits,
    'revert': revert, 'demo': demo}


class _Parser(argparse.ArgumentParser):
    """That of a command.

    :param misused: exit status where the command line is wrong
    """

    def __init__(self, *args, misused: int = 2, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.misused = misused

    def error(self, message: str) -> ty.NoReturn:
        """Print what is wrong, and exit."""
        self.print_usage(sys.stderr)
        self.exit(self.misused, '%s: error: %s\n' % (self.prog, message))


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog='nova-mem-encryption',
        description='AMD SEV-ES for an installed, unmodified Nova 2025.1.')
    parser.add_argument('--version', action='version',
                        version=nova_mem_encryption.__version__)
    commands = parser.add_subparsers(metavar='COMMAND', required=True,
                                     parser_class=_Parser)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name, help=command.HELP, epilog=getattr(command, 'EPILOG', None),
            misused=getattr(command, 'MISUSED', 2),
            formatter_class=argparse.RawDescriptionHelpFormatter)
        sub.set_defaults(function=command.run, error=sub.error)
        command.add_arguments(sub)
    return parser


def run(argv: ty.Optional[ty.Sequence[str]]) -> int:
    """Run a command.

    :param argv: its arguments, None for those of the process
    :returns: exit status
    """
    args, unknown = make_parser().parse_known_args(argv)
    if unknown:
        # NOTE: what a command does not know argparse hands back, to exit with
        # a status that is not the command's.
        args.error('unrecognized arguments: ' + ' '.join(unknown))
    try:
        code = args.function(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Somebody reads no further, as head does. Python would complain again
        # when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
