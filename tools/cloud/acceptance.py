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

"""Run OpenStack's own acceptance suite, Tempest, on servers of a model."""
import collections
import configparser
import glob
import importlib
import json
import os
import shutil
import subprocess
import sys

import client
import mixed_day
import neutron
import scenario
import services

from nova_mem_encryption.engine import tree

VERSION = '47.0.0'
PYTHON = (3, 10)  # the first that it is for
TREE = os.path.dirname(os.path.dirname(services.HERE))
# Tempest's own environment
FOLDER = os.path.join(sys.prefix, 'tempest')
RUN = os.path.join(services.HERE, 'run_tempest.py')
PIP_LOG = 'tempest-pip.log'
tree.tree()
models = importlib.import_module(
    'nova_mem_encryption.nova.mem_encryption.models')
PLAIN = 'none'
MODELS = (PLAIN, *models.MODELS)
GUESTS = {'amd-sev': scenario.SEV_GUEST, 'amd-sev-es': scenario.ES_GUEST,
          'amd-sev-snp': mixed_day.SNP_GUEST}
# Two hosts, and slots for what runs at the same time. Tempest disables all
# hosts but two, and leaves them so.
HOSTS = {'es1': (16, 16), 'es2': (16, 16)}
# The tests of a few minutes: what starts a server again, moves it, or changes
# its disk
SELECTION = (
    r'^tempest\.api\.compute\.('
    r'servers\.test_server_actions\.ServerActionsTest|'
    r'servers\.test_server_rescue\.|'
    r'admin\.test_migrations\.\w+\.test_(revert_)?cold_migration\[)')
CONCURRENCY = 3
SIZES = {'tempest': {'ram': 128}, 'tempest-alt': {'ram': 192}}
COMPUTE = '''\
[DEFAULT]
# All hosts have one address, so Nova takes their disks for those of one host.
instances_path = {folder}/instances
# Neutron, a stand-in, tells of no event.
vif_plugging_is_fatal = false
vif_plugging_timeout = 0
[libvirt]
# No guest runs, and none gives up a device.
device_detach_attempts = 2
device_detach_timeout = 3
# Else each snapshot of a disk has all of its size.
snapshot_image_format = qcow2
'''
# What is not tested, and why
WITHOUT = {
    'console_output': 'no guest runs, and writes to its console',
    'live_migration': 'all hosts are one machine; with memory encryption '
                      'Nova has none',
    'vnc_console': 'the hosts would contend for the same ports',
    'ide_bus': 'the machine type q35 has no IDE',
    'metadata_service': 'Neutron, which brings it to guests, is a stand-in',
}
SUSPEND = {'suspend': 'a guest with encrypted memory cannot be saved'}
FINISHES = ('KVM_SEV_LAUNCH_FINISH', 'KVM_SEV_SNP_LAUNCH_FINISH')
# Of a host; each is of a guest
LOGS = 'log/qemu/*.log*'
STARTED = 'starting up libvirt version'
# Their exit status tells
COMMANDS = [('nova-mem-encryption', 'servers'),
            ('nova-mem-encryption', 'upgrade-check'),
            ('nova-status', 'upgrade', 'check'),
            ('nova-manage', 'placement', 'audit')]


def get_missing():
    """Yield what this machine lacks for it, each a line with the remedy."""
    if not os.path.exists('/dev/net/tun'):
        yield '/dev/net/tun is missing: modprobe tun'
    if not shutil.which('ip', path=services.PATH):
        yield 'ip is missing: apt-get install iproute2'


def get_without(row):
    """Return what servers of a model are not tested for: name to reason."""
    return WITHOUT if row is None else {**WITHOUT, **SUSPEND}


def get_extra_specs(row):
    """Return those of a flavor."""
    return {} if row is None else {
        'hw:mem_encryption': 'true', 'hw:mem_encryption_model': row.value}


def get_properties(row):
    """Return those of an image."""
    if row is None:
        return scenario.UEFI
    return {**(mixed_day.STATELESS if row.firmware.kind.stateless
               else scenario.UEFI),
            'hw_mem_encryption': 'true', models.PROPERTY: row.value}


