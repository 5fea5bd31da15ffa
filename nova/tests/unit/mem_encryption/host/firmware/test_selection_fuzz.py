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

"""Feed the choice of firmware with what nobody has thought of.

It must not fail, and never say yes to what cannot start the guest. How many
inputs there are is set by FUZZ_INPUTS; it is said on stderr.
"""
import fnmatch
import json
import os
import shutil
import struct
import sys
import uuid

import hypothesis
from hypothesis import strategies as st
from oslotest import base

from nova.tests.fixtures import firmware as fake

from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection

CHECK = hypothesis.settings(
    max_examples=int(os.environ.get('FUZZ_INPUTS', 1000)), deadline=None,
    database=None, derandomize='FUZZ_INPUTS' not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck))
RESET_BLOCK = uuid.UUID(fake.RESET_BLOCK).bytes_le

# -- images -------------------------------------------------------------------

ENTRIES = st.builds(
    fake.make_entry,
    st.sampled_from([fake.RESET_BLOCK, fake.SECRET, fake.HASHES,
                     fake.FOOTER]),
    st.one_of(st.just(b'\x04\x80\x80\0'), st.binary(max_size=30)),
    st.one_of(st.none(), st.none(), st.integers(0, 60),
              st.integers(0, 0xffff)))
IMAGES = st.builds(
    lambda parts, size, length: fake.make_image(
        *parts, size=size, length=length),
    st.lists(st.one_of(ENTRIES, st.binary(max_size=40)), max_size=6),
    st.sampled_from([0, 4096, 8192]),
    st.one_of(st.none(), st.none(), st.integers(0, 300),
              st.integers(0, 0xffff)))
# Where, and what is there instead; from the end
DAMAGE = st.one_of(st.just([]), st.lists(
    st.tuples(st.integers(1, 200), st.integers(0, 255)), max_size=8))


def damage(image, places):
    image = bytearray(image)
    for place, value in places:
        if place <= len(image):
            image[-place] = value
    return bytes(image)


def has_reset_block(image):
    """Tell whether the block is anywhere, with an address in front of it."""
    place = image.find(RESET_BLOCK)
    while place != -1:
        if place >= 2:
            length, = struct.unpack_from('<H', image, place - 2)
            start = place + 16 - length
            if length >= 22 and start >= 0 and any(image[start:start + 4]):
                return True
        place = image.find(RESET_BLOCK, place + 1)
    return False


# -- descriptors --------------------------------------------------------------

CODES = {'/good.fd': True, '/bad.fd': False, '/none.fd': False, '/': False}
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(),
              st.floats(), st.text(max_size=8),
              st.sampled_from([*CODES, 'flash', 'raw', 'x86_64', 'uefi',
                               'pc-q35-*', '[z-a]', '*', 'amd-sev'])),
    lambda child: st.one_of(
        st.lists(child, max_size=3),
        st.dictionaries(st.sampled_from([
            'filename', 'format', 'device', 'mode', 'executable',
            'nvram-template', 'architecture', 'machines']), child,
            max_size=3)), max_leaves=5)
SPECS = st.fixed_dictionaries({
    'description': st.just(''),
    'interface-types': st.sampled_from([['uefi'], ['uefi'], ['uefi', 'bios'],
                                        ['bios']]),
    'features': st.one_of(
        st.sampled_from([['amd-sev'], ['amd-sev-es'],
                         ['amd-sev', 'amd-sev-es']]),
        st.lists(st.sampled_from([
            'amd-sev', 'amd-sev-es', 'amd-sev-snp', 'requires-smm',
            'secure-boot', 'enrolled-keys', 'acpi-s3']), max_size=4)),
    'targets': st.lists(st.fixed_dictionaries({
        'architecture': st.sampled_from(['x86_64', 'x86_64', 'i386']),
        'machines': st.lists(st.sampled_from(
            ['pc-q35-*', 'pc-q35-*', 'pc-i440fx-*', 'pc-q35-[67].?', '[',
             '[z-a]', '*']), max_size=3)}), min_size=1, max_size=2),
    'mapping': st.fixed_dictionaries({
        'device': st.sampled_from(['flash'] * 5 + ['memory']),
        'executable': st.fixed_dictionaries({
            'filename': st.sampled_from(['/good.fd'] * 4 + [*CODES]),
            'format': st.sampled_from(['raw'] * 5 + ['qcow2'])}),
        'nvram-template': st.fixed_dictionaries({
            'filename': st.just(fake.VARS), 'format': st.just('raw')})},
        optional={'mode': st.sampled_from(['split'] * 4 + ['stateless'])}),
    'tags': st.just([])})
# Paths in a descriptor, and what is there instead
PATHS = st.lists(st.sampled_from([
    'interface-types', 'features', 'targets', 'mapping', 'device', 'mode',
    'executable', 'nvram-template', 'filename', 'format', 'architecture',
    'machines', 0]), min_size=1, max_size=3)


def replace(node, path, value):
    """Put a value into a descriptor, or take what is there away."""
    for step in path[:-1]:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(node, dict) and isinstance(path[-1], str):
        node[path[-1]] = value
    elif isinstance(node, list) and node and path[-1] == 0:
        node[0] = value


