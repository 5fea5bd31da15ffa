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

"""Test how the kernel's counts of ASIDs are read."""
import os
import subprocess
import sys

import ddt
import fixtures
import hypothesis
from hypothesis import strategies

from nova import test

from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup

CGROUP = 'sys/fs/cgroup'


@ddt.ddt
class ReadTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.root = self.useFixture(fixtures.TempDir()).path

    def write(self, name, data, folder=CGROUP):
        path = os.path.join(self.root, folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(data)
        return path

    @ddt.data(CGROUP, CGROUP + '/unified', CGROUP + '/misc')
    def test_what_the_kernel_writes(self, folder):
        capacity = self.write('misc.capacity', b'sev 410\nsev_es 99\n', folder)
        current = self.write('misc.current', b'sev 2\nsev_es 0\n', folder)
        self.assertEqual(({'sev': 410, 'sev_es': 99}, None, capacity),
                         misc_cgroup.read_capacity(self.root))
        self.assertEqual(({'sev': 2, 'sev_es': 0}, None, current),
                         misc_cgroup.read_current(self.root))

    @ddt.data((b'', 0, 0), (b'sev 5', 5, 0), (b'sev_es 7\n', 0, 7),
              (b'sev 5\nsev_es 7\ntdx 31\n', 5, 7),
              (b'sev 18446744073709551615\n', 2 ** 64 - 1, 0))
    @ddt.unpack
    def test_what_is_left_out_is_0_and_others_do_not_count(self, data, sev,
                                                           sev_es):
        self.write('misc.capacity', data)
        self.assertEqual({'sev': sev, 'sev_es': sev_es},
                         misc_cgroup.read_capacity(self.root).counts)

    @ddt.data(b'sev\n', b'sev \n', b'sev max\n', b'sev -1\n', b'sev 1 2\n',
              b' 5\n', b'\n', b'sev  5\n', b'sev 5\nsev 6\n', b'\xff\xfe 1\n5',
              b'sev 0x10\n', b'sev \xd9\xa3\n', b'sev 1_0\n',
              b'sev ' + b'1' * 21,
              b''.join(b'%05d 11111111111\n' % i for i in range(9999)),
              b'\0' * (2 << 20))
    def test_what_makes_no_sense_is_told(self, data):
        path = self.write('misc.capacity', data)
        counts, reason, where = misc_cgroup.read_capacity(self.root)
        self.assertIsNone(counts)
        self.assertEqual(path, where)
        self.assertIn('%s is not as the kernel writes it' % path, reason)
        self.assertLess(len(reason), 1000)

    def test_there_is_none(self):
        for read, kernel in ((misc_cgroup.read_capacity, 'Linux 5.13'),
                             (misc_cgroup.read_current, 'Linux 6.5')):
            counts, reason, path = read(self.root)
            self.assertEqual((None, None), (counts, path))
            self.assertIn(self.root, reason)
            self.assertIn(kernel, reason)

    def test_a_kernel_that_tells_no_current(self):
        self.write('misc.capacity', b'sev 410\nsev_es 99\n')
        self.assertIn('Linux 6.5',
                      misc_cgroup.read_current(self.root).reason)
        self.assertEqual(
            99, misc_cgroup.read_capacity(self.root).counts['sev_es'])

    def test_a_cgroup_that_is_not_the_root_is_not_the_host(self):
        """As a container sees it."""
        self.write('misc.current', b'sev 1\nsev_es 0\n')
        self.assertIsNone(misc_cgroup.read_current(self.root).counts)

    def test_one_that_cannot_be_read(self):
        path = os.path.join(self.root, CGROUP, 'misc.capacity')
        os.makedirs(path)
        self.assertEqual(
            (None, '%s: it is not a regular file.' % path, path),
            misc_cgroup.read_capacity(self.root))

    def test_one_that_the_system_refuses(self):
        path = self.write('misc.capacity', b'sev 410\n')

        def refuse(*args, **kwargs):
            raise PermissionError(13, 'Permission denied')
        self.useFixture(fixtures.MonkeyPatch('os.open', refuse))
        self.assertEqual(
            (None, '%s: it cannot be read: Permission denied.' % path, path),
            misc_cgroup.read_capacity(self.root))

    def replace(self, name):
        """Have nothing at the path of a file; return that and its reader."""
        self.write('misc.capacity', b'sev 410\n')
        path = self.write(name, b'')
        os.unlink(path)
        return path, getattr(misc_cgroup, 'read_' + name.partition('.')[2])

    @ddt.data('misc.capacity', 'misc.current')
    def test_a_pipe_is_not_waited_for(self, name):
        path, read = self.replace(name)
        os.mkfifo(path)
        self.useFixture(fixtures.Timeout(60, gentle=True))
        self.assertEqual(
            (None, '%s: it is not a regular file.' % path, path),
            read(self.root))

    @ddt.data('misc.capacity', 'misc.current')
    def test_a_link_to_what_is_of_another_host(self, name):
        path, read = self.replace(name)
        other = os.path.join(self.useFixture(fixtures.TempDir()).path, 'x')
        with open(other, 'w') as f:
            f.write('sev 7\n')
        os.symlink(other, path)
        counts, reason, where = read(self.root)
        self.assertEqual((None, path), (counts, where))
        self.assertIn('it is a link to what is not below', reason)

    @hypothesis.settings(deadline=None, max_examples=300)
    @hypothesis.given(strategies.binary() | strategies.lists(
        strategies.tuples(
            strategies.sampled_from([b'sev', b'sev_es', b'tdx', b'']),
            strategies.sampled_from([b' ', b'\t', b'']),
            strategies.sampled_from([b'0', b'7', b'-1', b'max', b'']))).map(
                lambda lines: b''.join(
                    b'%b%b%b\n' % line for line in lines)))
    def test_there_are_both_counts_or_a_reason(self, data):
        self.write('misc.capacity', data)
        counts, reason, path = misc_cgroup.read_capacity(self.root)
        if counts is None:
            self.assertIn(path, reason)
        else:
            self.assertIsNone(reason)
            self.assertEqual(['sev', 'sev_es'], list(counts))
            for key, count in counts.items():
                if count:
                    self.assertIn(b'%b %d' % (key.encode(), count), data)

    def test_nothing_of_nova_is_imported(self):
        subprocess.check_call([sys.executable, '-c', '''
import sys
from nova_mem_encryption.engine import tree
tree.tree()
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
misc_cgroup.read_capacity()
sys.exit('nova' in sys.modules)'''])
