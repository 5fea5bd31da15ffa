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

"""Check a compute host, from the processor to Placement."""
import argparse

from nova_mem_encryption.cli import configuration
from nova_mem_encryption.nova.mem_encryption import models

HELP = 'Check a compute host, from the processor to Placement.'
EPILOG = """\
Nothing is changed. PASS: it is as it should be. WARN: something should be
changed, or cannot be told. FAIL: this keeps the host from %s. SKIP: it
makes no sense until another check passes; --all prints these, too. What is
printed last is what to do first. Any user can run this; some of it only root
can tell, and Placement is asked as nova.conf says. For example:

    nova-mem-encryption check
    nova-mem-encryption check --record compute1

exit status: 0 ready; 1 warnings; 2 failures; 255 it cannot be run""" % (
    ' or '.join(model.title for model in models.get_default()))
CANNOT = MISUSED = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    output = parser.add_mutually_exclusive_group()
    configuration.add_json(output)
    output.add_argument('--short', action='store_true',
                        help='print only what is WARN or FAIL, and the counts')
    output.add_argument('--all', action='store_true',
                        help='print also what is SKIP')
    configuration.add_config(parser, 'the files that nova-compute reads')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--record', metavar='DIR',
                       help='make a folder of what is asked, for a bug '
                            'report, with nothing secret in it')
    group.add_argument('--recorded', metavar='DIR',
                       help='check the host that such a folder is of')


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    from nova_mem_encryption.check import report
    return report.main(args)
