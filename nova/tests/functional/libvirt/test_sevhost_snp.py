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


"""Give servers SEV-SNP on real libvirt and QEMU, those of Debian 13."""
import importlib.util
import json
import os
import re
import subprocess
import sys
import unittest

import ddt
import fixtures

import nova.conf
from nova.tests.fixtures import tables
from nova.tests.functional.libvirt import sevhost as base
from nova.virt import node

from nova_mem_encryption.demo import cloud

CONF = nova.conf.CONF

TRAIT = 'HW_CPU_X86_AMD_SEV_SNP'
FOLDER = '/usr/share/qemu/firmware'
FIRMWARE = '/usr/share/ovmf/OVMF.fd'
# No package of Debian 13 says what that file can do.
DESCRIPTOR = {
    'description': 'UEFI in one file', 'interface-types': ['uefi'],
    'mapping': {'device': 'memory', 'filename': FIRMWARE},
    'targets': [{'architecture': 'x86_64', 'machines': ['pc-q35-*']}],
    'features': ['amd-sev', 'amd-sev-es', 'amd-sev-snp'], 'tags': []}
REFUSED = ('Memory encryption model amd-sev-snp was requested, and the server '
           'was not started because this host cannot give it: ')
SCHEMA = '/usr/share/libvirt/schemas/domaincommon.rng'
NONE_LEFT = 'all its ASIDs for guests of this model are in use.'
BY_PROCESSOR = 'its secure processor does not allow the CPU of the guest.'
FOREIGN = '''
<domain type='kvm'>
  <name>foreign</name>
  <memory unit='MiB'>64</memory>
  <os>
    <type machine='q35'>hvm</type>
    <loader type='rom'>%s</loader>
  </os>
  <features><acpi/></features>
  <launchSecurity type='sev-snp'><policy>0x30000</policy></launchSecurity>
</domain>
''' % FIRMWARE
FEATURES = 1  # SEV_FEATURES: SEV-SNP
FINISH = 'KVM_SEV_SNP_LAUNCH_FINISH'


class Base(base.SevhostTestBase):

    known = True  # whether they are for a libvirt that knows SEV-SNP
    cpu_mode = 'host-model'

    def setUp(self):
        super().setUp()
        # As with os-traits 3.7.0
        self.useFixture(fixtures.MonkeyPatch('os_traits.' + TRAIT, TRAIT))
        folder = self.useFixture(fixtures.TempDir()).path
        for name in os.listdir(FOLDER):
            with open(os.path.join(FOLDER, name)) as f:
                self.write(os.path.join(folder, name), f.read())
        self.write(os.path.join(folder, '20-one-file.json'),
                   json.dumps(DESCRIPTOR))
        self.mount(folder, FOLDER)

    def write(self, path, text):
        with open(path, 'w') as f:
            f.write(text)

    def start_cloud(self, *options):
        super().start_cloud(*options, compute=False)
        self.cloud.flags('libvirt', enable_amd_sev_snp=True)
        self.cloud.flags('libvirt', cpu_mode=self.cpu_mode)
        self.cloud.flags(allow_resize_to_same_host=True)
        self.cloud.start_compute()

    def boot(self, name='server', specs=base.SNP):
        return self.cloud.boot(name, specs, base.STATELESS)

    def assert_launched(self, server, times):
        """Check that a server runs, and how often it was launched."""
        self.assert_runs(server, 'amd-sev-snp')
        self.assertEqual(
            [(base.SNP_LAUNCH_START, 0x30000, 0), (FINISH, 0x30000, 0)]
            * times,
            [(call['call'], call['policy'], call['result']) for call in
             self.get_calls(server, base.SNP_LAUNCH_START, FINISH)])
        self.assertEqual({'sev': 0, 'sev_es': 1}, self.get_used()[1])

    def resize(self, server):
        """Give a server two vCPUs, on its host, and confirm that."""
        flavor = self.cloud.admin.post_flavor({'flavor': {
            'name': 'larger', 'ram': 512, 'vcpus': 2, 'disk': 1}})
        self.cloud.admin.post_extra_spec(flavor['id'],
                                         {'extra_specs': base.SNP})
        server = self.act(server, 'resize', {'flavorRef': flavor['id']})
        self.assertEqual('VERIFY_RESIZE', server['status'])
        self.act(server, 'confirmResize')
        self.wait_until(lambda: self.is_(server, status='ACTIVE'))

    def is_(self, server, **expected):
        """Tell whether the API says this of a server."""
        found = self.cloud.admin.get_server(server['id'])
        return all(found[key] == value for key, value in expected.items())


