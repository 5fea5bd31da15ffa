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

"""Take a cloud through the upgrade of a host, and check each fact."""
from concurrent import futures
import re
import signal
import sys

from openstack import exceptions

import audit
import client
import documented
import environments
import services
import stand_ins

# What each host is: how many guests with SEV, and with SEV-ES
HOSTS = {'es1': (8, 4), 'es2': (5, 2), 'plain': None}
# The one that starts without the series, to be upgraded
OLD = 'es1'
SEV_TRAIT, ES_TRAIT = 'HW_CPU_X86_AMD_SEV', 'HW_CPU_X86_AMD_SEV_ES'
# How the kernel is asked for a guest of the model, with what policy
SEV_GUEST, ES_GUEST = ('KVM_SEV_INIT', 0x33), ('KVM_SEV_ES_INIT', 0x37)
SEV = {'hw:mem_encryption': 'true'}
FLAVORS = {
    'm1.plain': {},
    'm1.sev': SEV,
    'm1.es': {**SEV, 'hw:mem_encryption_model': 'amd-sev-es'},
    'm1.model': {'hw:mem_encryption_model': 'amd-sev-es'},
}
UEFI = {'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35'}
IMAGES = {
    'uefi': UEFI,
    'uefi-sev': {**UEFI, 'hw_mem_encryption': 'true'},
    'uefi-es': {**UEFI, 'hw_mem_encryption': 'true',
                'hw_mem_encryption_model': 'amd-sev-es'},
    'uefi-model-sev': {**UEFI, 'hw_mem_encryption': 'true',
                       'hw_mem_encryption_model': 'amd-sev'},
}
# Server, flavor, image, what the user reads
REFUSALS = [
    ('conflicting', 'm1.es', 'uefi-model-sev',
     'Conflicting memory encryption models'),
    ('unencrypted', 'm1.model', 'uefi', 'model without memory encryption'),
]
BEFORE = [client.provider('es1', 8, ['old-by-flavor', 'old-by-image'],
                          SEV_TRAIT)]
AFTER = [client.provider('es1'),
         client.provider('es1_amd_sev', 8, ['old-by-flavor', 'old-by-image'],
                         SEV_TRAIT),
         client.provider('es1_amd_sev_es', 4, [], ES_TRAIT)]
APPLIED = re.compile(r'nova-mem-encryption \S+ on Nova \S+ applied .*')

_REAL = ('nova-api, nova-conductor, nova-scheduler, Placement, Glance and the '
         'openstack command, with the series from its wheel; of each host '
         'nova-compute, libvirtd and QEMU. All are processes of their own, '
         'without test fixtures.')
_IMITATED = ('the kernel and the processor below libvirt and QEMU, so no '
             'guest runs; Keystone; Neutron, which has nothing in it; the '
             'network, as all hosts are on one machine.')
# Without and with --light
REAL = ('MariaDB and RabbitMQ; ' + _REAL, _REAL)
IMITATED = (_IMITATED, 'MariaDB, by SQLite; RabbitMQ, by a folder; ' +
            _IMITATED)


def start(cloud, tell, without=(), placement=None, counts=None, usr='/usr'):
    """Start all of a cloud.

    :param cloud: a services.Cloud
    :param tell: called with what is done just now
    :param without: the hosts whose nova-compute is to be without the series,
        which a patched Nova cannot be
    :param placement: URL of Placement, of hosts that have one of their own
    :param counts: what each host is, if not HOSTS
    :param usr: the folder that has their libvirt and QEMU
    """
    counts = counts or HOSTS
    tell('hosts, database, broker and control plane')
    cloud.configure()
    cloud.configure_nova(environments.OVERLAID)
    with futures.ThreadPoolExecutor() as pool:
        hosts = pool.submit(start_hosts, cloud, counts, usr)
        cloud.start()
        hosts.result()
    tell('nova-compute of ' + ', '.join(counts))
    for name in counts:
        cloud.start_compute(
            name, name not in without, (placement or {}).get(name),
            environments.OVERLAID if name in without else sys.prefix)
    users = client.Client(cloud, tell)
    for name in counts:
        cloud.wait(name, lambda name=name: users.get_report(name))


