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

"""Arguments that several commands take, and what they are for."""
import argparse
import sys
import typing as ty

from nova_mem_encryption.engine import finder
from nova_mem_encryption.engine import state as engine


def add_json(parser: argparse._ActionsContainer) -> None:
    """Let a command print JSON."""
    parser.add_argument('--json', action='store_true',
                        help='print JSON, for machines')


def add_config_file(parser: argparse.ArgumentParser) -> None:
    """Let a command be told where the configuration of Nova is."""
    parser.add_argument('--config-file', action='append', metavar='FILE',
                        help="configuration of Nova (default: Nova's own)")


def configure(files: ty.Optional[ty.Sequence[str]]) -> bool:
    """Have the series applied, and Nova's configuration read.

    :param files: of configuration; None for Nova's own
    :returns: whether that was possible; if not, the reason is printed
    """
    try:
        import nova.monkey_patch  # noqa: F401 - eventlet wants to be early
        from nova import config  # noqa: H306
        from oslo_config import cfg
        finder.load()
    except engine.Misfit as e:
        print(e, file=sys.stderr)
        return False
    if not engine.applied():
        print('The series is not applied: see nova-mem-encryption status.',
              file=sys.stderr)
        return False
    try:
        config.parse_args(['nova-status', *(
            arg for file in files or () for arg in ('--config-file', file))])
    except cfg.Error as e:
        print(e, file=sys.stderr)
        return False
    return True
