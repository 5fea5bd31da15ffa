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

"""Test that nothing that a host says makes it offer what it has not."""
import os
import sys

import ddt
import fixtures
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from lxml import etree

from nova.tests.fixtures import tables
from nova.tests.unit.virt.libvirt import mem_encryption

MAX_INT = 2 ** 31 - 1
INPUTS = 300  # of each kind
FAITHFUL = ('<sev supported="yes"><cbitpos>51</cbitpos><reducedPhysBits>1'
            '</reducedPhysBits><maxGuests>%s</maxGuests><maxESGuests>%s'
            '</maxESGuests></sev>')
ENTITIES = [
    '<!ENTITY e SYSTEM "file://SECRET">',
    # A billion of them
    '<!ENTITY a "%s"><!ENTITY b "%s"><!ENTITY c "%s"><!ENTITY e "%s">' % (
        '9' * 99, '&a;' * 99, '&b;' * 99, '&c;' * 99)]
NUMBERS = st.one_of(
    st.integers(), st.integers(-2, 600), st.text(max_size=8),
    st.sampled_from(['', ' 15 ', '1e3', '0x10', '-0', '+7', '1_0', '\u0661',
                     '4294967295', '18446744073709551615', 'NaN', '9' * 4000]))
NAMES = st.sampled_from(['cbitpos', 'reducedPhysBits', 'maxGuests',
                         'maxESGuests', 'cpu0Id', 'sev', 'x'])


@st.composite
def elements(draw):
    """Make a <sev>, more or less as libvirt does."""
    sev = etree.fromstring(FAITHFUL % (494, 15))
    for child in list(sev):
        what = draw(st.sampled_from(['keep', 'keep', 'change', 'remove']))
        if what == 'remove':
            sev.remove(child)
        elif what == 'change':
            _fill(child, draw(NUMBERS))
    for name in draw(st.lists(NAMES, max_size=2)):
        _fill(etree.SubElement(sev, name), draw(NUMBERS))
    sev.set('supported', draw(st.sampled_from(['yes'] * 4 + [
        'no', 'YES', '', '1'])))
    return etree.tostring(sev, encoding='unicode')


def _fill(child, value):
    try:
        child.text = str(value)
    except ValueError:
        child.text = None  # XML has no such character


@ddt.ddt
class HostileTest(mem_encryption.SEVTestCase):

    TIMEOUT_SCALING_FACTOR = 2

    def get_totals(self, xml):
        """Return the slots of a host by what libvirt says of SEV."""
        self.connect()
        self.connection._domain_capability_features = (
            '<features>%s</features>' % xml)
        return {model: inventory['total'] for model, inventory in
                mem_encryption.get_inventories(self.get_driver()).items()}

    def tell(self, what, count, yes):
        print('%d hostile inputs: %s, %d times yes' % (count, what, yes),
              file=sys.__stderr__)
        self.assertGreaterEqual(count, INPUTS)
        self.assertGreater(yes, 0)  # or none was worth a look

    def test_domain_capabilities(self):
        count = yes = 0

        @settings(max_examples=INPUTS, deadline=None, database=None)
        @given(elements())
        def test(xml):
            nonlocal count, yes
            count += 1
            totals = self.get_totals(xml)
            sev = etree.fromstring(xml)
            said = {name: [child.text for child in sev if child.tag == name]
                    for name in ('maxGuests', 'maxESGuests')}
            for model, name in (('amd-sev', 'maxGuests'),
                                ('amd-sev-es', 'maxESGuests')):
                total = totals[model]
                self.assertTrue(0 <= total <= MAX_INT)
                if total and (model == 'amd-sev-es' or said[name]):
                    yes += 1
                    self.assertEqual(total, int(said[name][-1]))
                    self.assertEqual('yes', sev.get('supported'))
        test()
        self.tell('domain capabilities', count, yes)

    def test_what_is_faithful_is_believed(self):
        self.assertEqual({'amd-sev': 494, 'amd-sev-es': 15, 'amd-sev-snp': 0},
                         self.get_totals(FAITHFUL % (494, 15)))
        # A host whose CPUID says nothing of SEV-ES, as libvirt counts
        self.assertEqual({'amd-sev': 16, 'amd-sev-es': 0, 'amd-sev-snp': 0},
                         self.get_totals(FAITHFUL % (16, 4294967295)))

    @tables.data(*ENTITIES)
    def test_entities(self, doctype):
        secret = os.path.join(self.useFixture(fixtures.TempDir()).path, 'x')
        with open(secret, 'w') as f:
            f.write('15')
        self.connect()
        faithful = self.connection.getDomainCapabilities
        told = []

        def get(*args, **kwargs):
            xml = faithful(*args, **kwargs)
            told.append('<maxESGuests>15<' in xml)
            return '<!DOCTYPE domainCapabilities [%s]>%s' % (
                doctype.replace('SECRET', secret),
                xml.replace('<maxESGuests>15<', '<maxESGuests>&e;<'))
        self.connection.getDomainCapabilities = get
        try:
            inventories = mem_encryption.get_inventories(self.get_driver())
        except etree.XMLSyntaxError:
            return  # so nova-compute does not start
        self.assertIn(True, told)
        self.assertEqual(0, inventories['amd-sev-es']['total'])

    def test_kernel_parameters(self):
        count = yes = 0

        @settings(max_examples=INPUTS, deadline=None, database=None)
        @given(st.sampled_from(['sev', 'sev_es', 'sev_snp']),
               st.one_of(st.binary(max_size=80), st.sampled_from(
                   [b'Y\n', b'1', b'N\n', b'Y' * 10 ** 6, b'Y\0', b'Y\n\n',
                    b'\xff', b'1 1'])))
        def test(name, content):
            nonlocal count, yes
            count += 1
            with open(os.path.join(self.sev.path, name), 'wb') as f:
                f.write(content)
            said = content[:64].decode('utf-8', 'replace').strip().lower()
            totals = self.get_totals(FAITHFUL % (100, 15))
            on = said in ('1', 'y', 'yes', 't', 'true', 'on')
            if on == (name == 'sev_snp'):
                self.assertEqual(0, totals['amd-sev-es'])
            yes += bool(totals['amd-sev-es'])
            self.sev.set(sev='Y', sev_es='Y', sev_snp=None)
        test()
        self.tell('kernel parameters', count, yes)
