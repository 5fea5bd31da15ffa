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

"""A day of a cloud with a host for each model: plain, SEV-ES and SEV-SNP."""
import importlib
import os
import shutil
import subprocess
import sys

import client
import scenario

from nova_mem_encryption.engine import tree

HERE = os.path.dirname(os.path.abspath(__file__))
NEWER = os.path.join(HERE, '../sevhost/newer.py')
EXAMPLE = os.path.join(HERE, '../../etc/firmware/70-amd-sev-snp.json')
DESCRIPTORS = '/usr/share/qemu/firmware'
tree.tree()
ROW = importlib.import_module(
    'nova_mem_encryption.nova.mem_encryption.models').MODELS['amd-sev-snp']
SNP, SNP_TRAIT = 'snp1', ROW.trait
HOSTS = {'es1': (8, 4), SNP: (5, 3), 'plain': None}
SNP_GUEST = ('KVM_SEV_INIT2', 0x30000)
OPTION = '[libvirt]\nenable_amd_sev_snp = true\n'
FLAVORS = {**scenario.FLAVORS, 'm1.snp': {
    **scenario.SEV, 'hw:mem_encryption_model': 'amd-sev-snp'}}
STATELESS = {**scenario.UEFI, 'hw_firmware_stateless': 'true'}
IMAGES = {**scenario.IMAGES, 'uefi-stateless': STATELESS, 'uefi-snp': {
    **STATELESS, 'hw_mem_encryption': 'true',
    'hw_mem_encryption_model': 'amd-sev-snp'}}
REFUSALS = [('with-nvram', 'm1.snp', 'uefi', 'hw_firmware_stateless=true')]
WITHOUT = [client.provider(SNP),
           client.provider(SNP + '_amd_sev', 5, [], scenario.SEV_TRAIT)]


def find_newer():
    """Return the folder of Debian 13's libvirt and QEMU; get them first."""
    return subprocess.check_output([sys.executable, NEWER],
                                   text=True).strip()


def upgrade_os_traits(cloud):
    """Start Placement again, with an os-traits that knows SEV-SNP."""
    folder = cloud.path('os-traits')
    cloud.command('pip', [
        sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps',
        '--target', folder, 'os-traits==%s' % ROW.os_traits])
    cloud.end_placement()
    cloud.launch_placement(environ={'PYTHONPATH': os.pathsep.join(
        filter(None, [folder, cloud.environ.get('PYTHONPATH')]))})
    cloud.wait_for_placement()


def install_descriptor(cloud, host, usr):
    """Have a host know what firmware of Debian 13 can start."""
    folder = cloud.path('descriptors')
    shutil.copytree(usr + DESCRIPTORS[len('/usr'):], folder,
                    dirs_exist_ok=True)
    shutil.copy(EXAMPLE, folder)
    cloud.on_host(host, 'mount', '--bind', folder, DESCRIPTORS)


