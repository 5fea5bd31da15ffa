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

"""The command nova-mem-encryption."""
import argparse
import json
import os
import signal
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption import fingerprint
from nova_mem_encryption import overlay

EXIT_CODES = {
    overlay.APPLIED: 0, overlay.NOT_NEEDED: 0, overlay.REFUSED: 1,
    overlay.NO_NOVA: 1, overlay.UNKNOWN: 1, overlay.OFF: 3}

SLOTS = """\
Total, used and reserved are what Placement has of each host and model. Foreign
are guests with memory encryption that Nova does not know of, as nova-compute
of the host counted them last; "-" where it has not, or where the database
cannot be read, as on compute hosts.

exit status: 0 printed; 1 it cannot be run"""

CHECK = """\
Nothing is changed. PASS: it is as it should be. WARN: something should be
changed, or cannot be told. FAIL: this keeps the host from SEV-ES. SKIP: it
makes no sense until another check passes. Any user can run this; some of it
only root can tell, and Placement is asked as nova.conf says.

exit status: 0 ready; 1 warnings; 2 failures; 255 it cannot be run"""

REVERT = """\
Moves the SEV slots of the host, with their allocations, from NODE_amd_sev to
its root provider, and deletes NODE_amd_sev and NODE_amd_sev_es. Refuses while
anything has a slot of NODE_amd_sev_es, and names it.

Stop nova-compute of the host first, which cannot be seen from here; one with
the series would move the slots again. Servers go on running. What is
interrupted can be run again, and goes on where it was stopped.

exit status: 0 done, or nothing to do; 1 refused or failed"""


def _status_as_dict() -> ty.Dict[str, ty.Any]:
    state = overlay.state()
    return {
        'version': nova_mem_encryption.__version__,
        'state': state.name,
        'reason': state.reason or None,
        'nova': state.nova,
        'misfits': [m._asdict() for m in state.misfits],
        'ledger': [{
            'verb': e.verb, 'module': e.module, 'name': e.name,
            'file': e.file, 'line': e.line, 'fingerprint': e.fingerprint,
            'leans_on': list(e.leans_on)} for e in overlay.ledger()],
    }


def _print_ledger(entries: ty.Iterable[ty.Mapping[str, ty.Any]]) -> None:
    import prettytable  # a requirement of Nova, which may not be there
    table = prettytable.PrettyTable(['Verb', 'Module of Nova', 'Name',
                                     'Line', 'Fingerprint'])
    table.align = 'l'
    for e in entries:
        table.add_row([e['verb'], e['module'], e['name'],
                       '%s:%d' % (os.path.basename(e['file']), e['line']),
                       (e['fingerprint'] or '')[:8]])
    print(table)


def examine() -> ty.Dict[str, ty.Any]:
    """Load the series; return what became of it, and whether it is armed."""
    from nova_mem_encryption import bootstrap
    armed = bootstrap.Finder in sys.meta_path
    try:
        bootstrap.arm()
        overlay.load()
    except overlay.Misfit:
        pass  # the state tells
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            raise
    return {**_status_as_dict(), 'armed': armed}


def status(args: argparse.Namespace) -> int:
    """Tell whether the series is laid over the installed Nova."""
    found = examine()
    code = EXIT_CODES[found['state']]
    if not found['armed'] and code == 0:
        found['reason'] = (
            'nova_mem_encryption.pth did not arm the engine when this '
            'interpreter started, so services run without the series. '
            'Install the package into the environment of Nova with pip.')
        code = 1
    if args.json:
        print(json.dumps(found, indent=2))
        return code
    print('nova-mem-encryption %s' % found['version'])
    print('Nova   %s' % (found['nova'] or 'of unknown version'
                         if found['state'] != overlay.NO_NOVA else 'none'))
    print('State  %s%s' % (found['state'], ': ' + found['reason']
                           if found['reason'] else ''))
    for m in found['misfits']:
        print('\n%s: %s' % (m['module'], m['function']))
        print('  expected  %s' % m['expected'])
        print('  found     %s' % (m['found'] or 'nothing of that name'))
        print('  file      %s' % m['path'])
    if found['state'] == overlay.REFUSED:
        print('\n' + overlay.error(), file=sys.stderr)
    if found['ledger']:
        _print_ledger(found['ledger'])
    return code


