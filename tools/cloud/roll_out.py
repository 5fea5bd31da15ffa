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

"""Have the play etc/ansible/roll-out.yml bring the series to a cloud."""
from concurrent import futures
import glob
import os
import re
import subprocess
import sys

import yaml

import client
import environments
import scenario
import services
import stand_ins

TREE = os.path.dirname(os.path.dirname(services.HERE))
PLAY = os.path.join(TREE, 'etc', 'ansible', 'roll-out.yml')
CONTROLLER = services.CONTROLLER
# In the order of the inventory: how many guests with SEV, and with SEV-ES.
# split cannot have SEV-ES until its BIOS is set otherwise.
HOSTS = {'es1': (8, 4), 'plain': None, 'split': (5, 0), 'es2': (6, 2)}
MENDED = (5, 3)  # split, then
NODES = (CONTROLLER, *HOSTS)
SERVERS = {'sev-on-es1': 'es1', 'sev-on-es2': 'es2'}
NEW = {'es-on-es1': 'es1', 'es-on-split': 'split'}
SEV_GUEST, ES_GUEST = scenario.SEV_GUEST, scenario.ES_GUEST
# In place of systemctl: asks stand_ins.Systemd
SYSTEMCTL = '''\
#!%(python)s
import sys
from urllib import request
sys.exit(int(request.urlopen('/'.join([
    '%(url)s', '%(node)s', *sys.argv[1:]]), b'').read()))
'''
# The Python of a node, for Ansible, in the namespaces of the node
PYTHON = '''\
#!/bin/sh
PATH=%(folder)s:$PATH
exec %(enter)s %(python)s "$@"
'''
TASK = re.compile(r'TASK \[(.*)\]|'
                  r'(ok|changed|skipping|failed|fatal): \[(\w+)\]')
RECAP = re.compile(r'^(\w+) +: ok=\d+ +changed=(\d+) +unreachable=0 +'
                   r'failed=(\d+)', re.M)
TAIL = 25  # lines of what Ansible prints


class Played:
    """What ansible-playbook did, by what it printed."""

    def __init__(self, code, text, restarts):
        self.code, self.text = code, text
        self.restarts = restarts  # names of nodes, in order
        recap = RECAP.findall(text)
        self.changed = {node: int(count) for node, count, _ in recap}
        self.failed = [node for node, _, count in recap if int(count)]
        self.tasks = []  # of those not skipped: (node, task, outcome)
        task = None
        for name, outcome, node in TASK.findall(text):
            task = name or task
            if node and outcome != 'skipping':
                self.tasks.append((node, task, outcome))

    @property
    def nodes(self):
        """The nodes that had a turn, in order."""
        return list(dict.fromkeys(node for node, _, _ in self.tasks))

    def has(self, node, *names):
        """Tell whether a node had these tasks, in this order."""
        had = iter(task for each, task, _ in self.tasks if each == node)
        return all(name in had for name in names)