class MixedDay(scenario.Scenario):
    """The steps. The host for SEV-SNP has Debian 13's libvirt and QEMU."""

    def start(self, step):
        """The cloud starts; one of its hosts is for SEV-SNP"""
        self.tell('hosts, database, broker and control plane')
        usr = find_newer()
        self.cloud.configure()
        for name, counts in HOSTS.items():
            self.cloud.start_host(name, ['--no-sev'] if counts is None else [
                '--sev-asids', str(counts[0]), '--es-asids', str(counts[1]),
                *(['--snp', '--usr', usr] if name == SNP else [])])
        self.cloud.start()
        install_descriptor(self.cloud, SNP, usr)
        for name in HOSTS:
            self.cloud.start_compute(name, more=OPTION * (name == SNP))
        for name in HOSTS:
            self.cloud.wait(name, lambda name=name: self.users.get_report(
                name))
        step.fact('what the hosts offer',
                  [self.users.look_at_host(name) for name in HOSTS])
        self.check_trees(step, 'while Placement does not know the trait, the '
                         'host for SEV-SNP offers SEV', WITHOUT, [SNP])
        step.check('its log says what to do', 'Upgrade os-traits to %s' %
                   ROW.os_traits in self.cloud.read_log(SNP))
        for name, specs in FLAVORS.items():
            self.users.need_flavor(name, specs)
        for name, properties in IMAGES.items():
            self.users.need_image(name, properties)

    def upgrade_os_traits(self, step):
        """Placement gets another os-traits, and starts again"""
        upgrade_os_traits(self.cloud)
        self.cloud.wait(SNP, lambda: any(
            row['provider'] == SNP + '_amd_sev_snp' and row['traits']
            for row in self.users.get_tree(SNP)))
        self.check_trees(step, 'then it offers SEV-SNP, by itself',
                         self.list_providers(), HOSTS)

    def work(self, step):
        """Servers of all models"""
        self.users.boot('plain', 'm1.plain', 'uefi', 'plain')
        self.users.boot('sev', 'm1.sev', 'uefi', 'es1')
        self.users.boot('sev-there', 'm1.sev', 'uefi', SNP)
        self.users.boot('es', 'm1.es', 'uefi')
        self.users.boot('snp-by-flavor', 'm1.snp', 'uefi-stateless')
        self.users.boot('snp-by-image', 'm1.plain', 'uefi-snp')
        self.check_servers(step, [
            client.guest('plain'),
            client.guest('sev', 'es1_amd_sev', *scenario.SEV_GUEST),
            client.guest('sev-there', SNP + '_amd_sev', *scenario.SEV_GUEST),
            client.guest('es', 'es1_amd_sev_es', *scenario.ES_GUEST),
            client.guest('snp-by-flavor', SNP + '_amd_sev_snp', *SNP_GUEST),
            client.guest('snp-by-image', SNP + '_amd_sev_snp', *SNP_GUEST)])
        self.check_trees(step, 'each has its slot', self.list_providers(
            ['sev'], ['es'], ['sev-there'],
            ['snp-by-flavor', 'snp-by-image']), HOSTS)
        step.fact('what is refused', self.check_conflicts(step, REFUSALS))
        for name, flavor, image, host in (
                ('es-there', 'm1.es', 'uefi', SNP),
                ('snp-elsewhere', 'm1.snp', 'uefi-stateless', 'es1')):
            self.users.boot(name, flavor, image, host)
            status = self.users.wait_for(name).status
            step.check('%s finds no slot on %s' % (name, host),
                       status == 'ERROR' and
                       'No valid host' in self.get_fault(name)[0])
            self.users.delete([name])

    def go_on(self, step):
        """Reboots, a stop and a start"""
        compute, servers = self.users.api.compute, self.users.servers
        compute.reboot_server(servers['snp-by-flavor'], 'HARD')
        compute.reboot_server(servers['es'], 'HARD')
        compute.stop_server(servers['snp-by-image'])
        self.users.wait_for('snp-by-image', 'SHUTOFF')
        compute.start_server(servers['snp-by-image'])
        self.check_servers(step, [
            client.guest('snp-by-flavor', SNP + '_amd_sev_snp', *SNP_GUEST,
                         launches=2),
            client.guest('es', 'es1_amd_sev_es', *scenario.ES_GUEST,
                         launches=2),
            client.guest('snp-by-image', SNP + '_amd_sev_snp', *SNP_GUEST,
                         launches=2)])

    def look_ahead(self, step):
        """What an upgrade to Nova 32 would meet; all is deleted"""
        done = subprocess.run([
            os.path.join(sys.prefix, 'bin', 'nova-mem-encryption'),
            'upgrade-check', *('--config-file=' + self.cloud.path('etc', name)
                               for name in ('nova.conf',
                                            'nova-databases.conf'))],
            capture_output=True, text=True, env=self.cloud.environ)
        found = [line for line in done.stdout.splitlines()
                 if 'which Nova 32 and 33 refuse' in line]
        step.fact('upgrade-check', found or done.stdout + done.stderr)
        servers = self.users.servers
        step.check('it names the flavor and both servers', all(any(
            name in line for line in found) for name in (
                'm1.snp', servers['snp-by-flavor'],
                servers['snp-by-image'])))
        self.users.delete(list(servers))
        self.check_trees(step, 'all slots are free', self.list_providers(),
                         HOSTS)
        step.check('no QEMU is left', not self.cloud.get_guests())

    STEPS = [start, upgrade_os_traits, work, go_on, look_ahead]

    # -- parts of steps ----------------------------------------------------

    def list_providers(self, sev=(), es=(), sev_there=(), snp=()):
        """Return all that Placement has, by who has the slots."""
        return [
            client.provider('es1'),
            client.provider('es1_amd_sev', 8, sev, scenario.SEV_TRAIT),
            client.provider('es1_amd_sev_es', 4, es, scenario.ES_TRAIT),
            client.provider(SNP),
            client.provider(SNP + '_amd_sev', 5, sev_there,
                            scenario.SEV_TRAIT),
            client.provider(SNP + '_amd_sev_snp', 3, snp, SNP_TRAIT),
            client.provider('plain')]
