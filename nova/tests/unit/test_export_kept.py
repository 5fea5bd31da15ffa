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

"""Test which tests are for a patched Nova."""
import testtools

from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import kept
from nova_mem_encryption.export import source

SERVICES = '''
from nova_mem_encryption.engine import ledger


class Services:
    def start(self):
        pass

    def take_off(self):
        ledger.entries()
'''
BASE = '''
from nova.tests.functional import services


class Base:
    def setUp(self):
        self.cloud = services.Services()
'''
TESTS = '''
from nova.tests.functional import base


class Test(base.Base):
    def test_it_starts(self):
        self.cloud.start()

    def test_it_is_taken_off(self):
        self.cloud.take_off()

    def test_who_else_takes_off(self):
        other.take_off()
'''
NAME = 'nova.tests.functional.libvirt.test_sevhost_x'


class KeptTest(testtools.TestCase):

    def keep(self, rows=(), **texts):
        tree = {name: source.Source(name, name, text)
                for name, text in texts.items()}
        return kept.Kept(tree, [], rows)

    def test_what_a_test_asks_of_what_its_base_has(self):
        found = self.keep(**{
            'nova.tests.functional.services': SERVICES,
            'nova.tests.functional.base': BASE,
            'nova.tests.functional.test_it': TESTS})
        self.assertEqual({
            'nova.tests.functional.services:Services.take_off':
                'it uses nova_mem_encryption.engine.ledger',
            'nova.tests.functional.test_it:Test.test_it_is_taken_off':
                'it uses take_off'}, found.left_out)
        self.assertNotIn('is_taken_off', found.modules()[
            'nova.tests.functional.test_it'].text)

    def test_those_on_imitated_hosts_are_left_out(self):
        found = self.keep(decisions.LEFT_OUT_TESTS, **{NAME: BASE})
        self.assertEqual({NAME: decisions.IMITATED}, found.left_out)
        self.assertEqual({}, found.modules())

    def test_those_on_imitated_hosts_where_they_are_wanted(self):
        found = self.keep([row for row in decisions.LEFT_OUT_TESTS
                           if row[1] != decisions.IMITATED], **{NAME: BASE})
        self.assertEqual({}, found.left_out)
        self.assertEqual([NAME], list(found.modules()))
