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

"""A cloud whose host is imitated below libvirt and QEMU, not above.

Its tests run inside such a host, which 'tools/sevhost/sevhost.py exec' enters:
libvirt, QEMU, disks and firmware are real there.
"""
import functools
import json
import os
import re
import subprocess
import sys
import time
import uuid

import fixtures
from lxml import etree
from oslotest import base

from nova import context as nova_context
from nova.virt.libvirt import host as libvirt_host

from nova_mem_encryption.demo import cloud

TOOL = os.environ.get('SEVHOST_TOOL', '')  # sevhost.py
FIRMWARE = '/usr/share/OVMF/OVMF_CODE_4M.fd'
# Its SEV-ES reset block has this GUID; see ResetVectorVtf0.asm of edk2's
# OvmfPkg.
ES_RESET_BLOCK = uuid.UUID('00f771de-1a7e-4fcb-890e-68c77e2fb44e').bytes_le

FOREIGN = '''
<domain type='kvm'>
  <name>foreign</name>
  <memory unit='MiB'>64</memory>
  <os>
    <type machine='q35'>hvm</type>
    <loader readonly='yes' type='pflash'>%s</loader>
  </os>
  <features><acpi/></features>
  <launchSecurity type='sev'>
    <cbitpos>51</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
    <policy>0x%04x</policy>
  </launchSecurity>
</domain>
'''

SEV = {'hw:mem_encryption': 'true'}
ES = {**SEV, 'hw:mem_encryption_model': 'amd-sev-es'}
SEV_IMAGE = {'hw_mem_encryption': 'true'}
ES_IMAGE = {**SEV_IMAGE, 'hw_mem_encryption_model': 'amd-sev-es'}
SNP = {**SEV, 'hw:mem_encryption_model': 'amd-sev-snp'}
STATELESS = {'hw_firmware_stateless': 'true'}
POLICIES = {'amd-sev': 0x33, 'amd-sev-es': 0x37, 'amd-sev-snp': 0x30000}
LAUNCH_START = 'KVM_SEV_LAUNCH_START'
SNP_LAUNCH_START = 'KVM_SEV_SNP_LAUNCH_START'
# Linux, include/uapi/linux/input-event-codes.h
CTRL_ALT_DEL = (29, 56, 111)
# QEMU's object, and what the kernel is asked for first, and then
CALLS = {'amd-sev': ('sev-guest', 'KVM_SEV_INIT', LAUNCH_START),
         'amd-sev-es': ('sev-guest', 'KVM_SEV_ES_INIT', LAUNCH_START),
         'amd-sev-snp': ('sev-snp-guest', 'KVM_SEV_INIT2', SNP_LAUNCH_START)}


@functools.lru_cache(maxsize=None)
def schema():
    """Return libvirt's own schema of domains."""
    return etree.RelaxNG(etree.parse('/usr/share/libvirt/schemas/domain.rng'))


def tool(*args):
    """Run sevhost.py for the host that this is; return what it printed."""
    return subprocess.run(
        [sys.executable, TOOL, args[0], os.environ['SEVHOST'], *args[1:]],
        check=True, stdout=subprocess.PIPE, text=True).stdout


def kill(program):
    """Kill all processes of a program on this host."""
    subprocess.check_call(['pkill', '-KILL', '-x', program])


