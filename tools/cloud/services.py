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

"""Run the processes of the cloud, with their configuration."""
from concurrent import futures
import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import yaml

import ports

HERE = os.path.dirname(os.path.abspath(__file__))
SEVHOST = os.path.join(os.path.dirname(HERE), 'sevhost', 'sevhost.py')
BIN = os.path.dirname(sys.executable)
CONTROL = ('nova-conductor', 'nova-scheduler', 'nova-api')
RABBITMQ = '/usr/lib/rabbitmq/bin'
# In the environment of each process of a cloud, and its folder for a value
MARK = 'NOVA_MEM_ENCRYPTION_CLOUD'
# In that of the database and the broker, which others need to the end
LAST = 'NOVA_MEM_ENCRYPTION_CLOUD_LAST'
# The folder of what --light has in place of MariaDB and RabbitMQ
LIBRARY = 'lib'
STAND_INS = 'stand_ins.json'
# MariaDB's socket is in it; the kernel allows 107 characters.
LONGEST_FOLDER = 80
# The node of whoever is no host, and its name for nova-compute's RPC
CONTROLLER = 'controller'
START_SECONDS, STOP_SECONDS = 120, 20
PORTS = ('nova', 'glance', 'placement', 'stand_ins', 'amqp', 'epmd', 'erlang')
# Below those that Linux gives away itself (ip_local_port_range)
RANGE = range(10000, 32768)
DATABASES = ('nova_api', 'nova', 'nova_cell0', 'placement', 'glance')
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
# Program or file, and the Debian package that has it
PROGRAMS = [
    ('libvirtd', 'libvirt-daemon-system'),
    ('virsh', 'libvirt-clients'),
    ('qemu-system-x86_64', 'qemu-system-x86'),
    ('qemu-img', 'qemu-utils'),
    ('/usr/share/OVMF/OVMF_CODE_4M.fd', 'ovmf'),
    ('unshare', 'util-linux'),
    # What sevhost builds its library with
    ('make', 'make'), ('cc', 'gcc'), ('objdump', 'binutils'),
]
SERVERS = [
    ('mariadbd', 'mariadb-server'),
    ('mariadb-install-db', 'mariadb-server'),
    (RABBITMQ + '/rabbitmq-server', 'rabbitmq-server'),
    ('epmd', 'erlang-base'),
]
# What pip installs
COMMANDS = ('nova-api', 'nova-compute', 'nova-conductor', 'nova-manage',
            'nova-mem-encryption', 'nova-scheduler', 'glance-api',
            'placement-api', 'openstack', 'privsep-helper')

ENTRY_POINTS = '''\
[oslo.messaging.drivers]
folder = filesystem_bus:Driver
[sqlalchemy.plugins]
shared = filesystem_bus:Sqlite
'''
KEYSTONE = '''\
auth_type = password
auth_url = {identity}
username = {user}
password = {password}
project_name = cloud
user_domain_id = default
project_domain_id = default
'''
AUTHTOKEN = KEYSTONE + '''\
www_authenticate_uri = {identity}
service_token_roles_required = true
'''
NOVA = '''\
[DEFAULT]
host = controller
my_ip = 127.0.0.1
state_path = {folder}/nova
transport_url = {bus}
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = {ports[nova]}
osapi_compute_workers = 1
report_interval = 5
periodic_fuzzy_delay = 0
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 3
# Nova's guide wants it where hosts are upgraded one after the other.
[upgrade_levels]
compute = auto
[wsgi]
api_paste_config = {etc}/nova/api-paste.ini
[oslo_concurrency]
lock_path = {folder}/locks
# The hosts would contend for the same ports of this machine.
[vnc]
enabled = false
[libvirt]
virt_type = kvm
images_type = raw
wait_soft_reboot_seconds = 30
# All is run by root, without sudo.
[nova_sys_admin]
helper_command = {privsep}
[privsep_osbrick]
helper_command = {privsep}
[keystone_authtoken]
{authtoken}
[placement]
{keystone}
[neutron]
{keystone}
# nova-status of Nova 32 counts it as a failure not to.
[service_user]
send_service_user_token = true
{keystone}
'''
NOVA_DATABASES = '''\
[api_database]
connection = {databases[nova_api]}
[database]
connection = {databases[nova]}
'''
PLACEMENT = '''\
[placement_database]
connection = {databases[placement]}
sync_on_startup = true
[keystone_authtoken]
{authtoken}
'''
GLANCE = '''\
[DEFAULT]
bind_host = 127.0.0.1
bind_port = {ports[glance]}
workers = 0
enabled_backends = file:file
[database]
connection = {databases[glance]}
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[paste_deploy]
flavor = keystone
config_file = {etc}/glance/glance-api-paste.ini
[oslo_concurrency]
lock_path = {folder}/locks
[keystone_authtoken]
{authtoken}
'''
# With the series, and without it
OURS, NOVAS = 'mem_encryption.LibvirtDriver', 'libvirt.LibvirtDriver'
COMPUTE = '''\
[DEFAULT]
host = {host}
compute_driver = {driver}
state_path = {folder}/compute/{host}
'''
RABBITMQ_CONF = '''\
listeners.tcp.1 = 127.0.0.1:{ports[amqp]}
loopback_users = none
default_user = nova
default_pass = {password}
'''