def _configure(files: ty.Optional[ty.Sequence[str]]) -> bool:
    """Have the series applied, and Nova's configuration read.

    :param files: of configuration; None for Nova's own
    :returns: whether that was possible; if not, the reason is printed
    """
    try:
        import nova.monkey_patch  # noqa: F401 - eventlet wants to be early
        from nova import config  # noqa: H306
        from oslo_config import cfg
        overlay.load()
    except overlay.Misfit as e:
        print(e, file=sys.stderr)
        return False
    if not overlay.applied():
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


def upgrade_check(args: argparse.Namespace) -> int:
    """Check flavors, images, providers and servers, as nova-status does."""
    if not _configure(args.config_file):
        return 255
    from nova_mem_encryption.nova.cmd import status as module
    found = [(str(name), finding) for name, function in module.CHECKS
             for finding in module.find(function)]
    if args.json:
        print(json.dumps([{'check': name, **finding._asdict()}
                          for name, finding in found], indent=2))
    elif not found:
        print('Nothing was found.')
    for name, finding in () if args.json else found:
        print('%s: %s: %s' % (finding.severity.upper(), name,
                              finding.message))
    return int(max((module.CODES[finding.severity] for _, finding in found),
                   default=0))


def slots(args: argparse.Namespace) -> int:
    """Tell how many slots the hosts of the cloud have, and who has them."""
    if not _configure(args.config_file):
        return 1
    from keystoneauth1 import exceptions as ks_exc
    from nova import exception
    from nova_mem_encryption.nova.cmd import mem_encryption_slots as module
    from openstack import exceptions as sdk_exc
    from oslo_config import cfg
    try:
        found, reason = module.get_slots()
    except (ks_exc.ClientException, sdk_exc.SDKException, cfg.Error,
            exception.NovaException, ValueError) as e:
        print('Placement cannot be asked: %s. See [placement] in nova.conf.'
              % str(e).rstrip('.'), file=sys.stderr)
        return 1
    if reason is not None:
        print('Foreign guests are not known where it says so: %s. The '
              'database has them; run this on a controller.'
              % reason.rstrip('.'), file=sys.stderr)
    print(module.FORMATS[args.format](found))
    return 0


