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

"""Do in a cloud what the documentation says, and check what comes of it."""
import json
import os
import re
import subprocess
import sys

from openstack import exceptions
import yaml

import client
import services

TREE = os.path.dirname(os.path.dirname(services.HERE))
sys.path.insert(0, os.path.dirname(services.HERE))
import doc_commands  # noqa: E402  it is in the folder above

HOST = 'es1'
QUICK_START = 'doc/source/quickstart.rst'
SESSION = 'tools/cloud/README.rst'
SESSION_FOLDER = '/srv/cloud'
PAGES = ('README.rst', 'doc/source/install.rst', 'doc/source/operator.rst',
         'doc/source/user.rst', 'doc/source/troubleshooting.rst',
         'doc/source/recipes.rst', 'doc/source/monitoring.rst')
# What is not run here, and why
NOT_RUN = [
    (r'.*\bpip ((un)?install|wheel)\b',
     'the environment is as tox has made it'),
    (r'tools/tox\b', 'it would start this again'),
    (r'(systemctl|reboot|modprobe|echo|install|mkdir|ln|cp|rm)\b', 'for the '
     'machine of the host; here it would change the one that this runs on'),
    (r'umask\b', 'it is of the shell that pip is run in'),
    (r'apt-get (download|install)\b', 'the archive need not be one of Debian '
     '13'),
    (r'ansible-playbook\b', 'cloud.py roll-out runs it'),
    (r'promtool\b', 'tools/monitoring runs it'),
    (r'(docker|kolla-ansible|kolla-build|openstack-ansible)\b', 'its recipe '
     'is read, not run'),
    (r'dmesg\b', 'for a guest, and none runs here, or for the machine'),
    (r'openstack resource provider set\b', 'it would rename one that is '
     'right'),
    (r'openstack resource provider delete\b', 'none of these hosts has been '
     'one of SEV-SNP'),
    (r'nova-manage placement heal_allocations --force\b', 'for a server that '
     'has lost its slot; it has functional tests of its own'),
    (r'openstack (registered limit|flavor set --project)\b',
     'for Keystone, which is a stand-in'),
    (r'\S*register-python-argcomplete\b', "it is argcomplete's, which is "
     'optional; a unit test completes with what it prints'),
    (r'\S*nova-mem-encryption (?!status|upgrade-check|slots$|servers$)',
     'it has tests of its own'),
]
# Exit statuses that are no failure: a warning is none, but for that of a check
# that could not be made. All that one asks is there. Of other commands only 0.
CODES = {'nova-status': (0, 1), 'nova-mem-encryption upgrade-check': (0, 1),
         'nova-mem-encryption servers': (0, 1)}
UNMADE = 'cannot be checked'
ON_HOST = ('cat', 'virsh')
# Nothing else is run: it could be a change of the machine that this runs on.
PROGRAMS = ON_HOST + ('glance-manage', 'nova-manage', 'nova-mem-encryption',
                      'nova-status', 'openstack')
METADEFS = os.path.join('share', 'nova-mem-encryption', 'metadefs')
NAMESPACES = '/metadefs/namespaces'


def get_codes(line):
    """Return the exit statuses by which a command has gone well."""
    program, *words = line.split()
    program = os.path.basename(program)
    return CODES.get(program, CODES.get(' '.join([program, *words[:1]]), (0,)))


