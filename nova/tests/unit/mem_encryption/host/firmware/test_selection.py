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

"""Test which firmware an encrypted guest gets, of what a host has."""
import json
import os
import socket

import ddt
import fixtures
from oslotest import base

from nova.tests.fixtures import firmware as fake
from nova.tests.fixtures import tables

from nova_mem_encryption.nova.mem_encryption.host.firmware import selection

SEV, ES, SNP = 'amd-sev', 'amd-sev-es', 'amd-sev-snp'
Q35 = 'pc-q35-7.2'
GOOD = {'description': '', 'interface-types': ['uefi'], 'tags': [],
        'mapping': {'device': 'flash',
                    'executable': {'filename': fake.CODE, 'format': 'raw'},
                    'nvram-template': {'filename': fake.VARS,
                                       'format': 'raw'}},
        'targets': [{'architecture': 'x86_64', 'machines': ['pc-q35-*']}],
        'features': ['amd-sev', 'amd-sev-es']}


class FirmwareTestCase(base.BaseTestCase):
    """A host whose firmware is that of Debian 12."""

    def setUp(self):
        super().setUp()
        self.host = self.useFixture(fake.Firmware())

    def choose(self, model=ES, machine=Q35, current=None):
        """Choose; return the descriptor's path and the reasons by path."""
        choice = selection.choose(model, machine, self.host.path, current)
        reasons = dict(choice.rejected)
        self.assertEqual(len(reasons), len(choice.rejected))
        return choice.firmware and choice.firmware.path, reasons

    def assert_refused(self, path, reason, model=ES):
        """Check that one firmware is the reason, and no other is there."""
        self.host.remove('50-secure.json', '60-edk2.json')
        self.assertEqual((None, {path: reason}), self.choose(model))