class ServerTest(Base):
    """What servers get, from the API down to the kernel."""

    def test_a_reboot_from_inside_starts_it_again(self):
        self.start_cloud('--snp')
        server = self.boot()
        self.reboot_inside(server)
        self.wait_until(lambda: len(self.get_calls(server, FINISH)) == 2)
        self.assert_launched(self.wait(server), 2)

    def test_it_stays_what_it_is(self):
        self.start_cloud('--snp', '--sev-asids', '5', '--es-asids', '3')
        server = self.boot()
        self.assert_launched(server, 1)
        self.assertEqual({'host1_amd_sev': 0, 'host1_amd_sev_snp': 1},
                         self.get_used()[0])
        server = self.act(server, 'os-stop')
        self.assert_off(server)
        self.assertEqual({'sev': 0, 'sev_es': 0}, self.get_used()[1])
        image = self.cloud.glance.create(None, {
            'name': 'another', 'status': 'active', 'disk_format': 'raw',
            'container_format': 'bare', 'size': 1, 'min_ram': 0, 'min_disk': 0,
            'properties': {**cloud.UEFI, **base.STATELESS}})
        for times, (action, body) in enumerate((
                ('os-start', None), ('reboot', {'type': 'SOFT'}),
                ('reboot', {'type': 'HARD'}),
                ('rebuild', {'imageRef': image['id']}),
                ('rescue', {}), ('unrescue', None)), 2):
            server = self.act(server, action, body)
            if action == 'rescue':
                self.assertEqual('RESCUE', server['status'])
                server['status'] = 'ACTIVE'  # which it is, too
            self.assert_launched(server, times)
        self.assert_off(self.act(server, 'shelve'))
        self.assertEqual({'sev': 0, 'sev_es': 0}, self.get_used()[1])
        server = self.act(server, 'unshelve')
        self.assert_launched(server, 8)
        self.delete(server)
        self.assertEqual(({'host1_amd_sev': 0, 'host1_amd_sev_snp': 0},
                          {'sev': 0, 'sev_es': 0}), self.get_used())

    def test_resize(self):
        self.start_cloud('--snp')
        server = self.boot()
        self.resize(server)
        self.assert_launched(self.wait(server), 2)
        self.assertEqual([1, 2], [
            call['vmsa'] for call in self.get_calls(server, FINISH)])

    def test_evacuate(self):
        self.start_cloud('--snp')
        server = self.boot()
        self._become('host2')
        service, = self.cloud.admin.get_services(
            binary='nova-compute', host='host1')
        self.cloud.admin.put_service_force_down(service['id'], True)
        self.act(server, 'evacuate', {})
        # It is started there, and stopped.
        self.wait_until(lambda: self.is_(server, status='SHUTOFF', **{
            'OS-EXT-SRV-ATTR:host': 'host2'}))
        self.assert_off(server)
        self.assert_launched(self.act(server, 'os-start'), 3)
        self.assertEqual(1, self.get_used()[0]['host2_amd_sev_snp'])

    def test_other_models_beside_it(self):
        self.start_cloud('--snp')
        self.assert_launched(self.boot(), 1)
        self.assert_runs(self.boot('sev', base.SEV), 'amd-sev')
        server = self.boot('es', base.ES)
        self.assertIn('No valid host', server['fault']['message'])
        self.assertEqual([], self.get_calls(server))
        self.assert_runs(self.boot('plain', {}), None)

    def test_its_memory_is_not_resident(self):
        self.start_cloud('--snp')
        server = self.boot()
        found = re.search(r'VmRSS:\s+(\d+) kB',
                          self.read_process(server, 'status'))
        self.assertLess(int(found.group(1)), server['flavor']['ram'] * 512)

    def _become(self, name):
        """Have another host in the place of this one, which is dead."""
        self.cloud.stop_compute()
        self._destroy_all()
        subprocess.check_call(['hostname', name])
        os.unlink(os.path.join(CONF.state_path, 'compute_id'))
        node.LOCAL_NODE_UUID = None
        self.cloud.host = name
        self.cloud.flags(host=name)
        self.cloud.compute = None
        self.cloud.start_compute()