@st.composite
def texts(draw):
    """Make what a descriptor holds: a sound one, a damaged one, or junk."""
    kind = draw(st.sampled_from(['sound', 'sound', 'damaged', 'cut', 'junk']))
    if kind == 'junk':
        return draw(st.one_of(st.binary(max_size=50), st.sampled_from([
            b'', b'{}', b'[' * 3000, b'{"a":' * 3000, b'[' * 900 + b']' * 900,
            b'NaN', b'1' * 5000, b'"\\ud800"', b'\xef\xbb\xbf{}'])))
    spec = draw(SPECS)
    if kind == 'damaged':
        for path, value in draw(st.lists(st.tuples(PATHS, JUNK), min_size=1,
                                         max_size=3)):
            replace(spec, path, value)
    text = json.dumps(spec).encode()
    if kind == 'cut':
        text = damage(text[:draw(st.integers(0, len(text)))], draw(DAMAGE))
    return text


def may_start(text, model):
    """Tell whether a descriptor is for firmware that starts a guest."""
    spec = json.loads(text)
    mapping = spec['mapping']
    features = set(spec['features'])
    return (
        'uefi' in spec['interface-types'] and mapping['device'] == 'flash' and
        mapping.get('mode', 'split') == 'split' and
        mapping['executable']['format'] == 'raw' and
        {'filename': fake.VARS, 'format': 'raw'}.items() <=
        mapping['nvram-template'].items() and
        not features & {'requires-smm', 'secure-boot', 'enrolled-keys'} and
        bool(features & {'amd-sev', model}) and
        mapping['executable']['filename'] in (
            ['/good.fd'] if model == 'amd-sev-es' else
            ['/good.fd', '/bad.fd']) and
        any(target['architecture'] == 'x86_64' and any(
            fnmatch.fnmatchcase('pc-q35-7.2', pattern)
            for pattern in target['machines'] if pattern != '[z-a]')
            for target in spec['targets']))


class FuzzTest(base.BaseTestCase):

    counts: dict = {}

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for name, (inputs, yes) in sorted(cls.counts.items()):
            print('%d hostile inputs: %s, %d times yes' % (inputs, name, yes),
                  file=sys.__stderr__)

    def count(self, name, yes):
        inputs, before = self.counts.get(name, (0, 0))
        self.counts[name] = inputs + 1, before + bool(yes)

    @CHECK
    @hypothesis.given(st.one_of(IMAGES, st.binary(max_size=400)), DAMAGE)
    def test_images(self, image, places):
        image = damage(image, places)
        address = guided_table.get_reset_address(image)
        list(guided_table.get_entries(image))
        if address:
            self.assertTrue(has_reset_block(image))
        self.count('images', address)

    @CHECK
    @hypothesis.given(st.lists(st.sampled_from(
        [fake.SECRET, fake.HASHES, fake.RESET_BLOCK]), max_size=5))
    def test_honest_images(self, guids):
        image = fake.make_image(*[
            fake.make_entry(guid, b'\x04\x80\x80\0') for guid in guids])
        expected = fake.RESET_BLOCK in guids
        self.assertEqual(0x808004 if expected else 0,
                         guided_table.get_reset_address(image))
        self.count('honest images', expected)

    @CHECK
    @hypothesis.given(
        st.dictionaries(
            st.tuples(st.sampled_from([fake.SHIPPED, fake.LOCAL]),
                      st.sampled_from(['10-a.json', '20-b.json',
                                       '30-c.json'])),
            texts(), max_size=4),
        st.sampled_from(['amd-sev', 'amd-sev-es']),
        st.sampled_from([None, '/good.fd', '/bad.fd']))
    def test_hosts(self, files, model, current):
        host = self.use_host()
        for (folder, name), text in files.items():
            host.write('%s/%s' % (folder, name), text)
        choice = selection.choose(model, 'pc-q35-7.2', host.path, current)
        self.assertIsInstance(str(choice), str)
        effective = {name: text for (folder, name), text in sorted(
            files.items(), reverse=True)}  # /usr comes last
        effective.update({name: text for (folder, name), text in
                          files.items() if folder == fake.LOCAL})
        rejected = [os.path.basename(r.path) for r in choice.rejected]
        self.assertEqual(sorted(set(rejected)), rejected)
        self.assertLessEqual(set(rejected), set(effective))
        if choice.firmware is not None:
            name = os.path.basename(choice.firmware.path)
            self.assertTrue(
                may_start(effective[name], model) or
                model == 'amd-sev' and
                choice.firmware.executable == current)
            self.assertNotIn(name, rejected)
        self.count('hosts', choice.firmware)

    def use_host(self):
        """Return a host without descriptors, each time the same folder."""
        if not hasattr(self, 'host'):
            self.host = self.useFixture(fake.Firmware())
            self.host.write('/good.fd', fake.make_image(*fake.OVMF))
            self.host.write('/bad.fd', fake.make_image())
        for folder in (fake.SHIPPED, fake.LOCAL):
            shutil.rmtree(self.host.path + folder, ignore_errors=True)
        return self.host
