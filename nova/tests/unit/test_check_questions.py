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

"""Test what 'nova-mem-encryption check' asks of this host, and records."""
import errno
import grp
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from unittest import mock
import uuid

import ddt
import fixtures
from oslotest import base

import nova
from nova.tests.fixtures import firmware
from nova.tests.fixtures import recorded_host as fake
from nova.tests.fixtures import tables

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import record
from nova_mem_encryption.check import report
from nova_mem_encryption.check import tree

UUID = '5a2e3b14-91c4-4b1f-9d53-0f2a1ab0c3d7'
DOMAIN = '''
<domain type='kvm'><name>secret-name</name><uuid>%s</uuid>%s</domain>'''
SECURITY = ("<launchSecurity type='%s'><policy>%s</policy></launchSecurity>")
DOMCAPABILITIES = '''
<domainCapabilities>
  <path>/usr/bin/qemu-system-x86_64</path><domain>kvm</domain>
  <machine>pc-q35-7.2</machine><arch>x86_64</arch>
  <features>
    <sev supported='yes'>
      <cbitpos>51</cbitpos><reducedPhysBits>1</reducedPhysBits>
      <maxGuests>5</maxGuests><maxESGuests>3</maxESGuests>
      <cpu0Id>U0VDUkVU</cpu0Id>
    </sev>
  </features>
</domainCapabilities>'''
SECRETS = ('hunter2', 'rabbit', 'keystone.example.org', '192.0.2.7', UUID)
NOVA_CONF = '''\
[DEFAULT]
transport_url = rabbit://nova:hunter2@192.0.2.7/
compute_driver = libvirt.LibvirtDriver
host = %(name)s
[libvirt]
hw_machine_type = x86_64=q35
connection_uri = qemu+tcp://nova:hunter2@192.0.2.7/system
[database]
connection = mysql://nova:hunter2@192.0.2.7/nova
[placement]
auth_type = password
auth_url = http://keystone.example.org:1/v3
username = placement
password = hunter2
project_id = %(uuid)s
'''
# A check that waits for a machine that has much else to do
PATIENT_CHECK = '''
import sys
from nova_mem_encryption.check import commands
from nova_mem_encryption import cli
commands.SECONDS = 600
sys.exit(cli.main(['check'] + sys.argv[1:]))
'''