def fingerprints(args: argparse.Namespace) -> int:
    """Make the table of fingerprints from releases of Nova, and compare."""
    try:
        made = fingerprint.collect(overlay.tree(), args.release)
    except (OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    text = json.dumps(made, indent=1, sort_keys=False) + '\n'
    if args.refresh:
        with open(fingerprint.TABLE, 'w', encoding='utf-8') as f:
            f.write(text)
        print('%s: %d functions of Nova %s' % (
            fingerprint.TABLE, sum(map(len, made['functions'].values())),
            ', '.join(made['releases'])))
        return 0
    if not args.check:
        print(text, end='')
        return 0
    known = fingerprint.table()
    for release in made['releases']:
        print('%-8s %s' % (release, 'known' if release in known['releases']
                           else 'not in the table'))
    if made != known:
        print('The table is not that of these releases; make it again with '
              '--refresh.', file=sys.stderr)
        return 1
    print('The series fits: %d functions are the same in all of them.'
          % sum(map(len, made['functions'].values())))
    return 0


def demo(args: argparse.Namespace) -> int:
    """Show SEV-ES at work in a small cloud on an imitated host."""
    from nova_mem_encryption import demo as module
    return module.main(args)


def check(args: argparse.Namespace) -> int:
    """Check a compute host, from the processor to Placement."""
    from nova_mem_encryption.check import report
    return report.main(args)


def revert(args: argparse.Namespace) -> int:
    """Prepare a host for Nova without the series."""
    # NOTE: that is also the way out where the series was refused, or is off.
    overlay.stand_down('nova-mem-encryption revert takes it off')
    try:
        from nova_mem_encryption import revert as module
    except ModuleNotFoundError as e:
        if (e.name or '').partition('.')[0] != 'nova':
            raise
        print('Nova is not installed in %s. Use the environment that '
              'nova-compute runs in.' % sys.prefix, file=sys.stderr)
        return 1
    return module.main(args)


def _es_slots(text: str) -> int:
    if not text.isdecimal() or int(text) > 16:
        raise argparse.ArgumentTypeError(
            '%r is not a number from 0 to 16 (the demo fills all slots)'
            % text)
    return int(text)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='nova-mem-encryption',
        description='AMD SEV-ES for an installed, unmodified Nova 2025.1.')
    parser.add_argument('--version', action='version',
                        version=nova_mem_encryption.__version__)
    commands = parser.add_subparsers(metavar='COMMAND', required=True,
                                     parser_class=_Parser)

    def command(function, with_json=True, **kwargs):
        sub = commands.add_parser(
            function.__name__.replace('_', '-'),
            help=function.__doc__.splitlines()[0],
            formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        sub.set_defaults(function=function, error=sub.error)
        if with_json:
            sub.add_argument('--json', action='store_true',
                             help='print JSON, for machines')
        return sub

    command(status, epilog=(
        'exit status: 0 applied, or not needed with this Nova; 1 refused, '
        'not armed,\nor no Nova; 3 off by NOVA_MEM_ENCRYPTION=off'))
    sub = command(check, epilog=CHECK, misused=255)
    sub.add_argument('--config-file', action='append', metavar='FILE',
                     help='nova.conf; may be repeated (default: the files '
                          'that nova-compute reads)')
    group = sub.add_mutually_exclusive_group()
    group.add_argument('--record', metavar='DIR',
                       help='make a folder of what is asked, for a bug '
                            'report, with nothing secret in it')
    group.add_argument('--recorded', metavar='DIR',
                       help='check the host that such a folder is of')
    sub = command(upgrade_check, misused=255, epilog=(
        'exit status: 0 nothing found; 1 warnings; 2 failures; 255 it cannot '
        'be run'))
    sub.add_argument('--config-file', action='append', metavar='FILE',
                     help="configuration of Nova (default: Nova's own)")
    sub = command(slots, with_json=False, epilog=SLOTS)
    sub.add_argument('--config-file', action='append', metavar='FILE',
                     help="configuration of Nova (default: Nova's own)")
    sub.set_defaults(format='table')
    group = sub.add_mutually_exclusive_group()
    for name, purpose in (
            ('json', 'print JSON, for machines'),
            ('prometheus', "print metrics for the textfile collector of "
                           "Prometheus' node exporter")):
        group.add_argument(
            '--' + name, action='store_const', dest='format', help=purpose,
            const=name)
    sub = command(fingerprints, with_json=False, epilog=(
        'For maintainers. Without an option the table is printed.'))
    sub.add_argument('release', nargs='+',
                     help='a wheel of Nova, or a site-packages folder with '
                          'an installed one')
    group = sub.add_mutually_exclusive_group()
    group.add_argument('--check', action='store_true',
                       help='compare with the table of the package')
    group.add_argument('--refresh', action='store_true',
                       help='write the table of the package')
    sub = command(revert, epilog=REVERT)
    sub.add_argument('node', nargs='?', metavar='NODE',
                     help="the host, as 'openstack hypervisor list' has it, "
                          'or the UUID of its provider (default: the host '
                          'that this runs on, by the file compute_id of its '
                          'nova-compute)')
    sub.add_argument('--config-file', action='append', metavar='FILE',
                     help='nova.conf with a section [placement]; may be '
                          'repeated (default: the files that nova-compute '
                          'reads)')
    sub.add_argument('--dry-run', action='store_true',
                     help='show what would be done, and write nothing')
    sub = command(demo)
    sub.add_argument('--es-slots', type=_es_slots, default=2, metavar='N',
                     help='SEV-ES guests that the imitated host can run: '
                          '0 to 16 (default: 2)')
    sub.add_argument('--no-es', action='store_true',
                     help='imitate a host without SEV-ES')
    sub.add_argument('--snp', action='store_true',
                     help='imitate a host with SEV-SNP on')
    sub.add_argument('--verbose', action='store_true',
                     help="show the services' logs")
    return parser


def main(argv: ty.Optional[ty.Sequence[str]] = None) -> int:
    """Run a command.

    :param argv: its arguments, those of the process by default
    :returns: exit status
    """
    args, unknown = _parser().parse_known_args(argv)
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


if __name__ == '__main__':
    sys.exit(main())
