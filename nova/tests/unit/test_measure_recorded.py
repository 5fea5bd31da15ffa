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

"""Test what 'nova-mem-encryption measure' makes of a recorded server."""
import json
import os

import ddt
import fixtures

from nova.tests.fixtures import tables
from nova.tests.unit import test_measure

from nova_mem_encryption import errors
from nova_mem_encryption.measure import cpus
from nova_mem_encryption.measure import recorded

# Instead of what a description has at a place; of each one more or less than
# what there can be, or of another kind
WRONG = [
    (('vcpus',), (0, -1, 4097, 1e300, True, '2', None, [2], 1.5)),
    (('cpu',), (None, [], 'EPYC')),
    (('cpu', 'mode'), (None, 1, 1025 * 'x')),
    (('cpu', 'name'), (1, [], 1025 * 'x')),
    (('cpu', 'family'), (-1, cpus.MOST.family + 1, '25')),
    (('cpu', 'model'), (-1, cpus.MOST.model + 1, None)),
    (('cpu', 'stepping'), (-1, cpus.MOST.stepping + 1, {})),
    (('policy',), (-1, 1 << 64, '0x30000')),
    (('guest_features',), (-1, 1 << 64, None)),
    (('firmware',), (None, 'OVMF.fd', [])),
    (('firmware', 'path'), (None, 1, 1025 * 'x')),
    (('firmware', 'sha256'), (None, '', 63 * '0', 65 * '0', 64 * 'A',
                              64 * '0' + '\n')),
    (('kernel_hashes',), (1, {}, {'kernel': 64 * '0', 'initrd': 64 * '0'},
                          {'kernel': 64 * '0', 'initrd': 64 * '0',
                           'cmdline': 'quiet'})),
    (('launch_digest',), (None, 64 * '0', 96 * 'G')),
    (('name',), (None, 1025 * 'x')),
    (('uuid',), (None, 1))]
ODD = {'nothing': b'', 'no JSON': b'{', 'no text': b'\xff\xfe\x00',
       'another thing': b'[]', 'a number': b'1', 'not a number': b'NaN',
       'too deep': b'[' * 100000,
       'too long a number': b'{"vcpus": ' + b'9' * 5000 + b'}',
       'what upsets a terminal': b'\x1b[2J'}


@ddt.ddt
class RecordedTest(test_measure.MeasureTestCase):

    def setUp(self):
        super().setUp()
        self.told = self.measure()
        self.recorded = os.path.join(self.folder, 'server.json')

    def record(self, content=None):
        return self.write('server.json', json.dumps(
            self.told if content is None else content))

    def test_it_is_the_same_where_libvirt_is_not(self):
        self.useFixture(fixtures.MonkeyPatch('sys.modules', {
            **test_measure.sys.modules, 'libvirt': None}))
        code, out, err = self.call('measure', '--json', '--from',
                                   self.record())
        self.assertEqual((0, self.told, ''), (code, json.loads(out), err))

    def test_with_a_copy_of_the_firmware(self):
        copy = self.write('copy.fd', test_measure.IMAGES[
            'as Debian 13 has it'])
        os.unlink(self.firmware)
        self.assert_refused(self.firmware, 'No such file', '--firmware',
                            args=('--from', self.record()))
        code, out, err = self.call('measure', '--json', '--from',
                                   self.recorded, '--firmware', copy)
        self.assertEqual((0, ''), (code, err))
        self.assertEqual(self.told['launch_digest'],
                         json.loads(out)['launch_digest'])

    def test_with_another_firmware(self):
        other = self.write('other.fd', test_measure.IMAGES[
            'for measured kernels'])
        args = 'measure', '--from', self.record(), '--firmware', other
        code, out, err = self.call(*args, '--json')
        self.assertEqual((1, ''), (code, err))
        told = json.loads(out)
        for before in (self.told['firmware']['sha256'],
                       self.told['launch_digest']):
            self.assertIn('was recorded as ' + before,
                          ' '.join(told['differs']))
        self.define(loader="<loader type='rom'>%s</loader>" % other)
        self.assertEqual(self.measure()['launch_digest'],
                         told['launch_digest'])
        code, out, err = self.call(*args)
        self.assertEqual((1, 2), (code, out.count('DIFFERS: ')))

    def test_what_only_tells_what_it_is_need_not_be_there(self):
        for name in ('name', 'uuid', 'launch_digest', 'differs', 'command',
                     'reproducible'):
            del self.told[name]
        del self.told['firmware']['sha256'], self.told['cpu']['name']
        code, out, err = self.call('measure', '--from', self.record())
        self.assertEqual((0, ''), (code, err))
        self.assertIn("the host's: family 25", out)

    @tables.data(*WRONG, by=0)
    @ddt.unpack
    def test_what_makes_no_sense(self, path, values):
        for value in values:
            told = json.loads(json.dumps(self.told))
            part = told
            for name in path[:-1]:
                part = part[name]
            part[path[-1]] = value
            self.assert_refused(
                'Description %s cannot be used' % self.recorded, path[-1],
                args=('--from', self.record(told)))

    @tables.data(*ODD)
    def test_a_file_that_is_no_description(self, kind):
        self.assert_refused(
            'cannot be used',
            args=('--from', self.write('server.json', ODD[kind])))

    def test_a_file_that_is_too_long(self):
        text = json.dumps(self.told)
        for length, code in ((1 << 20, 0), ((1 << 20) + 1, 2)):
            self.assertEqual(code, self.call('measure', '--from', self.write(
                'server.json', text.ljust(length)))[0])

    def test_a_file_that_is_none(self):
        for path in (self.folder, '/nonexistent', '/dev/zero'):
            self.assert_refused(path, args=('--from', path))

    def test_names_that_upset_a_terminal(self):
        self.told['name'] = self.told['cpu']['name'] = '\x1b[2J\nPASS'
        self.told['cpu']['mode'] = '\x07'
        code, out, err = self.call('measure', '--from', self.record())
        self.assertEqual((0, ''), (code, err))
        self.assertTrue(out.replace('\n', '').isprintable())

    def test_a_path_that_upsets_a_shell(self):
        self.told['firmware']['path'] = '/tmp/$(reboot) `x`;.fd'
        code, out, err = self.call(
            'measure', '--json', '--from', self.record(), '--firmware',
            self.firmware)
        self.assertEqual(
            '$(reboot) `x`;.fd', test_measure.shlex.split(
                json.loads(out)['command'])[-1])

    def test_as_many_vcpus_as_there_can_be(self):
        self.told['vcpus'] = recorded.MOST_VCPUS
        del self.told['launch_digest']
        code, out, err = self.call('measure', '--from', self.record())
        self.assertEqual((0, ''), (code, err))

    def test_it_is_read_as_it_was(self):
        self.define(
            security=test_measure.SECURITY % " kernelHashes='yes'",
            kernel='<kernel>%s</kernel>' % self.write('kernel', b'kernel'),
            loader="<loader type='rom'>%s</loader>" % self.write(
                'OVMF.fd', test_measure.IMAGES['for measured kernels']))
        self.told = self.measure()
        guest = recorded.read(self.record())
        shown = recorded.show(guest)
        shown['firmware']['sha256'] = guest.sha256
        shown['launch_digest'] = guest.digest
        del self.told['firmware']['digest']
        for name in ('differs', 'command', 'reproducible'):
            del self.told[name]
        self.assertEqual(self.told, shown)
        self.assertRaises(errors.CannotRun, recorded.read, '/nonexistent')