class RealCloud(cloud.Cloud):
    """The cloud of the demo, on libvirt and QEMU as they are."""

    def __init__(self):
        super().__init__(parameters=None, counts=None, shown=None,
                         verbose=False)

    def _set_up_host(self):
        self.flags('libvirt', virt_type='kvm', images_type='raw',
                   wait_soft_reboot_seconds=20)
        # Other hosts of this machine may use the same ports.
        self.flags('vnc', enabled=False)
        # The tests are those who fail to start servers.
        self.flags('compute', consecutive_build_service_disable_threshold=0)
        # Nova keeps it for the life of a process, which tests outlive.
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.node.LOCAL_NODE_UUID', None))
        self.invalid = []
        define = libvirt_host.Host.write_instance_config

        def write_instance_config(host, xml):
            if not schema().validate(etree.fromstring(xml)):
                self.invalid.append('%s\n%s' % (schema().error_log, xml))
            return define(host, xml)

        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.write_instance_config',
            write_instance_config))

    def start_compute(self):
        """Start nova-compute, or start it again; return when it is enabled."""
        super().start_compute()
        self.connect()
        self.addCleanup(self._silence, self._host)

    def stop_compute(self):
        """Stop nova-compute, if it runs."""
        super().stop_compute()
        if self.compute:
            self._silence(self._host)

    def connect(self):
        """Have nova-compute connect, and wait for what follows from it.

        It disables its service when it loses libvirtd, and enables it when it
        has it again, in a thread of its own. In between it gets no server.
        """
        self._host.get_connection()
        self._host._conn_event_handler_queue.join()

    @staticmethod
    def _silence(host):
        """Have one that ended do nothing with its successor's service."""
        host._conn_event_handler = lambda enabled, reason: None
        host._conn_event_handler_queue.join()

    @property
    def _host(self):
        return self.compute.manager.driver._host

    @property
    def connection(self):
        """The connection to libvirt that nova-compute has."""
        return self._host.get_connection()


