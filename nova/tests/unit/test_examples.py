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

"""The examples of etc/, which operators copy as they are."""
import configparser
import os
import re
import shlex
import shutil
import subprocess

import ddt
import fixtures
import testtools

from nova.tests.fixtures import firmware
from nova.tests.fixtures import recorded_host

from nova_mem_encryption.check import presence
from nova_mem_encryption.cli import parser
from nova_mem_encryption.engine import tree
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection
from nova_mem_encryption.nova.mem_encryption import models

FOLDER = os.path.join(tree.root(), 'etc')
APT = os.path.join(FOLDER, 'apt', '90nova-mem-encryption')
SERVICES = ['nova-api', 'nova-api-metadata', 'nova-compute', 'nova-conductor',
            'nova-scheduler']
DESCRIPTOR = os.path.join(FOLDER, 'firmware', '10-local.json')
SNP_DESCRIPTOR = os.path.join(FOLDER, 'firmware', '70-amd-sev-snp.json')


@testtools.skipUnless(os.path.isdir(FOLDER), 'only a checkout has them here')
class ExamplesTestCase(testtools.TestCase):
    pass


@ddt.ddt
class SystemdTest(ExamplesTestCase):

    def read(self, name, drop_in='mem-encryption.conf'):
        """Return the section Service of a drop-in of a service."""
        drop_in = os.path.join(FOLDER, 'systemd', name + '.service.d',
                               drop_in)
        text = configparser.ConfigParser(interpolation=None)
        text.optionxform = str
        text.read(drop_in)
        self.assertEqual(['Service'], text.sections())
        return dict(text['Service'])

    def test_there_is_one_for_each_service_that_has_the_series(self):
        self.assertEqual(
            SERVICES, sorted(name[:-len('.service.d')] for name in os.listdir(
                os.path.join(FOLDER, 'systemd'))))

    @ddt.data(*SERVICES)
    def test_status_is_asked_first(self, name):
        program, *words = shlex.split(self.read(name)['ExecStartPre'])
        args = parser.make_parser().parse_args(words)
        self.assertEqual('nova-mem-encryption', program)
        self.assertIs(parser.COMMANDS['status'].run, args.function)

    def test_nova_compute_has_the_driver_of_the_series(self):
        name, _, value = self.read(
            'nova-compute', 'mem-encryption-driver.conf')[
                'Environment'].partition('=')
        self.assertEqual(('OS_DEFAULT__COMPUTE_DRIVER', presence.OURS),
                         (name, value))


@ddt.ddt
class FirmwareTest(ExamplesTestCase):

    @ddt.data(*[value for value, row in models.MODELS.items()
                if row.firmware.kind == models.SPLIT_FLASH])
    def test_it_is_chosen_before_what_the_distribution_has(self, model):
        host = self.useFixture(firmware.Firmware())
        path = os.path.join(firmware.LOCAL, os.path.basename(DESCRIPTOR))
        with open(DESCRIPTOR) as f:
            host.write(path, f.read())
        found = selection.choose(model, 'pc-q35-8.2', host.path)
        self.assertEqual((path, firmware.CODE, firmware.VARS), (
            found.firmware.path, found.firmware.executable,
            found.firmware.nvram_template))

    @ddt.data(*models.MODELS)
    def test_that_for_one_file_is_for_sev_snp_alone(self, model):
        host = self.useFixture(firmware.Firmware())
        host.write('/usr/share/ovmf/OVMF.fd', recorded_host.read_image())
        path = os.path.join(firmware.LOCAL, os.path.basename(SNP_DESCRIPTOR))
        with open(SNP_DESCRIPTOR) as f:
            host.write(path, f.read())
        found = selection.choose(model, 'pc-q35-10.0', host.path).firmware
        if models.MODELS[model].firmware.kind == models.MEMORY:
            self.assertEqual((path, '/usr/share/ovmf/OVMF.fd', None), (
                found.path, found.executable, found.nvram_template))
        else:
            self.assertEqual(firmware.CODE, found.executable)

    def test_others_are_looked_at_before_that_for_one_file(self):
        """libvirt takes the first that fits for guests of others."""
        self.assertLess('60-edk2-x86_64.json',
                        os.path.basename(SNP_DESCRIPTOR))


@ddt.ddt
class AptTest(ExamplesTestCase):
    """What apt runs, with the files that it is about to install."""

    def install(self, *names, code=0):
        """Return the exit status, and with what the command was called."""
        folder = self.useFixture(fixtures.TempDir()).path
        if code is not None:
            self.write(folder, 'nova-mem-encryption',
                       'echo "$@"\nexit %d' % code)
        # What a package is, it has within; here its name stands for that.
        self.write(folder, 'dpkg-deb', 'basename "$2" | sed s/_.*//')
        with open(APT) as f:
            command, = re.findall(r'^DPkg::Pre-Install-Pkgs {"(.*)";};$',
                                  f.read(), re.M)
        done = subprocess.run(
            ['/bin/sh', '-c', command], text=True, stdout=subprocess.PIPE,
            input=''.join('/var/cache/apt archives/%s\n' % name
                          for name in names),
            env={'PATH': folder + os.pathsep + os.defpath})
        return done.returncode, done.stdout.splitlines()

    def write(self, folder, name, text):
        path = os.path.join(folder, name)
        with open(path, 'w') as f:
            f.write('#!/bin/sh\n%s\n' % text)
        os.chmod(path, 0o755)

    NOVA = 'python3-nova_2%3a31.0.0-6+deb13u3_all.deb'

    def test_nova_is_looked_at(self):
        self.assertEqual(
            (0, ['fits /var/cache/apt archives/' + self.NOVA]),
            self.install('nova-api_1_all.deb', self.NOVA, 'x_1_all.deb'))

    @ddt.data(1, 2)
    def test_apt_stops_where_it_does_not_fit(self, code):
        self.assertNotEqual(0, self.install(self.NOVA, code=code)[0])

    @ddt.data('python3-novaclient_2_all.deb', 'nova-api_1_all.deb',
              'python3-nova-mem-encryption_1.0.0-1_all.deb')
    def test_other_packages_are_not(self, name):
        self.assertEqual((0, []), self.install(name, code=1))

    def test_without_the_package_apt_goes_on(self):
        self.assertEqual((0, []), self.install(self.NOVA, code=None))