# Set to have whatever starts or waits give up
GIVE_UP = threading.Event()


class Failed(Exception):
    """A process did not do what it is for.

    :ivar log: the path of its log
    """

    def __init__(self, message, log):
        super().__init__('%s; its log is %s' % (message, log))
        self.log = log


def get_etc(prefix):
    """Return where the programs of an environment look for files of theirs."""
    return '/etc' if prefix == '/usr' else os.path.join(prefix, 'etc')


def get_missing(light):
    """Yield what this machine lacks, each a line with the remedy."""
    if os.geteuid() != 0:
        yield 'run it as root: it makes namespaces, and runs libvirtd'
    for program, package in PROGRAMS + ([] if light else SERVERS):
        if not (shutil.which(program, path=PATH) or os.path.isfile(program)):
            yield '%s is missing: apt-get install %s' % (program, package)
    for command in COMMANDS:
        if not os.path.exists(os.path.join(BIN, command)):
            yield "%s is missing in %s: use 'tools/tox -e cloud'" % (
                command, BIN)


class Cloud:
    """The processes; those of hosts are started one by one.

    :param folder: where everything is, an absolute path
    :param light: whether to do without MariaDB and RabbitMQ
    """

    def __init__(self, folder, light):
        self.folder, self.light = folder, light
        self.ports = _free_ports()
        self.identity = ('http://127.0.0.1:%d/identity/v3' %
                         self.ports['stand_ins'])
        self.clouds_yaml = self.path('etc', 'clouds.yaml')
        self.environ = _environ(folder)
        self._password = secrets.token_urlsafe()
        self._processes = {}  # name: subprocess.Popen
        self._logs = {}  # name: path

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def write(self, text, *names):
        path = self.path(*names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    # -- configuration -----------------------------------------------------

    def configure(self):
        """Write the configuration of everything but the hosts."""
        for name in ('log', 'tmp', 'locks', 'images', 'staging', 'tasks',
                     'nova', 'compute', 'databases'):
            os.makedirs(self.path(name))
        if self.light:
            self.environ['PYTHONPATH'] = self.path(LIBRARY)
            self.write(ENTRY_POINTS, LIBRARY, 'filesystem_bus-1.dist-info',
                       'entry_points.txt')
            self.write('Metadata-Version: 2.1\nName: filesystem-bus\n'
                       'Version: 1\n', LIBRARY, 'filesystem_bus-1.dist-info',
                       'METADATA')
            shutil.copy(os.path.join(HERE, 'filesystem_bus.py'),
                        self.path(LIBRARY))
        local = 'http://127.0.0.1:%d'
        catalog = {
            'compute': local % self.ports['nova'] + '/v2.1',
            'image': local % self.ports['glance'],
            'placement': local % self.ports['placement'],
            'network': local % self.ports['stand_ins'] + '/network',
            'identity': self.identity}
        self.write(json.dumps({
            'port': self.ports['stand_ins'], 'password': self._password,
            'catalog': catalog, 'users': {
                'admin': ['admin', 'manager', 'member', 'reader'],
                'service': ['admin', 'service']}}), 'etc', STAND_INS)
        self.write(yaml.safe_dump({'clouds': {'cloud': {
            'region_name': 'cloud', 'compute_default_microversion': '2.96',
            'placement_api_version': '1.39', 'auth': {
                'auth_url': self.identity, 'username': 'admin',
                'password': self._password, 'project_name': 'cloud',
                'user_domain_id': 'default',
                'project_domain_id': 'default'}}}}), 'etc', 'clouds.yaml')
        for name, text in (
                ('nova-databases.conf', NOVA_DATABASES),
                ('placement.conf', PLACEMENT), ('glance-api.conf', GLANCE),
                ('rabbitmq.conf', RABBITMQ_CONF)):
            self.write(self.fill_in(text), 'etc', name)
        self.configure_nova(sys.prefix)
        self.make_home(CONTROLLER, {
            'nova': [_conf(sys.prefix), 'nova-databases.conf'],
            'placement': ['placement.conf'], 'glance': ['glance-api.conf']})

    def make_home(self, node, read):
        """Make the home of who runs commands on a node.

        oslo.config looks for configuration below it first.

        :param node: a host, or CONTROLLER
        :param read: names of files, by the project that reads them in order
        """
        for project, (first, *others) in read.items():
            folder = self.path('home', node, '.' + project)
            shutil.rmtree(folder, ignore_errors=True)
            conf = os.path.join(folder, project + '.conf')
            os.makedirs(conf + '.d')
            os.symlink(self.path('etc', first), conf)
            for name in others:
                os.symlink(self.path('etc', name),
                           os.path.join(conf + '.d', name))

    def configure_nova(self, prefix):
        """Write the configuration of the Nova of an environment.

        :param prefix: the folder of the environment
        :returns: the path of the configuration
        """
        name = _conf(prefix)
        return self.write(self.fill_in(
            NOVA, etc=get_etc(prefix),
            privsep='%s/bin/privsep-helper --config-file %s' % (
                prefix, self.path('etc', name))), 'etc', name)

    def fill_in(self, text, **values):
        values.setdefault('etc', get_etc(sys.prefix))
        values.update(
            folder=self.folder, ports=self.ports,
            identity=self.identity, password=self._password,
            user='service',
            databases={name: self.database(name) for name in DATABASES},
            bus='folder:///' + self.path('bus').lstrip('/') if self.light else
            'rabbit://nova:%s@127.0.0.1:%d/' % (self._password,
                                                self.ports['amqp']))
        return text.format(
            keystone=KEYSTONE.format(**values).rstrip(),
            authtoken=AUTHTOKEN.format(**values).rstrip(), **values)

    def database(self, name):
        if self.light:
            return 'sqlite:///%s?timeout=60&plugin=shared%s' % (
                self.path('databases', name),
                '&begin=deferred' * (name == 'glance'))
        return ('mysql+pymysql://root@localhost/%s?charset=utf8&unix_socket=%s'
                % (name, self.path('databases', 'socket')))

    def read_rows(self, database, table):
        """Return the rows of a table of a database, as dicts."""
        # NOTE: not for all commands, as it takes as long as all the others.
        import sqlalchemy
        # How it is shared is for those who write.
        engine = sqlalchemy.create_engine(
            self.database(database).replace('&plugin=shared', ''))
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text(
                'SELECT * FROM ' + table)).mappings().all()
        engine.dispose()
        return [dict(row) for row in rows]

    # -- the control plane -------------------------------------------------

    def start(self, prefix=sys.prefix):
        """Start the control plane.

        :param prefix: the folder of the environment that has its Nova
        :raises Failed: if something does not start
        """
        glance = ['--config-file', self.path('etc', 'glance-api.conf')]
        self.launch('stand-ins', [sys.executable, os.path.join(
            HERE, 'stand_ins.py'), self.path('etc', STAND_INS)])
        with futures.ThreadPoolExecutor() as pool:
            bus = None if self.light else pool.submit(self._start_rabbitmq)
            if not self.light:
                self._start_mariadb()
            self.launch_placement()
            images = pool.submit(self.command, 'glance-manage', [
                'glance-manage', *glance, 'db_sync'])
            self._make_cells(prefix)
            if bus:
                bus.result()
            self.launch_nova(prefix)
            images.result()
            self.launch('glance-api', ['glance-api', *glance])
        for name, port in (('stand-ins', 'stand_ins'),
                           ('placement-api', 'placement'),
                           ('glance-api', 'glance')):
            self.wait(name, lambda port=port: _listens(self.ports[port]))
        self.wait_for_nova()

    def launch_nova(self, prefix=sys.prefix):
        """Start the control plane of Nova, of an environment."""
        # As of Nova 32 there is but the WSGI script.
        script = os.path.join(prefix, 'bin', 'nova-api-wsgi')
        for name in CONTROL:
            program = os.path.join(prefix, 'bin', name)
            if os.path.exists(program):
                self.launch(name, [program, *self._options(prefix)])
            else:
                self.launch(name, [
                    script, '--host', '127.0.0.1', '--port',
                    str(self.ports['nova'])], {
                        'OS_NOVA_CONFIG_DIR': self.path('etc'),
                        'OS_NOVA_CONFIG_FILES': ';'.join((
                            get_etc(prefix) + '/nova/api-paste.ini',
                            _conf(prefix), 'nova-databases.conf'))})

    def launch_placement(self, prefix=sys.prefix, environ=()):
        """Start Placement, of an environment; it syncs its database."""
        self.launch('placement-api', [
            os.path.join(prefix, 'bin', 'placement-api'), '--host',
            '127.0.0.1', '--port', str(self.ports['placement'])], {
                'OS_PLACEMENT_CONFIG_DIR': self.path('etc'),
                **dict(environ)})

    def end_placement(self):
        process = self._processes.pop('placement-api')
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed('placement-api does not end',
                         self.log('placement-api')) from None

    def wait_for_placement(self):
        self.wait('placement-api',
                  lambda: _listens(self.ports['placement']))

    def wait_for_nova(self):
        self.wait('nova-api', lambda: _listens(self.ports['nova']))

    def end_nova(self):
        """Stop the control plane of Nova."""
        _end([process for process, words, _ in _processes(self.folder)
              if len(words) > 1 and os.path.basename(words[1]) in (
                  *CONTROL, 'nova-api-wsgi')])
        for name in CONTROL:
            self._processes.pop(name).wait()

    def run_nova(self, program, *words, prefix=sys.prefix, codes=(0,)):
        """Run nova-manage or nova-status.

        :returns: what it writes to its standard output
        """
        return self.command('-'.join((program, *words[:2])), [
            os.path.join(prefix, 'bin', program), *self._options(prefix),
            *words], codes)

    def _options(self, prefix):
        return [argument for name in (_conf(prefix), 'nova-databases.conf')
                for argument in ('--config-file', self.path('etc', name))]

    def _make_cells(self, prefix):
        for words in (('api_db', 'sync'),
                      ('cell_v2', 'map_cell0', '--database_connection',
                       self.database('nova_cell0')),
                      ('db', 'sync'),
                      ('cell_v2', 'create_cell', '--name', 'cell1')):
            self.run_nova('nova-manage', *words, prefix=prefix)

    def _start_mariadb(self):
        data, sock = (self.path('databases', 'data'),
                      self.path('databases', 'socket'))
        self.command('mariadb-install-db', [
            'mariadb-install-db', '--no-defaults', '--datadir=' + data,
            '--auth-root-authentication-method=normal', '--skip-test-db',
            '--user=root'])
        self.write(''.join('CREATE DATABASE %s CHARACTER SET utf8;\n' % name
                           for name in DATABASES), 'etc', 'databases.sql')
        # Nothing in it is to outlive a crash of the machine.
        self.launch('mariadb', [
            'mariadbd', '--no-defaults', '--user=root', '--datadir=' + data,
            '--socket=' + sock, '--skip-networking', '--max-connections=500',
            '--innodb-flush-log-at-trx-commit=0', '--skip-innodb-doublewrite',
            '--init-file=' + self.path('etc', 'databases.sql')], {LAST: '1'})
        self.wait('mariadb', lambda: os.path.exists(sock))

    def _start_rabbitmq(self):
        home = self.path('rabbitmq')
        os.makedirs(home)
        # RabbitMQ would start it otherwise, in the background for good.
        self.launch('epmd', ['epmd', '-address', '127.0.0.1', '-port',
                             str(self.ports['epmd'])], {LAST: '1'})
        self.wait('epmd', lambda: _listens(self.ports['epmd']))
        # NOTE: this one, as that in /usr/sbin wants the user rabbitmq.
        self.launch('rabbitmq', [RABBITMQ + '/rabbitmq-server'], {
            LAST: '1', 'HOME': home, 'ERL_EPMD_PORT': str(self.ports['epmd']),
            'RABBITMQ_NODENAME': 'nova@localhost',
            'RABBITMQ_DIST_PORT': str(self.ports['erlang']),
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
                '-kernel inet_dist_use_interface {127,0,0,1}',
            'RABBITMQ_CONFIG_FILE': self.path('etc', 'rabbitmq'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': self.write(
                '[].\n', 'rabbitmq', 'plugins'),
            'RABBITMQ_MNESIA_BASE': home, 'RABBITMQ_LOG_BASE': home,
            'RABBITMQ_PID_FILE': self.path('rabbitmq', 'pid')})
        self.wait('rabbitmq', lambda: _listens(self.ports['amqp']))

    # -- hosts -------------------------------------------------------------

    def start_host(self, name, options):
        """Start libvirtd, on a kernel and a processor that are imitated.

        :param options: those of sevhost.py start
        """
        os.makedirs(self.path('hosts'), exist_ok=True)
        self.command('sevhost-' + name, [
            sys.executable, SEVHOST, 'start', self.path('hosts', name),
            '--hostname', name, *options])

    def on_host(self, name, *command, codes=(0,)):
        """Run a command on a host.

        :param codes: the exit statuses that it may have
        :returns: what it writes to its standard output
        """
        return self.command('sevhost-' + name, [
            sys.executable, SEVHOST, 'exec', self.path('hosts', name),
            *command], codes)

    def get_kernel_log(self, name):
        """Return what QEMU asked of the kernel of a host, as dicts."""
        return json.loads(self.command('sevhost-' + name, [
            sys.executable, SEVHOST, 'log', self.path('hosts', name)]))

    def start_compute(self, host, series=True, placement=None,
                      prefix=sys.prefix, driver=OURS, more=''):
        """Start the nova-compute of a host.

        :param series: whether with the series
        :param placement: URL of Placement, if not that of the catalog
        :param prefix: the folder of the environment that has it
        :param driver: its compute_driver, with the series
        :param more: of its configuration
        """
        text = self.fill_in(COMPUTE, host=host,
                            driver=driver if series else NOVAS) + more
        if placement:
            text += '[placement]\nendpoint_override = %s\n' % placement
        self.write(text, 'etc', host + '.conf')
        self.make_home(host, {'nova': [_conf(prefix), host + '.conf']})
        self.launch_compute(
            host, prefix, {} if series else {'NOVA_MEM_ENCRYPTION': 'off'})

    def launch_compute(self, host, prefix, environ=()):
        """Start the nova-compute of a host, as its configuration is."""
        os.makedirs(self.path('compute', host, 'instances'), exist_ok=True)
        self.launch(host, [
            sys.executable, SEVHOST, 'exec', self.path('hosts', host),
            os.path.join(prefix, 'bin', 'nova-compute'), '--config-file',
            self.path('etc', _conf(prefix)), '--config-file',
            self.path('etc', host + '.conf')], environ)

    def find_compute(self, host):
        """Return the process of a host's nova-compute, or None."""
        for process, words, _ in _processes(self.folder):
            if _is_compute(words) and words[-1] == self.path(
                    'etc', host + '.conf'):
                return process
        return None

    def end_compute(self, host, number=signal.SIGTERM):
        """Send a signal to a host's nova-compute, and wait for its end."""
        process = self.find_compute(host)
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            raise Failed('nova-compute of %s does not end' % host,
                         self.log(host)) from None
        self._processes.pop(host).wait()

    def get_guests(self):
        """Return the QEMU processes of all hosts, as (process, words)."""
        return [(process, words)
                for process, words, _ in _processes(self.folder) if words and
                'qemu-system' in words[0] and '-uuid' in words]

    def get_memory(self):
        """Return the memory of all processes, in MB, and their number."""
        sizes = []
        for process, _, _ in _processes(self.folder):
            try:
                sizes.append(process.memory_full_info().pss)
            except psutil.Error:
                pass  # it has just ended
        return sum(sizes) >> 20, len(sizes)

    # -- processes ---------------------------------------------------------

    def log(self, name):
        """Return the path of the log of a process, the last of its name."""
        return self._logs[name]

    def read_log(self, name):
        with open(self.log(name), encoding='utf-8', errors='replace') as f:
            return f.read()

    def launch(self, name, command, environ=()):
        """Start a process that goes on, in a session of its own."""
        _go_on()
        number = 1
        while True:
            path = self.path('log', '%s%s.log' % (
                name, '' if number == 1 else '-%d' % number))
            if not os.path.exists(path):
                break
            number += 1
        with open(path, 'wb') as log:
            self._processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, env={**self.environ, **dict(environ)},
                start_new_session=True)
        self._logs[name] = path

    def get_ended(self):
        """Return the logs of the processes that ended by themselves."""
        return {'%s ended with code %d' % (name, process.returncode):
                self.log(name) for name, process in self._processes.items()
                if process.poll() is not None}

    def wait(self, name, ready, seconds=START_SECONDS):
        """Wait until a process that was started is ready.

        :param ready: a callable that tells
        :raises Failed: if the process ended, or it takes too long
        """
        end = time.monotonic() + seconds
        while not ready():
            _go_on()
            code = self._processes[name].poll()
            if code is not None:
                raise Failed('%s ended with code %d' % (name, code),
                             self.log(name))
            if time.monotonic() > end:
                raise Failed('%s was not ready in %d s' % (name, seconds),
                             self.log(name))
            time.sleep(0.1)

    def command(self, name, command, codes=(0,)):
        """Run a command to its end.

        :param codes: the exit statuses that it may have
        :returns: what it writes to its standard output
        :raises Failed: if its exit status is another
        """
        _go_on()
        path = self.path('log', name + '.log')
        with open(path, 'ab') as log:
            self._logs[name] = path
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=log, cwd=self.folder, env=self.environ,
                start_new_session=True)
            if done.returncode:
                log.write(done.stdout)
        if done.returncode not in codes:
            raise Failed('%s ended with code %d' % (
                ' '.join(map(os.path.basename, command[:3])),
                done.returncode), path)
        return done.stdout.decode()


