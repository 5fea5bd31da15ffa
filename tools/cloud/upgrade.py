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

"""Take a cloud with the series to Nova 32, and check each fact."""
import functools
import os
import re
import shutil
import subprocess
import sys
import time

import client
import environments
import scenario
import services

TREE = os.path.dirname(os.path.dirname(services.HERE))
NEWER = os.path.join(TREE, 'tools', 'sevhost', 'newer.py')
CONSTRAINTS = os.path.join(services.HERE, 'constraints-2025.2.txt')
RELEASE = '32.2.1'
# Environments of Nova 32: unmodified, and with the series left in it
PLAIN = os.path.join(sys.prefix, 'nova-32')
BESIDE = os.path.join(sys.prefix, 'nova-32-beside')

HOSTS = {'es1': (8, 4), 'es2': (5, 3)}
SEV_GUEST, ES_GUEST = scenario.SEV_GUEST, scenario.ES_GUEST
# Server: flavor, image, host, model
SERVERS = {
    'sev-by-flavor': ('m1.sev', 'uefi', 'es1', SEV_GUEST),
    'es-by-image': ('m1.plain', 'uefi-es', 'es1', ES_GUEST),
    'sev-by-image': ('m1.plain', 'uefi-sev', 'es2', SEV_GUEST),
    'es-by-flavor': ('m1.es', 'uefi', 'es2', ES_GUEST),
}
MIXED = {
    'mixed-by-flavor': ('m1.es', 'uefi', 'es1', ES_GUEST),
    'mixed-by-image': ('m1.plain', 'uefi-es', 'es2', ES_GUEST),
}
NEW = {
    'new-sev': ('m1.sev', 'uefi', 'es1', SEV_GUEST),
    'new-es-by-flavor': ('m1.es', 'uefi', 'es2', ES_GUEST),
    'new-es-by-image': ('m1.plain', 'uefi-es', 'es1', ES_GUEST),
    'new-plain': ('m1.plain', 'uefi', 'es2', ()),
}
# In the words of Nova 32
REFUSALS = [('conflicting', 'm1.es', 'uefi-model-sev', 'conflicting with')]
# What nova-status and nova-manage may end with: a warning is none of ours,
# and there may be more to do.
CODES = (0, 1)
SILENCE = 2  # seconds
# How the services name themselves in their logs
STARTED = re.compile(r'Starting .* node \(version ([^)]+)\)')
NOT_NEEDED = ('Nova %s has SEV-ES itself; nova-mem-encryption can be '
              'uninstalled' % RELEASE)
# What changes with the machine, which all hosts are on
MACHINE = r'inventories (MEMORY_MB|DISK_GB) \w+: \d+ becomes \d+'
# That, and what Nova 32 says more of a host than Nova 31, of anything but
# encryption
NEWS = re.compile(r'es[12] (traits: COMPUTE_\w+ is new|%s)' % MACHINE)
COMPUTE_ERROR = re.compile(r' ERROR nova\.(?:compute|scheduler)\S* \[.*')


def prepare():
    """Make the environments of Nova 32, and get libvirt and QEMU for it.

    The series in the one is installed again each time, as it may be another.
    """
    for folder in (PLAIN, BESIDE):
        if not os.path.exists(os.path.join(folder, 'ready')):
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.check_call([sys.executable, '-m', 'venv', folder])
            environments.pip(
                folder, 'install', '-c', CONSTRAINTS, 'nova==' + RELEASE,
                'PyMySQL', 'libvirt-python', 'openstack-placement>=14.0.0,<15')
            with open(os.path.join(folder, 'ready'), 'w'):
                pass
    environments.pip(BESIDE, 'install', '--no-deps', '--force-reinstall', TREE)


def get_differences(before, after):
    """Return how two answers of Client.get_placement differ, as lines."""
    if before == after:
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        return ['%s%s%s' % (key, '' if line.startswith(':') else ' ', line)
                for key in sorted({*before, *after})
                for line in get_differences(before.get(key), after.get(key))]
    if isinstance(before, list) and isinstance(after, list):
        return ([': %s is new' % each for each in after
                 if each not in before] +
                [': %s is gone' % each for each in before
                 if each not in after])
    return [': %s becomes %s' % (before, after)]