@ddt.ddt
class ChoiceTest(FirmwareTestCase):
    """Which firmware is taken, of those that can be read."""

    @ddt.data(SEV, ES)
    def test_debian_only_says_amd_sev(self, model):
        choice = selection.choose(model, Q35, self.host.path)
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', choice.firmware.path)
        self.assertEqual((fake.CODE, fake.VARS),
                         (choice.firmware.executable,
                          choice.firmware.nvram_template))
        self.assertEqual(
            fake.SHIPPED + '/50-secure.json: it requires SMM, which '
            'encrypted guests are not given', str(choice))

    @tables.data((ES, '70-es.json'), (SEV, '10-sev.json'), by=0)
    @ddt.unpack
    def test_what_is_for_the_model_comes_first(self, model, name):
        self.host.describe('10-sev.json', [SEV])
        self.host.describe('70-es.json', [SEV, ES])
        self.assertEqual('%s/%s' % (fake.SHIPPED, name), self.choose(model)[0])

    def test_sev_es_alone_is_not_sev(self):
        path = self.host.describe('10-es.json', [ES])
        self.assertEqual(path, self.choose(ES)[0])
        self.assert_refused(path, 'its features lack amd-sev', SEV)

    def test_the_first_name_wins_whatever_its_folder(self):
        names = ['55-a.json', '55-b.json', '55-B.json', '5-c.json']
        for name, folder in zip(names, [fake.SHIPPED, fake.LOCAL] * 2):
            self.host.describe(name, [ES], folder=folder)
        for name in ('5-c.json', '55-B.json', '55-a.json', '55-b.json'):
            path = self.choose()[0]
            self.assertEqual(name, os.path.basename(path))
            self.host.write(path, None)

    def test_names_that_are_none_of_a_descriptor(self):
        for name in ('10-es.json~', '.10-es.json', '10-es.json.rpmnew'):
            self.host.describe(name, [ES])
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', self.choose()[0])

    def test_etc_overrides(self):
        path = self.host.describe('60-edk2.json', [SEV], folder=fake.LOCAL)
        self.assertEqual(path, self.choose()[0])
        self.host.describe('60-edk2.json', ['secure-boot'],
                           folder=fake.LOCAL)
        self.assertEqual((None, {
            fake.SHIPPED + '/50-secure.json':
                'it requires SMM, which encrypted guests are not given',
            path: 'it is for secure boot'}), self.choose())

    @ddt.data('empty', 'link')
    def test_etc_masks(self, kind):
        real = self.host.write(fake.LOCAL + '/60-edk2.json', b'')
        if kind == 'link':
            os.unlink(real)
            os.symlink('/dev/null', real)
        found, reasons = self.choose()
        self.assertIsNone(found)
        self.assertEqual([fake.SHIPPED + '/50-secure.json'], list(reasons))

    def test_what_is_no_json_in_etc_hides_too(self):
        self.host.write(fake.LOCAL + '/60-edk2.json', '{')
        found, reasons = self.choose()
        self.assertIsNone(found)
        self.assertIn('it is no JSON', reasons[fake.LOCAL + '/60-edk2.json'])

    @ddt.data('requires-smm', 'secure-boot', 'enrolled-keys')
    def test_never_with(self, feature):
        for model in (SEV, ES):
            found, reasons = self.choose(model)
            self.assertIsNotNone(found)
        self.host.describe('60-edk2.json', [SEV, ES, feature])
        for model in (SEV, ES):
            found, reasons = self.choose(model, current=fake.CODE)
            self.assertIsNone(found)
            self.assertIn('SMM' if 'smm' in feature else 'secure boot',
                          reasons[fake.SHIPPED + '/60-edk2.json'])

    @ddt.data(
        ({'features': []}, 'its features lack amd-sev and amd-sev-es'),
        ({'interfaces': ['bios']}, 'it is not UEFI firmware'),
        ({'machines': ['pc-i440fx-*']},
         'it is not for x86_64, machine type pc-q35-7.2'),
        ({'machines': []}, 'it is not for x86_64, machine type pc-q35-7.2'),
        ({'machines': ['[z-a]', '[', '']},
         'it is not for x86_64, machine type pc-q35-7.2'),
        ({'architecture': 'aarch64'},
         'it is not for x86_64, machine type pc-q35-7.2'),
        ({'device': 'memory', 'filename': '/x', 'executable': None,
          'nvram_template': None},
         "it is for device 'memory', and such guests need device 'flash', "
         "mode 'split'"),
        ({'mode': 'stateless', 'nvram_template': None},
         "it is for device 'flash', mode 'stateless', and such guests need "
         "device 'flash', mode 'split'"),
        ({'mode': 'combined'},
         "it is for device 'flash', mode 'combined', and such guests need "
         "device 'flash', mode 'split'"),
        ({'nvram_template': None},
         'it has no executable, or no template of the NVRAM'),
        ({'executable': None},
         'it has no executable, or no template of the NVRAM'),
        ({'executable': {'filename': fake.CODE, 'format': 'qcow2'}},
         'its format is qcow2, raw and not raw'),
        ({'code': '/none'},
         '/none: it cannot be read: No such file or directory'),
        ({'template': '/none'},
         '/none: it cannot be read: No such file or directory'),
        ({'code': '/usr/share'}, '/usr/share: it is not a regular file'),
        ({'code': '/' + 'x' * 5000},
         '/' + 'x' * 5000 + ': it cannot be read: File name too long'))
    @ddt.unpack
    def test_what_does_not_fit(self, what, reason):
        features = what.get('features', [SEV, ES])
        path = self.host.describe('10-x.json', **{**what,
                                                  'features': features})
        self.assert_refused(path, reason)

    def test_one_file_for_snp(self):
        for name in ('20-snp.json', '10-snp.json'):
            path = self.host.describe_one_file(name)
        for features in ([], [SEV, ES]):
            self.host.describe_one_file('05-x.json', features=features)
        found, reasons = self.choose(SNP)
        self.assertEqual(path, found)
        self.assertEqual('its features lack amd-sev-snp',
                         reasons[fake.SHIPPED + '/05-x.json'])
        # ... and for no other
        for model in (SEV, ES):
            self.assertEqual(
                "it is for device 'memory', and such guests need device "
                "'flash', mode 'split'", self.choose(model)[1][path])

    @ddt.data(
        ({'device': 'flash'}, "it is for device 'flash', mode 'split', and "
                              "such guests need device 'memory'"),
        ({'device': 'kernel'}, "it is for device 'kernel', and such guests "
                               "need device 'memory'"),
        ({'filename': None}, 'it has no executable, or no template of the '
                             'NVRAM'),
        ({'filename': '/none'}, '/none: it cannot be read: No such file or '
                                'directory'),
        ({'filename': 'OVMF.fd'}, "$.mapping.filename: 'OVMF.fd' does not "
                                  'match'),
        ({'filename': fake.CODE}, fake.CODE + ': it has 8192 bytes'),
        ({'features': [SNP, 'secure-boot']}, 'it is for secure boot'))
    @ddt.unpack
    def test_what_does_not_fit_snp(self, what, reason):
        self.host.describe_one_file()
        path = self.host.describe('20-snp.json', **{
            'features': [SNP], 'device': 'memory', 'executable': None,
            'nvram_template': None, 'filename': fake.ONE_FILE, **what})
        found, reasons = self.choose(SNP)
        self.assertIsNone(found)
        self.assertIn(reason, reasons[path])

    def test_mode_split_may_be_said(self):
        path = self.host.describe('10-x.json', [ES], mode='split')
        self.assertEqual(path, self.choose()[0])

    @tables.data([SEV], [ES], [SEV, ES])
    def test_no_reset_block(self, features):
        """Also if the descriptor says otherwise, as QEMU does not start it."""
        self.host.write('/old.fd', fake.make_image())
        path = self.host.describe('10-x.json', features, '/old.fd')
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', self.choose()[0])
        self.assert_refused(path, '/old.fd: it has no SEV-ES reset block')

    def test_plain_sev_needs_no_reset_block(self):
        self.host.write(fake.CODE, fake.make_image())
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', self.choose(SEV)[0])
        self.assertIsNone(self.choose(ES)[0])

    def test_a_host_without_any(self):
        self.host.remove('50-secure.json', '60-edk2.json')
        choice = selection.choose(ES, Q35, self.host.path)
        self.assertEqual((None, []), choice)
        self.assertEqual('there is no descriptor in /usr/share/qemu/firmware '
                         'or /etc/qemu/firmware', str(choice))
        choice = selection.choose(ES, Q35, self.host.path + '/none')
        self.assertEqual((None, []), choice)