class SevhostTestBase(base.BaseTestCase):
    """A host that each test boots as it wants it, and nova-compute there."""

    def setUp(self):
        super().setUp()
        if 'SEVHOST' not in os.environ:
            self.skipTest('this is not inside of an imitated host, as with '
                          'tools/tox -e sevhost')

    def start_cloud(self, *options, compute=True):
        """Boot the host and start the services.

        :param options: of the host; see sevhost.py start --help
        :param compute: whether nova-compute is started too
        """
        tool('reboot', *options)
        self.cloud = self.useFixture(RealCloud())
        self.addCleanup(self._destroy_all)
        self.addCleanup(lambda: self.assertEqual([], self.cloud.invalid))
        if compute:
            self.cloud.start_compute()

    def _destroy_all(self):
        for domain in self.cloud.connection.listAllDomains():
            persistent = domain.isPersistent()
            if domain.isActive():
                domain.destroy()
            if persistent:
                domain.undefineFlags(4)  # VIR_DOMAIN_UNDEFINE_NVRAM

    def start_foreign_guest(self, policy):
        """Start a guest that is not Nova's; return its domain."""
        return self.cloud.connection.createXML(FOREIGN % (FIRMWARE, policy))

    def update(self):
        """Have nova-compute look at its host, as it does every minute."""
        tool('settle')
        self.cloud.compute.manager.update_available_resource(
            nova_context.get_admin_context())

    def replace_firmware(self):
        """Have firmware without the SEV-ES reset block."""
        with open(FIRMWARE, 'rb') as f:
            code = f.read()
        self.assertEqual(1, code.count(ES_RESET_BLOCK))
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'code')
        with open(path, 'wb') as f:
            f.write(code.replace(ES_RESET_BLOCK, bytes(16)))
        self.mount(path, FIRMWARE)

    def mount(self, path, target):
        """Have a file in the place of another one, on this host only."""
        subprocess.check_call(['mount', '--bind', path, target])
        self.addCleanup(subprocess.check_call, ['umount', '--lazy', target])

    def reboot_host(self, *options):
        """Boot the host with other options; nova-compute starts after it."""
        tool('reboot', *options)
        self.cloud.start_compute()

    def act(self, server, action, body=None):
        """Do something with a server; return it when that is done."""
        self.cloud.admin.post_server_action(server['id'], {action: body})
        return self.wait(server)

    def wait(self, server, seconds=60):
        """Return a server when nothing is done with it any more."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            server = self.cloud.admin.get_server(server['id'])
            if server['OS-EXT-STS:task_state'] is None:
                return server
            time.sleep(0.1)
        self.fail('%(id)s is %(status)s, %(OS-EXT-STS:task_state)s' % server)

    def say_why(self, function):
        """Do what fails, until libvirt has read why QEMU ended.

        Now and then it notices first that it has.

        :param function: gets a number, and returns a server
        :returns: the server, and why it failed
        """
        for number in range(10):
            server = self.wait(function(number))
            why = self.get_details(server) + server.get('fault', {}).get(
                'message', '')
            if not re.search('failed to connect to monitor socket|QEMU ended '
                             'before', why):
                break
        return server, why

    def wait_until(self, condition, seconds=30):
        """Wait until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)

    def wait_for_libvirtd(self):
        """Wait until a new libvirtd answers, and nova-compute is enabled."""
        def answers():
            return subprocess.call(
                ['virsh', '-c', 'qemu:///system', 'list'],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
        self.wait_until(answers)
        self.cloud.connect()

    def reboot_inside(self, server):
        """Have a guest reboot, as Linux does at these keys."""
        self.get_domain(server).sendKey(
            0, 0, list(CTRL_ALT_DEL), len(CTRL_ALT_DEL))

    def delete(self, server):
        """Delete a server, and wait until it is gone."""
        self.cloud.admin.delete_server(server['id'])
        self.wait_until(lambda: server['id'] not in [
            found['id'] for found in self.cloud.admin.get_servers()])

    def get_details(self, server, action=None):
        """Return why the last action with a server failed, as users see.

        :param str action: its name; None for whichever was the last
        """
        latest = next(
            found for found in
            self.cloud.admin.get_instance_actions(server['id'])
            if action in (None, found['action']))
        return '\n'.join(
            event['details'] or '' for event in
            self.cloud.admin.get_instance_action_details(
                server['id'], latest['request_id'])['events']
            if event['result'] == 'Error')

    def get_domain(self, server):
        return self.cloud.connection.lookupByUUIDString(server['id'])

    def read_process(self, server, name):
        """Return what /proc says of the QEMU of a server."""
        with open('/run/libvirt/qemu/%s.pid'
                  % self.get_domain(server).name()) as f:
            pid = int(f.read())
        with open('/proc/%d/%s' % (pid, name)) as f:
            return f.read()

    def assert_off(self, server):
        """Check that a server has no guest that runs."""
        self.assertNotIn(server['id'], [
            domain.UUIDString()
            for domain in self.cloud.connection.listAllDomains()
            if domain.isActive()])

    def get_calls(self, server, *names):
        """Return the calls to the imitated kernel of a server's guests.

        :param names: of those to return
        """
        return [call for call in json.loads(tool('log'))
                if call['guest'] == server['id'] and
                (call['call'] in names or not names)]

    def get_used(self):
        """Return the slots in use: by Placement and by the kernel."""
        placement = {
            rp['provider']: len(rp['used by'])
            for rp in self.cloud.get_tree() if rp['slots']}
        tool('settle')
        with open('/sys/fs/cgroup/misc.current') as f:
            kernel = dict(line.split() for line in f)
        # It does not speak of what it has none of.
        return placement, {
            key: int(kernel.get(key, 0)) for key in ('sev', 'sev_es')}

    def assert_runs(self, server, model):
        """Check from Nova down to the kernel what a server's guest is.

        :param model: or None, if it is not encrypted
        """
        self.assertEqual('ACTIVE', server['status'], server.get('fault'))
        domain = self.get_domain(server)
        self.assertTrue(domain.isActive())
        command = self.read_process(server, 'cmdline')
        policy = POLICIES.get(model)
        for flags in (0, 2):  # live, and VIR_DOMAIN_XML_INACTIVE
            xml = etree.fromstring(domain.XMLDesc(flags))
            found = xml.findtext('launchSecurity/policy')
            self.assertEqual(policy, found and int(found, 16))
        if model is None:
            self.assertNotRegex(command, 'sev-(snp-)?guest')
            self.assertEqual([], self.get_calls(server))
            return
        kind, init, start = CALLS[model]
        self.assertRegex(command, r'"qom-type":"%s"[^}]*"policy":%d\b'
                         % (kind, policy))
        if model != 'amd-sev-snp':  # which libvirt 11.3 does not tell of
            self.assertEqual(policy,
                             domain.launchSecurityInfo()['sev-policy'])
        self.assertEqual({(start, policy)}, {
            (call['call'], call['policy']) for call in self.get_calls(server)
            if 'LAUNCH_START' in call['call']})
        inits = {call['call'] for call in self.get_calls(server)
                 if re.search('SEV_(ES_)?INIT', call['call'])}
        self.assertEqual({init}, inits)
