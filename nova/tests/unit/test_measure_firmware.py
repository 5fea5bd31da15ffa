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

"""Test which images of firmware are measured, with those of nobody's make.

How many there are is set by FUZZ_INPUTS.
"""
import contextlib
import importlib.util
import io
import os
import struct
import sys
from unittest import mock

import ddt
import fixtures
import hypothesis
from hypothesis import strategies as st
import testtools

from nova.tests.fixtures import firmware as fake
from nova.tests.fixtures import tables

from nova_mem_encryption.measure import cpus
from nova_mem_encryption.measure import definition
from nova_mem_encryption.measure import digest
from nova_mem_encryption.measure import firmware
from nova_mem_encryption.measure import kernel_hashes
from nova_mem_encryption.measure import report

CHECK = hypothesis.settings(
    max_examples=int(os.environ.get('FUZZ_INPUTS', 200)), deadline=None,
    database=None, derandomize='FUZZ_INPUTS' not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck))
SECTION = (0x80d000, 0x1000, 2)
HASHES = kernel_hashes.Hashes(64 * '1', 64 * '2', 64 * '3')
HASHED = fake.make_metadata([SECTION, (0x820000, 0x1000, 0x10)])


def make_area(address, size):
    """Return the entry for the memory of a kernel's hashes."""
    return fake.make_entry(fake.HASHES, struct.pack('<II', address, size))


def make_guest(vcpus=2, family=25, model=1, stepping=1, hashes=None):
    return definition.Guest(
        'name', 'uuid', 'OVMF.fd', None, vcpus, definition.Cpu(
            'custom', None, cpus.Signature(family, model, stepping)),
        0x30000, 1, hashes, None)


@ddt.ddt
class FirmwareTest(testtools.TestCase):

    def assert_unfit(self, reason, image):
        e = self.assertRaises(firmware.Unfit, firmware.Firmware, image)
        self.assertIn(reason, str(e))

    def test_what_it_has(self):
        found = firmware.Firmware(fake.make_snp_image())
        self.assertEqual(fake.SNP_SECTIONS, tuple(map(tuple, found.sections)))
        self.assertEqual(0x808004, found.reset_address)

    @tables.data(('empty', 0), ('half a block', 1 << 15),
                 ('too large', 0x1410000))
    @ddt.unpack
    def test_its_size(self, _, size):
        self.assert_unfit('it has %d bytes' % size, bytes(size))

    def test_the_largest(self):
        image = fake.make_snp_image(size=0x1400000)
        self.assertEqual(0x1400000, len(image))
        firmware.Firmware(image)

    @tables.data(
        ('plain Debian 12', fake.make_image(*fake.OVMF, size=1 << 16),
         'no SEV-SNP metadata'),
        ('no table', bytes(1 << 16), 'no SEV-SNP metadata'),
        ('no offset', fake.make_image(*fake.OVMF, fake.make_entry(
            fake.SNP_METADATA, b'abc'), size=1 << 16), 'no SEV-SNP metadata'),
        ('no reset', fake.make_snp_image(entries=()), 'reset block'),
        ('before', fake.make_snp_image(back=0x10001), 'not within'),
        ('behind', fake.make_snp_image(back=15), 'not within'),
        ('at the end', fake.make_snp_image(back=16), 'begin with ASEV'),
        ('elsewhere', fake.make_snp_image(back=0x1000), 'begin with ASEV'),
        ('signature', fake.make_snp_image(fake.make_metadata(
            [SECTION], b'ASEW')), 'begin with ASEV'),
        ('length', fake.make_snp_image(fake.make_metadata(
            [SECTION], length=27)), 'no room for them'),
        ('long', fake.make_snp_image(fake.make_metadata(
            [SECTION], length=0xffffffff)), 'no room for them'),
        ('count', fake.make_snp_image(fake.make_metadata(
            [SECTION], count=2)), 'no room for them'),
        ('counts', fake.make_snp_image(fake.make_metadata(
            [SECTION], count=0xffffffff)), 'no room for them'))
    @ddt.unpack
    def test_an_image_that_is_none(self, _, image, reason):
        self.assert_unfit(reason, image)

    @tables.data(
        (0x80d000, 0, 2), (0x80d000, 0x800, 2), (0x80d800, 0x1000, 2),
        (0xffff0000, 0x1000, 2), (0xfffef000, 0x2000, 2),
        (0xfffff000, 0xfffff000, 1))
    def test_a_section_that_makes_no_sense(self, section):
        self.assert_unfit('0x%x' % section[0], fake.make_snp_image(
            fake.make_metadata([SECTION, section])))

    def test_sections_of_more_than_there_can_be(self):
        most = firmware.MOST_PAGES * 0x1000
        firmware.Firmware(fake.make_snp_image(fake.make_metadata(
            [(0, most, 1)])))
        for sections in ([(0, most, 1), SECTION], [(0, most + 0x1000, 1)],
                         [SECTION] * (firmware.MOST_PAGES + 1)):
            self.assert_unfit(
                'more than %d pages' % firmware.MOST_PAGES,
                fake.make_snp_image(fake.make_metadata(sections),
                                    size=1 << 20))

    def test_what_has_another_type_is_zeros(self):
        """As QEMU has it, whatever the type is."""
        added = {}
        for kind in (1, 2, 3, 4, 0x10, 0x77):
            launch = digest.Digest()
            firmware.Firmware(fake.make_snp_image(fake.make_metadata(
                [(0x800000, 0x1000, kind)]))).add_sections(launch, None)
            added.setdefault(launch.value, set()).add(kind)
        self.assertEqual([{1, 4, 0x10, 0x77}, {2}, {3}], [*added.values()])

    @tables.data(
        ('none', HASHED, (), 'does not say where'),
        ('cut', HASHED, [fake.make_entry(fake.HASHES, b'1234567')],
         'does not say where'),
        ('nowhere', HASHED, [make_area(0, 0x400)], 'no room'),
        ('short', HASHED, [make_area(0x820400, 175)], 'no room'),
        ('at the end', HASHED, [make_area(0x820f60, 0x400)], 'no room'),
        ('no section', fake.make_metadata([SECTION]),
         [make_area(0x820400, 0x400)], 'does not measure kernels'))
    @ddt.unpack
    def test_no_place_for_hashes(self, _, metadata, entries, reason):
        image = firmware.Firmware(fake.make_snp_image(
            metadata, [*fake.OVMF[2:], *entries]))
        report.compute(make_guest(), image)
        e = self.assertRaises(firmware.Unfit, report.compute,
                              make_guest(hashes=HASHES), image)
        self.assertIn(reason, str(e))

    def test_of_two_entries_the_last_counts(self):
        """As QEMU looks for it from the end."""
        image = firmware.Firmware(fake.make_snp_image(entries=[
            fake.make_entry(fake.SNP_METADATA, bytes(4)), *fake.OVMF]))
        self.assertEqual(len(fake.SNP_SECTIONS), len(image.sections))

    def test_the_last_place_for_hashes(self):
        report.compute(make_guest(hashes=HASHES), firmware.Firmware(
            fake.make_snp_image(HASHED, [*fake.OVMF[2:], make_area(
                0x820f50, 176)])))