@ddt.ddt
class CurrentTest(FirmwareTestCase):
    """A server keeps the firmware that its NVRAM is for, if that fits."""

    def setUp(self):
        super().setUp()
        self.host.write('/2M.fd', fake.make_image(*fake.OVMF))
        self.path = self.host.describe('90-2M.json', [SEV], '/2M.fd')

    @ddt.data(SEV, ES)
    def test_it_fits(self, model):
        self.host.describe('10-es.json', [SEV, ES])
        self.assertEqual(self.path, self.choose(model, current='/2M.fd')[0])
        self.assertNotEqual(self.path, self.choose(model)[0])

    @ddt.data(SEV, ES)
    def test_it_is_gone(self, model):
        self.host.write('/2M.fd', None)
        self.assertEqual(fake.SHIPPED + '/60-edk2.json',
                         self.choose(model, current='/2M.fd')[0])

    def test_it_has_no_reset_block_any_more(self):
        self.host.write('/2M.fd', fake.make_image())
        self.assertEqual(fake.SHIPPED + '/60-edk2.json',
                         self.choose(ES, current='/2M.fd')[0])
        self.assertEqual(self.path, self.choose(SEV, current='/2M.fd')[0])

    def test_nothing_describes_it(self):
        self.host.remove('90-2M.json')
        self.assertEqual(fake.SHIPPED + '/60-edk2.json',
                         self.choose(ES, current='/2M.fd')[0])

    def test_plain_sev_keeps_what_does_not_say_amd_sev(self):
        """Nova may have given it to a server that runs."""
        self.host.describe('90-2M.json', [], '/2M.fd')
        self.assertEqual(self.path, self.choose(SEV, current='/2M.fd')[0])
        self.assertEqual(fake.SHIPPED + '/60-edk2.json',
                         self.choose(ES, current='/2M.fd')[0])
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', self.choose(SEV)[0])