@ddt.ddt
class MetricsTest(ExamplesTestCase):
    """What makes the files of metrics, as systemd would run it."""

    NAME = 'nova-mem-encryption-metrics@'
    PROGRAM = '/usr/bin/nova-mem-encryption'
    TEXTFILES = '/var/lib/prometheus/node-exporter'

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def read(self, *names):
        """Return the options of a unit, with those of its drop-ins."""
        text = configparser.ConfigParser(interpolation=None)
        text.optionxform = str
        text.read([os.path.join(FOLDER, 'monitoring', name)
                   for name in names])
        return {name: value for section in text.sections()
                for name, value in text[section].items()}

    def run_service(self, command, printed, code=0):
        """Run the service of a command, as systemd.exec(5) says.

        :param printed: what the command prints in place of its metrics
        :param code: and its exit status
        :returns: whether systemd would call it a success
        """
        program = os.path.join(self.folder, 'program')
        with open(program, 'w') as f:
            f.write('#!/bin/sh\nprintf %%s "%s"\nexit %d\n' % (printed, code))
        os.chmod(program, 0o755)
        unit = {name: value.replace('%i', command).replace(
            self.TEXTFILES, self.folder).replace(self.PROGRAM, program)
            for name, value in self.read(
                self.NAME + '.service',
                self.NAME + command + '.service.d/differing.conf').items()}
        kind, _, output = unit['StandardOutput'].partition(':')
        self.assertEqual('file', kind)
        for name in ('ExecStartPre', 'ExecStart', 'ExecStartPost'):
            # It is opened for each, and not made shorter.
            with open(os.open(output, os.O_WRONLY | os.O_CREAT), 'w') as f:
                done = subprocess.run(shlex.split(unit[name].lstrip('+')),
                                      stdout=f).returncode
            # The status is one "of the main service process", which is not
            # that of ExecStartPost: systemd.service(5).
            if done and (name != 'ExecStart' or
                         str(done) != unit.get('SuccessExitStatus')):
                return False
        return True

    def get_metrics(self):
        return {name: self.read_text(name)
                for name in os.listdir(self.folder) if name.endswith('.prom')}

    def read_text(self, name):
        with open(os.path.join(self.folder, name)) as f:
            return f.read()

    @ddt.data('slots', 'servers')
    def test_a_file_has_what_the_command_printed_last(self, command):
        for printed in ('many metrics', 'few'):
            self.assertTrue(self.run_service(command, printed))
            self.assertEqual({'nova_mem_encryption_%s.prom' % command:
                              printed}, self.get_metrics())

    @ddt.data(('slots', 1, 'in part'), ('slots', 255, 'in part'),
              ('servers', 255, 'in part'), ('servers', 1, ''),
              ('slots', 0, ''))
    @ddt.unpack
    def test_where_the_command_fails_the_last_file_stays(self, command, code,
                                                         printed):
        self.run_service(command, 'good')
        self.assertFalse(self.run_service(command, printed, code))
        self.assertEqual(['good'], [*self.get_metrics().values()])

    def test_that_something_does_not_agree_is_no_failure(self):
        self.assertTrue(self.run_service('servers', 'metrics', 1))
        self.assertEqual(['metrics'], [*self.get_metrics().values()])

    @ddt.data('slots', 'servers')
    def test_the_command_has_these_options(self, command):
        program, *words = shlex.split(self.read(self.NAME + '.service')[
            'ExecStart'].replace('%i', command))
        self.assertEqual(self.PROGRAM, program)
        self.assertIs(parser.COMMANDS[command].run,
                      parser.make_parser().parse_args(words).function)

    @testtools.skipUnless(shutil.which('systemd-analyze'),
                          'systemd is not installed')
    def test_systemd_finds_nothing_wrong(self):
        names = []
        for kind in ('service', 'timer'):
            with open(os.path.join(FOLDER, 'monitoring', '%s.%s' % (
                    self.NAME, kind))) as f:
                text = f.read()
            names.append('%s/%sslots.%s' % (self.folder, self.NAME, kind))
            for name in ('%s/%s.%s' % (self.folder, self.NAME, kind),
                         names[-1]):
                with open(name, 'w') as f:
                    f.write(text.replace(self.PROGRAM, '/bin/echo'))
        done = subprocess.run(
            ['systemd-analyze', 'verify', '--man=no', *names], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual((0, ''), (done.returncode, done.stdout))