@ddt.ddt
class RefusalTest(Base):
    """No server is started as less, and its user reads why."""

    def assert_refused(self, reason):
        """Check that a new server is off, and what its user reads."""
        server, _ = self.say_why(
            lambda number: self.boot('server-%d' % number))
        self.assertEqual('ERROR', server['status'])
        self.assertEqual(REFUSED + reason, server['fault']['message'])
        self.assert_off(server)
        self.assertEqual([], self.get_calls(server, FINISH))

    def test_the_firmware_refuses_the_cpuid_table(self):
        self.start_cloud('--snp', '--psp=no-cpuid')
        self.assert_refused(BY_PROCESSOR)
        # An operator reads more.
        self.assertIn('SNP_LAUNCH_UPDATE ret=-5 fw_error=22',
                      self.cloud.log.output)
        self.assertIn('CPUID validation failed', self.cloud.log.output)

    def test_it_is_not_initialised_for_it(self):
        """Nor can nova-compute ask it: in a container without /dev/sev."""
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.nova.mem_encryption.host.dev_sev.DEVICE',
            '/dev/none'))
        self.start_cloud('--snp', '--psp=old')
        self.assert_refused('its secure processor is not ready.')
        self.assert_runs(self.boot('sev', base.SEV), 'amd-sev')

    def test_a_guest_that_nova_does_not_know_has_the_last_asid(self):
        self.start_cloud('--snp', '--es-asids=1')
        self.cloud.connection.createXML(FOREIGN)
        self.assert_refused(NONE_LEFT)

    @ddt.data((), ('--psp=snp',), ('--snp', '--iommu-pt'),
              ('--snp', '--no-es'), ('--snp', '--psp=old'),
              ('--snp', '--psp=failed'), ('--snp', '--psp=absent'),
              ('--snp', '--no-sev'))
    def test_there_is_no_slot(self, options):
        self.start_cloud(*options)
        server = self.boot()
        self.assertEqual('ERROR', server['status'])
        self.assertIn('No valid host', server['fault']['message'])
        self.assertEqual([], self.get_calls(server))

    @tables.data(
        ((), 'kernel parameter kvm_amd.sev_snp is off.'),
        (('--snp', '--iommu-pt'), 'was told to leave the IOMMU alone'),
        (('--snp', '--psp=failed'), 'is not initialised for SEV-SNP.'), by=0)
    @ddt.unpack
    def test_the_host_lost_it(self, options, reason):
        self.start_cloud('--snp')
        server = self.boot()
        self.reboot_host(*options)
        self.cloud.admin.post_server_action(
            server['id'], {'reboot': {'type': 'HARD'}})
        details = self.get_details(self.wait(server))
        self.assertIn(REFUSED, details)
        self.assertIn(reason, details)
        self.assert_off(server)
        self.reboot_host('--snp')
        self.assert_launched(self.act(server, 'reboot', {'type': 'HARD'}), 2)


@ddt.ddt
class DigestTest(Base):
    """What the imitated firmware measures is what can be worked out."""

    known = importlib.util.find_spec('sevsnpmeasure') is not None or None

    # QEMU's own CPU, and the host's; no machine but AMD's takes an EPYC.
    @ddt.data('none', 'host-passthrough')
    def test_the_launch_digest(self, cpu_mode):
        from sevsnpmeasure import guest
        from sevsnpmeasure import sev_mode
        from sevsnpmeasure import vcpu_types

        self.cpu_mode = cpu_mode
        self.start_cloud('--snp')
        server = self.boot()
        told = [self.measure(server)]
        self.resize(server)
        told.append(self.measure(server))
        calls = self.get_calls(server, FINISH)
        self.assertEqual([1, 2], [call['vmsa'] for call in calls])
        for call, measured in zip(calls, told):
            cpu = [measured['cpu'][part]
                   for part in ('family', 'model', 'stepping')]
            self.assertEqual((measured['launch_digest'],) * 2, (
                call['digest'], guest.calc_launch_digest(
                    sev_mode.SevMode.SEV_SNP, call['vmsa'],
                    vcpu_types.cpu_sig(*cpu), FIRMWARE, None, None, None,
                    FEATURES).hex()))

    def measure(self, server):
        """Return what 'measure' says of a server."""
        return json.loads(subprocess.check_output([
            sys.executable, '-m', 'nova_mem_encryption.cli', 'measure',
            '--json', server['id']], text=True))


class OldTest(Base):
    """The libvirt of Debian 12."""

    known = False

    def test_libvirt_does_not_know_it(self):
        self.start_cloud('--snp')
        self.assertIn('No AMD SEV-SNP: libvirt is too old.',
                      self.cloud.log.output)
        server = self.boot()
        self.assertIn('No valid host', server['fault']['message'])
        self.assert_runs(self.boot('sev', base.SEV), 'amd-sev')


def load_tests(loader, tests, pattern):
    """Leave out what the libvirt of this host cannot do, or what it can."""
    if 'SEVHOST' in os.environ:
        with open(SCHEMA) as f:
            known = 'sev-snp' in f.read()
        return unittest.TestSuite(
            loader.loadTestsFromTestCase(each) for each in globals().values()
            if isinstance(each, type) and issubclass(each, Base) and
            each is not Base and each.known is known)
    return tests
