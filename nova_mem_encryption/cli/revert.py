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

"""Prepare a host for Nova without the series."""
import argparse

from nova_mem_encryption.cli import configuration
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

HELP = 'Prepare a host for Nova without the series.'
EPILOG = """\
Moves the {native} slots of the host, with their allocations, from {its} to
its root provider, and deletes {its} and
{added}. Refuses while anything has a slot of
{added}, and names it, and while libvirt of the
host has a guest that is more than {native}, running or not, or cannot be
asked.

Stop nova-compute of the host first, which cannot be seen from here; one with
the series would move the slots again. Servers go on running. What is
interrupted can be run again, and goes on where it was stopped. For example:

    nova-mem-encryption revert --dry-run
    nova-mem-encryption revert NODE --libvirt qemu+ssh://NODE/system

exit status: 0 done, or nothing to do; 1 refused or failed; 130
interrupted""".format(
    native=models.NATIVE.title,
    its=providers.name_of('NODE', models.NATIVE.value),
    added=' and '.join(providers.name_of('NODE', model.value)
                       for model in models.get_added()))
CANNOT = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    configuration.add_json(parser)
    parser.add_argument(
        'node', nargs='?', metavar='NODE',
        help="the host, as 'openstack hypervisor list' has it, or the UUID of "
             'its provider (default: the host that this runs on, by the file '
             'compute_id of its nova-compute)')
    configuration.add_config(
        parser, 'the files that nova-compute reads; [placement] is needed')
    parser.add_argument(
        '--libvirt', metavar='URI',
        help="libvirt of the host, such as qemu+ssh://NODE/system (default: "
             "that of nova-compute on this machine); 'none': look at no "
             'guests')
    parser.add_argument(
        '--dry-run', action='store_true',
        help='show what would be done, and write nothing')


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    # NOTE: that is also the way out where the series was refused, or is off.
    engine.stand_down('nova-mem-encryption revert takes it off')
    with configuration.nova_is_needed():
        from nova_mem_encryption import revert
    return revert.main(args)