def summarise(calls):
    """Return how guests were launched, of what the kernel was asked.

    :param calls: a list of dicts, as services.Cloud.get_kernel_log returns
    :returns: a Counter of (what begins it, policy in hexadecimal, whether it
        was brought to its end)
    """
    begun, found = {}, collections.Counter()

    def end(guest, finished):
        if guest in begun or finished:
            found[(*begun.pop(guest, (None, None)), finished)] += 1

    for call in calls:
        guest, name = call.get('guest'), call['call']
        if name in client.BEGINNINGS:
            end(guest, False)
            begun[guest] = (name, None)
        elif name in client.STARTS:
            begun[guest] = (begun.get(guest, (None,))[0],
                            '%#06x' % call['policy'])
        elif name in FINISHES:
            end(guest, True)
    for guest in list(begun):
        end(guest, False)
    return found


class Acceptance(scenario.Scenario):
    """The steps.

    :param row: of models.MODELS, what all servers are to have; None for none
    :param pattern: a regular expression of the tests to run; None for all
    :param concurrency: how many processes run tests
    """

    def __init__(self, cloud, tell, row, pattern, concurrency):
        super().__init__(cloud, tell)
        self.row, self.pattern = row, pattern
        self.concurrency = concurrency
        self.flavors, self.images = [], []  # IDs
        self.value = PLAIN if row is None else row.value
        self.title = 'Tempest %s, servers with %s' % (VERSION, self.value)
        self.real = tuple('Tempest; ' + text for text in scenario.REAL)
        self.imitated = tuple(text.replace(
            'Neutron, which has nothing in it', 'Neutron, whose ports are tap '
            'devices that end in nothing') for text in scenario.IMITATED)

    def start(self, step):
        """The cloud starts; Tempest is installed"""
        self.tell('hosts, database, broker and control plane')
        self.cloud.configure()
        environment = self.install()
        needs_snp = self.row is not None and self.row.needs_snp
        usr = mixed_day.find_newer() if needs_snp else '/usr'
        os.mkdir(self.cloud.path('instances'))
        scenario.start_hosts(self.cloud, HOSTS, usr,
                             ['--snp'] if needs_snp else [])
        self.cloud.start()
        if needs_snp:
            mixed_day.upgrade_os_traits(self.cloud)
            for name in HOSTS:
                mixed_day.install_descriptor(self.cloud, name, usr)
        for name in HOSTS:
            self.cloud.start_compute(name, more=COMPUTE.format(
                folder=self.cloud.folder) + mixed_day.OPTION * needs_snp)
        for name in HOSTS:
            self.cloud.wait(name, lambda name=name: self.users.get_report(
                name))
        step.fact('what the hosts offer',
                  [self.users.look_at_host(name) for name in HOSTS])
        if self.row is not None:
            slots = self.get_slots()
            step.fact('slots', slots)
            step.check('both hosts offer %s' % self.row.title,
                       [row['provider'] for row in slots
                        if self.row.trait in row['traits']] == [
                            '%s_%s' % (name, self.row.suffix)
                            for name in HOSTS])
        self.tell('Tempest %s is installed in %s' % (VERSION, FOLDER))
        if environment.wait():
            raise services.Failed('Tempest %s cannot be installed' % VERSION,
                                  self.cloud.path('log', PIP_LOG))
        self.configure(step)

    def test(self, step):
        """Tempest runs"""
        log = self.cloud.path('log', 'tempest-stderr.log')
        with open(log, 'wb') as f:
            process = subprocess.Popen(
                [os.path.join(FOLDER, 'bin', 'python'), RUN,
                 self.cloud.path('tempest', 'stestr'), self.value,
                 str(self.concurrency), *filter(None, [self.pattern])],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=f,
                text=True, start_new_session=True, env={
                    **self.cloud.environ, 'no_proxy': '127.0.0.1',
                    'TEMPEST_CONFIG': self.cloud.path('etc', 'tempest.conf'),
                    'PYTHONPATH': os.pathsep.join((
                        os.path.join(TREE, 'tools', 'nova_tests'), TREE))})
        line = ''
        for line in process.stdout:
            self.tell(line.strip())
        if process.wait():
            raise services.Failed('run_tempest.py ended with code %d' %
                                  process.returncode, log)
        found = json.loads(line)
        step.fact('tests', '%(passed)d passed, %(failed)d failed, '
                  '%(skipped)d skipped' % found)
        # As tools/nova_tests has it, for whoever adds up
        self.totals = '%d passed, %d failed, %d skipped' % (
            found['passed'], len(found['wrong']), found['skipped'])
        step.fact('fail, and are listed', [
            {'test': test, 'reason': reason}
            for test, reason in found['listed'].items()])
        step.fact('switched off', [
            {'feature': name, 'reason': reason} for name, reason
            in get_without(self.row).items()])
        step.fact('skipped', [
            {'tests': str(number), 'reason': reason} for reason, number
            in sorted(found['reasons'].items(), key=lambda item: -item[1])])
        step.fact('the slowest', ', '.join(
            '%s (%.0f s)' % (test.rpartition('.')[2], seconds)
            for test, seconds in found['slowest']))
        if found['wrong']:
            step.fact('tracebacks', self.cloud.write(
                '\n\n'.join(found['wrong']), 'log', 'tempest-wrong.log'))
        for text in found['wrong']:
            step.check(text.partition('\n')[0], False)
        step.check('no other test failed', not found['wrong'])
        step.check('tests passed', found['passed'])
        self.memory = self.cloud.get_memory()

    def look(self, step):
        """What Tempest leaves, and how guests were launched"""
        launches, started = collections.Counter(), 0
        for name in HOSTS:
            launches += summarise(self.cloud.get_kernel_log(name))
            started += self.count_started(name)
        step.fact('launches', [
            {'call': call, 'policy': policy, 'finished': str(finished),
             'number': str(number)}
            for (call, policy, finished), number in launches.items()])
        step.fact('QEMU', 'was started %d times' % started)
        step.check('QEMU was started', started)
        step.check('every guest is launched as %s' % self.value
                   if self.row else 'no guest is launched encrypted',
                   dict(launches) == self.get_expected(started))
        compute = self.users.api.compute
        left = [server.name for server in compute.servers(all_projects=True)]
        step.check('no server is left: %s' % ', '.join(left or ['none']),
                   not left)
        step.check('Placement has no allocation', not any(
            provider['allocations']
            for provider in self.users.get_placement().values()))
        step.check('no QEMU is left', not self.cloud.get_guests())
        step.check('no network device is left',
                   not services.get_devices(self.cloud.folder))
        step.check('both hosts are up and enabled', [
            (each['state'], each['status']) for each in self.users.get(
                'compute', '/os-services?binary=nova-compute')['services']
        ] == len(HOSTS) * [('up', 'enabled')])
        # Nova 32 refuses those of SEV-SNP, which upgrade-check would tell.
        for flavor in self.flavors:
            compute.delete_flavor(flavor)
        for image in self.images:
            self.users.api.image.delete_image(image)
        for words in COMMANDS:
            code, said = self.run(*words)
            if code:
                step.fact(' '.join(words), said)
            step.check('%s finds nothing' % ' '.join(words), code == 0)
        slots = json.loads(self.run('nova-mem-encryption', 'slots',
                                    '--json')[1])['slots']
        step.check('all slots are free', slots and all(
            not row['used'] and not row['foreign'] for row in slots))

    STEPS = [start, test, look]

    # -- parts of steps ----------------------------------------------------

    def install(self):
        """Begin to make Tempest's environment; return the process."""
        ready = os.path.join(FOLDER, VERSION)
        with open(self.cloud.path('log', PIP_LOG), 'wb') as f:
            return subprocess.Popen(
                ['sh', '-ec', 'test -e "$2" || { rm -rf "$1"; '
                 '"$0" -m venv "$1"; "$1/bin/python" -m pip '
                 '--disable-pip-version-check install -c "$3" "$4"; '
                 'touch "$2"; }', sys.executable, FOLDER, ready,
                 os.path.join(TREE, 'constraints-2025.1.txt'),
                 'tempest==' + VERSION],
                stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                start_new_session=True, env={
                    **os.environ, services.MARK: self.cloud.folder})

    def configure(self, step):
        """Make flavors and images, and write the configuration."""
        self.flavors = [self.users.need_flavor(
            name, get_extra_specs(self.row), **sizes)
            for name, sizes in SIZES.items()]
        self.images = [self.users.need_image(name, {
            'visibility': 'public', **get_properties(self.row)})
            for name in SIZES]
        step.fact('flavors have', ', '.join(
            '%s=%s' % item for item in get_extra_specs(self.row).items()))
        step.fact('images have', ', '.join(
            '%s=%s' % item for item in get_properties(self.row).items()))
        conf = configparser.ConfigParser(interpolation=None)
        conf.read_dict(self.get_settings())
        with open(self.cloud.path('etc', 'tempest.conf'), 'w') as f:
            conf.write(f)

    def get_settings(self):
        """Return what is in tempest.conf, by section."""
        auth = self.users.api.config.auth
        return {
            'DEFAULT': {'debug': True, 'use_stderr': False, 'log_file':
                        self.cloud.path('log', 'tempest.log')},
            'oslo_concurrency': {'lock_path': self.cloud.path('locks')},
            'auth': {'use_dynamic_credentials': True,
                     'create_isolated_networks': True,
                     'admin_username': auth['username'],
                     'admin_password': auth['password'],
                     'admin_project_name': auth['project_name'],
                     'admin_domain_name': 'Default'},
            'identity': {'auth_version': 'v3', 'region': 'cloud',
                         'uri_v3': self.cloud.identity},
            'identity-feature-enabled': {'api_v2': False},
            'service_available': {
                'nova': True, 'glance': True, 'neutron': True,
                'placement': True, 'cinder': False, 'swift': False},
            'compute': {
                'flavor_ref': self.flavors[0],
                'flavor_ref_alt': self.flavors[1],
                'image_ref': self.images[0], 'image_ref_alt': self.images[1],
                'min_compute_nodes': len(HOSTS), 'hypervisor_type': 'QEMU',
                **self.get_microversions('compute')},
            'compute-feature-enabled': {
                'resize': True, 'cold_migration': True,
                'shelve_migrate': True, 'stable_rescue': True,
                'hostname_fqdn_sanitization': True, 'suspend': True,
                **dict.fromkeys(get_without(self.row), False)},
            'network': {'project_network_cidr': '10.100.0.0/16'},
            'network-feature-enabled': {
                'ipv6': False, 'floating_ips': False,
                'api_extensions': ','.join(neutron.EXTENSIONS)},
            'validation': {'run_validation': False},
            'placement': self.get_microversions('placement')}

    def get_microversions(self, service):
        """Return what a service has, as Tempest is told."""
        data = getattr(self.users.api, service).get_endpoint_data()
        return {name + '_microversion': '%d.%d' % getattr(
            data, name + '_microversion') for name in ('min', 'max')}

    def get_slots(self):
        return [row for name in HOSTS for row in self.users.get_tree(name)]

    def get_expected(self, number):
        """Return what summarise is to return for a number of launches."""
        if self.row is None:
            return {}
        call, policy = GUESTS[self.row.value]
        return {(call, '%#06x' % policy, True): number}

    def count_started(self, host):
        """Return how often libvirt has started QEMU for a guest."""
        number = 0
        for path in glob.glob(self.cloud.path('hosts', host, LOGS)):
            with open(path, encoding='utf-8', errors='replace') as f:
                number += f.read().count(STARTED)
        return number

    def run(self, *words):
        """Run a command on the controller; return status and output."""
        way, environ = services.enter(self.cloud.folder, services.CONTROLLER)
        done = subprocess.run(
            [*way, *words], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, env=environ)
        return done.returncode, done.stdout + done.stderr
