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

"""Test 'nova-mem-encryption measure', with sev-snp-measure as its oracle."""
import contextlib
import hashlib
import importlib.util
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import types
from unittest import mock

import ddt
import fixtures
import testtools

from nova.tests.fixtures import firmware as fake
from nova.tests.fixtures import tables
from nova.tests.unit import test_cli

from nova_mem_encryption.measure import cpus

UUID = '0c2f4a87-9f0e-4b1c-8f37-1d4f2f6c3a55'
# As libvirt 11.3 prints what runs
DOMAIN = """\
<domain type='kvm' id='3'>
  <name>instance-00000001</name>
  <uuid>{uuid}</uuid>
  <memory unit='KiB'>524288</memory>
  <vcpu placement='static'{current}>{vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='pc-q35-10.0'>hvm</type>
    {loader}
    {kernel}
  </os>
  {cpu}
  {security}
</domain>
"""
CUSTOM = """<cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>%s</model>
    <topology sockets='1' dies='1' clusters='1' cores='2' threads='1'/>
  </cpu>"""
SECURITY = """<launchSecurity type='sev-snp'%s>
    <cbitpos>51</cbitpos>
    <reducedPhysBits>1</reducedPhysBits>
    <policy>0x00030000</policy>
  </launchSecurity>"""
KERNEL = """<kernel>%s</kernel>
    <initrd>%s</initrd>
    <cmdline>%s</cmdline>"""
CAPABILITIES = """<capabilities><host><cpu>
  <arch>x86_64</arch><model>EPYC-Milan</model><vendor>AMD</vendor>
  <signature family='25' model='1' stepping='2'/>
</cpu></host></capabilities>"""
VCPUS = (1, 2, 4, 64)
MODELS = ('EPYC-v4', 'EPYC-Milan', 'EPYC-Genoa')
# Of what a test cannot have: CODE is what an image begins with
CODE = hashlib.sha512(b'code').digest() * 1024
MEASURED = fake.OVMF[1:] + (fake.make_entry(
    fake.HASHES, (0x820400).to_bytes(4, 'little') + b'\0\4\0\0'),)
IMAGES = {
    'as Debian 13 has it': fake.make_snp_image(fill=CODE, size=2 << 20),
    'for measured kernels': fake.make_snp_image(
        fake.make_metadata([*fake.SNP_SECTIONS, fake.HASHES_SECTION]),
        MEASURED, size=4 << 20, fill=CODE),
    'no more than it must': fake.make_snp_image(
        fake.make_metadata([(0x80d000, 0x1000, 2), (0x80e000, 0x1000, 3)]),
        [fake.make_entry(fake.RESET_BLOCK, b'\x78\x56\xfa\xff')])}
QEMU = 'qemu-system-x86_64'
OVMF = os.path.join(sys.prefix, 'debian-trixie/usr/share/ovmf/OVMF.fd')


class LibvirtError(Exception):

    def __init__(self, message, code):
        super().__init__(message)
        self.code = code

    def get_error_code(self):
        return self.code


class Libvirt(types.ModuleType):
    """libvirt's library, as far as it is asked; of a host with one server."""

    VIR_DOMAIN_XML_INACTIVE, VIR_ERR_NO_DOMAIN = 2, 42
    libvirtError = LibvirtError

    def __init__(self):
        super().__init__('libvirt')
        self.live = self.asked = None
        self.active, self.uris, self.broken = True, [], None
        self.capabilities = CAPABILITIES

    def registerErrorHandler(self, handler, context):
        pass

    def openReadOnly(self, uri):
        self.uris.append(uri)
        if self.broken:
            raise LibvirtError(self.broken, 38)
        return self

    def _lookup(self, known, asked):
        if known != asked:
            raise LibvirtError('Domain not found', self.VIR_ERR_NO_DOMAIN)
        return self

    def lookupByUUIDString(self, uuid):
        return self._lookup(UUID, uuid)

    def lookupByName(self, name):
        return self._lookup('instance-00000001', name)

    def isActive(self):
        return self.active

    def XMLDesc(self, flags):
        return self.asked if flags == self.VIR_DOMAIN_XML_INACTIVE else (
            self.live)

    def getCapabilities(self):
        return self.capabilities


