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
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

HOST = 'host1'
NATIVE, SHOWN = models.NATIVE, models.MODELS['amd-sev-es']
NATIVE_GUESTS = 100
NATIVE_POLICY, POLICY = (
    '0x%04x' % model.launch_security.value for model in (NATIVE, SHOWN))
NATIVE_PROVIDER, PROVIDER = (
    providers.name_of(HOST, model.value) for model in (NATIVE, SHOWN))
ENCRYPTED = {'hw:mem_encryption': 'true'}
BY_FLAVOR = {**ENCRYPTED, 'hw:mem_encryption_model': SHOWN.value}
BY_IMAGE = {'hw_mem_encryption': 'true',
            'hw_mem_encryption_model': SHOWN.value}

# Server, extra specs, image properties, provider of its slot, guest policy
SERVERS = [
    ('sev', ENCRYPTED, {}, NATIVE_PROVIDER, NATIVE_POLICY),
    ('es-by-flavor', BY_FLAVOR, {}, PROVIDER, POLICY),
    ('es-by-image', {}, BY_IMAGE, PROVIDER, POLICY),
]
# Server, extra specs, image properties, what the user gets and reads
REFUSALS = [
    ('conflicting', {**ENCRYPTED, 'hw:mem_encryption_model': NATIVE.value},
     BY_IMAGE, 'HTTP 400', 'Conflicting memory encryption models'),
    ('unencrypted', {'hw:mem_encryption_model': SHOWN.value}, {},
     'HTTP 400', 'model without memory encryption'),
    ('one-too-many', BY_FLAVOR, {}, 'ERROR', 'No valid host'),
]


class Demo:
    """The steps. Each returns what it shows, and what it checks.

    :param args: of the command line
    :param nova_mem_encryption.demo.cloud.Cloud cloud: to show it on
    """

    def __init__(self, args, cloud):
        self.cloud = cloud
        # What the reason for no SEV-ES has to speak of
        self.remedy = (SHOWN.parameters_on[0] + '=1' if args.no_es else
                       remedies.switch_off(
                           SHOWN.parameters_off[0]) if args.snp else
                       None if args.es_slots else 'BIOS')
        self.slots = 0 if self.remedy else args.es_slots

    def host(self):
        """Look at the host."""
        from nova.virt.libvirt import host as libvirt_host
        host = libvirt_host.Host('qemu:///system')
        offered = host.supports_amd_sev_es
        self.said = [line for line in self.cloud.log.output.splitlines()
                     if 'AMD ' + SHOWN.title in line][-1]
        return {
            'kernel': ' '.join('%s=%s' % parameter for parameter in
                               self.cloud.parameters.items()),
            'libvirt': '%s=%d %s=%d' % (
                NATIVE.count.element, self.cloud.counts[0],
                SHOWN.count.element, self.cloud.counts[1]),
            'nova-compute': self.said,
        }, {
            NATIVE.title + ' is offered': host.supports_amd_sev,
            SHOWN.title + (' is not offered, and the log says what to do'
                           if self.remedy else ' is offered'):
                not offered and self.remedy in self.said
                if self.remedy else offered,
        }

    def before(self):
        """Start nova-compute without the series."""
        with self.cloud.plain_compute():
            self.cloud.start_compute()
            self.old = self.cloud.boot('old', ENCRYPTED)
        tree = self.cloud.get_tree()
        return {'providers': tree}, {
            'the server is ACTIVE': self.old['status'] == 'ACTIVE',
            'slots, trait and allocation are on the root': tree == [
                _provider(HOST, NATIVE_GUESTS, ['old'], NATIVE.trait)]}

    def after(self):
        """Start nova-compute with the series."""
        self.cloud.start_compute()
        tree = self.cloud.get_tree()
        return {'providers': tree}, {
            'nothing is left on the root':
                tree[:1] == [_provider(HOST, 0, [])],
            'slots, trait and allocation are on ' + NATIVE_PROVIDER:
                tree[1:2] == [_provider(NATIVE_PROVIDER, NATIVE_GUESTS,
                                        ['old'], NATIVE.trait)],
            '%s has %d slots' % (PROVIDER, self.slots) if self.slots else
            'there is no ' + PROVIDER:
                tree[2:] == [_provider(PROVIDER, self.slots, [],
                                       SHOWN.trait)][:self.slots],
            'the server still runs, with policy ' + NATIVE_POLICY:
                self.cloud.get_guest(self.old)[1] == NATIVE_POLICY,
            'nova-compute logged what is said of it above':
                self.cloud.log.output.count(self.said) == 2}

    def servers(self):
        """Boot servers."""
        from lxml import etree
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
                    bit for bit, mask in SHOWN.launch_security.bits.items()
                    if int(given, 0) & mask)
            rows.append({
                'server': name, 'status': server['status'], 'slot on': [
                    rp['provider'] for rp in self.cloud.get_tree()
                    if name in rp['used by']],
                'policy': given, 'running': running})
            slots -= provider == PROVIDER
            if slots >= 0 or provider == NATIVE_PROVIDER:
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
        """Ask for what is refused."""
        # The servers of the step before have the first two.
        for number in range(2, self.slots):
            self.cloud.boot('es-%d' % (number + 1), BY_FLAVOR)
        rows, checks = [], {}
        for name, specs, properties, outcome, words in REFUSALS:
            server = self.cloud.boot(name, specs, properties)
            rows.append({'server': name, 'outcome': server['status'],
                         'message': _message(server)})
            checks["%s: %s, '%s'" % (name, outcome, words)] = (
                server['status'] == outcome and words in _message(server))
        return {'requests': rows}, checks


STEPS: ty.List[ty.Tuple[str, ty.Callable]] = [
    ('What the host offers', Demo.host),
    ('Before: nova-compute without the series, and an %s server'
     % NATIVE.title, Demo.before),
    ('After: nova-compute started again, with the series', Demo.after),
    ('New servers, with %s and %s' % (NATIVE.title, SHOWN.title),
     Demo.servers),
    ('Refusals, as the user sees them', Demo.refusals),
]


def _provider(name, slots, servers, *traits):
    """Return a provider as Cloud.get_tree does."""
    return {'provider': name, 'parent': None if name == HOST else HOST,
            'slots': slots, 'used by': servers, 'traits': list(traits)}


def _message(server):
    return server.get('fault', {}).get('message', '')
