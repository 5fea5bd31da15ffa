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

"""Make servers wrong behind Nova, and see that a command finds each."""
import json
import re
import subprocess

import client
import services

# Server: how it is made wrong, and by what it is to be found
WRONG = {'less': 'less', 'slotless': 'no-slot', 'misplaced': 'wrong-provider'}
DIFFERING = 'nova_mem_encryption_servers_differing'
# nova-compute looks once a minute.
SECONDS = 180


class Audit:
    """Servers of a host that are not what they ask for.

    :param cloud: a services.Cloud
    :param users: a client.Client of it
    :param host: the host
    """

    def __init__(self, cloud, users, host):
        self.cloud, self.users, self.host = cloud, users, host

    def run(self, *args):
        """Run the command; return its exit status and what it prints."""
        done = subprocess.run(
            [services.BIN + '/nova-mem-encryption', 'servers', *args, *(
                '--config-file=' + self.cloud.path('etc', name)
                for name in ('nova.conf', 'nova-databases.conf'))],
            capture_output=True, text=True, env=self.cloud.environ)
        return done.returncode, done.stdout, done.stderr

    def find(self):
        """Return what does not agree: server to its kinds.

        :raises RuntimeError: if the command cannot tell
        """
        names = {number: name for name, number in self.users.servers.items()}
        code, out, err = self.run('--json')
        if code not in (0, 1):
            raise RuntimeError('servers: exit status %d: %s' % (code, err))
        return {names.get(row['uuid'], row['uuid']): [
            problem['kind'] for problem in row['problems']]
            for row in json.loads(out)['servers']
            if row['problems']}

    def try_it(self, step):
        """Make three of four servers wrong, one after the other."""
        for name in ('right', *WRONG):
            self.users.boot(name, 'm1.es', 'uefi', self.host)
        for name in ('right', *WRONG):
            self.users.wait_for(name)
        # What runs is seen when nova-compute has looked with the series.
        self.wait(lambda: self.run()[0] == 0)
        code, out, err = self.run()
        step.check('four servers of SEV-ES run on %s, and all agrees' %
                   self.host, code == 0 and '4 servers, 0 with' in out)
        expected = {}
        for name, kind in WRONG.items():
            getattr(self, 'make_' + name)(self.users.servers[name])
            expected[name] = [kind]
            self.wait(lambda: self.find() == expected)
            step.check('%s: found as %s, and nothing else' % (name, kind),
                       self.find() == expected)
        code, out, err = self.run()
        step.fact('the command', out or err)
        step.check('the exit status says that something does not agree',
                   code == 1)
        metrics = self.run('--prometheus')[1]
        step.fact('metrics', '\n'.join(
            line for line in metrics.splitlines() if self.host in line))
        found = dict(re.findall(
            r'^%s\{host="%s",problem="(.*)"\} (.*)$' % (
                DIFFERING, self.host), metrics, re.MULTILINE))
        step.check('the metrics count each kind', {
            kind for kind, value in found.items() if float(value)} ==
            set(WRONG.values()))
        self.users.api.compute.reboot_server(
            self.users.servers['less'], 'HARD')
        del expected['less']
        self.wait(lambda: self.find() == expected)
        step.check('less: rebooted hard, it agrees again',
                   self.find() == expected)
        self.users.delete(['right', *WRONG])
        step.check('deleted, nothing is left that does not agree',
                   self.find() == {} and self.run()[0] == 0)

    def wait(self, condition):
        """Wait for it, but not for ever: it is checked afterwards."""
        try:
            self.cloud.wait(self.host, condition, SECONDS)
        except services.Failed:
            pass

    def make_less(self, server):
        """Have a guest run with SEV in place of SEV-ES."""
        self.users.tell('virsh: a guest of SEV-ES becomes one of SEV')
        self.cloud.on_host(self.host, 'sh', '-ec', (
            'v="virsh -c qemu:///system"; $v dumpxml --inactive {0} |'
            'sed s/0x0037/0x0033/ >{1}; $v destroy {0}; $v define {1};'
            '$v start {0}').format(server, self.cloud.path('less.xml')))

    def make_slotless(self, server):
        """Take the slot of a server away."""
        self._allocate(server, lambda own: None)

    def make_misplaced(self, server):
        """Give a server a slot of the other model."""
        self._allocate(server, lambda own: own.replace('_es', ''))

    def _allocate(self, server, place):
        """Move the slot of a server.

        :param place: given the name of its provider, returns that of another,
            None for none
        """
        path = '/allocations/' + server
        found = self.users.get('placement', path)
        own, = [number for number, each in found['allocations'].items()
                if client.SLOT in each['resources']]
        moved = {number: {'resources': each['resources']} for number, each
                 in found['allocations'].items() if number != own}
        name = place(self.users.get(
            'placement', '/resource_providers/' + own)['name'])
        if name is not None:
            number = self.users.get(
                'placement', '/resource_providers?name=' + name)[
                'resource_providers'][0]['uuid']
            moved[number] = {'resources': {client.SLOT: 1}}
        # NOTE: from 1.38 on a consumer has a type, and Nova 31 gives none.
        found.pop('consumer_type', None)
        response = self.users.api.placement.put(
            path, json={**found, 'allocations': moved}, microversion='1.37')
        if response.status_code != 204:
            raise RuntimeError(response.text)