class RollOut(scenario.Scenario):
    """The steps of the roll-out by Ansible."""

    real = tuple(text.replace('with the series from its wheel',
                              'with ansible-core and the wheel of the series')
                 for text in scenario.REAL)
    imitated = tuple('systemd; ' + text for text in scenario.IMITATED)

    def __init__(self, cloud, tell):
        super().__init__(cloud, tell)
        self.systemd = stand_ins.Systemd(self.systemctl)
        self.restarts = []
        self.qemus = {}

    # -- steps -------------------------------------------------------------

    def start(self, step):
        """The cloud starts; the series is on none of its nodes"""
        self.tell('an environment for each node')
        self.cloud.configure()
        self.make_nodes()
        step.check('no node has the package', not any(
            map(self.has_package, NODES)))
        self.tell('hosts, database, broker and control plane')
        with futures.ThreadPoolExecutor() as pool:
            hosts = pool.submit(scenario.start_hosts, self.cloud, HOSTS)
            self.cloud.start(self.prefix(CONTROLLER))
            hosts.result()
        for name in HOSTS:
            self.cloud.start_compute(name, prefix=self.prefix(name),
                                     driver=services.NOVAS)
        for name in HOSTS:
            self.cloud.wait(name, lambda name=name:
                            self.users.get_report(name))
        step.fact('what the hosts offer',
                  [self.users.look_at_host(name) for name in HOSTS])
        self.check_trees(step, 'slots and trait are on the roots', [
            row for name in HOSTS for row in self.old(name)], HOSTS)

    def boot_before(self, step):
        """SEV servers on two of the hosts"""
        self.users.need_flavor('m1.sev', scenario.FLAVORS['m1.sev'])
        self.users.need_image('uefi', scenario.IMAGES['uefi'])
        for name, host in SERVERS.items():
            self.users.boot(name, 'm1.sev', 'uefi', host)
        self.check_servers(step, [client.guest(name, host, *SEV_GUEST)
                                  for name, host in SERVERS.items()])
        self.qemus = self.get_qemus()

    def try_out(self, step):
        """ansible-playbook --check: what would be done"""
        before = self.get_computes()
        nodes = [CONTROLLER, 'es1']
        played = self.play(step, '--check', '--limit=' + ','.join(nodes))
        step.check('it ends well, and would copy the package', all(
            (name, 'Copy the package', 'changed') in played.tasks
            for name in nodes) and not played.code)
        step.check('nothing was done: no package, no line of nova.conf, no '
                   'restart', not played.restarts and
                   self.get_computes() == before and not any(
                       self.has_package(name) or self.has_driver(name)
                       for name in nodes))

    def stop_at_first(self, step):
        """The play stops at split, which check refuses"""
        before = self.get_computes()
        played = self.play(step)
        step.check('the exit status is not 0, and split is what failed',
                   played.code and played.failed == ['split'])
        step.check('it says why, and what to do: the BIOS',
                   'split: the last ASID is 5' in ' '.join(
                       played.text.split()) and
                   'Minimum SEV non-ES ASID' in played.text)
        step.check('control plane first, then the compute hosts one after '
                   'the other, in their order', played.nodes ==
                   [CONTROLLER, 'es1', 'plain', 'split'])
        step.check('each was asked before it was restarted', played.has(
            CONTROLLER, 'Stop if it does not', 'Restart the services') and
            played.has('plain', 'Stop if it does not',
                       'Restart nova-compute') and
            played.has('es1', 'Check the host', 'Restart nova-compute'))
        step.check('controller, es1 and plain were restarted, once each',
                   played.restarts == [CONTROLLER, 'es1', 'plain'])
        self.check_done(step, ['es1', 'plain'])
        for name in ('split', 'es2'):
            step.check('%s is not touched: the same nova-compute, the same '
                       'nova.conf' % name, not self.has_driver(name) and
                       self.get_computes()[name] == before[name])
        step.check('es2 does not have the package',
                   not self.has_package('es2'))
        self.check_roots(step, ['es1'])

    def mistake(self, step):
        """On es2 the command that is to restart does nothing, by mistake"""
        before = self.get_computes()
        played = self.play(
            step, '--limit=es2', '-e', 'nova_mem_encryption_restart_compute='
            'true', '-e', 'nova_mem_encryption_tries=1')
        step.check('the play fails there: Placement does not have the '
                   'providers', played.code and played.failed == ['es2'] and
                   'placement: the root provider has 6 slots' in ' '.join(
                       played.text.split()))
        step.check('it is the same nova-compute',
                   self.get_computes() == before)
        self.check_roots(step, ['es1'])

    def mend(self, step):
        """The BIOS of split is set, and it boots; the play goes through"""
        self.cloud.end_compute('split')
        self.cloud.command('sevhost-split', [
            sys.executable, services.SEVHOST, 'reboot',
            self.cloud.path('hosts', 'split'), '--sev-asids', str(MENDED[0]),
            '--es-asids', str(MENDED[1])])
        self.cloud.launch_compute('split', self.prefix('split'))
        before = self.get_computes()
        played = self.play(step)
        step.check('it ends well, for all nodes', played.code == 0 and
                   played.nodes == list(NODES))
        step.check('only split and es2 were restarted, in this order',
                   played.restarts == ['split', 'es2'])
        step.check('nothing changed on those that were done', [
            node for node, count in played.changed.items() if count] ==
            ['es2', 'split'])
        step.check('their nova-compute are the same', all(
            self.get_computes()[name] == before[name]
            for name in ('es1', 'plain')))
        self.check_done(step, list(HOSTS))
        self.check_roots(step, ['es1', 'split', 'es2'], {'split': MENDED})

    def use(self, step):
        """SEV-ES servers on the hosts that are new to it"""
        self.users.need_flavor('m1.es', scenario.FLAVORS['m1.es'])
        for name, host in NEW.items():
            self.users.boot(name, 'm1.es', 'uefi', host)
        self.check_servers(step, [
            client.guest(name, host + '_amd_sev_es', *ES_GUEST)
            for name, host in NEW.items()])
        self.users.delete(list(self.users.servers))
        step.check('no QEMU is left', not self.cloud.get_guests())

    STEPS = [start, boot_before, try_out, stop_at_first, mistake, mend, use]

    # -- nodes -------------------------------------------------------------

    def prefix(self, node):
        """Return the folder of a node's environment."""
        return self.cloud.path('nodes', 'nova-' + node)

    def make_nodes(self):
        """Make for each node an environment with Nova and not the series."""
        bare = self.cloud.path('nodes', 'nova')
        environments.copy(sys.prefix, bare)
        self.pip(bare, 'uninstall', '-y', 'nova-mem-encryption')
        self.pip(sys.prefix, 'wheel', '--no-deps', '--no-build-isolation',
                 '--no-index', '-w', self.cloud.path('wheels'), TREE)
        groups = {'nova_control': {}, 'nova_compute': {}}
        for name in NODES:
            environments.copy(bare, self.prefix(name))
            self.cloud.configure_nova(self.prefix(name))
            group = 'nova_compute' if name in HOSTS else 'nova_control'
            groups[group][name] = self.describe(name)
        wheel, = glob.glob(self.cloud.path('wheels', '*.whl'))
        self.cloud.write(yaml.safe_dump({'all': {
            'vars': {'ansible_connection': 'local', 'ansible_become': False,
                     'nova_mem_encryption_package': wheel,
                     'nova_mem_encryption_pause': 3},
            'children': {group: {'hosts': hosts} for group, hosts
                         in groups.items()}}}, sort_keys=False),
            'etc', 'inventory.yml')

    def describe(self, node):
        """Return the variables of a node in the inventory."""
        prefix = self.prefix(node)
        folder = self.cloud.path('nodes', node)
        enter = ''
        if node in HOSTS:
            enter = '%s %s exec %s' % (sys.executable, services.SEVHOST,
                                       self.cloud.path('hosts', node))
        values = {'python': prefix + '/bin/python', 'url': self.systemd.url,
                  'node': node, 'folder': folder, 'enter': enter}
        for name, text in (('systemctl', SYSTEMCTL), ('python', PYTHON)):
            os.chmod(self.cloud.write(text % values, folder, name), 0o755)
        described = {
            'ansible_python_interpreter': folder + '/python',
            'nova_mem_encryption_bin': prefix + '/bin',
            'nova_mem_encryption_folder': folder + '/roll-out'}
        if node in HOSTS:
            described['nova_mem_encryption_conf'] = self.conf(node)
            described['nova_mem_encryption_check_options'] = (
                '--config-file %s.conf --config-file %s' % (
                    self.cloud.path('etc', os.path.basename(prefix)),
                    self.conf(node)))
            if HOSTS[node] is None:
                described['nova_mem_encryption_sev_es'] = False
        return described

    def pip(self, prefix, *words):
        self.cloud.command('pip', [
            prefix + '/bin/python', '-m', 'pip', '-q',
            '--disable-pip-version-check', *words])

    def conf(self, host):
        return self.cloud.path('etc', host + '.conf')

    def has_package(self, node):
        return bool(glob.glob(
            self.prefix(node) + '/lib/*/*/nova_mem_encryption*'))

    def has_driver(self, node):
        """Tell whether nova.conf of a host has the line of the series."""
        if node not in HOSTS:
            return False
        with open(self.conf(node), encoding='utf-8') as f:
            return services.OURS in f.read()

    def systemctl(self, node, verb, *names):
        """Do what systemctl is asked for on a node.

        :returns: exit status
        """
        if verb == 'is-active':
            ended = self.cloud.get_ended()
            return 3 if any(each.startswith(name + ' ended') for each in ended
                            for name in (*names, node)) else 0
        self.restarts.append(node)
        if node in HOSTS:
            self.cloud.end_compute(node)
            self.cloud.launch_compute(node, self.prefix(node))
        else:
            self.cloud.end_nova()
            self.cloud.launch_nova(self.prefix(node))
            self.cloud.wait_for_nova()
            self.users.reconnect()
        return 0

    # -- parts of steps ----------------------------------------------------

    def play(self, step, *options):
        """Run the play; its output is also in the folder of logs."""
        command = ['ansible-playbook', '-i', self.cloud.path(
            'etc', 'inventory.yml'), *options, PLAY]
        self.tell(' '.join(map(os.path.basename, command)))
        del self.restarts[:]
        done = subprocess.run(
            [os.path.join(services.BIN, command[0]), *command[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, cwd=self.cloud.folder, env={
                **self.cloud.environ, 'PATH': services.PATH,
                'ANSIBLE_NOCOLOR': '1', 'ANSIBLE_PIPELINING': '1'},
            start_new_session=True)
        with open(self.cloud.path('log', 'ansible.log'), 'a') as f:
            f.write(done.stdout)
        played = Played(done.returncode, done.stdout, list(self.restarts))
        step.fact('the play', [' '.join(
            [command[0], '-i INVENTORY', *options, os.path.basename(PLAY)])])
        step.fact('exit status', str(played.code))
        step.fact('what it did', [
            {'node': node, 'tasks': len(tasks), 'last': tasks[-1][0],
             'changed': list(dict.fromkeys(
                 task for task, outcome in tasks if outcome == 'changed'))}
            for node in played.nodes for tasks in [[
                each[1:] for each in played.tasks if each[0] == node]]])
        return played

    def check_done(self, step, hosts):
        """Check that nodes run with the series, and servers as before."""
        step.check('all that were restarted log that the series is applied',
                   all(map(self.get_applied, (*services.CONTROL, *hosts))))
        step.check('nova.conf of those with SEV-ES has %s' % services.OURS,
                   all(self.has_driver(name) for name in hosts
                       if HOSTS[name] is not None))
        step.check('the same QEMU processes run, launched as often',
                   self.get_qemus() == self.qemus)

    def check_roots(self, step, done, counts=()):
        """Check that a provider for each model is where the series is."""
        counts = {**HOSTS, **dict(counts)}
        expected = []
        for name in HOSTS:
            if name not in done:
                expected += self.old(name)
                continue
            sev, es = counts[name]
            expected += [
                client.provider(name),
                client.provider(name + '_amd_sev', sev, self.on(name),
                                scenario.SEV_TRAIT),
                client.provider(name + '_amd_sev_es', es, [],
                                scenario.ES_TRAIT)]
        self.check_trees(step, '%s: a provider for each model' % ', '.join(
            done), expected, HOSTS)

    def old(self, name):
        """Return the providers of a host without the series."""
        if HOSTS[name] is None:
            return [client.provider(name)]
        return [client.provider(name, HOSTS[name][0], self.on(name),
                                scenario.SEV_TRAIT)]

    def on(self, host):
        return [name for name, where in SERVERS.items()
                if where == host and name in self.users.servers]

    def get_qemus(self):
        return {name: (self.users.get_qemu(name), self.users.get_launches(
            name, host)) for name, host in SERVERS.items()}

    def get_computes(self):
        return {name: self.cloud.find_compute(name) for name in HOSTS}
