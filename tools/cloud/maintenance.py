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

"""Do in a cloud what the page on maintenance says, from first to last."""
import os
import re
import shutil
import signal
import sys

import client
import documented
import scenario
import services

HOST, OTHER = documented.HOST, 'es2'
PAGE = 'doc/source/maintenance.rst'
HOSTS = {HOST: (8, 4), OTHER: (8, 4)}
SPLIT = (9, 3)  # of HOST, when its BIOS was set anew
SERVERS = {'web-1': 'm1.sev', 'db-1': 'm1.es', 'cache-1': 'm1.es'}
KINDS = {'m1.sev': ('amd_sev', scenario.SEV_GUEST),
         'm1.es': ('amd_sev_es', scenario.ES_GUEST)}
FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
# All hosts have one address, so Nova takes their disks for those of one host.
SHARED = '[DEFAULT]\ninstances_path = %s\n'


class Page(documented.Pages):
    """The page, and the host that its commands are for.

    :param maintenance: the scenario
    """

    def __init__(self, cloud, users, maintenance):
        super().__init__(cloud, users)
        self.acts = [
            (r'systemctl stop nova-compute$', 'nova-compute ends',
             lambda: cloud.end_compute(HOST)),
            (r'reboot$', 'the imitated host boots', maintenance.boot),
            (r'apt-get install .* ovmf$', 'the host gets a copy of it',
             maintenance.replace_firmware),
            (r'nova-mem-encryption check$', 'on the host',
             maintenance.check_host)]
        self.lines = documented.doc_commands.find_lines(PAGE)

    def run(self, line):
        """Run a command, or do to the host what it would do to a machine."""
        for pattern, outcome, act in self.acts:
            if re.match(pattern, line):
                self.users.tell(line)
                good = act() is not False
                self.tried.append({'command': line, 'outcome': outcome +
                                   ('' if good else ': FAILED')})
                return good
        return super().run(line)

    def follow(self, step, last):
        """Run all up to the first command that begins so, and this."""
        while True:
            line = self.lines.pop(0)
            step.check('each command does as it should', self.run(line))
            if line.startswith(last):
                break
        self.show(step)


