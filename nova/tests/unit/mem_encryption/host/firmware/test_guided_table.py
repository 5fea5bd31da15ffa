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

"""Test what is read from the image of a firmware."""
import os
import uuid

import ddt
import fixtures
from oslotest import base

from nova.tests.fixtures import firmware as fake
from nova.tests.fixtures import tables

from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption import models

RESET = fake.make_entry(fake.RESET_BLOCK, b'\x04\x80\x80\0')
OTHER = fake.make_entry(fake.SECRET, bytes(8))
MISSING = 'it has no SEV-ES reset block'
NO_METADATA = 'it has no SEV-SNP metadata'


@ddt.ddt
class TableTest(base.BaseTestCase):
    """The GUIDed table of an image, and what is in its place."""

    def test_entries_come_last_one_first(self):
        self.assertEqual(
            [(uuid.UUID(fake.RESET_BLOCK), b'\x04\x80\x80\0'),
             (uuid.UUID(fake.SECRET), bytes(8)),
             (uuid.UUID(fake.HASHES), bytes(8))],
            list(guided_table.get_entries(fake.make_image(*fake.OVMF))))

    @ddt.data(
        (RESET,), (OTHER, RESET), (RESET, OTHER),
        # QEMU looks at what comes before, from the end, a lie.
        (b'junk', RESET), (b'x' * 18, RESET),
        (fake.make_entry(fake.SECRET, b'', 0), RESET),
        (fake.make_entry(fake.SECRET, b'', 17), RESET),
        (fake.make_entry(fake.SECRET, b'', 0xffff), RESET),
        (fake.make_entry(fake.RESET_BLOCK, bytes(4)), RESET),
        (fake.make_entry(fake.RESET_BLOCK, b'\x04\x80\x80\0and more'),))
    def test_it_has_the_block(self, entries):
        self.assertEqual(0x808004, guided_table.get_reset_address(
            fake.make_image(*entries)))

    @ddt.data(
        (), (OTHER,), (OTHER[:-1] + b'\0',),
        (RESET, fake.make_entry(fake.SECRET, b'', 0)),
        (RESET, fake.make_entry(fake.SECRET, b'', 17)),
        (RESET, fake.make_entry(fake.SECRET, b'', 0xffff)),
        (RESET, b'junk'),
        (fake.make_entry(fake.RESET_BLOCK, bytes(4)),),
        (fake.make_entry(fake.RESET_BLOCK, b'\x04\x80\x80'),),
        (fake.make_entry(fake.RESET_BLOCK, b''),),
        (fake.make_entry(fake.RESET_BLOCK, b'\x04\x80\x80\0', 17),),
        (fake.make_entry(fake.RESET_BLOCK, b'\x04\x80\x80\0', 23),),
        (RESET, fake.make_entry(fake.RESET_BLOCK, bytes(4))))
    def test_it_has_none(self, entries):
        self.assertEqual(0, guided_table.get_reset_address(
            fake.make_image(*entries)))

    @tables.data((0, 8192, 0), (17, 8192, 0), (18, 8192, 0), (39, 8192, 0),
                 (40, 72, 0x808004), (41, 72, 0), (41, 73, 0x808004),
                 (0xffff, 72, 0), (0xffff, 8192, 0))
    @ddt.unpack
    def test_the_length_of_the_footer(self, length, size, address):
        self.assertEqual(address, guided_table.get_reset_address(
            fake.make_image(RESET, length=length, size=size)))

    def test_an_image_that_is_cut(self):
        image = fake.make_image(RESET, size=72)
        self.assertEqual(0x808004, guided_table.get_reset_address(image))
        for first in range(1, 73):
            self.assertEqual(
                0, guided_table.get_reset_address(image[first:]))

    def test_before_the_table_the_block_was_alone(self):
        for length, address in ((None, 0x808004), (0, 0), (18, 0), (21, 0),
                                (0xffff, 0)):
            image = fake.make_entry(fake.RESET_BLOCK, b'\x04\x80\x80\0',
                                    length) + bytes(32)
            self.assertEqual(address,
                             guided_table.get_reset_address(image))

    def test_the_block_elsewhere_is_none(self):
        image = fake.make_image(OTHER)
        for place in (0, 1000, len(image) - 22 - 32 - 18 - 26):
            other = image[:place] + RESET + image[place + 22:]
            self.assertEqual(len(image), len(other))
            self.assertEqual(0, guided_table.get_reset_address(other))