@ddt.ddt
class QuestionsTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.host = hosts.Live()

    def write(self, name, text, mode=0o644):
        """Write a file; return its path."""
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def install(self, command, script):
        """Have a command of our own."""
        self.write('bin/' + command, '#!/bin/sh\n' + script, 0o755)
        self.useFixture(fixtures.EnvironmentVariable(
            'PATH', '%s/bin:%s' % (self.folder, os.environ['PATH'])))

    def point(self, name, value):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.check.system.' + name, value))

    def point_rights(self, name, value):
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.check.rights_of_qemu.' + name, value))

    def find_obstacle(self, question):
        return str(self.assertRaises(hosts.Unanswered, self.host.ask,
                                     question))

    def test_the_processor_is_asked_by_the_device_of_the_kernel(self):
        path = os.path.join(self.folder, 'cpuid')
        self.point('CPUID', path)
        self.assertIn('modprobe cpuid', self.find_obstacle('cpuid'))
        with open(path, 'wb') as f:
            f.seek(0x8000001F)
            f.write(struct.pack('<4I', 0x1c03, 2, 3, 4))
        self.assertEqual(
            'eax=0x00001c03 ebx=0x00000002 ecx=0x00000003 edx=0x00000004',
            hosts.Live().ask('cpuid'))
        self.write('cpuid', 'no device')
        self.host = hosts.Live()
        self.assertIn('not the device', self.find_obstacle('cpuid'))

    def test_dev_sev(self):
        self.point('DEV_SEV', self.write('sev', '', 0o640))
        found = self.host.ask_json('dev-sev')
        self.assertEqual((False, '0640'), (found['device'], found['mode']))
        self.point('DEV_SEV', '/dev/null')
        found = hosts.Live().ask_json('dev-sev')
        self.assertEqual((True, 'root'), (found['device'], found['user']))
        self.point('DEV_SEV', self.folder + '/none')
        self.assertIsNone(hosts.Live().ask_json('dev-sev'))

    def test_settings_of_qemu(self):
        self.point_rights('QEMU_CONF', self.folder + '/none')
        nothing = {'user': None, 'namespaces': None, 'security_driver': None}
        self.assertEqual(nothing, self.host.ask_json('qemu-conf'))
        self.point_rights('QEMU_CONF', self.write('qemu.conf', '''
#user = "no"
 user = "nova"
vnc_password = "hunter2"
namespaces = [
  # "mount"
]
security_driver = [ "selinux",
  "apparmor" ]
'''))
        host = hosts.Live()
        self.assertNotIn('hunter2', host.ask('qemu-conf'))
        self.assertEqual(
            {'user': ['nova'], 'namespaces': [],
             'security_driver': ['selinux', 'apparmor']},
            host.ask_json('qemu-conf'))

    def test_rules_of_apparmor(self):
        enabled = self.write('enabled', 'Y\n')
        self.point_rights('APPARMOR', enabled)
        self.point_rights('ABSTRACTIONS', [
            self.write('qemu', '# /dev/sev rw,\n  /dev/sev rw,\n  /dev/kvm r'),
            self.folder + '/none', os.path.dirname(self.write(
                'd/more', '/dev/sevenths rw,\n\tdeny /dev/sev w,\n'
                'audit deny "/dev/sev" w,\n audit /dev/sev r,\n')) + '/'])
        self.assertEqual(
            {'enabled': True, 'rules': [
                '/dev/sev rw,', 'deny /dev/sev w,',
                'audit deny "/dev/sev" w,', 'audit /dev/sev r,']},
            self.host.ask_json('apparmor'))
        self.write('enabled', 'N\n')
        self.assertFalse(hosts.Live().ask_json('apparmor')['enabled'])

    @ddt.data(('/dev/null', 0), ('/etc/shadow', errno.EACCES),
              ('/none', errno.ENOENT))
    @ddt.unpack
    def test_the_user_of_qemu_opens_dev_kvm(self, path, error):
        self.point_rights('KVM', path)
        self.point_rights('QEMU_CONF', self.write(
            'qemu.conf', 'user = "nobody"\n'))
        if os.geteuid() != 0:
            self.assertIn('Run this as root', self.find_obstacle('kvm-access'))
            return
        self.assertEqual({'user': 'nobody', 'guessed': False, 'error': error},
                         self.host.ask_json('kvm-access'))
        self.assertEqual(0, os.geteuid())

    def test_the_group_of_qemu(self):
        if os.geteuid() != 0:
            self.skipTest('only root can be another group')
        os.chmod(self.folder, 0o755)
        folder = tempfile.mkdtemp(dir='/var/tmp')
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        path = os.path.join(folder, 'kvm')
        with open(path, 'w'):
            os.chmod(path, 0o660)
        os.chown(path, 0, grp.getgrnam('adm').gr_gid)
        self.point_rights('KVM', path)
        for group, error in (('adm', 0), ('nogroup', errno.EACCES)):
            self.point_rights('QEMU_CONF', self.write(
                'qemu.conf', "user = 'nobody'\ngroup = '%s'\n" % group))
            self.assertEqual(
                error, hosts.Live().ask_json('kvm-access')['error'])

    @ddt.data('"+%d"' % os.geteuid(), '"nobody-of-that-name"')
    def test_users_of_qemu(self, user):
        self.point_rights('QEMU_CONF', self.write(
            'qemu.conf', 'user = %s\n' % user))
        self.point_rights('KVM', '/dev/null')
        if 'that-name' in user:
            self.assertIn('There is no user', self.find_obstacle('kvm-access'))
        elif os.geteuid() == 0:
            self.assertEqual('root', self.host.ask_json('kvm-access')['user'])

    @ddt.data((None, False), ('0', False), ('1', True))
    @ddt.unpack
    def test_selinux(self, text, enforcing):
        path = os.path.join(self.folder, 'enforce')
        if text is not None:
            self.write('enforce', text)
        self.point_rights('SELINUX', path)
        self.point('DEV_SEV', self.write('sev', ''))
        self.assertEqual({'enforcing': enforcing, 'type': None},
                         self.host.ask_json('selinux'))
        label = mock.patch.object(os, 'getxattr', return_value=(
            b'system_u:object_r:sev_device_t:s0\0'), create=True)
        with label:
            found = hosts.Live().ask_json('selinux')
        self.assertEqual('sev_device_t' if text else None, found['type'])

    def test_the_limits_of_the_daemon(self):
        """Those of a process that is called so."""
        self.point_rights('DAEMONS', ('no-such-libvirtd',))
        self.assertIn('no process', self.find_obstacle('libvirtd'))
        # The kernel keeps 15 characters of a name.
        command = os.path.join(self.folder, uuid.uuid4().hex[:15])
        os.symlink(shutil.which('sleep'), command)
        process = subprocess.Popen(
            ['sh', '-c', 'ulimit -l 64; exec "$0" 60', command])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.point_rights('DAEMONS', (os.path.basename(command),))
        for _ in range(600):
            with open('/proc/%d/comm' % process.pid) as f:
                if f.read().strip() == os.path.basename(command):
                    break
            time.sleep(0.1)
        found = hosts.Live().ask_json('libvirtd')
        self.assertEqual(65536, found['memlock'])
        with open('/proc/self/status') as f:
            effective, = re.findall('CapEff:\t(.*)', f.read())
        self.assertEqual(bool(int(effective, 16) >> 24 & 1),
                         found['may_raise'])

    def test_what_libvirt_says_is_reduced(self):
        self.install('virsh', "echo \"$*\" >> '%s/calls'; cat <<'END'\n%s\n"
                     'END\n' % (self.folder, DOMCAPABILITIES.strip()))
        self.assertNotIn('U0VDUkVU', self.host.ask('domcapabilities'))
        self.assertIn('<maxESGuests>3<', self.host.ask('domcapabilities'))
        with open(self.folder + '/calls') as f:
            self.assertEqual(
                ['-q -c qemu:///system domcapabilities --virttype kvm '
                 '--arch x86_64 --machine q35\n'], f.readlines())

    def test_guests_are_counted_by_model(self):
        kinds = [('', ''), ('sev', '0x0033'), ('sev', '0x37'), ('sev', '51'),
                 ('sev-snp', '0x30000'), ('s390-pv', '0'), ('sev', '?')]
        for number, kind in enumerate(kinds):
            self.write('guest%d' % number, DOMAIN % (
                UUID, SECURITY % kind if kind[0] else ''))
        self.install('virsh', '''
case "$*" in
*" list --state-running"*) seq 0 7;;
*dumpxml*) cat "%s/guest$5";;
esac
''' % self.folder)
        self.assertEqual({'sev': 2, 'sev_es': 2},
                         self.host.ask_json('guests'))
        self.assertNotIn('secret', self.host.ask('guests'))

    def test_a_command_that_fails(self):
        self.install('virsh', 'echo "error: cannot connect" >&2; exit 1')
        self.useFixture(fixtures.MonkeyPatch('os.geteuid', lambda: 1000))
        self.assertEqual('virsh: cannot connect. Run this as root.',
                         self.find_obstacle('version'))

    def test_a_command_that_does_not_answer(self):
        self.install('virsh', 'exec sleep 60')
        # NOTE: in a process of its own, as in the one that eventlet has
        # patched the exception is that of another copy of the module.
        found = subprocess.run([sys.executable, '-c', '''
from nova_mem_encryption.check import commands, hosts
commands.SECONDS = 0.2
try:
    hosts.Live().ask('version')
except hosts.Unanswered as e:
    print(e)
'''], stdout=subprocess.PIPE, text=True)
        self.assertIn('virsh did not answer', found.stdout)

    def test_a_command_that_is_not_there(self):
        self.useFixture(fixtures.EnvironmentVariable('PATH', self.folder))
        self.assertEqual('There is no command virsh.',
                         self.find_obstacle('domcapabilities'))

    def test_a_command_is_asked_once(self):
        self.install('virsh', "echo >> '%s/calls'; exit 1" % self.folder)
        for _ in range(3):
            self.find_obstacle('version')
        with open(self.folder + '/calls') as f:
            self.assertEqual(1, len(f.readlines()))

    def test_a_file_that_only_root_can_read(self):
        def refuse(*args, **kwargs):
            raise PermissionError(13, 'Permission denied')
        self.useFixture(fixtures.MonkeyPatch('os.stat', refuse))
        why = self.assertRaises(hosts.Unanswered, self.host.read,
                                '/proc/cpuinfo')
        self.assertEqual('Run this as root.', why.remedy)
        result = next(tree.run(report.CHECKS, self.host))
        self.assertEqual(('WARN', 'Run this as root.'),
                         (result.verdict, result.remedy))

    # What an answer is, and what is wrong with it
    @tables.data(
        ('[', 'it is no JSON'), ('[' * 100000, 'it is '), ('[]', '$: '),
        ('{"sev": -1, "sev_es": 0}', '$.sev: '),
        ('{"sev": true, "sev_es": 0}', '$.sev: '),
        ('{"sev": 1e99, "sev_es": 0}', '$.sev: '),
        ('{"sev": %s, "sev_es": 0}' % ('9' * 5000), ''),
        ('{"sev": 0}', 'sev_es'), by=0)
    @ddt.unpack
    def test_an_answer_that_makes_no_sense(self, text, words):
        host = self.useFixture(fake.RecordedHost())
        host.write('commands/guests', text)
        why = self.assertRaises(hosts.Unanswered, hosts.Recorded(
            host.path).ask_json, 'guests')
        self.assertIn(words, str(why))


