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

"""Test who is told to have slots."""
import types

from oslotest import base

from nova_mem_encryption.nova.mem_encryption.upgrade import providers


def _make(name, *consumers):
    return types.SimpleNamespace(name=name, consumers=set(consumers))


class HoldersTest(base.BaseTestCase):

    def test_each_is_told_by_its_uuid(self):
        first, second = _make('a', 'x', 'y'), _make('b', 'y')
        holders = providers.Holders()
        for provider in (first, _make('none'), second):
            holders.add(provider)
        self.assertEqual([first], holders.get('x'))
        self.assertEqual([first, second], holders.get('y'))
        self.assertEqual([], holders.get('z'))

    def test_each_question_is_about_its_own_cloud(self):
        holders = providers.Holders()
        holders.add(_make('a', 'x'))
        self.assertEqual([], providers.Holders().get('x'))

    def test_many_are_in_a_file(self):
        # More than the cache of SQLite has room for, which is 2 MB
        holders = providers.Holders()
        provider = _make('a', *('%036d' % number for number in range(60000)))
        holders.add(provider)
        self.assertEqual([provider], holders.get('%036d' % 59999))
        self.assertEqual([], holders.get('%036d' % 60000))
