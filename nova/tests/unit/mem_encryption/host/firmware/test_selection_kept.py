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

"""Test that a choice of firmware is remembered for as long as it is right."""
import os

import ddt
import fixtures
from oslotest import base

from nova.tests.fixtures import firmware as fake

from nova_mem_encryption.nova.mem_encryption.host.firmware import descriptors
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection

ES, Q35 = 'amd-sev-es', 'pc-q35-7.2'
LIBRARY = 'nova_mem_encryption.nova.mem_encryption.host.'
WITHOUT = fake.make_image(fake.make_entry(fake.SECRET, bytes(8)))


class KeptTestCase(base.BaseTestCase):
    """This host, whose firmware is in a folder of the test."""

    def setUp(self):
        super().setUp()
        self.host = self.useFixture(fake.Firmware())
        self.path = self.host.path
        for name, value in (
                ('firmware.descriptors.FOLDERS',
                 (self.path + fake.SHIPPED, self.path + fake.LOCAL)),
                ('firmware.selection._kept', {}),
                # As if all files were older than they are
                ('files.CLOCK', -10 ** 12)):
            self.useFixture(fixtures.MonkeyPatch(LIBRARY + name, value))
        os.makedirs(self.path + fake.LOCAL)
        self.describe('60-edk2.json')
        self.reads = 0
        read = descriptors.read_descriptors

        def count(*args):
            self.reads += 1
            return read(*args)

        self.useFixture(fixtures.MonkeyPatch(
            LIBRARY + 'firmware.descriptors.read_descriptors', count))

    def describe(self, name, folder=fake.SHIPPED):
        """Describe firmware by where it is, and not by where it would be."""
        self.host.describe(name, ('amd-sev', ES), self.path + fake.CODE,
                           self.path + fake.VARS, folder=folder)

    def choose(self, model=ES, machine=Q35, current=None):
        """Return the name of the descriptor, None if none fits."""
        found = selection.choose(model, machine, current=current).firmware
        return found and os.path.basename(found.path)

    def rewrite(self, path, content):
        """Write a file anew, in its place."""
        with open(self.path + path, 'wb') as f:
            f.write(content)


@ddt.ddt
class KeptTest(KeptTestCase):
    """What is read again, and what is not."""

    def test_nothing_is_read_twice(self):
        for _ in range(3):
            self.assertEqual('60-edk2.json', self.choose())
        self.assertEqual(1, self.reads)

    def test_each_question_has_an_answer_of_its_own(self):
        self.assertEqual('60-edk2.json', self.choose())
        self.assertIsNone(self.choose(machine='virt'))
        self.assertIsNone(self.choose('amd-sev-snp'))
        self.assertEqual('60-edk2.json', self.choose(current='/none'))
        self.assertEqual('60-edk2.json', self.choose())
        self.assertEqual(4, self.reads)

    @ddt.data(
        lambda self: self.rewrite(fake.CODE, WITHOUT + WITHOUT),
        lambda self: self.host.write(fake.CODE, WITHOUT),
        lambda self: self.host.write(fake.CODE, None),
        lambda self: self.host.write(fake.VARS, None),
        lambda self: self.host.remove('60-edk2.json'),
        lambda self: self.rewrite(fake.SHIPPED + '/60-edk2.json', b'{}'),
        lambda self: self.rewrite(fake.SHIPPED + '/60-edk2.json', b''),
        lambda self: self.rewrite(fake.LOCAL + '/60-edk2.json', b''),
        lambda self: os.symlink(os.devnull, self.path + fake.LOCAL +
                                '/60-edk2.json'))
    def test_what_fits_no_more_is_taken_no_more(self, change):
        self.assertEqual('60-edk2.json', self.choose())
        change(self)
        self.assertIsNone(self.choose())

    @ddt.data(
        lambda self: self.describe('10-new.json'),
        lambda self: self.describe('10-new.json', fake.LOCAL))
    def test_what_is_new_is_found(self, change):
        self.assertEqual('60-edk2.json', self.choose())
        change(self)
        self.assertEqual('10-new.json', self.choose())

    def test_a_mask_that_is_one_no_more(self):
        self.rewrite(fake.LOCAL + '/10-new.json', b'')
        self.assertEqual('60-edk2.json', self.choose())
        with open(self.path + fake.SHIPPED + '/60-edk2.json', 'rb') as f:
            self.rewrite(fake.LOCAL + '/10-new.json', f.read())
        self.assertEqual('10-new.json', self.choose())

    def test_the_same_size_and_time_is_not_the_same_file(self):
        self.assertEqual('60-edk2.json', self.choose())
        status = os.stat(self.path + fake.CODE)
        self.rewrite(fake.CODE, bytes(status.st_size))
        os.utime(self.path + fake.CODE,
                 ns=(status.st_atime_ns, status.st_mtime_ns))
        self.assertIsNone(self.choose())

    def test_what_has_just_changed_is_read_again(self):
        self.useFixture(fixtures.MonkeyPatch(
            LIBRARY + 'files.CLOCK', 2 * 10 ** 9))
        for _ in range(3):
            self.assertEqual('60-edk2.json', self.choose())
        self.assertEqual(3, self.reads)

    def test_that_nothing_fits_is_looked_at_again(self):
        self.host.write(fake.CODE, WITHOUT)
        for _ in range(3):
            self.assertIsNone(self.choose())
        self.assertEqual(3, self.reads)

    def test_nova_chooses_where_nothing_says_so(self):
        self.host.remove('60-edk2.json', '50-secure.json')
        for _ in range(3):
            self.assertIsNone(self.choose('amd-sev'))
        self.assertEqual(1, self.reads)

    def test_no_more_is_remembered_than_there_is_room_for(self):
        for number in range(selection.MOST_KEPT + 2):
            self.choose(machine='pc-q35-%d' % number)
        self.assertEqual(2, len(selection._kept))

    def test_of_another_host_nothing_is_remembered(self):
        for _ in range(2):
            selection.choose(ES, Q35, self.path)
        self.assertEqual((2, {}), (self.reads, selection._kept))
