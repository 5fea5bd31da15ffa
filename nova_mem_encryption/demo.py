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

"""Show SEV-ES at work, from the API to the domain XML, in one process."""
import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import typing as ty
import warnings

import nova_mem_encryption
from nova_mem_encryption import overlay

SEV_TRAIT, ES_TRAIT = 'HW_CPU_X86_AMD_SEV', 'HW_CPU_X86_AMD_SEV_ES'
SEV_GUESTS = 100
SEV = {'hw:mem_encryption': 'true'}
ES_FLAVOR = {**SEV, 'hw:mem_encryption_model': 'amd-sev-es'}
ES_IMAGE = {'hw_mem_encryption': 'true',
            'hw_mem_encryption_model': 'amd-sev-es'}

# Server, extra specs, image properties, provider of its slot, guest policy
SERVERS = [
    ('sev', SEV, {}, 'host1_amd_sev', '0x0033'),
    ('es-by-flavor', ES_FLAVOR, {}, 'host1_amd_sev_es', '0x0037'),
    ('es-by-image', {}, ES_IMAGE, 'host1_amd_sev_es', '0x0037'),
]
# Server, extra specs, image properties, what the user gets and reads
REFUSALS = [
    ('conflicting', {**SEV, 'hw:mem_encryption_model': 'amd-sev'}, ES_IMAGE,
     'HTTP 400', 'Conflicting memory encryption models'),
    ('unencrypted', {'hw:mem_encryption_model': 'amd-sev-es'}, {},
     'HTTP 400', 'model without memory encryption'),
    ('one-too-many', ES_FLAVOR, {}, 'ERROR', 'No valid host'),
]
EPILOGUE = {
    'real': 'nova-api, nova-conductor, nova-scheduler, nova-compute and the '
            'libvirt driver, with the series; Placement; their databases, '
            'which are SQLite in memory.',
    'imitated': 'libvirt, the processor, the kernel parameters and the '
                'disks; Keystone, Glance, Neutron and the message bus. No '
                'guest runs.',
}