def enter(folder, node):
    """Return how to run a command on a node of a cloud.

    :param folder: that of the cloud, an absolute path
    :param node: a name of get_nodes
    :returns: what to put before its words, a list; and its environment
    """
    environ = {**_environ(folder), 'HOME': os.path.join(folder, 'home', node),
               'OS_CLOUD': 'cloud', 'OS_CLIENT_CONFIG_FILE': os.path.join(
                   folder, 'etc', 'clouds.yaml'),
               'LIBVIRT_DEFAULT_URI': 'qemu:///system'}
    if os.path.isdir(os.path.join(folder, LIBRARY)):
        environ['PYTHONPATH'] = os.path.join(folder, LIBRARY)
    return [] if node == CONTROLLER else [
        sys.executable, SEVHOST, 'exec', os.path.join(folder, 'hosts', node),
    ], environ


def get_nodes(folder):
    """Return the names of a cloud's nodes, CONTROLLER first."""
    hosts = os.path.join(folder, 'hosts')
    return [CONTROLLER, *(sorted(os.listdir(hosts)) if os.path.isdir(hosts)
                          else [])]


def stop(folder):
    """Stop all of the cloud that lives in a folder.

    :returns: what is left, as lines; normally none
    """
    hosts = os.path.join(folder, 'hosts')
    names = get_nodes(folder)[1:]
    # The services first: they would miss their database and their broker.
    # What is in the namespaces of a host ends with the host.
    own = _get_namespace('self')
    _end([process for process, words, last in _processes(folder)
          if _is_compute(words) or (
              _get_namespace(process.pid) == own and not last and
              not any(hosts in word for word in words))])
    for name in names:
        # They go with the host.
        with contextlib.suppress(shutil.Error, OSError):
            shutil.copytree(os.path.join(hosts, name, 'log'),
                            os.path.join(folder, 'log', 'libvirt-' + name))
    with futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: subprocess.run(
            [sys.executable, SEVHOST, 'stop', os.path.join(hosts, name)],
            stdin=subprocess.DEVNULL, capture_output=True), names))
    _end([process for process, _, _ in _processes(folder)])
    for device in get_devices(folder):
        subprocess.run(['ip', 'link', 'delete', device], capture_output=True)
    return ['process %d: %s' % (process.pid, ' '.join(words)[:200])
            for process, words, _ in _processes(folder)] + [
        'host: ' + name for name in names
        if os.path.exists(os.path.join(hosts, name))] + [
        'device: ' + device for device in get_devices(folder)]


