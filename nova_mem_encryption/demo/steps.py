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

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers

HOST = 'host1'
NATIVE = models.NATIVE
NATIVE_GUESTS = 100
NATIVE_POLICY = '0x%04x' % NATIVE.launch_security.value
NATIVE_PROVIDER = providers.name_of(HOST, NATIVE.value)
ENCRYPTED = {'hw:mem_encryption': 'true'}
STATELESS = {'hw_firmware_stateless': 'true'}


class Shown:
    """A model as the demo shows it.

    :param model.Model row: the model
    """

    def __init__(self, row):
        self.row = row
        self.policy = '0x%04x' % row.launch_security.value
        self.provider = providers.name_of(HOST, row.value)
        self.by_flavor = {**ENCRYPTED, 'hw:mem_encryption_model': row.value}
        self.image = STATELESS if row.firmware.kind.stateless else {}
        self.by_image = {'hw_mem_encryption': 'true',
                         'hw_mem_encryption_model': row.value, **self.image}
        self.name = row.value.rpartition('-')[2]

    @property
    def servers(self):
        """Server, extra specs, image properties, provider, guest policy."""
        return [('sev', ENCRYPTED, {}, NATIVE_PROVIDER, NATIVE_POLICY)] + [
            (self.name + '-by-flavor', self.by_flavor, self.image,
             self.provider, self.policy),
            (self.name + '-by-image', {}, self.by_image, self.provider,
             self.policy)]

    @property
    def refusals(self):
        """Server, extra specs, image properties, what the user gets, reads."""
        found = [
            ('conflicting', {**ENCRYPTED,
                             'hw:mem_encryption_model': NATIVE.value},
             self.by_image, 'HTTP 400',
             'Conflicting memory encryption models'),
            ('unencrypted', {'hw:mem_encryption_model': self.row.value}, {},
             'HTTP 400', 'model without memory encryption'),
            ('one-too-many', self.by_flavor, self.image, 'ERROR',
             'No valid host')]
        if self.image:
            found.append(('with-nvram', self.by_flavor, {}, 'HTTP 400',
                          'hw_firmware_stateless=true'))
        # What the host cannot have beside it
        return found + [
            (other.name, other.by_flavor, other.image, 'ERROR',
             'No valid host') for other in SHOWN.values()
            if {*other.row.parameters_off} & {*self.row.parameters_on}]


SHOWN = {row.value: Shown(row) for row in models.get_added()}


class Demo:
    """The steps. Each returns what it shows, and what it checks.

    :param args: of the command line
    :param nova_mem_encryption.demo.cloud.Cloud cloud: to show it on
    """

    def __init__(self, args, cloud):
        self.cloud, self.shown = cloud, cloud.shown
        self.row = row = cloud.shown.row
        # What the reason for its absence has to speak of
        self.remedy = (row.parameters_on[0] + '=1' if args.no_es else
                       None if args.es_slots else 'BIOS')
        self.slots = 0 if self.remedy else args.es_slots

    def host(self):
        """Look at the host."""
        from nova.virt.libvirt import host as libvirt_host
        host = libvirt_host.Host('qemu:///system')
        offered = host._mem_encryption_abilities.find_obstacle(
            self.row.value) is None
        self.said = [line for line in self.cloud.log.output.splitlines()
                     if 'AMD ' + self.row.title in line][-1]
        return {
            'kernel': ' '.join('%s=%s' % parameter for parameter in
                               self.cloud.parameters.items()),
            'libvirt': '%s=%d %s=%d' % (
                NATIVE.count.element, self.cloud.counts[0],
                self.row.count.element, self.cloud.counts[1]),
            'nova-compute': self.said,
        }, {
            NATIVE.title + ' is offered': host.supports_amd_sev,
            self.row.title + (
                ' is not offered, and the log says what to do'
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
        tree, provider = self.cloud.get_tree(), self.shown.provider
        return {'providers': tree}, {
            'nothing is left on the root':
                tree[:1] == [_provider(HOST, 0, [])],
            'slots, trait and allocation are on ' + NATIVE_PROVIDER:
                tree[1:2] == [_provider(NATIVE_PROVIDER, NATIVE_GUESTS,
                                        ['old'], NATIVE.trait)],
            '%s has %d slots' % (provider, self.slots) if self.slots else
            'there is no ' + provider:
                tree[2:] == [_provider(provider, self.slots, [],
                                       self.row.trait)][:self.slots],
            'the server still runs, with policy ' + NATIVE_POLICY:
                self.cloud.get_guest(self.old)[1] == NATIVE_POLICY,
            'nova-compute logged what is said of it above':
                self.cloud.log.output.count(self.said) == 2}

    def servers(self):
        """Boot servers."""
        from lxml import etree
        requests, notes, checks, rows = {}, {}, {}, []
        slots = self.slots
        for name, specs, properties, provider, policy in self.shown.servers:
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
                    bit for bit, mask in models.find_model(
                        xml.get('type'), int(given, 0)
                    ).launch_security.bits.items() if int(given, 0) & mask)
            rows.append({
                'server': name, 'status': server['status'], 'slot on': [
                    rp['provider'] for rp in self.cloud.get_tree()
                    if name in rp['used by']],
                'policy': given, 'running': running})
            slots -= provider == self.shown.provider
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
            self.cloud.boot('%s-%d' % (self.shown.name, number + 1),
                            self.shown.by_flavor, self.shown.image)
        rows, checks = [], {}
        for name, specs, properties, outcome, words in self.shown.refusals:
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
    ('New servers, with and without what the series adds', Demo.servers),
    ('Refusals, as the user sees them', Demo.refusals),
]


def _provider(name, slots, servers, *traits):
    """Return a provider as Cloud.get_tree does."""
    return {'provider': name, 'parent': None if name == HOST else HOST,
            'slots': slots, 'used by': servers, 'traits': list(traits)}


def _message(server):
    return server.get('fault', {}).get('message', '')