@ddt.ddt
class ReadTest(FirmwareTestCase):
    """What is no descriptor is told of, and hinders nobody."""

    @ddt.data(
        (b'{', 'it is no JSON: Expecting property name'),
        (b'\xff{}', "it is no JSON: 'utf-8' codec can't decode"),
        (b'\xef\xbb\xbf{}', 'it is no JSON: Unexpected UTF-8 BOM'),
        (b'[' * 100000, 'it is no JSON: maximum recursion depth'),
        (b'1' * 5000, ''),
        (b'{}', "$: 'interface-types' is a required property"),
        (b'[]', "$: [] is not of type 'object'"),
        (b'null', "$: None is not of type 'object'"),
        (b' ' * (1 << 20) + b'{}', 'it has more than 1048576 bytes'))
    @ddt.unpack
    def test_no_descriptor(self, content, reason):
        self.host.write(fake.SHIPPED + '/10-x.json', content)
        found, reasons = self.choose()
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', found)
        self.assertIn(reason, reasons[fake.SHIPPED + '/10-x.json'])

    def test_a_change_counts_though_the_file_looks_the_same(self):
        path = self.host.path + fake.SHIPPED + '/10-x.json'
        good = json.dumps(GOOD)
        bad = good.replace('uefi', 'bios')
        for text, taken in ((good, '10-x.json'), (bad, '60-edk2.json')) * 2:
            self.host.write(fake.SHIPPED + '/10-x.json', text)
            os.utime(path, ns=(0, 0))
            self.assertEqual(
                ('%s/%s' % (fake.SHIPPED, taken), len(good)),
                (self.choose()[0], os.stat(path).st_size))

    @ddt.data('interface-types', 'features', 'targets', 'mapping')
    def test_each_key_is_needed(self, key):
        for value in (None, 0, 'x', [0], {'x': 'y'}, [{}], [[]]):
            self.host.write(fake.SHIPPED + '/10-x.json',
                            json.dumps({**GOOD, key: value}))
            found, reasons = self.choose()
            self.assertEqual(fake.SHIPPED + '/60-edk2.json', found)
            self.assertIn('$', reasons[fake.SHIPPED + '/10-x.json'])
        self.host.write(fake.SHIPPED + '/10-x.json', json.dumps(GOOD))
        self.assertEqual(fake.SHIPPED + '/10-x.json', self.choose()[0])

    @ddt.data('x', '', '/', '/a\0b', '/a\n', '/\ud800', '/\uffff', '/\x1b[31m')
    def test_no_absolute_path(self, path):
        self.host.describe('10-x.json', [ES], code=path)
        found, reasons = self.choose()
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', found)
        self.assertIn('does not match',
                      reasons[fake.SHIPPED + '/10-x.json'])

    def test_things_that_are_no_files(self):
        folder = self.host.path + fake.SHIPPED
        os.mkdir(folder + '/10-folder.json')
        os.mkfifo(folder + '/11-pipe.json')
        os.symlink('nowhere', folder + '/12-link.json')
        os.symlink('13-loop.json', folder + '/13-loop.json')
        with socket.socket(socket.AF_UNIX) as s:
            here = os.getcwd()
            self.addCleanup(os.chdir, here)
            os.chdir(folder)  # as the whole path is too long for a socket
            s.bind('14-socket.json')
        found, reasons = self.choose()
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', found)
        self.assertEqual(
            {'10-folder.json': 'it is not a regular file',
             '11-pipe.json': 'it is not a regular file',
             '12-link.json': 'it cannot be read: No such file or directory',
             '13-loop.json': 'it cannot be read: Too many levels of symbolic '
                             'links',
             '14-socket.json': 'it is not a regular file',
             '50-secure.json': 'it requires SMM, which encrypted guests are '
                               'not given'},
            {os.path.basename(path): reason
             for path, reason in reasons.items()})

    def test_a_folder_that_cannot_be_read_may_hide_anything(self):
        def listdir(path, upstream=os.listdir):
            if path.endswith(fake.LOCAL):
                raise PermissionError(13, 'Permission denied', path)
            return upstream(path)

        self.useFixture(fixtures.MonkeyPatch('os.listdir', listdir))
        self.assertEqual((None, {
            self.host.path + fake.LOCAL:
                'it cannot be read: Permission denied'}), self.choose())

    @tables.data(fake.CODE, fake.VARS, fake.SHIPPED + '/60-edk2.json',
                 fake.SHIPPED)
    def test_links_do_not_lead_out(self, path):
        outside = self.useFixture(fake.Firmware())
        real = self.host.path + path
        os.rename(real, real + '.old')
        os.symlink(outside.path + path, real)
        found, reasons = self.choose()
        self.assertIsNone(found)
        self.assertIn('it is a link to what is not below', str(reasons))

    def test_links_within_a_host_are_followed(self):
        real = self.host.path + fake.CODE
        os.rename(real, real + '.old')
        os.symlink(os.path.basename(real) + '.old', real)
        self.assertEqual(fake.SHIPPED + '/60-edk2.json', self.choose()[0])