class Demo:
    """The steps. Each returns what it shows, and what it checks."""

    def __init__(self, args, cloud):
        self.cloud = cloud
        # What the reason for no SEV-ES has to speak of
        self.remedy = ('sev_es=1' if args.no_es else
                       'sev_snp=0' if args.snp else
                       None if args.es_slots else 'BIOS')
        self.slots = 0 if self.remedy else args.es_slots

    def host(self):
        """What the host offers"""
        from nova.virt.libvirt import host as libvirt_host
        host = libvirt_host.Host('qemu:///system')
        offered = host.supports_amd_sev_es
        self.said = [line for line in self.cloud.log.output.splitlines()
                     if 'AMD SEV-ES' in line][-1]
        return {
            'kernel': ' '.join('%s=%s' % parameter for parameter in
                               self.cloud.parameters.items()),
            'libvirt': 'maxGuests=%d maxESGuests=%d' % self.cloud.counts,
            'nova-compute': self.said,
        }, {
            'SEV is offered': host.supports_amd_sev,
            'SEV-ES is not offered, and the log says what to do'
            if self.remedy else 'SEV-ES is offered':
                not offered and self.remedy in self.said
                if self.remedy else offered,
        }

    def before(self):
        """Before: nova-compute without the series, and an SEV server"""
        with self.cloud.plain_compute():
            self.cloud.start_compute()
            self.old = self.cloud.boot('old', SEV)
        tree = self.cloud.get_tree()
        return {'providers': tree}, {
            'the server is ACTIVE': self.old['status'] == 'ACTIVE',
            'slots, trait and allocation are on the root': tree == [
                _provider('host1', SEV_GUESTS, ['old'], SEV_TRAIT)]}

    def after(self):
        """After: nova-compute started again, with the series"""
        self.cloud.start_compute()
        tree = self.cloud.get_tree()
        return {'providers': tree}, {
            'nothing is left on the root':
                tree[:1] == [_provider('host1', 0, [])],
            'slots, trait and allocation are on host1_amd_sev':
                tree[1:2] == [_provider('host1_amd_sev', SEV_GUESTS, ['old'],
                                        SEV_TRAIT)],
            'host1_amd_sev_es has %d slots' % self.slots if self.slots else
            'there is no host1_amd_sev_es':
                tree[2:] == [_provider('host1_amd_sev_es', self.slots, [],
                                       ES_TRAIT)][:self.slots],
            'the server still runs, with policy 0x0033':
                self.cloud.get_guest(self.old)[1] == '0x0033',
            'nova-compute logged what is said of it above':
                self.cloud.log.output.count(self.said) == 2}

    def servers(self):
        """New servers, with SEV and SEV-ES"""
        from lxml import etree
        from nova_mem_encryption.nova.virt.libvirt import config
        requests, notes, checks, rows = {}, {}, {}, []
        slots = self.slots
        for name, specs, properties, provider, policy in SERVERS:
            requests[name] = ' '.join(
                '%s=%s' % item for item in {**specs, **properties}.items())
            server = self.cloud.boot(name, specs, properties)
            given = None
            xml, running = self.cloud.get_guest(server)
            if xml is not None:
                etree.indent(xml)
                notes['libvirt gets'] = etree.tostring(
                    xml, encoding='unicode', with_tail=False)
                given = xml.findtext('policy')
                notes['policy ' + given] = ' | '.join(
                    bit.rpartition('_')[2] for bit, mask in
                    config.POLICY_BITS.items() if int(given, 0) & mask)
            rows.append({
                'server': name, 'status': server['status'], 'slot on': [
                    rp['provider'] for rp in self.cloud.get_tree()
                    if name in rp['used by']],
                'policy': given, 'running': running})
            slots -= provider == 'host1_amd_sev_es'
            if slots >= 0 or provider == 'host1_amd_sev':
                checks['%s is ACTIVE on %s with policy %s' % (
                    name, provider, policy)] = list(rows[-1].values()) == [
                        name, 'ACTIVE', [provider], policy, policy]
            else:
                notes['message'] = _message(server)
                checks['%s is refused: No valid host' % name] = (
                    server['status'] == 'ERROR' and not rows[-1]['slot on']
                    and 'No valid host' in _message(server))
        return {**requests, 'servers': rows, **notes}, checks

    def refusals(self):
        """Refusals, as the user sees them"""
        # The servers of the step before have the first two.
        for number in range(2, self.slots):
            self.cloud.boot('es-%d' % (number + 1), ES_FLAVOR)
        rows, checks = [], {}
        for name, specs, properties, outcome, words in REFUSALS:
            server = self.cloud.boot(name, specs, properties)
            rows.append({'server': name, 'outcome': server['status'],
                         'message': _message(server)})
            checks["%s: %s, '%s'" % (name, outcome, words)] = (
                server['status'] == outcome and words in _message(server))
        return {'requests': rows}, checks

    STEPS = [host, before, after, servers, refusals]


def _provider(name, slots, servers, *traits):
    """Return a provider as Cloud.get_tree does."""
    return {'provider': name, 'parent': None if name == 'host1' else 'host1',
            'slots': slots, 'used by': servers, 'traits': list(traits)}


def _message(server):
    return server.get('fault', {}).get('message', '')


def _text(name: str, fact: ty.Any) -> str:
    """Return a fact as text; it is a string, or a table as dicts."""
    if isinstance(fact, str):
        lines = fact.splitlines() if '\n' in fact else textwrap.wrap(fact, 58)
        return '     %-15s%s' % (name, ('\n' + ' ' * 20).join(lines))
    import prettytable  # a requirement of Nova
    table = prettytable.PrettyTable(fact[0].keys(), align='l', border=False,
                                    left_padding_width=0)
    for row in fact:
        table.add_row([
            ', '.join(cell) or '-' if isinstance(cell, list) else
            textwrap.fill(cell, 42) if isinstance(cell, str) else
            '-' if cell is None else cell for cell in row.values()])
    return '\n'.join('     ' + line.rstrip()
                     for line in table.get_string().splitlines())


