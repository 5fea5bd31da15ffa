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

"""A cloud of hosts with a patched, an overlaid and a plain Nova."""
import difflib
import glob
import os
import re
import signal
import sys

import client
import environments
import scenario
import services

BY_PATCHES, OVERLAID, PLAIN = 'patched1', 'overlaid1', 'plain1'
BOTH = (BY_PATCHES, OVERLAID)
# All have SEV and SEV-ES, and the same of it but for the plain Nova
HOSTS = {BY_PATCHES: (8, 4), OVERLAID: (8, 4), PLAIN: (5, 2)}
# Server: flavor, image, host, model
SERVERS = {
    'es-by-flavor': ('m1.es', 'uefi', BY_PATCHES, scenario.ES_GUEST),
    'es-by-image': ('m1.plain', 'uefi-es', OVERLAID, scenario.ES_GUEST),
    'sev': ('m1.sev', 'uefi', BY_PATCHES, scenario.SEV_GUEST),
    'sev-on-plain': ('m1.sev', 'uefi', PLAIN, scenario.SEV_GUEST),
}
SUFFIXES = {scenario.ES_GUEST: '_amd_sev_es', scenario.SEV_GUEST: '_amd_sev'}
MOVED = ('es-by-flavor', 'es-by-image')
# All hosts have one address, so Nova takes their disks for those of one host.
SHARED = '[DEFAULT]\ninstances_path = %s\n'
# What one service says of an object or a call of another that it cannot read
MISUNDERSTOOD = (
    'IncompatibleObjectVersion', 'InvalidTargetVersion',
    'UnsupportedObjectError', 'OrphanedObjectError', 'UnregisteredSubobject',
    'UnsupportedVersion', 'RPCVersionCapError', 'NoSuchMethod')
NOT_UNDERSTOOD = re.compile(r'.*\b(?:%s)\b.*' % '|'.join(MISUNDERSTOOD))