@ddt.ddt
class FileTest(base.BaseTestCase):
    """An image on the disk."""

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).join('image')

    def find_flaw(self, path, model='amd-sev-es'):
        return guided_table.find_flaw(path, models.MODELS[model].firmware)

    def write(self, image):
        with open(self.path, 'wb') as f:
            f.write(image)

    def test_the_real_one(self):
        path = '/usr/share/OVMF/OVMF_CODE_4M.fd'
        if not os.path.isfile(path):
            self.skipTest("Debian's ovmf is not installed")
        self.assertIsNone(self.find_flaw(path))

    def test_the_largest_table(self):
        filler = fake.make_entry(fake.SECRET, bytes(65535 - 18 - 22 - 18))
        self.write(fake.make_image(RESET, filler, size=1 << 20))
        self.assertIsNone(self.find_flaw(self.path))

    @ddt.data(0, 1, 32, 4095, 8193, (8 << 20) + 4096, 1 << 40)
    def test_a_size_that_qemu_does_not_take(self, size):
        self.write(fake.make_image(RESET)[-size:] if size else b'')
        if size > 8192:
            with open(self.path, 'r+b') as f:  # with a hole in it
                f.seek(size - 8192)
                f.write(fake.make_image(RESET))
        self.assertEqual('it has %d bytes, which is not a multiple of 4096 '
                         'up to 8388608' % size,
                         self.find_flaw(self.path))

    @tables.data(
        ({}, None), ({'size': 128 << 10}, None),
        ({'from_end': 64 << 10}, None), ({'length': 4096}, None),
        ({'size': 60 << 10}, 'it has 61440 bytes, which is not a multiple of '
                             '65536 up to 8388608'),
        ({'from_end': 15}, NO_METADATA), ({'from_end': 0}, NO_METADATA),
        ({'from_end': 65537}, NO_METADATA),
        ({'from_end': 0xffffffff}, NO_METADATA),
        ({'signature': b'ASEW'}, NO_METADATA), ({'length': 15}, NO_METADATA),
        ({'length': 4097}, NO_METADATA))
    @ddt.unpack
    def test_the_metadata_of_snp(self, parts, flaw):
        self.write(fake.make_marked_image(**parts))
        self.assertEqual(flaw, self.find_flaw(self.path, 'amd-sev-snp'))

    @tables.data((OTHER,), (RESET,),
                 (fake.make_entry(fake.SNP_METADATA, bytes(3)), RESET),
                 (fake.make_entry(fake.SNP_METADATA, b''), RESET))
    def test_no_metadata_of_snp(self, entries):
        self.write(fake.make_image(*entries, size=64 << 10))
        self.assertIn(self.find_flaw(self.path, 'amd-sev-snp'),
                      (NO_METADATA, MISSING))

    def test_snp_needs_the_reset_block_too(self):
        self.write(fake.make_marked_image(OTHER))
        self.assertEqual(MISSING, self.find_flaw(self.path, 'amd-sev-snp'))

    def test_what_is_not_there(self):
        self.assertEqual('it cannot be read: No such file or directory',
                         self.find_flaw(self.path))
        # Python 3.13 calls it a character of a path.
        self.assertRegex(self.find_flaw('/a\0b'),
                         '^it cannot be read: .*embedded null')
        os.mkfifo(self.path)
        self.assertEqual('it is not a regular file',
                         self.find_flaw(self.path))