# -- images of nobody's make --------------------------------------------------

PAGES = st.integers(0, 0xffff).map(lambda number: number << 12)
# NOTE: more than a page is known to the oracle of memory only. There is no
# firmware with more, of which QEMU and the kernel would take all.
SECTIONS = st.lists(st.one_of(
    st.tuples(PAGES, st.integers(1, 20).map(lambda number: number << 12),
              st.sampled_from([1, 4])),
    st.tuples(PAGES, st.just(0x1000), st.sampled_from([2, 3, 0x10]))),
    max_size=12)
LAYOUTS = st.builds(
    lambda sections, reset, blocks, area, fill: (
        sections, fake.make_snp_image(
            fake.make_metadata(sections), [
                fake.make_entry(fake.RESET_BLOCK, struct.pack('<I', reset)),
                make_area(*area)], blocks << 16, fill=fill)),
    SECTIONS, st.integers(1, 0xffffffff), st.integers(1, 3),
    st.tuples(st.integers(0x800000, 0x800f50), st.just(0x400)),
    st.binary(max_size=200))
DAMAGE = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 255)),
                  max_size=12)


class LayoutsTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(
            self.useFixture(fixtures.TempDir()).path, 'OVMF.fd')
        self.kernel = self.path + '.kernel'
        with open(self.kernel, 'wb') as f:
            f.write(b'kernel')

    def ask_oracle(self, *args):
        from sevsnpmeasure import cli
        out = io.StringIO()
        with contextlib.redirect_stdout(out), mock.patch.object(
                sys, 'argv', ['sev-snp-measure', '--mode', 'snp', '--ovmf',
                              self.path, *args]):
            cli.main()
        return out.getvalue().strip()

    @testtools.skipUnless(importlib.util.find_spec('sevsnpmeasure'),
                          'sev-snp-measure is not installed')
    def test_each_has_the_digest_of_the_oracle(self):
        @CHECK
        @hypothesis.given(LAYOUTS, st.integers(1, 9), st.tuples(
            # NOTE: all three being 0, it takes for none.
            st.integers(1, 270), st.integers(0, 255), st.integers(0, 15)),
            st.booleans())
        def check(layout, vcpus, signature, hashed):
            sections, image = layout
            with open(self.path, 'wb') as f:
                f.write(image)
            hashed = hashed and any(kind == 0x10 for *_, kind in sections)
            guest = make_guest(vcpus, *signature, kernel_hashes.make(
                self.kernel, None, 'quiet') if hashed else None)
            args = ['--vcpus', str(vcpus), '--vcpu-sig',
                    hex(guest.cpu.signature.value)]
            if hashed:
                args += ['--kernel', self.kernel, '--append', 'quiet']
            self.assertEqual(self.ask_oracle(*args), report.compute(
                guest, firmware.read(self.path)))

        check()

    def test_what_is_broken_is_unfit_or_measured(self):
        @CHECK
        @hypothesis.given(LAYOUTS, DAMAGE, st.booleans())
        def check(layout, damage, hashed):
            image = bytearray(layout[1])
            for place, value in damage:
                image[-place] = value
            try:
                found = report.compute(
                    make_guest(hashes=HASHES if hashed else None),
                    firmware.Firmware(bytes(image)))
            except firmware.Unfit as e:
                self.assertTrue(str(e))
            else:
                self.assertRegex(found, '^[0-9a-f]{96}$')

        check()