class MixedNovas(scenario.Scenario):
    """The steps."""

    real = tuple(text.replace(
        'with the series from its wheel',
        'with the series, as patches, from its wheel and not at all')
        for text in scenario.REAL)

    def __init__(self, cloud, tell):
        super().__init__(cloud, tell)
        self.places, self.domains = {}, {}  # by server

    def start(self, step):
        """The cloud starts, its control plane overlaid"""
        beside = glob.glob(
            environments.ALONE + '/lib/*/*/nova_mem_encryption*')
        step.check('the Nova of patched1 has no package beside it', not beside)
        self.tell('hosts, database, broker and control plane')
        self.cloud.configure()
        self.cloud.configure_nova(environments.ALONE)
        scenario.start_hosts(self.cloud, HOSTS)
        self.cloud.start()
        os.mkdir(self.cloud.path('instances'))
        for name in HOSTS:
            self.start_compute(name)
        for name in HOSTS:
            self.cloud.wait(name, lambda name=name: self.users.get_report(
                name))
        step.fact('what the hosts offer',
                  [self.users.look_at_host(name) for name in HOSTS])
        for name, specs in scenario.FLAVORS.items():
            self.users.need_flavor(name, specs)
        for name, properties in scenario.IMAGES.items():
            self.users.need_image(name, properties)
        self.check_slots(step)
        found = self.users.get_placement()
        patched, overlaid = (
            {name.replace(host, 'HOST'): (each['inventories'], each['traits'])
             for name, each in found.items() if name.startswith(host)}
            for host in BOTH)
        step.check('patched1 and overlaid1 have the same providers, '
                   'inventories and traits in Placement',
                   patched == overlaid and len(patched) == 3)
        step.check('plain1 has one provider, and no trait of a new model', [
            each['traits'] for each in self.users.get_tree(PLAIN)] ==
            [[scenario.SEV_TRAIT]])

    def boot_all(self, step):
        """Servers on each; none of SEV-ES on the plain one"""
        for name, (flavor, image, host, _) in SERVERS.items():
            self.users.boot(name, flavor, image, host)
            self.places[name] = host
        self.check_all(step)
        self.refuse(step)

    def move(self, step):
        """Cold migrations between patched and overlaid, both ways"""
        for _ in BOTH:  # there, and back
            for name in MOVED:
                self.migrate(name, *(host for host in BOTH
                                     if host != self.places[name]))
            self.check_all(step)
        for name in MOVED:  # and there, but not to stay
            host = self.places[name]
            self.migrate(name, *(other for other in BOTH if other != host),
                         'revert_server_resize')
            self.places[name] = host
        self.check_all(step)

    def lose(self, step):
        """Evacuations from overlaid to patched, and from patched"""
        for name, (host, other) in zip(MOVED[::-1], (BOTH[::-1], BOTH)):
            self.evacuate(step, name, host, other)
        self.check_all(step)

    def change_control_plane(self, step):
        """The control plane is patched; the same again"""
        self.cloud.end_nova()
        self.cloud.launch_nova(environments.ALONE)
        self.cloud.wait_for_nova()
        self.users.reconnect()
        step.check('no service of it logs that the series is applied',
                   not any(map(self.get_applied, services.CONTROL)))
        self.refuse(step)
        self.move(step)
        self.tell('hard reboots')
        for name in SERVERS:
            self.users.api.compute.reboot_server(
                self.users.servers[name], 'HARD')
            self.check_all(step)
        self.lose(step)

    def finish(self, step):
        """All is deleted, and nobody misunderstood another"""
        self.users.delete(list(self.users.servers))
        self.places.clear()
        self.check_slots(step)
        step.check('no QEMU is left', not self.cloud.get_guests())
        found = []
        for path in glob.glob(self.cloud.path('log', '*.log')):
            with open(path, encoding='utf-8', errors='replace') as f:
                found += NOT_UNDERSTOOD.findall(f.read())
        if found:
            step.fact('in the logs', found[:9])
        step.check('in no log is an object or a call that was not understood',
                   not found)

    STEPS = [start, boot_all, move, lose, change_control_plane, finish]

    # -- parts of steps ----------------------------------------------------

    def start_compute(self, host):
        """Start the nova-compute of a host, with its Nova."""
        self.cloud.start_compute(
            host, host != PLAIN, more=SHARED % self.cloud.path('instances'),
            prefix=environments.ALONE if host == BY_PATCHES else sys.prefix)

    def refuse(self, step):
        """Check that SEV-ES is not to be had on plain1, and conflicts."""
        self.users.boot('es-on-plain', 'm1.es', 'uefi', PLAIN)
        status = self.users.wait_for('es-on-plain').status
        message = self.get_fault('es-on-plain')[0]
        step.check('a SEV-ES server finds no place on plain1',
                   status == 'ERROR' and 'No valid host' in message)
        self.users.delete(['es-on-plain'])
        step.fact('what is refused', self.check_conflicts(
            step, scenario.REFUSALS))

    def migrate(self, name, host, then='confirm_server_resize'):
        """Migrate a server cold, and confirm it, or take it back."""
        self.tell('%s moves to %s, %s' % (name, host, then))
        compute, number = self.users.api.compute, self.users.servers[name]
        compute.migrate_server(number, host=host)
        self.users.wait_for(name, 'VERIFY_RESIZE')
        getattr(compute, then)(number)
        self.users.wait_for(name)
        self.places[name] = host

    def evacuate(self, step, name, host, other):
        """Lose a host of a server, move the server, and get the host back."""
        self.tell('%s is lost' % host)
        for each, place in self.places.items():
            if place == host and each != name:  # it is to come back
                self.migrate(each, other)
        self.cloud.end_compute(host, signal.SIGKILL)
        self.cloud.command('sevhost-' + host, [
            sys.executable, services.SEVHOST, 'reboot',
            self.cloud.path('hosts', host), *scenario.get_options(
                HOSTS[host])])
        service, = (each for each in self.users.api.compute.services(
            binary='nova-compute') if each.host == host)
        self.users.api.compute.update_service_forced_down(
            service, host, 'nova-compute', True)
        self.users.api.compute.evacuate_server(
            self.users.servers[name], host=other)
        # As of API version 2.95 it is off when it comes.
        self.users.wait_for(name, 'SHUTOFF')
        # NOTE: what is asked of it before that goes to the host that is lost.
        self.cloud.wait(other, lambda: self.users.api.compute.get_server(
            self.users.servers[name]).compute_host == other)
        self.users.api.compute.start_server(self.users.servers[name])
        self.users.wait_for(name)
        self.places[name] = other
        self.start_compute(host)
        # It clears up what was evacuated, and can be up only then.
        self.cloud.wait(host, lambda: not any(
            name in row['used by'] for row in self.users.get_tree(host)))
        self.cloud.wait(host, lambda: not self.users.get(
            'compute', '/os-migrations?migration_type=evacuation&status=done'
            '&host=' + host)['migrations'])
        self.users.api.compute.update_service_forced_down(
            service, host, 'nova-compute', False)
        self.cloud.wait(host, lambda: self.users.get_report(host))
        step.facts.setdefault('evacuated', []).append(
            {'server': name, 'from': host, 'to': other})

    def check_all(self, step):
        """Check servers, in Placement, in libvirt and in the kernel."""
        rows = []
        for name, (_, _, _, model) in SERVERS.items():
            row = self.users.look(name)
            rows.append(row)
            launches = len(row['launched as'])  # on this host
            step.check('each is ACTIVE, with its slot and its model, where it '
                       'was moved to', launches and row['qemu'] and
                       row == dict(client.guest(
                           name, self.get_provider(name), *model,
                           launches=launches), qemu=row['qemu']))
        step.facts.setdefault('the servers', []).extend(rows)
        self.check_slots(step)
        self.compare_domains(step)
        self.memory = max(self.memory, self.cloud.get_memory())

    def compare_domains(self, step):
        """Check that what is defined of a guest is the same on each host."""
        for name in MOVED:
            xml = self.users.get_domain(name, self.places[name], '--inactive')
            if name not in self.domains:
                self.domains[name] = xml  # there is nothing to compare yet
                continue
            same = xml == self.domains[name]
            if not same:
                step.fact('difference', '\n'.join(difflib.unified_diff(
                    self.domains[name].splitlines(), xml.splitlines(),
                    lineterm='', n=0)))
            step.check('patched and overlaid define the guest of a server '
                       'alike, to the character', same)

    def get_provider(self, name):
        """Return the provider that the slot of a server is on."""
        host = self.places[name]
        return host if host == PLAIN else host + SUFFIXES[SERVERS[name][3]]

    def check_slots(self, step):
        used = {}
        for name in self.places:
            used.setdefault(self.get_provider(name), []).append(name)

        def provider(name, slots, *traits):
            return client.provider(name, slots, sorted(used.get(name, [])),
                                   *traits)
        rows = [row for host in BOTH for row in (
            provider(host, 0),
            provider(host + '_amd_sev', HOSTS[host][0], scenario.SEV_TRAIT),
            provider(host + '_amd_sev_es', HOSTS[host][1],
                     scenario.ES_TRAIT))]
        self.check_trees(step, 'slots are where they should be', [
            *rows, provider(PLAIN, HOSTS[PLAIN][0], scenario.SEV_TRAIT)],
            HOSTS)
