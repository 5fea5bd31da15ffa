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

"""Tell which servers run with what, and what does not agree."""
import argparse
import sys

from nova_mem_encryption.cli import configuration
from nova_mem_encryption import errors
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption.servers import problems

HELP = 'Tell which servers run with what, and what does not agree.'
EPILOG = """\
Of each server: the model that its flavor and image ask for, the provider of
its slot, and the model and policy that it runs with, as nova-compute of its
host saw it last ("%s" where that does not tell, "%s" where the server
does not run). What does not agree comes first, a server that

%s

Of one that something is done with just now the slots are not judged. Servers
without any memory encryption are left out, unless --all is given. The public
flavors are named by which any user may take a slot. Run it on a controller;
nothing is changed. For example:

    nova-mem-encryption servers
    nova-mem-encryption servers --differing --host compute1
    nova-mem-encryption servers --prometheus --config-dir /etc/nova/cell1

exit status: 0 all agrees; 1 something does not; 2 the options make no sense,
or there is no such host; 255 it cannot be run, or not to its end""" % (
    problems.UNKNOWN, problems.NOTHING, '\n'.join(
        '    %-14s  %s' % item for item in problems.KINDS.items()))
CANNOT = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    configuration.add_config(parser, "Nova's own")
    configuration.add_formats(parser, {'csv': 'print comma-separated values'})
    for name, metavar, purpose in (
            ('host', 'HOST', 'only servers of a host'),
            ('project', 'ID', 'only servers of a project')):
        parser.add_argument('--' + name, metavar=metavar, help=purpose)
    parser.add_argument(
        '--model', choices=list(models.MODELS),
        help='only servers that ask for a model, run with it, or have a slot '
             'of it')
    parser.add_argument('--differing', action='store_true',
                        help='only servers of which something does not agree')
    parser.add_argument('--all', action='store_true',
                        help='also servers without any memory encryption')


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    configuration.configure(args.config)
    import nova.conf
    from nova_mem_encryption.nova.mem_encryption import nova_conf
    from nova_mem_encryption.nova.mem_encryption.servers import audit
    from nova_mem_encryption.nova.mem_encryption.servers import formats
    from nova_mem_encryption.nova.mem_encryption import unanswered
    conf = nova.conf.CONF
    try:
        found = audit.audit(audit.Choice(
            args.host, args.project, args.model, args.differing, args.all))
    except audit.NoHost as e:
        args.error('argument --host: %s' % e)
    except unanswered.ERRORS as e:
        raise errors.CannotRun(
            'The servers cannot be looked at: %s. See [placement], '
            '[api_database] and [database] in %s.' % (
                unanswered.explain(e), nova_conf.name_files(conf))) from e
    for reason in found.reasons:
        print('Not all is looked at: %s.' % reason, file=sys.stderr)
    formats.FORMATS[args.format](found, nova_conf.get_files(conf))
    if found.reasons:
        return CANNOT
    return int(bool(found.servers.differing))