@ddt.ddt
class NovaTest(base.BaseTestCase):
    """What is asked of Nova, in a process of its own."""

    def setUp(self):
        super().setUp()
        # It answers, however much else the machine has to do.
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.check.commands.SECONDS', 600))

    def test_options_of_nova_conf(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'conf')
        with open(path, 'w') as f:
            f.write('[DEFAULT]\nram_allocation_ratio = 1.5\n[libvirt]\n'
                    'cpu_mode = custom\ncpu_models = EPYC, EPYC-Rome\n'
                    'num_memory_encrypted_guests = 7\nvirt_type = qemu\n'
                    'enable_amd_sev_snp = true\n'
                    '[pci]\ndevice_spec = {"vendor_id": "8086"}\n')
        self.assertEqual({
            'files': 1, 'paths': [path],
            'compute_driver': None, 'ram_allocation_ratio': 1.5,
            'initial_ram_allocation_ratio': 1.0,
            'reserved_host_memory_mb': 512, 'libvirt.virt_type': 'qemu',
            'libvirt.hw_machine_type': [], 'libvirt.cpu_mode': 'custom',
            'libvirt.cpu_models': ['EPYC', 'EPYC-Rome'],
            'libvirt.num_memory_encrypted_guests': 7,
            'libvirt.file_backed_memory': 0, 'pci.device_spec': 1,
            'libvirt.enable_amd_sev_snp': True},
            hosts.Live(
                ['--config-file=' + path]).ask_json('nova-conf'))

    def test_an_option_that_systemd_sets_for_nova_compute(self):
        folder = self.useFixture(fixtures.TempDir()).path
        with open(os.path.join(folder, 'systemctl'), 'w') as f:
            f.write('#!/bin/sh\necho \'LANG=C "OS_DEFAULT__COMPUTE_DRIVER='
                    'mem_encryption.LibvirtDriver"\'\necho "$@" >&2\n')
        os.chmod(f.name, 0o755)
        with open(os.path.join(folder, 'nova.conf'), 'w') as f:
            f.write('[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n')
        for path, driver in ((os.defpath, 'libvirt.LibvirtDriver'),
                             (folder, 'mem_encryption.LibvirtDriver')):
            self.useFixture(fixtures.EnvironmentVariable('PATH', path))
            self.assertEqual(driver, hosts.Live(
                ['--config-file=' + f.name]).ask_json(
                    'nova-conf')['compute_driver'])

    def test_nothing_of_the_current_folder_is_imported(self):
        folder = self.useFixture(fixtures.TempDir()).path
        for name in ('nova', 'lxml', 'json', 'nova_mem_encryption'):
            with open('%s/%s.py' % (folder, name), 'w') as f:
                f.write('raise Exception("it was imported")\n')
        with open(folder + '/here.conf', 'w') as f:
            f.write('[libvirt]\nvirt_type = qemu\n')
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        found = hosts.Live(['--config-dir=' + folder]).ask_json('nova-conf')
        self.assertEqual('qemu', found['libvirt.virt_type'])

    def test_a_checkout_that_is_not_installed(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'python')
        with open(path, 'w') as f:
            # Without site, which is what finds an editable package
            f.write('#!/bin/sh\nPYTHONPATH=%s exec %s -S "$@"\n' % (
                os.path.dirname(os.path.dirname(nova.__file__)),
                sys.executable))
        os.chmod(path, 0o755)
        self.useFixture(fixtures.MonkeyPatch('sys.executable', path))
        found = hosts.Live().ask_json('engine')
        self.assertEqual(('applied', False), (found['state'], found['armed']))

    def test_a_nova_conf_that_is_not_there(self):
        why = self.assertRaises(hosts.Unanswered, hosts.Live(
            ['--config-file=/nonexistent']).ask, 'nova-conf')
        self.assertIn('/nonexistent', str(why))

    @ddt.data('nova-conf', 'placement')
    def test_a_nova_conf_that_cannot_be_parsed_is_not_quoted(self, question):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'conf')
        with open(path, 'w') as f:
            f.write('[placement]\npassword it\'s"S3cret\n')
        why = self.assertRaises(hosts.Unanswered, hosts.Live(
                ['--config-file=' + path]).ask,
                                question)
        self.assertIn('%s cannot be parsed, line 2: ' % path,
                      str(why))
        self.assertNotIn('S3cret', str(why))

    # What is in the place of libvirt-python, and the fault; None for none
    @tables.data(
        ({'libvirt.py': 'def getVersion(): return 11003001\n'}, None),
        # As libvirt.py of libvirt-python does
        ({'libvirt.py': 'import libvirtmod\n', 'libvirtmod.py':
          'raise ImportError("libvirt.so.0: cannot open shared object")\n'},
         'ImportError: libvirt.so.0: cannot open'),
        ({'libvirt.py': 'import libvirtmod\n', 'libvirtmod.py':
          'import libvirtmod2\n'},
         "ModuleNotFoundError: No module named 'libvirtmod2'"),
        ({'libvirt.py': 'print "of Python 2"\n'}, 'SyntaxError: '),
        ({'libvirt/__init__.py': ''},
         "AttributeError: module 'libvirt' has no attribute 'getVersion'"),
        by=1)
    @ddt.unpack
    def test_libvirt_python(self, texts, fault):
        folder = self.useFixture(fixtures.TempDir()).path
        for name, text in texts.items():
            os.makedirs(os.path.dirname(os.path.join(folder, name)),
                        exist_ok=True)
            with open(os.path.join(folder, name), 'w') as f:
                f.write(text)
        self.useFixture(fixtures.EnvironmentVariable(
            'PYTHONPATH', os.pathsep.join(filter(None, [
                folder, os.environ.get('PYTHONPATH')]))))
        found = hosts.Live().ask_json('libvirt-python')
        if fault is None:
            self.assertEqual({'version': [11, 3, 1], 'fault': None}, found)
        else:
            self.assertIsNone(found['version'])
            self.assertIn(fault, found['fault'])

    def test_no_libvirt_python(self):
        found = subprocess.run(
            [sys.executable, '-c', '''
import sys
sys.modules['libvirt'] = None
from nova_mem_encryption.check import ask_nova
print(ask_nova.libvirt_python([]))
'''], stdout=subprocess.PIPE, text=True)
        self.assertIn("'version': None, 'fault': 'ModuleNotFoundError: ",
                      found.stdout)

    def test_the_engine(self):
        found = hosts.Live().ask_json('engine')
        self.assertEqual(('applied', True), (found['state'], found['armed']))
        self.useFixture(fixtures.EnvironmentVariable(
            'NOVA_MEM_ENCRYPTION', 'off'))
        self.assertEqual('off', hosts.Live().ask_json('engine')['state'])

    def test_nova_is_not_installed(self):
        # As Python would be without the environment
        found = subprocess.run(
            [sys.executable, '-c', '''
import sys
sys.modules['nova'] = None
from nova_mem_encryption.check import ask_nova
sys.exit(ask_nova.main())
'''], input='conf\nengine\n', stdout=subprocess.PIPE, text=True)
        conf, engine = map(json.loads, found.stdout.splitlines())
        self.assertIn('Nova is not installed in', conf['error'])
        self.assertEqual('no nova', json.loads(engine['answer'])['state'])


