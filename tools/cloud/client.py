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

"""Use the cloud as users do, and look at it as operators do."""
import json
import os
import re
import shlex
import subprocess
import time
from xml.etree import ElementTree

import openstack
from openstack import exceptions

import services

SLOT = 'MEM_ENCRYPTION_CONTEXT'
TRAITS = {'HW_CPU_X86_AMD_SEV', 'HW_CPU_X86_AMD_SEV_ES',
          'HW_CPU_X86_AMD_SEV_SNP'}
BEGINNINGS = ('KVM_SEV_INIT', 'KVM_SEV_ES_INIT', 'KVM_SEV_INIT2')
STARTS = ('KVM_SEV_LAUNCH_START', 'KVM_SEV_SNP_LAUNCH_START')
# SEV locks the memory of its guests, so they get little.
FLAVOR = {'ram': 256, 'disk': 1, 'vcpus': 1}
DISK_BYTES = 4 << 20
SERVER_SECONDS, PAUSE = 120, 0.3
LIBVIRT = ('virsh', '-c', 'qemu:///system')
# In the metadata of a domain
WRITTEN = re.compile('<nova:creationTime>.*?</nova:creationTime>')


class Client:
    """What can be done with the cloud, and what is to be seen of it.

    :param cloud: a services.Cloud
    :param tell: called with what is done just now
    """

    def __init__(self, cloud, tell):
        self.cloud, self.tell = cloud, tell
        self.commands = []
        self.servers = {}  # name: ID
        self._flavors, self._images = {}, {}
        self._api = None

    @property
    def api(self):
        if self._api is None:
            self._api = openstack.connection.Connection(
                config=openstack.config.OpenStackConfig(
                    config_files=[self.cloud.clouds_yaml],
                    load_envvars=False).get_one('cloud'))
        return self._api

    def reconnect(self):
        """Forget the connections, as the API was started again."""
        self._api = None

    # -- doing -------------------------------------------------------------

    def openstack(self, line):
        """Run the openstack command.

        :param line: the rest of its command line
        :returns: what it says, from JSON
        """
        self.tell('openstack ' + line)
        self.commands.append('openstack ' + line)
        words = [os.path.join(services.BIN, 'openstack'),
                 '--os-placement-api-version', '1.39', *shlex.split(line)]
        if 'set' not in words:
            words += ['-f', 'json']
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            cwd=self.cloud.folder,
            env=services.enter(self.cloud.folder, services.CONTROLLER)[1])
        if done.returncode:
            raise RuntimeError('openstack %s: %s' % (line, done.stderr))
        return json.loads(done.stdout or 'null')

    def make_disk(self):
        """Make a disk, with nothing on it as no guest runs.

        :returns: its name in the folder of the cloud
        """
        with open(self.cloud.path('disk.raw'), 'wb') as f:
            f.truncate(DISK_BYTES)
        return 'disk.raw'

    def need_flavor(self, name, specs, **sizes):
        """Make a flavor, if it is not there.

        :param sizes: what differs from FLAVOR
        :returns: its ID
        """
        flavor = self.api.compute.find_flavor(name)
        if flavor is None:
            flavor = self.api.compute.create_flavor(
                name=name, **{**FLAVOR, **sizes})
            if specs:
                self.api.compute.create_flavor_extra_specs(flavor, specs)
        self._flavors[name] = flavor.id
        return flavor.id

    def need_image(self, name, properties):
        """Make an image, if it is not there; return its ID."""
        image = self.api.image.find_image(name)
        if image is None:
            image = self.api.image.create_image(
                name, filename=self.cloud.path(self.make_disk()),
                disk_format='raw', container_format='bare', **properties)
        self._images[name] = image.id
        return image.id

    def boot(self, name, flavor, image, host=None):
        """Ask for a server; see wait_for."""
        self.tell('create server ' + name)
        request = {} if host is None else {'host': host}
        self.servers[name] = self.api.compute.create_server(
            name=name, flavor_id=self._flavors[flavor],
            image_id=self._images[image], networks='none', **request).id

    def wait_for(self, name, status='ACTIVE'):
        """Wait until nothing is done with a server any more.

        :returns: the server; its status is ERROR if it went wrong
        """
        self.tell('wait for server ' + name)

        def found():
            server = self.api.compute.get_server(self.servers[name])
            return server.task_state is None and server.status in (
                status, 'ERROR') and server
        return _wait('server %s is not %s' % (name, status), found)

    def delete(self, names):
        """Delete servers, and wait until they are gone."""
        for name in names:
            self.tell('delete server ' + name)
            self.api.compute.delete_server(self.servers[name])
        for name in names:
            _wait('server %s is still there' % name, lambda name=name:
                  not self.api.compute.find_server(self.servers[name]))
            del self.servers[name]

    # -- looking -----------------------------------------------------------

    def get(self, service, path):
        """Return what a service answers, from JSON."""
        response = getattr(self.api, service).get(path)
        exceptions.raise_from_response(response)
        return response.json()

    def get_report(self, host):
        """Return when a nova-compute that is up has last reported itself.

        :returns: a time as text, or None; also if no server could be
            scheduled to it
        """
        mapped = [row['hypervisor_hostname'] for row in self.get(
            'compute', '/os-hypervisors')['hypervisors']]
        for row in self.get('compute', '/os-services?binary=nova-compute')[
                'services']:
            if row['host'] == host in mapped and row['state'] == 'up':
                return row['updated_at']
        return None

    def get_tree(self, host):
        """Return what Placement knows of a host.

        :returns: a list of dicts, as of provider; empty if it is unknown
        """
        names = {number: name for name, number in self.servers.items()}
        path = '/resource_providers'
        roots = self.get('placement', '%s?name=%s' % (path, host))[
            'resource_providers']
        providers = [] if not roots else self.get(
            'placement', '%s?in_tree=%s' % (path, roots[0]['uuid']))[
            'resource_providers']
        tree = []
        for each in sorted(providers, key=lambda each: each['name']):
            inventories, allocations, traits = (
                self.get('placement', '%s/%s/%s' % (
                    path, each['uuid'], what))[what]
                for what in ('inventories', 'allocations', 'traits'))
            tree.append(provider(
                each['name'], inventories.get(SLOT, {}).get('total', 0),
                sorted(names.get(consumer, consumer)
                       for consumer, allocation in allocations.items()
                       if SLOT in allocation['resources']),
                *sorted(TRAITS.intersection(traits))))
        return tree

    def get_placement(self):
        """Return all that Placement has, but for generations.

        :returns: a dict of a dict for each provider, by its name
        """
        names = {number: name for name, number in self.servers.items()}
        path, found = '/resource_providers', {}
        for each in self.get('placement', path)['resource_providers']:
            content = {what: self.get('placement', '%s/%s/%s' % (
                path, each['uuid'], what))[what] for what in (
                'inventories', 'traits', 'aggregates', 'allocations')}
            found[each['name']] = {
                'uuid': each['uuid'],
                'parent': each['parent_provider_uuid'],
                'inventories': content['inventories'],
                'traits': sorted(content['traits']),
                'aggregates': sorted(content['aggregates']),
                'allocations': {
                    names.get(consumer, consumer): allocation['resources']
                    for consumer, allocation in content[
                        'allocations'].items()}}
        return found

    def get_allocations(self, name):
        """Return a server's allocations: of each provider, what."""
        allocations = self.get('placement', '/allocations/' + self.servers[
            name])['allocations']
        return {self.get('placement', '/resource_providers/' + number)['name']:
                allocation['resources']
                for number, allocation in allocations.items()}

    def get_qemu(self, name):
        """Return the QEMU of a server: process, its start; None without."""
        for process, words in self.cloud.get_guests():
            if words[words.index('-uuid') + 1] == self.servers[name]:
                return process.pid, process.create_time()
        return None

    def get_launches(self, name, host):
        """Return what QEMU asked of the kernel to launch a server's guest.

        :returns: the calls that begin it, and the policies, each in order
        """
        calls = [call for call in self.cloud.get_kernel_log(host)
                 if call['guest'] == self.servers[name]]
        return ([call['call'] for call in calls
                 if call['call'] in BEGINNINGS],
                [call['policy'] for call in calls
                 if call['call'] in STARTS])

    def get_domain(self, name, host, *options):
        """Return the domain of a server, but for when Nova wrote it.

        :param options: of 'virsh dumpxml'
        """
        return WRITTEN.sub('', self.cloud.on_host(
            host, *LIBVIRT, 'dumpxml', *options, self.servers[name]))

    def look(self, name):
        """Wait for a server, and look at all there is of it.

        :returns: a dict as of guest, with the process of its QEMU
        """
        server = self.wait_for(name)
        if server.status != 'ACTIVE':
            return dict(guest(name), status=server.status, qemu=None)
        domain = ElementTree.fromstring(self.cloud.on_host(
            server.compute_host, *LIBVIRT, 'dumpxml', self.servers[name]))
        policy = domain.findtext('launchSecurity/policy')
        calls, policies = self.get_launches(name, server.compute_host)
        return {
            'server': name, 'status': server.status,
            'slot on': [each for each, resources in self.get_allocations(
                name).items() if SLOT in resources],
            'libvirt': policy and _hex(int(policy, 0)),
            'kernel': sorted(set(calls)),
            'launched as': list(map(_hex, policies)),
            'qemu': (self.get_qemu(name) or [None])[0]}

    def look_at_host(self, name):
        """Return what a host offers, as its kernel, libvirt and log say."""
        sev = ElementTree.fromstring(self.cloud.on_host(
            name, *LIBVIRT, 'domcapabilities', '--machine', 'q35')).find(
            'features/sev')
        counts = [] if sev is None else [
            '%s=%s' % (count, sev.findtext(count))
            for count in ('maxGuests', 'maxESGuests') if sev.findtext(count)]
        parameters = self.cloud.on_host(
            name, 'sh', '-c', 'cd /sys/module/kvm_amd/parameters; '
            'grep . sev sev_es').split()
        said = [line for line in self.cloud.read_log(name).splitlines()
                if 'AMD SEV' in line]
        return {'host': name,
                'kvm_amd': ' '.join(parameters).replace(':', '='),
                'libvirt': ' '.join(counts) or None,
                'nova-compute': said and said[-1].partition('] ')[2] or None}


def provider(name, slots=0, servers=(), *traits):
    """Return a provider as Client.get_tree does."""
    return {'provider': name, 'slots': slots, 'used by': list(servers),
            'traits': list(traits)}


def guest(name, slot=None, call=None, policy=None, launches=1):
    """Return an ACTIVE server as Client.look does, but for its QEMU.

    :param slot: the provider of its slot
    :param call: what begins a launch of its model in the kernel
    :param policy: its guest policy, a number
    :param launches: how often it was launched
    """
    return {'server': name, 'status': 'ACTIVE',
            'slot on': [] if slot is None else [slot],
            'libvirt': None if policy is None else _hex(policy),
            'kernel': [] if call is None else [call],
            'launched as': [] if policy is None else [_hex(policy)] * launches}


def _hex(policy):
    return '%#06x' % policy


def _wait(complaint, condition):
    end = time.monotonic() + SERVER_SECONDS
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise RuntimeError('%s after %d s' % (complaint, SERVER_SECONDS))
        time.sleep(PAUSE)