class MeasureTestCase(test_cli.CommandTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.libvirt = Libvirt()
        self.useFixture(fixtures.MonkeyPatch('sys.modules', {
            **sys.modules, 'libvirt': self.libvirt}))
        self.firmware = self.write('OVMF.fd', IMAGES['as Debian 13 has it'])
        self.define()

    def write(self, name, content):
        """Write a file; return its path."""
        path = os.path.join(self.folder, name)
        with open(path, 'wb') as f:
            f.write(content if isinstance(content, bytes) else
                    content.encode())
        return path

    def define(self, model='EPYC-Milan', vcpus=2, asked=None, **parts):
        """Define the server.

        :param model: of its CPU
        :param asked: the CPU that it was asked for, if that is another
        :param parts: of the domain, instead of those of a server
        """
        parts = {'uuid': UUID, 'vcpus': vcpus, 'current': '', 'kernel': '',
                 'loader': "<loader type='rom'>%s</loader>" % self.firmware,
                 'cpu': CUSTOM % model, 'security': SECURITY % '', **parts}
        self.libvirt.live = DOMAIN.format(**parts)
        self.libvirt.asked = DOMAIN.format(
            **{**parts, 'cpu': asked or parts['cpu']})

    def measure(self, *args):
        """Return what is printed as JSON of the server."""
        code, out, err = self.call('measure', '--json', UUID, *args)
        self.assertEqual((0, ''), (code, err))
        return json.loads(out)

    def assert_refused(self, *words, args=(UUID,)):
        """Check that there is one line on why there is no answer."""
        code, out, err = self.call('measure', *args)
        self.assertEqual((2, '', 1), (code, out, err.count('\n')), err)
        for word in words:
            self.assertIn(word, err)

    def ask_oracle(self, *args):
        """Return what sev-snp-measure prints."""
        from sevsnpmeasure import cli
        out = io.StringIO()
        with contextlib.redirect_stdout(out), mock.patch.object(
                sys, 'argv', ['sev-snp-measure', *args]):
            cli.main()
        return out.getvalue().strip()


@ddt.ddt
@testtools.skipUnless(importlib.util.find_spec('sevsnpmeasure'),
                      'sev-snp-measure is not installed')
class OracleTest(MeasureTestCase):

    def check(self, path):
        self.firmware = path
        # NOTE: the whole of it, with the words that a user is told to type.
        for vcpus in VCPUS:
            for model in MODELS:
                self.define(model, vcpus)
                told = self.measure()
                words = shlex.split(told['command'])
                self.assertEqual('OVMF.fd', words[words.index('--ovmf') + 1])
                words[words.index('--ovmf') + 1] = path
                self.assertEqual(self.ask_oracle(*words[1:]),
                                 told['launch_digest'], (vcpus, model))
                self.assertEqual(told['launch_digest'], self.ask_oracle(
                    '--mode', 'snp', '--vcpus', str(vcpus), '--vcpu-type',
                    model, '--ovmf', path), (vcpus, model))
        self.assertEqual(told['firmware']['digest'], self.ask_oracle(
            '--mode', 'snp:ovmf-hash', '--ovmf', path))

    @tables.data(*IMAGES)
    def test_an_image(self, name):
        self.check(self.write('OVMF.fd', IMAGES[name]))

    @testtools.skipUnless(os.path.exists(OVMF), "Debian 13's is not here; "
                          'tools/sevhost/newer.py gets it')
    def test_that_of_debian_13(self):
        self.check(OVMF)

    @tables.data(
        ('all of it', b'initrd', 'console=ttyS0 root=/dev/vda1'),
        ('no more', b'', ''))
    @ddt.unpack
    def test_a_kernel_that_is_measured(self, _, initrd, cmdline):
        self.firmware = self.write('OVMF.fd', IMAGES['for measured kernels'])
        kernel = self.write('kernel', b'kernel' * 1000)
        path = self.write('initrd', initrd)
        self.define(
            security=SECURITY % " kernelHashes='yes'", kernel=KERNEL % (
                kernel, path, cmdline) if initrd else
            '<kernel>%s</kernel>' % kernel)
        told = self.measure()
        given = {'OVMF.fd': self.firmware, 'KERNEL': kernel, 'INITRD': path,
                 'COMMAND LINE': cmdline}
        words = [given.get(word, word) for word in shlex.split(
            told['command'])]
        self.assertEqual(self.ask_oracle(*words[1:]), told['launch_digest'])
        # Another one has another digest.
        self.write('kernel', b'another')
        self.assertNotEqual(told['launch_digest'],
                            self.measure()['launch_digest'])
        self.assertEqual(1, self.call(
            'measure', '--from', self.write('server.json', json.dumps({
                **told, 'launch_digest': 96 * '0'})))[0])

    def test_a_cpu_that_is_the_hosts(self):
        self.define(cpu="<cpu mode='host-passthrough' check='none'/>")
        told = self.measure()
        self.assertEqual(
            {'mode': 'host-passthrough', 'name': None, 'family': 25,
             'model': 1, 'stepping': 2}, told['cpu'])
        self.assertEqual(told['launch_digest'], self.ask_oracle(
            '--mode', 'snp', '--vcpus', '2', '--vcpu-sig', '0xa00f12',
            '--ovmf', self.firmware))

    def test_the_models_have_the_same_signatures(self):
        from sevsnpmeasure import vcpu_types
        theirs = {name: value for name, value in vcpu_types.CPU_SIGS.items()}
        self.assertLessEqual({*MODELS, 'EPYC-IBPB'}, {*theirs})
        for name, value in theirs.items():
            self.assertEqual(value, cpus.find(name).value, name)


@ddt.ddt
class ServerTest(MeasureTestCase):
    """What is said of a server."""

    # What sev-snp-measure 0.0.13 says of it
    DIGEST = ('d94ca533b803b8860c9c09fc946905d076d88d3003bbe806'
              '367559fb7fac7edd19b1838ee3dcbe8a125b651872a9c407')

    def test_all_that_is_said(self):
        told = self.measure()
        image = IMAGES['as Debian 13 has it']
        self.assertEqual({
            'name': 'instance-00000001', 'uuid': UUID,
            'firmware': {
                'path': self.firmware, 'digest': told['firmware']['digest'],
                'sha256': hashlib.sha256(image).hexdigest()},
            'vcpus': 2,
            'cpu': {'mode': 'custom', 'name': 'EPYC-Milan', 'family': 25,
                    'model': 1, 'stepping': 1},
            'guest_features': 1, 'policy': 0x30000, 'kernel_hashes': None,
            'launch_digest': self.DIGEST,
            'command': 'sev-snp-measure --mode snp --vcpus 2 --vcpu-family 25 '
                       '--vcpu-model 1 --vcpu-stepping 1 --guest-features 0x1 '
                       '--ovmf OVMF.fd',
            'reproducible': True, 'differs': []}, told)
        self.assertEqual(['qemu:///system'], self.libvirt.uris)

    def test_as_text(self):
        code, out, err = self.call('measure', 'instance-00000001')
        self.assertEqual((0, ''), (code, err))
        told = self.measure()
        for line in (
                'server          instance-00000001 (%s)' % UUID,
                'firmware        ' + self.firmware,
                '  SHA-256       ' + told['firmware']['sha256'],
                '  its part      ' + told['firmware']['digest'],
                'vCPUs           2',
                'CPU             EPYC-Milan: family 25, model 1, stepping 1',
                '  mode          custom', 'guest features  0x1',
                'policy          0x30000',
                'kernel hashes   none, no kernel is measured',
                'launch digest   ' + told['launch_digest'],
                '    ' + told['command']):
            self.assertIn(line, out.splitlines())
        self.assertIn('proves nothing', out)
        self.assertNotIn('hardware', out)

    @tables.data(('host-model', CUSTOM % 'EPYC-Milan-v2', 1),
                 ('host-passthrough', None, 2), ('maximum', None, 2))
    @ddt.unpack
    def test_a_digest_that_depends_on_the_hardware(self, mode, live, stepping):
        cpu = "<cpu mode='%s' check='none'/>" % mode
        self.define(cpu=live or cpu, asked=cpu)
        told = self.measure()
        self.assertEqual((mode, stepping, False), (
            told['cpu']['mode'], told['cpu']['stepping'],
            told['reproducible']))
        out = self.call('measure', UUID)[1]
        self.assertIn('depends on the hardware', out)
        self.assertIn('(cpu_mode %s)' % mode, ' '.join(out.split()))

    def test_no_cpu_is_asked_for(self):
        self.define(cpu=CUSTOM % 'qemu64', asked=' ')
        self.assertEqual((15, 107, 1, 'custom'), tuple(
            self.measure()['cpu'][name]
            for name in ('family', 'model', 'stepping', 'mode')))

    def test_vcpus_that_are_there_at_the_start(self):
        self.define(vcpus=8, current=" current='2'")
        self.assertEqual(self.DIGEST, self.measure()['launch_digest'])

    def test_a_kernel_that_is_not_measured(self):
        self.define(kernel=KERNEL % ('/k', '/i', 'quiet'))
        self.assertEqual(self.DIGEST, self.measure()['launch_digest'])

    def test_the_firmware_is_somewhere_else(self):
        copy = self.write('copy.fd', IMAGES['as Debian 13 has it'])
        self.define(loader="<loader type='rom'>/gone/OVMF.fd</loader>")
        told = self.measure('--firmware', copy)
        self.assertEqual((copy, self.DIGEST), (
            told['firmware']['path'], told['launch_digest']))
        self.assertIn('OVMF.fd', told['command'])

    def test_libvirt_of_another_machine(self):
        uri = 'qemu+ssh://compute1/system'
        self.assert_refused('--firmware FILE', args=(
            UUID, '--libvirt', uri))
        self.assertEqual(self.DIGEST, self.measure(
            '--libvirt', uri, '--firmware', self.firmware)['launch_digest'])
        self.assertEqual([uri], self.libvirt.uris)
        self.define(security=SECURITY % " kernelHashes='yes'",
                    kernel=KERNEL % ('/k', '/i', 'quiet'))
        self.assert_refused('Run this there', args=(
            UUID, '--libvirt', uri, '--firmware', self.firmware))


@ddt.ddt
class RefusalTest(MeasureTestCase):
    """What cannot be measured, and what is said of it."""

    def test_a_server_that_is_not_there(self):
        for server in ('instance-00000002', UUID.replace('0', '1')):
            self.assert_refused('has no server ' + server, 'qemu:///system',
                                args=[server])

    def test_a_server_that_does_not_run(self):
        self.libvirt.active = False
        self.assert_refused(UUID, 'does not run', 'Start it')

    @tables.data(
        ("<launchSecurity type='sev'><policy>0x0033</policy></launchSecurity>",
         'has SEV,'),
        ("<launchSecurity type='sev'><policy>0x0037</policy></launchSecurity>",
         'has SEV-ES,'),
        ("<launchSecurity type='tdx'/>", 'has tdx,'),
        ('', 'has no memory encryption,'), by=1)
    @ddt.unpack
    def test_a_server_without_sev_snp(self, security, told):
        self.define(security=security)
        self.assert_refused(told, 'Only with SEV-SNP')

    def test_firmware_that_is_not_in_memory(self):
        for loader in ("<loader type='pflash'>/OVMF.fd</loader>", ''):
            self.define(loader=loader)
            self.assert_refused("(<loader type='rom'>)")

    def test_a_cpu_model_that_is_not_known(self):
        self.define(model='Opteron_G5')
        self.assert_refused('Opteron_G5', 'EPYC-Genoa')

    def test_a_host_that_does_not_tell_its_cpu(self):
        self.libvirt.capabilities = '<capabilities><host/></capabilities>'
        self.define(cpu="<cpu mode='host-passthrough'/>")
        self.assert_refused('host-passthrough', 'signature')

    def test_libvirt_does_not_answer(self):
        self.libvirt.broken = 'Failed to connect\nsocket: No such file.'
        self.assert_refused('qemu:///system cannot be asked: Failed to '
                            'connect socket: No such file. Run')

    def test_no_library_of_libvirt(self):
        self.useFixture(fixtures.MonkeyPatch('sys.modules', {
            **sys.modules, 'libvirt': None}))
        self.assert_refused('libvirt cannot be asked', '--from FILE')

    @tables.data(
        (lambda path: os.unlink(path), 'No such file'),
        (lambda path: (os.unlink(path), os.mkfifo(path)), 'not a regular'),
        (lambda path: os.truncate(path, 0), 'it has 0 bytes'),
        (lambda path: os.truncate(path, 1 << 40), 'more than 20971520'),
        by=1)
    @ddt.unpack
    def test_firmware_that_cannot_be_read(self, spoil, told):
        spoil(self.firmware)
        self.assert_refused(self.firmware, told, '--firmware FILE')

    def test_kernel_hashes_and_firmware_that_has_no_room_for_them(self):
        kernel = self.write('kernel', b'kernel')
        self.define(security=SECURITY % " kernelHashes='yes'",
                    kernel=KERNEL % (kernel, kernel, ''))
        self.assert_refused('it does not measure kernels')

    @tables.data(('', 'no kernel that QEMU loads'),
                 ('<kernel>/gone</kernel>', 'No such file'))
    @ddt.unpack
    def test_kernel_hashes_and_no_kernel(self, kernel, told):
        self.define(security=SECURITY % " kernelHashes='yes'", kernel=kernel)
        self.assert_refused('instance-00000001', told)

    def test_a_command_line_that_makes_no_sense(self):
        for args in ((), (UUID, '--from', 'server.json'), (UUID, UUID),
                     (UUID, '--bogus')):
            code, out, err = self.call('measure', *args)
            self.assertEqual((2, ''), (code, out), args)
            self.assertIn('usage: nova-mem-encryption measure', err)


class CpuTest(testtools.TestCase):
    """The table of models."""

    @testtools.skipUnless(shutil.which(QEMU), 'QEMU is not installed')
    def test_the_signatures_are_those_of_qemu(self):
        asked = [{'execute': 'qmp_capabilities'}, *(
            {'execute': 'query-cpu-model-expansion', 'id': name,
             'arguments': {'type': 'full', 'model': {'name': name}}}
            for name in cpus.NAMED), {'execute': 'quit'}]
        done = subprocess.run(
            [QEMU, '-M', 'q35', '-accel', 'tcg', '-nodefaults', '-display',
             'none', '-S', '-qmp', 'stdio'],
            input='\n'.join(map(json.dumps, asked)).encode(),
            stdout=subprocess.PIPE)
        told = {answer['id']: tuple(
            answer['return']['model']['props'][part]
            for part in cpus.Signature._fields)
            for answer in map(json.loads, done.stdout.splitlines())
            # One that it is too old for
            if 'id' in answer and 'error' not in answer}
        self.assertLessEqual({'EPYC', 'EPYC-Milan', 'qemu64'}, {*told})
        self.assertEqual(told, {name: cpus.NAMED[name] for name in told})

    def test_versions_of_a_model(self):
        self.assertEqual(cpus.NAMED['EPYC-Rome'], cpus.find('EPYC-Rome-v4'))
        for name in ('EPYC-Rome-v', 'EPYC-Rome-4', 'epyc', '', 'EPYC-v1-v1x'):
            self.assertIsNone(cpus.find(name))

    def test_what_eax_says(self):
        # qemu64, EPYC-v4, EPYC-Genoa; the highest
        for parts, value in (((15, 107, 1), 0x60fb1), ((23, 1, 2), 0x800f12),
                             ((25, 17, 0), 0xa10f10), ((6, 2, 3), 0x623),
                             (cpus.MOST, 0xfff0fff)):
            self.assertEqual(value, cpus.Signature(*parts).value)