class Upgrade(scenario.Scenario):
    """The steps of the upgrade to Nova 32."""

    real = tuple(text.replace(
        'with the series from its wheel', 'of 31.3.1 with the series from its '
        'wheel and of %s' % RELEASE).replace(
        'libvirtd and QEMU', "Debian 13's libvirtd and QEMU")
        for text in scenario.REAL)

    def __init__(self, cloud, tell):
        super().__init__(cloud, tell)
        self.launches = {}  # of each server's guest

    def start(self, step):
        """The cloud starts, all of it Nova 31 with the series"""
        usr = subprocess.check_output([sys.executable, NEWER], text=True)
        scenario.start(self.cloud, self.tell, counts=HOSTS, placement={
            name: self.proxy.url for name in HOSTS}, usr=usr.strip())
        step.fact('what the hosts offer',
                  [self.users.look_at_host(name) for name in HOSTS])
        step.check('all services log that the series is applied', all(
            self.get_applied(name) for name in (*services.CONTROL, *HOSTS)))
        for name, specs in scenario.FLAVORS.items():
            self.users.need_flavor(name, specs)
        for name, properties in scenario.IMAGES.items():
            self.users.need_image(name, properties)

    def boot_before(self, step):
        """Servers of both models, by flavor and by image"""
        self.boot_all(step, SERVERS)
        self.check_tree(step)
        self.placement = self.users.get_placement()
        self.qemus = self.get_qemus()

    def upgrade_control_plane(self, step):
        """The control plane is of 2025.2; nova-compute is still Nova 31"""
        # Placement first: that of 2025.1 does not know all traits of Nova
        # 32, whose nova-compute then cannot tell it anything.
        self.cloud.end_placement()
        self.cloud.launch_placement(PLAIN)
        self.cloud.wait_for_placement()
        self.users.reconnect()
        self.check_same(step)
        self.cloud.end_nova()
        self.cloud.configure_nova(PLAIN)
        self.sync(step, PLAIN)
        self.start_nova(PLAIN)
        self.check_same(step)

    def use_mixed(self, step):
        """Mixed: new servers, refusals, hard reboot"""
        self.boot_all(step, MIXED)
        step.fact('what is refused', self.check_conflicts(step, REFUSALS))
        self.reboot_all(step, SERVERS)
        self.users.delete(list(MIXED))
        self.check_same(step, guests=False)
        self.qemus = self.get_qemus()

    def upgrade_es1(self, step):
        """nova-compute of es1 is Nova 32, unmodified"""
        self.upgrade_compute(step, 'es1', PLAIN)

    def upgrade_es2(self, step):
        """nova-compute of es2 is Nova 32, with the series left beside it"""
        status = subprocess.run(
            [os.path.join(BESIDE, 'bin', 'nova-mem-encryption'), 'status'],
            stdout=subprocess.PIPE, text=True)
        step.fact('nova-mem-encryption status', status.stdout.strip())
        step.check('nova-mem-encryption status: not needed, exit status 0',
                   status.returncode == 0 and 'not needed' in status.stdout)
        self.cloud.configure_nova(BESIDE)
        self.upgrade_compute(step, 'es2', BESIDE)

    def finish(self, step):
        """The control plane again, now with the series left beside it"""
        self.cloud.end_nova()
        self.start_nova(BESIDE)
        self.check_said(step, BESIDE, services.CONTROL)
        # NOTE: one of them writes within a transaction by a second one, for
        # which SQLite would have it wait for itself.
        if not self.cloud.light:
            self.cloud.run_nova('nova-manage', 'db', 'online_data_migrations',
                                prefix=BESIDE, codes=CODES)
            step.check('online data migrations are done', True)
        self.check_same(step)

    def use(self, step):
        """All is Nova 32: hard reboot, new servers, delete"""
        self.reboot_all(step, SERVERS)
        self.check_same(step, guests=False)
        self.boot_all(step, NEW)
        step.fact('what is refused', self.check_conflicts(step, REFUSALS))
        self.users.delete(list(self.users.servers))
        self.check_tree(step)
        step.check('no QEMU is left', not self.cloud.get_guests())

    STEPS = [start, boot_before, upgrade_control_plane, use_mixed,
             upgrade_es1, upgrade_es2, finish, use]

    # -- parts of steps ----------------------------------------------------

    def boot_all(self, step, servers):
        for name, (flavor, image, host, _) in servers.items():
            self.users.boot(name, flavor, image, host)
            self.launches[name] = 1
        self.check_all(step, servers)

    def reboot_all(self, step, servers):
        for name in servers:
            self.tell('hard reboot of ' + name)
            self.users.api.compute.reboot_server(
                self.users.servers[name], 'HARD')
            self.launches[name] += 1
        self.check_all(step, servers)

    def check_all(self, step, servers):
        expected = []
        for name, (_, _, host, model) in servers.items():
            slot = model and host + (
                '_amd_sev_es' if model == ES_GUEST else '_amd_sev')
            expected.append(client.guest(
                name, slot or None, *model, launches=self.launches[name]))
        self.check_servers(step, expected)

    def check_tree(self, step):
        """Check that the slots are where they are to be, and who has them."""
        used = {'SEV': {}, 'ES': {}}
        for name in self.users.servers:
            _, _, host, model = {**SERVERS, **MIXED, **NEW}[name]
            used['ES' if model == ES_GUEST else 'SEV'].setdefault(
                host, []).append(name)
        self.check_trees(step, 'each host has a provider for each model, and '
                         'each server its slot', [
                             row for host, (sev, es) in HOSTS.items()
                             for row in (
                                 client.provider(host),
                                 client.provider(
                                     host + '_amd_sev', sev, sorted(
                                         used['SEV'].get(host, [])),
                                     scenario.SEV_TRAIT),
                                 client.provider(
                                     host + '_amd_sev_es', es, sorted(
                                         used['ES'].get(host, [])),
                                     scenario.ES_TRAIT))], HOSTS)

    def check_same(self, step, guests=True):
        """Check that the upgrade has changed nothing.

        :param guests: whether to look at their processes, too
        """
        found = self.users.get_placement()
        differences = get_differences(self.placement, found)
        step.fact('changes in Placement', differences or 'none')
        step.check('Placement has the same providers, inventories, traits and '
                   'allocations; new are but traits that Nova 32 adds to the '
                   'root', all(map(NEWS.fullmatch, differences)))
        step.check('nobody asked for a reshape', not self.proxy.reshapes)
        if guests:
            step.check('the same QEMU processes run, launched as often',
                       self.get_qemus() == self.qemus)

    def get_qemus(self):
        return {name: (self.users.get_qemu(name), self.users.get_launches(
            name, SERVERS[name][2])) for name in SERVERS}

    def sync(self, step, prefix):
        """Bring the databases to the schema of a release."""
        run = functools.partial(self.cloud.run_nova, prefix=prefix)
        self.tell('schema of the databases')
        run('nova-manage', 'api_db', 'sync')
        run('nova-manage', 'db', 'sync')
        self.tell('nova-status upgrade check')
        said = run('nova-status', 'upgrade', 'check', codes=CODES)
        step.fact('nova-status', [
            {'check': check, 'result': result} for check, result in re.findall(
                r'Check: (.*?) *\|\n\| Result: (.*?) *\|', said)] or said)
        step.check('nova-status upgrade check of Nova %s finds no failure' %
                   RELEASE, said)

    def start_nova(self, prefix):
        self.tell('control plane of Nova ' + RELEASE)
        self.cloud.launch_nova(prefix)
        self.cloud.wait_for_nova()
        self.users.reconnect()

    def check_said(self, step, prefix, names):
        """Check that services say that the series is not needed, if so."""
        said = [NOT_NEEDED in self.cloud.read_log(name) for name in names]
        step.check('%s: %s' % (
            ', '.join(names), "its log has '%s'" % NOT_NEEDED
            if prefix == BESIDE else 'its log has no word of the series'),
            all(said) if prefix == BESIDE else not any(said))

    def upgrade_compute(self, step, host, prefix):
        """Stop the nova-compute of a host, and start that of Nova 32."""
        driver = services.OURS if prefix == BESIDE else services.NOVAS
        self.replace_compute(step, host, prefix, driver, RELEASE)
        step.check('with the line of nova.conf that the series serves, it has '
                   "Nova's driver", prefix != BESIDE or (
                       "Loading compute driver '%s'" % services.OURS in
                       self.cloud.read_log(host)))
        self.check_said(step, prefix, [host])
        self.check_same(step)

    def replace_compute(self, step, host, prefix, driver, release):
        """Stop the nova-compute of a host, and start that of another Nova.

        :param prefix: the folder of its environment
        :param driver: its compute_driver
        :param release: of Nova, that its log is to name
        """
        last = self.users.get_report(host)
        self.cloud.end_compute(host)
        self.proxy.requests.clear()
        self.cloud.start_compute(host, placement=self.proxy.url,
                                 prefix=prefix, driver=driver)
        self.cloud.wait(host, lambda: self.users.get_report(host) not in (
            None, last))
        # NOTE: it reports itself as soon as it starts, if its version is new.
        slots = ['GET /resource_providers/%s/inventories' % self.placement[
            host + model]['uuid'] for model in ('_amd_sev', '_amd_sev_es')]
        self.cloud.wait(host, lambda: set(slots) <= set(self.proxy.requests))
        self.wait_for_silence()
        requests = list(self.proxy.requests)
        said = STARTED.findall(self.cloud.read_log(host))
        step.fact('nova-compute', 'version %s; asked Placement %d times' % (
            ', '.join(said), len(requests)))
        step.fact('its writes', [
            each for each in requests if not each.startswith('GET ')] or
            'none')
        step.check('nova-compute is Nova ' + release, said == [release])
        errors = COMPUTE_ERROR.findall(self.cloud.read_log(host))
        if errors:
            step.fact('errors', '; '.join(errors))
        step.check('it logs no error', not errors)
        step.check('it looked at the slots of both models in Placement',
                   set(slots) <= set(requests))

    def wait_for_silence(self):
        """Wait until the hosts ask Placement for nothing any more."""
        count = None
        while count != len(self.proxy.requests):
            count = len(self.proxy.requests)
            time.sleep(SILENCE)