def _fail(code: int, message: str) -> int:
    print('nova-mem-encryption demo: %s' % message, file=sys.stderr)
    return code


def _run(args: argparse.Namespace, cloud: ty.Any) -> ty.List[ty.Dict]:
    """Take the steps; print each if people are to read it."""
    steps = []
    progress = sys.stderr.isatty() and not args.verbose

    def tell(line):
        if progress:
            print('\r\033[K' + line, end='', file=sys.stderr, flush=True)

    tell('0/%d  Nova and Placement start ...' % len(Demo.STEPS))
    try:
        with cloud.Cloud({
            'sev': 'Y', 'sev_es': 'N' if args.no_es else 'Y',
            'sev_snp': 'Y' if args.snp else 'N',
        }, (SEV_GUESTS, args.es_slots), args.verbose) as running:
            demo = Demo(args, running)
            for number, step in enumerate(Demo.STEPS, 1):
                title = '%d/%d  %s' % (number, len(Demo.STEPS), step.__doc__)
                tell(title + ' ...')
                facts, checks = step(demo)
                steps.append({'title': step.__doc__, 'facts': facts,
                              'checks': checks})
                tell('')
                if not args.json:
                    print('\n'.join(['', title] + [
                        _text(*fact) for fact in facts.items()] + [
                        '     %-7s%s' % ('ok' if ok else 'FAILED', check)
                        for check, ok in checks.items()]), flush=True)
    finally:
        tell('')
    return steps


def main(args: argparse.Namespace) -> int:
    """Run the demo.

    :param args: es_slots, no_es, snp, json and verbose, of the command line
    :returns: exit status: 0 if all went as expected; 1 if not, or if the
        series is not applied; 2 if the demo's requirements are missing
    """
    if not args.verbose:
        warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory(prefix='nova-mem-encryption-') as folder:
        # What Nova and its libraries write goes there. Nor does it matter
        # then whether the working directory can be read, or is there.
        tempfile.tempdir = os.environ['XDG_CACHE_HOME'] = folder
        os.chdir(folder)

        def stop(number, frame):
            # NOTE: a KeyboardInterrupt would be raised in whatever eventlet
            # runs just then, which may well drop it.
            shutil.rmtree(folder, ignore_errors=True)
            os.write(2, b'\nInterrupted.\n')
            os._exit(128 + number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        return _demo(args)


def _demo(args):
    try:
        importlib.import_module('nova')
        if overlay.applied():
            cloud = importlib.import_module('nova_mem_encryption.cloud')
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            return _fail(2, "%s. The demo runs on Nova's own test fixtures: "
                         "pip install 'nova-mem-encryption[demo]'" % e)
    state = overlay.state()
    if not overlay.applied():
        return _fail(1, 'the series is not applied: %s' % (
            overlay.error() if state.name == overlay.REFUSED else
            state.reason or "see 'nova-mem-encryption status'"))
    if cloud.PASTE is None:
        return _fail(2, "Nova's api-paste.ini is neither in %s/etc/nova nor "
                     'in /etc/nova' % sys.prefix)
    if not args.json:
        print('nova-mem-encryption %s on Nova %s' % (
            nova_mem_encryption.__version__, state.nova))
    steps = _run(args, cloud)
    failed = [check for step in steps
              for check, ok in step['checks'].items() if not ok]
    if args.json:
        print(json.dumps({
            'version': nova_mem_encryption.__version__, 'nova': state.nova,
            'ok': not failed, 'steps': steps, **EPILOGUE}, indent=2))
    else:
        print('\n' + '\n'.join(_text(*fact) for fact in EPILOGUE.items()))
        print('\n' + ('FAILED: ' + '; '.join(failed) if failed else
                      'All as expected.'))
    return 1 if failed else 0