class Maintenance(scenario.Scenario):
    """The steps, which are the sections of the page."""

    real = tuple('the commands of the page; ' + text for text in scenario.REAL)
    imitated = tuple('that the host boots, its BIOS and its packages; ' + text
                     for text in scenario.IMITATED)

    def __init__(self, cloud, tell):
        super().__init__(cloud, tell)
        self.page, self.split = None, HOSTS[HOST]

    def start(self, step):
        """The cloud starts, and servers on one of its two hosts"""
        self.tell('hosts, database, broker and control plane')
        self.cloud.configure()
        scenario.start_hosts(self.cloud, HOSTS)
        self.cloud.start()
        os.mkdir(self.cloud.path('instances'))
        for name in HOSTS:
            self.cloud.start_compute(
                name, more=SHARED % self.cloud.path('instances'))
        for name in HOSTS:
            self.cloud.wait(name, lambda name=name: self.users.get_report(
                name))
        self.users.need_image('uefi', scenario.UEFI)
        for name, flavor in SERVERS.items():
            self.users.need_flavor(flavor, scenario.FLAVORS[flavor])
            self.users.boot(name, flavor, 'uefi', HOST)
        self.page = Page(self.cloud, self.users, self)
        self.check_places(step, dict.fromkeys(SERVERS, HOST))

    def empty(self, step):
        """Is there room? The host is emptied"""
        self.page.follow(step, 'openstack server stop cache-1')
        self.users.wait_for('cache-1', 'SHUTOFF')
        self.page.follow(step, 'nova-mem-encryption slots')
        self.check_places(step, {'db-1': OTHER})
        step.check('web-1 is shelved, and has no slot', self.users.wait_for(
            'web-1', 'SHELVED_OFFLOADED').status == 'SHELVED_OFFLOADED' and
            not self.users.get_allocations('web-1'))
        step.check('no guest is left on the host', not self.get_domains())
        step.check('cache-1 has its slot there, and nobody else has one',
                   self.get_used() == ['cache-1'])

    def update_kernel(self, step):
        """A kernel; the servers come back"""
        self.page.follow(step, 'openstack server migration confirm')
        self.check_places(step, dict.fromkeys(SERVERS, HOST))

    def split_anew(self, step):
        """The BIOS splits the ASIDs anew"""
        self.page.follow(step, 'openstack server stop web-1')
        for name in SERVERS:
            self.users.wait_for(name, 'SHUTOFF')
        step.check('no guest is left on the host', not self.get_domains())
        self.split = SPLIT
        self.page.follow(step, 'openstack server start web-1')
        step.check('new servers go elsewhere', not self.is_enabled())
        self.page.follow(step, 'openstack compute service set --enable')
        step.check('new servers may come again', self.is_enabled())
        self.check_places(step, dict.fromkeys(SERVERS, HOST))
        step.check('Placement has the new split', [
            row['slots'] for row in self.users.get_tree(HOST)] == [0, *SPLIT])

    def update_firmware(self, step):
        """OVMF, with a server rebooted; the secure processor"""
        others = [name for name in SERVERS if name != 'db-1']
        before = [self.users.get_qemu(name) for name in others]
        self.page.follow(step, 'apt-get install --only-upgrade amd64-micro')
        self.check_places(step, dict.fromkeys(SERVERS, HOST))
        step.check('the others run on as they were started',
                   [self.users.get_qemu(name) for name in others] == before)

    def lose(self, step):
        """The host is lost; its servers are evacuated; it comes back"""
        self.cloud.end_compute(HOST, signal.SIGKILL)
        self.power_on()
        self.page.follow(
            step, 'openstack --os-compute-api-version 2.56 server evacuate '
            '--wait web-1')
        self.check_places(step, dict.fromkeys(SERVERS, OTHER), lost=HOST)
        self.cloud.launch_compute(HOST, sys.prefix)
        self.cloud.wait(HOST, lambda: not self.get_used())
        self.page.follow(step, 'nova-mem-encryption slots')
        self.check_places(step, dict.fromkeys(SERVERS, OTHER))
        step.check('no guest is on the lost host', not self.get_domains())
        step.check('all of the page was done', not self.page.lines)
        self.users.delete(list(self.users.servers))
        step.check('all slots are free', not any(
            row['used by'] for name in HOSTS
            for row in self.users.get_tree(name)))

    STEPS = [start, empty, update_kernel, split_anew, update_firmware, lose]

    # -- the host ----------------------------------------------------------

    def power_on(self):
        """Have the host boot, with what its BIOS is set to."""
        self.cloud.command('sevhost-' + HOST, [
            sys.executable, services.SEVHOST, 'reboot',
            self.cloud.path('hosts', HOST), '--sev-asids', str(self.split[0]),
            '--es-asids', str(self.split[1])])

    def boot(self):
        """Reboot the host, on which nova-compute starts by itself."""
        if self.cloud.find_compute(HOST):
            self.cloud.end_compute(HOST)
        last = self.users.get_report(HOST)
        self.power_on()
        self.cloud.launch_compute(HOST, sys.prefix)
        self.cloud.wait(HOST, lambda: self.users.get_report(HOST) not in (
            None, last))

    def check_host(self):
        """Check the host by the command; :returns: whether it is ready."""
        self.cloud.command('check', [
            sys.executable, services.SEVHOST, 'exec',
            self.cloud.path('hosts', HOST),
            os.path.join(services.BIN, 'nova-mem-encryption'), 'check',
            '--config-file', self.cloud.path('etc', 'nova.conf'),
            '--config-file', self.cloud.path('etc', HOST + '.conf')], (0, 1))

    def replace_firmware(self):
        """Have another file where the firmware was."""
        path = self.cloud.path('OVMF_CODE_4M.fd')
        shutil.copyfile(FIRMWARE, path)
        self.cloud.on_host(HOST, 'mount', '--bind', path, FIRMWARE)

    def is_enabled(self):
        """Tell whether the scheduler gives servers to the host."""
        service, = self.users.api.compute.services(
            host=HOST, binary='nova-compute')
        return service.status == 'enabled'

    def get_domains(self):
        """Return the names of the guests that run on the host."""
        return self.cloud.on_host(HOST, *client.LIBVIRT, 'list',
                                  '--name').split()

    def get_used(self):
        """Return the servers that have a slot on the host."""
        return sorted(name for row in self.users.get_tree(HOST)
                      for name in row['used by'])

    def check_places(self, step, places, lost=None):
        """Check that servers run where they should, as what they ask for.

        :param places: host, by server
        :param lost: a host on which each still has its slot, too
        """
        rows = []
        for name, host in places.items():
            suffix, (call, policy) = KINDS[SERVERS[name]]
            row = self.users.look(name)
            rows.append(row)
            slots = sorted('%s_%s' % (each, suffix)
                           for each in filter(None, (host, lost)))
            launches = len(row['launched as'])
            step.check('%s runs on %s, with its slot there%s' % (
                name, host, lost and ', and one on ' + lost or ''),
                launches and row['qemu'] and
                dict(row, **{'slot on': sorted(row['slot on'])}) == {
                    **client.guest(name, None, call, policy, launches),
                    'slot on': slots, 'qemu': row['qemu']})
        step.facts.setdefault('the servers', []).extend(rows)
        self.memory = max(self.memory, self.cloud.get_memory())
