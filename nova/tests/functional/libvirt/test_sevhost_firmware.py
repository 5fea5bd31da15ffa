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

"""Test which firmware servers get on a host with real libvirt and QEMU."""
import glob
import json
import os
import shutil
import struct
import tempfile

import fixtures

from nova.tests.fixtures import firmware as fake
from nova.tests.functional.libvirt import sevhost as base
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption import models

FOLDER = '/usr/share/qemu/firmware'
REFUSED = ('Memory encryption model amd-sev-es was requested, and the server '
           'was not started because this host cannot give it: it has no '
           'firmware that can start such a guest.')
FIRMWARE = models.MODELS['amd-sev-es'].firmware
TABLE_END = 32  # bytes before the end of an image


def read_descriptors():
    """Return what the descriptors of this host say, by file name."""
    specs = {}
    for path in glob.glob(FOLDER + '/*.json'):
        with open(path) as f:
            specs[os.path.basename(path)] = json.load(f)
    return specs


class FirmwareTest(base.SevhostTestBase):
    """QEMU itself tells whether the choice was right."""

    def write_descriptors(self, specs):
        """Have other descriptors, on this host only."""
        folder = self.useFixture(fixtures.TempDir()).path
        for name, spec in specs.items():
            with open(os.path.join(folder, name), 'w') as f:
                json.dump(spec, f)
        self.mount(folder, FOLDER)

    def get_secure(self):
        """Return the descriptors that are for secure boot."""
        return {name: spec for name, spec in read_descriptors().items()
                if 'secure-boot' in spec['features']}

    def get_loader(self, server):
        """Return the firmware that a server's QEMU was started with."""
        with open('/run/libvirt/qemu/%s.pid'
                  % self.get_domain(server).name()) as f:
            pid = int(f.read())
        with open('/proc/%d/cmdline' % pid) as f:
            command = f.read()
        loader = base.etree.fromstring(
            self.get_domain(server).XMLDesc(0)).findtext('os/loader')
        self.assertIn('"filename":"%s"' % loader, command)
        return loader

    def copy_firmware(self, features):
        """Have a copy of the firmware; return its path and descriptor."""
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'c.fd')
        shutil.copy(base.FIRMWARE, path)
        spec = json.loads(json.dumps(read_descriptors()[
            '60-edk2-x86_64.json']))
        spec['mapping']['executable']['filename'] = path
        spec['features'] = features
        return path, spec

    def test_stock_descriptors_do_not_say_amd_sev_es(self):
        features = {name: spec['features']
                    for name, spec in read_descriptors().items()}
        self.assertEqual(3, len(features), features)
        self.assertNotIn('amd-sev-es', str(features))
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        self.assert_runs(server, 'amd-sev-es')
        self.assertEqual(base.FIRMWARE, self.get_loader(server))
        self.assert_runs(self.cloud.boot('sev', base.SEV), 'amd-sev')

    def test_what_says_amd_sev_es_comes_first(self):
        path, spec = self.copy_firmware(['amd-sev', 'amd-sev-es'])
        self.write_descriptors({**read_descriptors(), '90-es.json': spec})
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        self.assert_runs(server, 'amd-sev-es')
        self.assertEqual(path, self.get_loader(server))

    def test_only_firmware_for_secure_boot(self):
        secure = self.get_secure()
        self.assertEqual(2, len(secure))
        self.write_descriptors(secure)
        self.start_cloud()
        self.assertEqual(['host1', 'host1_amd_sev'], [
            rp['provider'] for rp in self.cloud.get_tree()])
        server = self.cloud.boot('server', base.ES)
        self.assertIn('No valid host', server['fault']['message'])
        self.assertEqual([], self.get_calls(server))
        for name in secure:
            self.assertIn('%s/%s: it requires SMM' % (FOLDER, name),
                          self.cloud.log.output)
        self.assertIn('Install OVMF', self.cloud.log.output)

    def test_firmware_that_goes_after_the_start(self):
        self.start_cloud()
        running = self.cloud.boot('running', base.ES)
        self.write_descriptors(self.get_secure())
        server = self.cloud.boot('server', base.ES)
        self.assertEqual('ERROR', server['status'])
        self.assertEqual(REFUSED, server['fault']['message'])
        self.assertEqual([], self.get_calls(server))
        for name in self.get_secure():
            self.assertIn('%s/%s: it requires SMM' % (FOLDER, name),
                          self.cloud.log.output)
        self.assert_runs(running, 'amd-sev-es')

    def test_secure_boot_that_is_optional_falls_back(self):
        self.start_cloud()
        self.assertTrue(
            self.cloud.compute.manager.driver._host.supports_secure_boot)
        server = self.cloud.boot('server', base.ES,
                                 {'os_secure_boot': 'optional'})
        self.assert_runs(server, 'amd-sev-es')
        self.assertEqual(base.FIRMWARE, self.get_loader(server))

    def make_large(self, path):
        """Return a copy of firmware, of another size.

        Its tables are at its end.
        """
        folder = tempfile.mkdtemp(dir='/var/tmp')
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        large = os.path.join(folder, 'OVMF_CODE_LARGE.fd')
        with open(path, 'rb') as source, open(large, 'wb') as target:
            target.write(bytes(1 << 20) + source.read())
        return large

    def test_a_server_keeps_its_firmware_and_its_nvram(self):
        self.start_cloud()
        server = self.cloud.boot('server', base.ES)
        large = self.make_large(base.FIRMWARE)
        spec = json.loads(json.dumps(read_descriptors()[
            '60-edk2-x86_64.json']))
        spec['mapping']['executable']['filename'] = large
        spec['features'].append('amd-sev-es')
        self.write_descriptors({**read_descriptors(), '10-large.json': spec})
        nvram = base.etree.fromstring(self.get_domain(
            server).XMLDesc(0)).findtext('os/nvram')
        before = os.stat(nvram)
        for action, body in (('reboot', {'type': 'HARD'}), ('os-stop', None),
                             ('os-start', None)):
            server = self.act(server, action, body)
        self.assert_runs(server, 'amd-sev-es')
        self.assertEqual(base.FIRMWARE, self.get_loader(server))
        self.assertEqual((before.st_ino, before.st_size),
                         (os.stat(nvram).st_ino, os.stat(nvram).st_size))
        other = self.cloud.boot('other', base.ES)
        self.assert_runs(other, 'amd-sev-es')
        self.assertEqual(large, self.get_loader(other))
        self.assertNotIn('does not fit any more', self.cloud.log.output)

    def test_descriptors_that_nova_fails_with_hinder_nobody(self):
        """Those that libvirt takes; it fails with JSON that is none."""
        folder = self.useFixture(fixtures.TempDir()).path
        for path in glob.glob(FOLDER + '/*'):
            shutil.copy(path, folder)
        with open(os.path.join(folder, '10-mask.json'), 'w'):
            pass
        with open(os.path.join(folder, '11-memory.json'), 'w') as f:
            json.dump({'interface-types': ['uefi'], 'tags': [],
                       'description': '', 'features': ['amd-sev-es'],
                       'mapping': {'device': 'memory',
                                   'filename': base.FIRMWARE},
                       'targets': [{'architecture': 'x86_64',
                                    'machines': ['pc-q35-*']}]}, f)
        self.mount(folder, FOLDER)
        self.start_cloud()
        self.assert_runs(self.cloud.boot('server', base.ES), 'amd-sev-es')
        self.assert_runs(self.cloud.boot('plain', {}), None)
        self.assertIn('Left out: none', self.cloud.log.output)

    def test_qemu_judges_images_alike(self):
        """No yes where QEMU says no, and no no where it says yes."""
        self.start_cloud()
        with open(base.FIRMWARE, 'rb') as f:
            code = f.read()
        table = code.index(base.ES_RESET_BLOCK)
        length = len(code) - TABLE_END - 18
        entry = table - 2  # where the length of the block's entry is
        changes = {
            'as it is': {}, 'no block': {table: bytes(16)},
            'no footer': {length + 2: bytes(16)},
            'an empty table': {length: struct.pack('<H', 18)},
            'less than a table': {length: bytes(2)},
            'a longer table': {length: struct.pack('<H', 0xffff)},
            'a table that ends too soon': {length: struct.pack('<H', 39)},
            'a table that just fits': {length: struct.pack('<H', 40)},
            'an entry of no length': {entry: bytes(2)},
            'an entry that is too long': {entry: struct.pack('<H', 0xffff)},
            'an address that is zero': {entry - 4: bytes(4)},
            'another address': {entry - 4: b'\1\2\3\4'},
        }
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'fd')
        verdicts = {}
        for name, places in changes.items():
            image = bytearray(code)
            for place, content in places.items():
                image[place:place + len(content)] = content
            with open(path, 'wb') as f:
                f.write(image)
            verdicts[name] = self.starts(path)
            self.assertEqual(verdicts[name],
                             not guided_table.find_flaw(path, FIRMWARE), name)
        # The block alone, as before there was a table
        for name, size in (('alone', 22), ('alone, and a lie', 0xffff)):
            image = bytearray(code)
            image[-TABLE_END - 22:-TABLE_END] = fake.make_entry(
                fake.RESET_BLOCK, b'\x04\x80\x80\0', size)
            with open(path, 'wb') as f:
                f.write(image)
            verdicts[name] = self.starts(path)
            self.assertEqual(verdicts[name],
                             not guided_table.find_flaw(path, FIRMWARE), name)
        for size in (len(code) - 1, (8 << 20) + 4096):
            with open(path, 'wb') as f:
                f.write(code.rjust(size, b'\xff')[-size:])
            verdicts[size] = self.starts(path)
            self.assertEqual(verdicts[size],
                             not guided_table.find_flaw(path, FIRMWARE), size)
        self.assertEqual(
            ['as it is', 'a longer table', 'a table that just fits',
             'another address', 'alone', 'alone, and a lie'],
            [name for name, starts in verdicts.items() if starts])

    def starts(self, path):
        """Tell whether QEMU starts an SEV-ES guest with an image."""
        xml = (base.FOREIGN % (path, base.POLICIES['amd-sev-es'])).replace(
            '</os>', '<nvram template="%s"/></os>' % fake.VARS)
        try:
            domain = self.cloud.connection.createXML(xml)
        except driver.libvirt.libvirtError as e:
            # It is the image that it complains of, or QEMU ended before
            # libvirt read why.
            self.assertRegex(str(e), 'reset|SEV information block|firmware|'
                             'monitor socket')
            return False
        domain.destroy()
        return True