class Pages:
    """The pages, and a cloud to try them in.

    :param cloud: a services.Cloud
    :param users: a client.Client of it
    """

    def __init__(self, cloud, users):
        self.cloud, self.users = cloud, users
        self.tried = []  # dicts: command, outcome
        # A newcomer has configured nothing but how to log in.
        with open(cloud.clouds_yaml, encoding='utf-8') as f:
            settings = yaml.safe_load(f)
        for setting in ('compute_default_microversion',
                        'placement_api_version'):
            del settings['clouds']['cloud'][setting]
        self.clouds_yaml = cloud.write(
            yaml.safe_dump(settings), 'etc', 'newcomer.yaml')

    # -- commands ----------------------------------------------------------

    def run(self, line):
        """Run a command of a page, if it can be run here.

        :returns: whether it went well, or was not run
        """
        for pattern, reason in NOT_RUN:
            if re.match(pattern, line):
                self.tried.append({'command': line,
                                   'outcome': 'not run: ' + reason})
                return True
        program = os.path.basename(line.split()[0])
        if program not in PROGRAMS:
            self.tried.append({'command': line, 'outcome': 'not run, and '
                               'NOT_RUN does not say why'})
            return False
        here = self._fill_in(line)
        way, environ = services.enter(
            self.cloud.folder,
            HOST if program in ON_HOST else services.CONTROLLER)
        self.users.tell(here)
        done = subprocess.run(
            [*way, 'sh', '-c', here], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, cwd=self.cloud.folder,
            env={**environ, 'OS_CLIENT_CONFIG_FILE': self.clouds_yaml})
        good = (done.returncode in get_codes(line) and
                UNMADE not in re.sub(r'[\s|]+', ' ', done.stdout))
        self.tried.append({
            'command': line, 'outcome': 'exit status %d%s' % (
                done.returncode, '' if good else ': ' + (
                    done.stderr.strip() or done.stdout.strip())[-500:])})
        return good

    def _fill_in(self, line):
        """Return a command with the names of this cloud."""
        line = line.replace('/opt/nova/bin/', services.BIN + '/')
        line = line.replace('/opt/nova', sys.prefix)
        line = line.replace('compute1', HOST).replace('<host>', HOST)
        line = line.replace('--network private', '--nic none')
        return re.sub('<UUID of (.*?)>', lambda name: self._get_uuid(
            name.group(1)), line)

    def _get_uuid(self, name):
        return self.users.get('placement', '/resource_providers?name=' + name)[
            'resource_providers'][0]['uuid']

    def show(self, step):
        step.facts.setdefault('what the documentation says', []).extend(
            self.tried)
        self.tried = []

    # -- steps -------------------------------------------------------------

    def start_quickly(self, step):
        """Follow the quick start, from the slots to a server."""
        self.cloud.write('', 'debian-12.raw')
        with open(self.cloud.path('debian-12.raw'), 'wb') as f:
            f.truncate(client.DISK_BYTES)
        lines = doc_commands.find_lines(QUICK_START)
        step.check('the quick start has a flavor, an image and a server', all(
            any(line.startswith('openstack %s create' % what)
                for line in lines) for what in ('flavor', 'image', 'server')))
        for line in lines:
            # Guests lock their memory here, too.
            line = line.replace('--ram 4096 --disk 20', '--ram 256 --disk 1')
            step.check('the quick start: each command does as it should',
                       self.run(line))
        self.show(step)
        server = self.users.api.compute.find_server('confidential-1')
        self.users.servers['confidential-1'] = server.id

    def play(self, step):
        """Type the session of README.rst; this cloud is what is up."""
        lines = doc_commands.find_lines(SESSION)
        first, = (number for number, line in enumerate(lines)
                  if 'cloud.py up ' in line)
        last = lines.index('cloud.py down ' + SESSION_FOLDER)
        lines = lines[first + 1:last]
        script = '\n'.join(lines).replace(
            SESSION_FOLDER, self.cloud.folder).replace(
            '.tox/cloud/bin/python', sys.executable)
        self.users.tell('the session of ' + SESSION)
        done = subprocess.run(
            ['sh', '-e', '-c', script], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, cwd=TREE)
        step.fact('the session', lines)
        step.check('each command of the session does as it should%s' % (
            '' if done.returncode == 0 else ': ' + done.stderr[-500:]),
            done.returncode == 0)
        server = self.users.api.compute.find_server('play-1')
        if server is None:
            step.check('its server is there', False)
            return
        self.users.servers['play-1'] = server.id
        row = self.users.look('play-1')
        step.fact('its server', [row])
        step.check('its server is ACTIVE, as SEV-ES on %s' % HOST, (
            row['status'], row['libvirt'], row['slot on']) == (
                'ACTIVE', '0x0037', [HOST + '_amd_sev_es']))
        step.check('nova-mem-encryption, run on the controller, counts its '
                   'slot', re.search(
                       r'\| %s +\| amd-sev-es \| +\d+ \| +1 \|' % HOST,
                       done.stdout))
        step.check('virsh, run on the host, tells its policy', re.search(
            r'^sev-policy *: %d$' % int(row['libvirt'] or '0', 16),
            done.stdout, re.M))
        self.users.delete(['play-1'])

    def try_all(self, step):
        """Run the commands of all pages that are no part of the project."""
        seen = set()
        for page in PAGES:
            for line in doc_commands.find_lines(page):
                if line not in seen:
                    seen.add(line)
                    step.check('%s: each command does as it should' %
                               os.path.basename(page), self.run(line))
        self.show(step)

    def define(self, step):
        """Load the metadata definitions, and look at them in Glance."""
        manage = ['glance-manage', '--config-file',
                  self.cloud.path('etc', 'glance-api.conf'),
                  'db_load_metadefs']
        own = os.path.join(services.get_etc(sys.prefix), 'glance', 'metadefs')
        self.cloud.command('glance-manage', [*manage, own])
        folder = os.path.join(sys.prefix, METADEFS)
        name, = os.listdir(folder)
        with open(os.path.join(folder, name), encoding='utf-8') as f:
            given = json.load(f)
        step.check('Glance does not have the namespace by itself',
                   given['namespace'] not in self._get_namespaces())
        before = self._get_namespaces()
        lines = [line for page in PAGES for line in doc_commands.find_lines(
            page) if 'db_load_metadefs' in line]
        step.check('the documentation tells how to load it', len(lines) == 1)
        for line in lines:
            step.check('it is loaded', self.run(line))
        step.check('Glance has it, beside all of its own',
                   self._get_namespaces() == before | {given['namespace']})
        found = self.users.get('image', '%s/%s' % (
            NAMESPACES, given['namespace']))
        step.check('it is what the file has: properties, values, text', all(
            found[key] == given[key] for key in (
                'display_name', 'description', 'visibility', 'protected',
                'properties')))
        names = {}
        for kind in given['resource_type_associations']:
            names[kind['name']] = list(self.users.get(
                'image', '%s/%s?resource_type=%s' % (
                    NAMESPACES, given['namespace'], kind['name']))[
                'properties'])
        step.fact('properties', [{'of': kind, 'names': found}
                                 for kind, found in names.items()])
        step.check('flavors, images and volumes have the property by its name',
                   names == {
                       'OS::Nova::Flavor': ['hw:mem_encryption_model'],
                       'OS::Glance::Image': ['hw_mem_encryption_model'],
                       'OS::Cinder::Volume': ['hw_mem_encryption_model']})
        # The API looks at it by its schema, which the loader does not.
        copy = dict(given, namespace='Copy', protected=False)
        step.check('it is valid by the schema of Glance: its API takes a copy',
                   self._create(copy) == 201)
        self.users.api.image.delete(NAMESPACES + '/Copy')
        property, = given['properties'].values()
        step.check('a copy with a mistake in it is refused', self._create(
            dict(copy, properties={'x': dict(property, enum='amd-sev')}))
            == 400)

    def _get_namespaces(self):
        return {each['namespace'] for each in self.users.get(
            'image', NAMESPACES + '?limit=100')['namespaces']}

    def _create(self, namespace):
        try:
            return self.users.api.image.post(
                NAMESPACES, json=namespace).status_code
        except exceptions.HttpException as e:
            return e.status_code
