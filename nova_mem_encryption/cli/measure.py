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

"""Work out what the launch digest of an SEV-SNP server has to be."""
import argparse

from nova_mem_encryption.cli import configuration

HELP = 'Work out what the launch digest of an SEV-SNP server has to be.'
EPILOG = """\
A report of the guest, signed by the processor, has the digest of what was
launched. This says what it is of, and what it has to be: of the server that
runs on this host, or of one that was recorded. It proves nothing to users:
they compute it themselves, by the command that is printed, with firmware that
is not from the cloud (attestation.html). Only SEV-SNP has such reports. For
example:

    nova-mem-encryption measure --json SERVER > server.json
    nova-mem-encryption measure --from server.json --firmware OVMF.fd

exit status: 0 printed; 1 printed, and it is not what was recorded; 2 it
cannot be told"""
CANNOT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument('server', nargs='?', metavar='SERVER',
                       help="UUID or instance name of a server that runs on "
                            "this host")
    which.add_argument('--from', dest='recorded', metavar='FILE',
                       help='what --json has written of a server')
    parser.add_argument('--firmware', metavar='FILE',
                        help='a copy of its firmware (default: the file that '
                             'it is started with, on this machine)')
    parser.add_argument('--libvirt', metavar='URI', default='qemu:///system',
                        help='libvirt of the host (default: qemu:///system)')
    configuration.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    from nova_mem_encryption.measure import report
    return report.main(args)
