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

"""Test which firmware servers get, and what becomes of them without any."""
import ddt
import fixtures

from nova.tests.fixtures import firmware as fake
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

REFUSED = ('Memory encryption model amd-sev-es was requested, and the server '
           'was not started because this host cannot give it: it has no '
           'firmware that can start such a guest.')
NO_SECURE_BOOT = 'Secure boot needs SMM, which SEV-ES does not have.'
REQUIRED = {'os:secure_boot': 'required'}
REQUIRED_IMAGE = {'os_secure_boot': 'required'}


@ddt.ddt
class FirmwareTest(base.MemEncryptionTestBase):

    def get_loader(self, server):
        """Return the loader of a server's definition."""
        return self.get_xml(server).findtext('os/loader')

    @ddt.data(base.SEV_SPECS, base.ES_SPECS)
    def test_a_server_keeps_its_firmware_while_it_fits(self, specs):
        self.start_host()
        server = self.boot(specs)
        self.assertEqual(fake.CODE, self.get_loader(server))
        # Firmware comes that is better for new servers.
        self.sev.firmware.write('/better.fd', fake.make_image(*fake.OVMF))
        better = self.sev.firmware.describe(
            '10-better.json', ['amd-sev', 'amd-sev-es'], '/better.fd')
        self._reboot_server(server, hard=True)
        self._stop_server(server)
        self._start_server(server)
        self.assertEqual(fake.CODE, self.get_loader(server))
        self.assertEqual('/better.fd', self.get_loader(self.boot(specs)))
        self.assertEqual([], [w for w in self.warnings if 'firmware' in w])
        # The one that it has goes.
        self.sev.firmware.write(fake.CODE, None)
        self._reboot_server(server, hard=True)
        self.assertEqual('/better.fd', self.get_loader(server))
        warning, = [w for w in self.warnings if 'firmware' in w]
        self.assertTrue(warning.startswith(
            '%s Its firmware was %s, which does not fit any more, so it gets '
            '/better.fd.' % (server['id'], fake.CODE)), warning)
        # And then the other.
        self.sev.firmware.write(better, None)
        if specs == base.ES_SPECS:
            self.assertIn(REFUSED, self.hard_reboot_fails(server))
            self.assertTrue(self.is_running(server))
            # What it had is kept for when there is firmware again.
            self._stop_server(server)
            self.assertIn(REFUSED, self.act(server, 'os-start'))
            self.assertEqual('/better.fd', self.get_loader(server))

    def test_a_host_with_only_secure_boot_offers_no_sev_es(self):
        self.sev.firmware.remove('60-edk2.json')
        self.start_host()
        self.assert_tree(sev=100)
        self.assertIn('No valid host', self.boot_fails(base.ES_SPECS))
        warning, = [w for w in self.warnings if 'No firmware' in w]
        for words in (fake.SHIPPED + '/50-secure.json: it requires SMM',
                      'Install OVMF'):
            self.assertIn(words, warning)
        self.assert_model(self.boot(base.SEV_SPECS), 'amd-sev')
        self.sev.firmware.describe('60-local.json', ['amd-sev'],
                                   folder=fake.LOCAL)
        self.restart_host()
        self.assert_tree(sev=100, sev_es=15)
        self.assert_model(self.boot(base.ES_SPECS), 'amd-sev-es')

    def test_firmware_that_goes_after_the_start(self):
        self.start_host()
        self.sev.firmware.write(fake.CODE, fake.make_image())
        # The user reads one sentence, the operator all of it.
        self.assertEqual(REFUSED, self.boot_fails(base.ES_SPECS))
        error, = [w for w in self.warnings if 'No firmware' in w]
        for words in (fake.SHIPPED + '/50-secure.json: it requires SMM',
                      fake.CODE + ': it has no SEV-ES reset block',
                      'Install OVMF'):
            self.assertIn(words, error)
        self.assertEqual([], self.get_slots(self.api.get_servers()[0]))

    def test_secure_boot_that_is_optional_falls_back(self):
        self.useFixture(fixtures.MonkeyPatch(
            'nova.virt.libvirt.host.Host.supports_secure_boot', True))
        self.start_host()
        # Only an image can say this.
        server = self.boot(base.ES_SPECS, {'os_secure_boot': 'optional'})
        self.assert_model(server, 'amd-sev-es')
        xml = self.get_xml(server)
        self.assertEqual('no', xml.find('os/loader').get('secure'))
        self.assertEqual(fake.CODE, self.get_loader(server))
        self.assertIsNone(xml.find('features/smm'))

    # -- secure boot that is required ----------------------------------------

    def assert_refused(self, function, *args):
        """Check that the API refuses, and why; return what it says."""
        before = self.get_placement()
        e = self.assertRaises(client.OpenStackApiException, function, *args)
        self.assertEqual(400, e.response.status_code)
        self.assertEqual(before, self.get_placement())
        self.assertIn(NO_SECURE_BOOT, e.response.text)
        return e.response.text

    @ddt.data((REQUIRED, {}, "os:secure_boot 'required'"),
              ({}, REQUIRED_IMAGE, "os_secure_boot 'required'"))
    @ddt.unpack
    def test_create_and_resize(self, specs, properties, words):
        self.start_host()
        for function in (self.boot, self.boot_from_volume):
            self.assertIn(words, self.assert_refused(
                function, {**base.ES_SPECS, **specs}, properties))
        self.assertEqual([], self.api.get_servers())
        server = self.boot(base.SEV_SPECS, properties)
        self.assertIn(words, self.assert_refused(
            self.api.post_server_action, server['id'], {'resize': {
                'flavorRef': self.create_flavor(
                    {**base.ES_SPECS, **specs})}}))

    def test_rebuild(self):
        self.start_host()
        server = self.boot(base.ES_SPECS)
        image = self.create_image(**REQUIRED_IMAGE)
        self.assertIn("os_secure_boot 'required'", self.assert_refused(
            self.api.post_server_action, server['id'],
            {'rebuild': {'imageRef': image}}))
        self.assert_model(server, 'amd-sev-es')
