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

"""Say what a log or an error means, and what to do."""
import argparse
import json
import sys
import typing as ty

from nova_mem_encryption.cli import configuration
from nova_mem_encryption import errors

HELP = 'Say what a log or an error means, and what to do.'
EPILOG = """\
It knows the words of QEMU, libvirt and the kernel when a guest with memory
encryption is not started, and the codes in them; it needs no Nova. The last
cause comes first, with the last line that tells it. For example:

    nova-mem-encryption explain /var/log/libvirt/qemu/instance-00000001.log
    dmesg | nova-mem-encryption explain
    openstack server show -f value -c fault NAME | nova-mem-encryption explain

exit status: 0 something is known; 1 nothing is; 2 it cannot be read"""
CANNOT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument('file', nargs='?', metavar='FILE', default='-',
                        help="a log of QEMU, libvirt, the kernel or "
                             "nova-compute, or a server's fault (default: "
                             "standard input)")
    configuration.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    from nova_mem_encryption import explain
    try:
        if args.file != '-':
            with open(args.file, 'rb') as stream:
                found = explain.explain(stream)
        else:
            if sys.stdin.isatty():
                print('Paste it, and end with Ctrl-D.', file=sys.stderr)
            found = explain.explain(sys.stdin.buffer)
    except OSError as e:
        raise errors.CannotRun('%s cannot be read: %s.' % (
            args.file, e.strerror)) from e
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 0 if found['explanations'] else 1


def _print(found: ty.Mapping[str, ty.Any]) -> None:
    for each in found['explanations']:
        print(each['meaning'])
        print('  line %d%s: %s' % (each['number'], _times(each),
                                   _plain(each['line'])))
        if each['why']:
            print('  why: ' + each['why'])
        print('  what to do: %(remedy)s See %(see)s.' % each)
        print()
    if not found['explanations']:
        print('Nothing of this is known.')
    if found['unknown']:
        print('Of memory encryption, and not known:')
        for each in found['unknown']:
            print('  line %d%s: %s' % (each['number'], _times(each),
                                       _plain(each['line'])))


def _times(entry) -> str:
    return '' if entry['times'] == 1 else ', the last of %d' % entry['times']


def _plain(line: str) -> str:
    """Return a line without what would upset a terminal."""
    return ''.join(c if c.isprintable() else ' ' for c in line)[:400]
