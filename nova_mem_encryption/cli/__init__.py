# PYTHON_ARGCOMPLETE_OK
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

"""The command nova-mem-encryption: a file for what each command takes."""
import argparse
import os
import typing as ty

from nova_mem_encryption.engine import aliases
from nova_mem_encryption import errors


def main(argv: ty.Optional[ty.Sequence[str]] = None) -> int:
    """Run a command.

    :param argv: its arguments, those of the process by default
    :returns: exit status
    """
    errors.prepare()
    # unfinished: what is left of the command is not to be waited for
    args = argparse.Namespace(cannot=1, debug=False, unfinished=False,
                              prog='nova-mem-encryption')

    def run() -> int:
        # NOTE: what is imported below wants nova_mem_encryption.nova.
        aliases.arm()
        from nova_mem_encryption.cli import parser
        return parser.run(argv, args)

    code = errors.guard(args, run)
    if args.unfinished:
        os._exit(code)
    return code
