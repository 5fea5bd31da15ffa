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

"""Check flavors, images, providers and servers, as nova-status does."""
import argparse
import json
import textwrap
import typing as ty

from nova_mem_encryption.cli import configuration

HELP = 'Check flavors, images, providers and servers, as nova-status does.'
EPILOG = """\
Nothing is changed. It lists all that 'nova-status upgrade check' counts. Run
it on a controller, before and after the roll-out. For example:

    nova-mem-encryption upgrade-check
    nova-mem-encryption upgrade-check --json --config-dir /etc/nova/cell1

exit status: 0 nothing found; 1 warnings; 2 failures; 255 it cannot be run"""
CANNOT = MISUSED = 255

Found = ty.Iterable[ty.Tuple[str, ty.Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    configuration.add_json(parser)
    configuration.add_config(parser, "Nova's own")


def run(args: argparse.Namespace) -> int:
    """Run the command; :returns: exit status."""
    configuration.configure(args.config)
    import nova.conf
    from nova_mem_encryption.nova.mem_encryption import nova_conf
    from nova_mem_encryption.nova.mem_encryption.upgrade import checks
    write = _write_json if args.json else _write_text
    worst = 0

    def find():
        nonlocal worst
        for name, function in checks.CHECKS:
            for finding in checks.find(function):
                worst = max(worst, int(checks.CODES[finding.severity]))
                yield str(name), finding

    write(find(), nova_conf.get_files(nova.conf.CONF))
    return worst


# NOTE: each is printed when it is found, and not kept: there may be as many as
# there are servers.
def _write_json(found: Found, files: ty.List[str]) -> None:
    print('{\n  "files": %s,' % json.dumps(files))
    begin = '  "findings": [\n'
    for name, finding in found:
        print(begin + textwrap.indent(json.dumps(
            {'check': name, **finding._asdict()}, indent=2), '    '), end='')
        begin = ',\n'
    print((begin.rstrip('\n') if begin != ',\n' else '\n  ') + ']\n}')


def _write_text(found: Found, files: ty.List[str]) -> None:
    empty = True
    for name, finding in found:
        empty = False
        print('%s: %s: %s' % (finding.severity.upper(), name,
                              finding.message))
    if empty:
        print('Nothing was found.')