@ddt.ddt
class RecordTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(
            self.useFixture(fixtures.TempDir()).path, 'host')

    def test_what_was_recorded_is_recorded_the_same(self):
        for name in ('ready', 'debian-12', 'no-firmware'):
            host = self.useFixture(fake.RecordedHost(name))
            folder = self.folder + name
            count = record.record(hosts.Recorded(host.path), folder)
            found = {os.path.relpath(os.path.join(path, file), folder)
                     for path, _, files in os.walk(folder) for file in files}
            self.assertEqual(count + 1, len(found))
            again = self.useFixture(fake.RecordedHost(name))
            again.path = folder
            self.assertEqual(host.check(), again.check())

    def test_nothing_secret_is_recorded(self):
        name = os.uname().nodename
        conf = os.path.join(self.useFixture(fixtures.TempDir()).path, 'conf')
        with open(conf, 'w') as f:
            f.write(NOVA_CONF % {'uuid': UUID, 'name': name})
        done = subprocess.run(
            [sys.executable, '-c', PATIENT_CHECK, '--config-file', conf,
             '--record', self.folder],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(0, done.returncode, done.stdout)
        self.assertIn('files and answers, and a README', done.stdout)
        for path, _, files in os.walk(self.folder):
            for file in files:
                with open(os.path.join(path, file), 'rb') as f:
                    text = f.read().decode(errors='replace')
                for secret in SECRETS:
                    self.assertNotIn(secret, text, file)
        with open(self.folder + '/commands/nova-conf') as f:
            found = json.load(f)
            self.assertEqual(['x86_64=q35'], found['libvirt.hw_machine_type'])
            self.assertNotIn('paths', found)

    def test_names_in_errors(self):
        host = os.uname().nodename
        for text, expected in (
                ('socket://nova:x@%s:1/v3 of %s.' % (host, host),
                 'URL of HOST.'),
                (host + '_other', host + '_other'),
                ('%s, 192.0.2.7 or fe80::1:2:3.' % UUID,
                 'UUID, ADDRESS or ADDRESS.'),
                ("(host='controller', port=1) and db.example.org",
                 "(host='NAME', port=1) and NAME"),
                ('fd00::5, fe80::1%eth0, [::1]:8778 and fd00::7: refused',
                 'ADDRESS, ADDRESS, [ADDRESS]:8778 and ADDRESS: refused'),
                ('::ffff:192.0.2.7, fd00::/8, host=fd00::9.',
                 'ADDRESS, ADDRESS/8, host=ADDRESS.'),
                ('192.0.2.7:5672 and 52:54:00:12:34:56',
                 'ADDRESS:5672 and ADDRESS'),
                ('project %s, user %s.' % ('0a' * 16, 'f' * 64),
                 'project UUID, user UUID.'),
                ('controller.local:8778 of compute-1.lan.',
                 'NAME:8778 of NAME.'),
                ('nova.conf cannot be parsed: /etc/nova/nova.conf, line 12.',
                 None),
                ('/sys/fs/cgroup/misc.capacity: at 12:30, kvm_amd.sev', None),
                ('60-edk2-x86_64.json, libvirtd.service, QEMU 7.2.0: x', None),
                ("No file '/etc/nova.conf' (Linux 6.5)", None)):
            expected = expected or text
            self.assertEqual(expected, record.anonymise(text))

    def test_an_error_is_recorded_as_such(self):
        host = self.useFixture(fake.RecordedHost())
        host.fail('version', 'No %s.\n' % UUID)
        record.record(hosts.Recorded(host.path), self.folder)
        why = self.assertRaises(hosts.Unanswered, hosts.Recorded(
            self.folder).ask, 'version')
        self.assertEqual('No UUID.', str(why))

    def test_descriptors_that_mask_others(self):
        host = self.useFixture(fake.RecordedHost())
        os.makedirs(os.path.join(host.path, 'root', 'etc/qemu/firmware'))
        name = '/etc/qemu/firmware/60-edk2-x86_64.json'
        os.symlink('/dev/null', host.path + '/root' + name)
        record.record(hosts.Recorded(host.path), self.folder)
        self.assertEqual(0, os.stat(self.folder + '/root' + name).st_size)
        host.path = self.folder
        self.assertEqual('FAIL', host.check()['firmware'].verdict)

    def test_firmware_is_recorded_as_far_as_it_matters(self):
        host = self.useFixture(fake.RecordedHost())
        path = 'root/usr/share/OVMF/OVMF_CODE_4M.fd'
        with open(os.path.join(host.path, path), 'rb') as f:
            end = f.read()
        # The table, by the length that its last entry has of it all
        used = 32 + struct.unpack_from('<H', end, len(end) - 32 - 18)[0]
        host.write(path, end.rjust(3 << 20, b'\xff'))
        record.record(hosts.Recorded(host.path), self.folder)
        with open(os.path.join(self.folder, path), 'rb') as f:
            self.assertTrue(end[-used:].rjust(4096, b'\0') == f.read())
        self.assertEqual('PASS', host.check()['firmware'].verdict)
        host.write(path, end + b'\0')  # no multiple of a sector
        before = host.check()['firmware']
        self.assertEqual('FAIL', before.verdict)
        record.record(hosts.Recorded(host.path), self.folder + '2')
        host.path = self.folder + '2'
        self.assertEqual('FAIL', host.check()['firmware'].verdict)

    @ddt.data(1, 30)
    def test_nothing_is_recorded_of_what_is_no_firmware(self, sectors):
        host = self.useFixture(fake.RecordedHost())
        path = 'root/usr/share/OVMF/OVMF_CODE_4M.fd'
        host.write(path, b'hunter2!' * 512 * sectors)
        before = host.check()['firmware']
        record.record(hosts.Recorded(host.path), self.folder)
        with open(os.path.join(self.folder, path), 'rb') as f:
            self.assertEqual(bytes(4096), f.read())
        host.path = self.folder
        self.assertEqual(before, host.check()['firmware'])

    def test_a_reset_block_without_a_table_is_recorded(self):
        host = self.useFixture(fake.RecordedHost())
        path = 'root/usr/share/OVMF/OVMF_CODE_4M.fd'
        used = (struct.pack('<IH', 0x80b004, 22) + uuid.UUID(
            firmware.RESET_BLOCK).bytes_le + bytes(32))
        host.write(path, used.rjust(4096, b'\xff'))
        self.assertEqual('PASS', host.check()['firmware'].verdict)
        record.record(hosts.Recorded(host.path), self.folder)
        with open(os.path.join(self.folder, path), 'rb') as f:
            self.assertEqual(used.rjust(4096, b'\0'), f.read())

    def test_a_folder_that_has_something(self):
        os.makedirs(self.folder + '/x')
        self.assertRaises(FileExistsError, record.record,
                          hosts.Live(), self.folder)