def get_devices(folder):
    """Return the network devices of a cloud's servers."""
    path = os.path.join(folder, 'etc', STAND_INS)
    if not os.path.exists(path):
        return []
    with open(path, encoding='utf-8') as f:
        prefix = ports.get_prefix(json.load(f)['port'])
    return [name for name in os.listdir('/sys/class/net')
            if name.startswith(prefix)]


def _environ(folder):
    """Return what all processes of a cloud have in their environment."""
    return {'PATH': '%s:%s' % (BIN, PATH),
            'HOME': folder, 'LANG': 'C.UTF-8',
            'TMPDIR': os.path.join(folder, 'tmp'),
            'PYTHONWARNINGS': 'ignore', MARK: folder}


def _go_on():
    if GIVE_UP.is_set():
        raise RuntimeError('given up, as the cloud is to stop')


def _end(processes):
    """Terminate processes, and kill those that do not mind."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, STOP_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, STOP_SECONDS)


def _get_namespace(pid):
    try:
        return os.readlink('/proc/%s/ns/pid' % pid)
    except OSError:
        return None  # it has ended


def _is_compute(words):
    return len(words) > 1 and os.path.basename(words[1]) == 'nova-compute'


def _conf(prefix):
    """Return the name of the configuration of an environment's Nova."""
    return 'nova.conf' if prefix == sys.prefix else (
        os.path.basename(prefix) + '.conf')


def _processes(folder):
    """Yield the processes of a cloud.

    They have its mark in their environment; QEMU has files in its folder.
    Each comes with the words of its command line, and whether to stop it last.
    """
    for process in psutil.process_iter():
        try:
            words, environ = process.cmdline(), process.environ()
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
        except psutil.Error:
            continue  # it has ended
        if environ.get(MARK) == folder or (
                words and 'qemu-system' in words[0] and any(
                    part.startswith(folder + '/') for word in words
                    for part in re.split('[,=:"]', word))):
            yield process, words, LAST in environ


def _free_ports():
    """Return ports that no connection gets before the services start."""
    free = filter(_is_free, random.sample(RANGE, len(RANGE)))
    return {name: next(free) for name in PORTS}


def _is_free(port):
    try:
        socket.create_server(('127.0.0.1', port)).close()
    except OSError:
        return False
    return True


def _listens(port):
    try:
        socket.create_connection(('127.0.0.1', port), 1).close()
    except OSError:
        return False
    return True