def start_hosts(cloud, hosts, usr='/usr', more=()):
    """Start hosts: a dict as HOSTS, and the folder of libvirt and QEMU.

    :param more: options of sevhost.py start that all of them have
    """
    # One after the other: the first may have to build what all need.
    for name, counts in hosts.items():
        cloud.start_host(name, ['--usr', usr, *more, *get_options(counts)])


def get_options(counts):
    """Return the options of a host, as of sevhost.py, by a value of HOSTS."""
    return ['--no-sev'] if counts is None else [
        '--sev-asids', str(counts[0]), '--es-asids', str(counts[1])]


class Scenario:
    """The steps. Each notes what it finds, and what it checks.

    :param cloud: a services.Cloud
    :param tell: called with what is done just now
    """

    real, imitated = REAL, IMITATED
    title = None  # what it is, where there are several of a kind
    totals = None  # of tests, where it runs some

    def __init__(self, cloud, tell):
        self.cloud, self.tell = cloud, tell
        self.users = client.Client(cloud, tell)
        self.proxy = stand_ins.Proxy(cloud.ports['placement'])
        self.memory = (0, 0)  # MB, processes

    def start(self, step):
        """The cloud starts; es1 is without the series"""
        start(self.cloud, self.tell, {OLD}, {OLD: self.proxy.url})
        step.fact('what the hosts offer',
                  [self.users.look_at_host(name) for name in HOSTS])
        self.check_trees(step, 'slots and trait of es1 are on the root; es2 '
                         'has a provider for each model, plain has none', [
                             client.provider('es1', 8, [], SEV_TRAIT),
                             client.provider('es2'),
                             client.provider('es2_amd_sev', 5, [], SEV_TRAIT),
                             client.provider('es2_amd_sev_es', 2, [],
                                             ES_TRAIT),
                             client.provider('plain')])
        self.check_services(step, [*services.CONTROL, *HOSTS], [OLD])

    def boot_before(self, step):
        """Before the upgrade: two SEV servers on es1"""
        # One of each by the command, as users do it
        self.users.openstack(
            'flavor create --ram 256 --disk 1 --vcpus 1 '
            '--property hw:mem_encryption=true m1.sev')
        self.users.openstack(
            'image create --disk-format raw --container-format bare '
            '--file %s uefi-sev' % self.users.make_disk())
        self.users.openstack('image set %s uefi-sev' % ' '.join(
            '--property %s=%s' % item
            for item in IMAGES['uefi-sev'].items()))
        for name, specs in FLAVORS.items():
            self.users.need_flavor(name, specs)
        for name, properties in IMAGES.items():
            self.users.need_image(name, properties)
        self.users.boot('old-by-flavor', 'm1.sev', 'uefi', OLD)
        self.users.boot('old-by-image', 'm1.plain', 'uefi-sev', OLD)
        self.show_commands(step)
        self.check_servers(step, [
            client.guest('old-by-flavor', 'es1', *SEV_GUEST),
            client.guest('old-by-image', 'es1', *SEV_GUEST)])
        self.check_trees(step, 'slots, trait and allocations are on the root '
                         'of es1', BEFORE, [OLD])

    def boot_all_kinds(self, step):
        """Servers of each kind, while es1 is not upgraded"""
        self.users.servers['plain'] = self.users.openstack(
            'server create --flavor m1.plain --image uefi --nic none '
            'plain')['id']
        self.users.boot('sev', 'm1.sev', 'uefi', 'es2')
        self.users.boot('es-by-flavor', 'm1.es', 'uefi')
        self.users.boot('es-by-image', 'm1.plain', 'uefi-es')
        self.check_servers(step, [
            client.guest('plain'),
            client.guest('sev', 'es2_amd_sev', *SEV_GUEST),
            client.guest('es-by-flavor', 'es2_amd_sev_es', *ES_GUEST),
            client.guest('es-by-image', 'es2_amd_sev_es', *ES_GUEST)])
        self.check_slots_by_command(step)
        self.check_trees(step, 'SEV-ES servers are on es2 only', [
            *BEFORE, client.provider('es2'),
            client.provider('es2_amd_sev', 5, ['sev'], SEV_TRAIT),
            client.provider('es2_amd_sev_es', 2,
                            ['es-by-flavor', 'es-by-image'], ES_TRAIT),
            client.provider('plain')])
        self.check_refusals(step)
        self.show_commands(step)

    def upgrade(self, step):
        """The upgrade of es1, killed twice, while its servers run"""
        names = BEFORE[0]['used by']
        before = {name: self.get_state(name) for name in names}
        moved = {name: {
            OLD: {resource: amount for resource, amount
                  in state['allocations'][OLD].items()
                  if resource != client.SLOT},
            OLD + '_amd_sev': {client.SLOT: 1},
        } for name, state in before.items()}
        kept = {name: state['allocations'] for name, state in before.items()}
        self.cloud.end_compute(OLD)
        last = self.users.get_report(OLD)
        self.kill_while_held(step, self.proxy.BEFORE, BEFORE, kept)
        self.kill_while_held(step, self.proxy.AFTER, AFTER, moved)
        self.tell('nova-compute starts once more')
        self.cloud.start_compute(OLD, placement=self.proxy.url)
        # It reports itself when it is done with Placement.
        self.cloud.wait(OLD, lambda: self.users.get_report(OLD) not in (
            None, last))
        self.check_services(step, [OLD])
        self.check_trees(step, 'es1_amd_sev has 8 slots, es1_amd_sev_es 4, '
                         'the root none', AFTER, [OLD])
        step.check('Placement was asked twice to reshape, and did it once',
                   self.proxy.reshapes == [None, 204])
        for name, state in before.items():
            found = self.get_state(name)
            step.check('%s: its slot moved, nothing else of its allocations '
                       'changed' % name, found['allocations'] == moved[name])
            step.check('%s: the same QEMU runs, process %d, launched once' % (
                name, found['qemu'][0]), dict(found, allocations=None) ==
                dict(state, allocations=None))

    def use(self, step):
        """After the upgrade: SEV-ES on es1; reboot, stop, delete"""
        self.users.boot('es-on-es1', 'm1.es', 'uefi')
        self.check_servers(step, [
            client.guest('es-on-es1', 'es1_amd_sev_es', *ES_GUEST)])
        before = {name: self.users.get_qemu(name)
                  for name in self.users.servers}
        compute, servers = self.users.api.compute, self.users.servers
        self.tell('reboot, stop and start')
        compute.reboot_server(servers['old-by-flavor'], 'HARD')
        compute.reboot_server(servers['es-by-flavor'], 'HARD')
        compute.reboot_server(servers['old-by-image'], 'SOFT')
        compute.stop_server(servers['es-by-image'])
        self.users.wait_for('es-by-image', 'SHUTOFF')
        step.check('es-by-image: stopped, and no QEMU is left of it',
                   self.users.get_qemu('es-by-image') is None)
        compute.start_server(servers['es-by-image'])
        self.check_servers(step, [
            client.guest('old-by-flavor', 'es1_amd_sev', *SEV_GUEST,
                         launches=2),
            client.guest('es-by-flavor', 'es2_amd_sev_es', *ES_GUEST,
                         launches=2),
            client.guest('old-by-image', 'es1_amd_sev', *SEV_GUEST,
                         launches=2),
            client.guest('es-by-image', 'es2_amd_sev_es', *ES_GUEST,
                         launches=2)])
        step.check('old-by-image was rebooted softly: its guest shut down by '
                   'itself', 'Instance soft rebooted successfully' in
                   self.cloud.read_log(OLD))
        after = {name: self.users.get_qemu(name) for name in servers}
        step.check('QEMU is another process for these four, and the same for '
                   'the others',
                   None not in after.values() and
                   {name for name in servers if after[name] != before[name]} ==
                   {'old-by-flavor', 'old-by-image', 'es-by-flavor',
                    'es-by-image'})
        self.users.delete(list(servers))
        self.check_trees(step, 'all are deleted, and all slots are free', [
            client.provider('es1'),
            client.provider('es1_amd_sev', 8, [], SEV_TRAIT),
            client.provider('es1_amd_sev_es', 4, [], ES_TRAIT),
            client.provider('es2'),
            client.provider('es2_amd_sev', 5, [], SEV_TRAIT),
            client.provider('es2_amd_sev_es', 2, [], ES_TRAIT),
            client.provider('plain')])
        step.check('no QEMU is left', not self.cloud.get_guests())

    def audit(self, step):
        """Three servers go wrong behind Nova, and are found"""
        audit.Audit(self.cloud, self.users, OLD).try_it(step)

    def define(self, step):
        """Glance gets the definitions of the property, for Horizon"""
        documented.Pages(self.cloud, self.users).define(step)

    def start_quickly(self, step):
        """A newcomer follows the quick start"""
        documented.Pages(self.cloud, self.users).start_quickly(step)
        row = self.users.look('confidential-1')
        step.fact('the server', [row])
        step.check('the server of the quick start is ACTIVE, as SEV-ES', {
            'status': row['status'], 'libvirt': row['libvirt'],
            'kernel': row['kernel'], 'slots': len(row['slot on'])} == {
                'status': 'ACTIVE', 'libvirt': '0x0037',
                'kernel': ['KVM_SEV_ES_INIT'], 'slots': 1})
        self.users.delete(['confidential-1'])

    def play(self, step):
        """The session of the README"""
        documented.Pages(self.cloud, self.users).play(step)

    def read(self, step):
        """The commands of the other pages"""
        self.users.need_flavor('m1.small', {})
        self.users.need_image('debian-12-es', UEFI)
        self.users.need_image('debian-13-snp', UEFI)
        documented.Pages(self.cloud, self.users).try_all(step)

    STEPS = [start, boot_before, boot_all_kinds, upgrade, use, audit, define,
             start_quickly, play, read]

    # -- parts of steps ----------------------------------------------------

    def check_services(self, step, names, without=()):
        """Check what services log of the series when they start.

        :param without: those of them that are without it
        """
        said = {name: self.get_applied(name) for name in names}
        step.fact('what the services log', [
            {'service': name, 'line': line} for name, line in said.items()])
        step.check('services log that the series is applied: ' + ', '.join(
            name for name in names if name not in without),
            [name for name, line in said.items() if not line] ==
            list(without))

    def check_servers(self, step, expected):
        """Look at servers in Placement, in libvirt and in the kernel.

        :param expected: a list, of client.guest
        """
        rows = []
        for server in expected:
            name = server['server']
            row = self.users.look(name)
            rows.append(row)
            step.check('%s is ACTIVE %s' % (
                name, 'with policy ' + server['libvirt']
                if server['libvirt'] else 'without encryption'),
                row == dict(server, qemu=row['qemu']) and row['qemu'])
            if row['status'] == 'ERROR':
                step.fact('fault of ' + name, '%s (%s)' % self.get_fault(name))
        step.facts.setdefault('the servers', []).extend(rows)
        self.memory = max(self.memory, self.cloud.get_memory())

    def check_trees(self, step, name, expected, hosts=tuple(HOSTS)):
        found = [row for host in hosts for row in self.users.get_tree(host)]
        step.fact('what Placement has', found)
        step.check(name, found == expected)

    def check_slots_by_command(self, step):
        rows = self.users.openstack('resource provider list')
        number = {row['name']: row['uuid'] for row in rows}['es2_amd_sev_es']
        slots = self.users.openstack(
            'resource provider inventory list ' + number)
        traits = self.users.openstack(
            'resource provider trait list ' + number)
        step.check('the command shows es2_amd_sev_es: 2 slots in use, and '
                   'the trait',
                   [(row['resource_class'], row['total'], row['used'])
                    for row in slots] == [(client.SLOT, 2, 2)] and
                   {'name': ES_TRAIT} in traits)

    def check_refusals(self, step):
        self.users.boot('third-es', 'm1.es', 'uefi')
        status = self.users.wait_for('third-es').status
        rows = [{'server': 'third-es', 'outcome': status,
                 'message': self.get_fault('third-es')[0]}]
        step.check('a third SEV-ES server finds no valid host, as es1 is not '
                   'upgraded', status == 'ERROR' and
                   'No valid host' in rows[0]['message'])
        self.users.delete(['third-es'])
        step.fact('what is refused', rows + self.check_conflicts(
            step, REFUSALS))

    def check_conflicts(self, step, refusals):
        """Check that the API refuses what cannot be.

        :returns: rows that tell what it answered
        """
        rows = []
        for name, flavor, image, words in refusals:
            outcome, message = 'accepted', ''
            try:
                self.users.boot(name, flavor, image)
            except exceptions.HttpException as e:
                outcome, message = 'HTTP %d' % e.status_code, e.details or ''
            rows.append({'server': name, 'outcome': outcome,
                         'message': message})
            step.check("%s is refused: '%s'" % (name, words),
                       outcome == 'HTTP 400' and words in message)
        return rows

    def kill_while_held(self, step, when, tree, allocations):
        """Start nova-compute, and kill it while it reshapes.

        :param when: of stand_ins.Proxy
        :param tree: what Placement is to have then, traits aside
        :param allocations: and of each server
        """
        self.tell('nova-compute is killed ' + when)
        self.proxy.hold(when)
        self.cloud.start_compute(OLD, placement=self.proxy.url)
        self.cloud.wait(OLD, lambda: self.proxy.wait(0))
        self.cloud.end_compute(OLD, signal.SIGKILL)
        self.proxy.drop()
        found = self.users.get_tree(OLD)
        step.fact('what Placement has after kill -9 ' + when, found)
        # The providers of the models get their traits later.
        step.check('killed %s: the root has the SEV trait no more, so no '
                   'server of SEV gets a slot of SEV-ES' % when,
                   SEV_TRAIT not in found[0]['traits'])
        step.check('killed %s: slots and allocations are %s' % (
            when, 'still on the root' if when == self.proxy.BEFORE else
            'on es1_amd_sev'),
            [dict(row, traits=[]) for row in found if row['slots']] ==
            [dict(row, traits=[]) for row in tree if row['slots']] and
            {name: self.users.get_allocations(name) for name in allocations} ==
            allocations)

    def get_state(self, name):
        """Return of a server on es1 what the upgrade might change."""
        return {'allocations': self.users.get_allocations(name),
                'qemu': self.users.get_qemu(name),
                'launches': self.users.get_launches(name, OLD)}

    def get_fault(self, name):
        """Return the message of a server's fault, and the exception."""
        fault = self.users.wait_for(name).fault or {}
        lines = (fault.get('details') or '').strip().splitlines()
        return fault.get('message') or '', lines[-1] if lines else ''

    def get_applied(self, name):
        """Return what a service logs of the series, or None."""
        found = APPLIED.findall(self.cloud.read_log(name))
        return found[-1] if found else None

    def show_commands(self, step):
        step.fact('by the command', self.users.commands)
        self.users.commands = []
