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
import contextlib
import os
import sys
import typing as ty

from nova_mem_encryption.engine import finder
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption import errors


def add_json(parser: argparse._ActionsContainer) -> None:
    """Let a command print JSON."""
    parser.add_argument('--json', action='store_true',
                        help='print JSON, for machines')


def add_formats(parser: argparse.ArgumentParser,
                more: ty.Mapping[str, str]) -> None:
    """Let a command print a table, or something else.

    :param more: what it can print besides: option to its purpose
    """
    parser.set_defaults(format='table')
    group = parser.add_mutually_exclusive_group()
    for name, purpose in (
            ('json', 'print JSON, for machines'), *more.items(),
            ('prometheus', "print metrics for the textfile collector of "
                           "Prometheus' node exporter")):
        group.add_argument(
            '--' + name, action='store_const', dest='format', help=purpose,
            const=name)


def add_config(parser: argparse.ArgumentParser, default: str) -> None:
    """Let a command be told where the configuration of Nova is.

    :param default: which one it reads otherwise, in words
    """
    # NOTE: one list for both, as what comes later counts.
    parser.set_defaults(config=[])
    for name, metavar, purpose in (
            ('--config-file', 'FILE',
             'nova.conf; may be repeated (default: %s)' % default),
            ('--config-dir', 'DIR',
             'folder, of which all that ends with .conf is read; may be '
             'repeated (default: the same)')):
        parser.add_argument(
            name, dest='config', action=_Append, metavar=metavar,
            help=purpose)


class _Append(argparse.Action):
    """Append an option, as oslo.config takes it.

    With an absolute path, as some is read where the current folder is another.
    """

    def __call__(self, parser, namespace, values, option_string=None):
        path = os.path.abspath(os.path.expanduser(values))
        setattr(namespace, self.dest, [
            *getattr(namespace, self.dest), '%s=%s' % (
                self.option_strings[0], path)])


@contextlib.contextmanager
def nova_is_needed() -> ty.Iterator[None]:
    """Say so where there is none."""
    try:
        yield
    except ModuleNotFoundError as e:
        if (e.name or '').partition('.')[0] != 'nova':
            raise
        raise errors.CannotRun(
            'Nova is not installed in %s. Use the environment that '
            'nova-compute runs in.' % sys.prefix) from e


def configure(options: ty.Sequence[str]) -> None:
    """Have the series applied, if need be, and Nova's configuration read.

    :param options: as add_config has them
    :raises nova_mem_encryption.errors.CannotRun: if the series is not applied
    :raises oslo_config.cfg.Error: if the configuration cannot be read
    """
    with nova_is_needed():
        import nova.monkey_patch  # noqa: F401 - eventlet wants to be early
        from nova import config  # noqa: H306
        from oslo_messaging import opts
        finder.load()
    if not engine.present():
        raise errors.CannotRun(
            'The series is not applied: see nova-mem-encryption status.')
    from nova_mem_encryption.nova.mem_encryption import nova_conf
    with nova_conf.reading(config.CONF, options):
        config.parse_args(['nova-status', *options], init_rpc=False)
    # NOTE: without RPC nobody else makes these known, and Nova looks at
    # transport_url when it goes to a cell.
    for group, known in opts.list_opts():
        config.CONF.register_opts(known, group)
