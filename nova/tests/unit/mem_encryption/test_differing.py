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

"""Test how it is kept which servers run as what they do not ask for."""
import ddt
from oslo_serialization import jsonutils
import testtools

from nova_mem_encryption.nova.mem_encryption import differing
from nova_mem_encryption.nova.mem_encryption.servers import problems

LESS = differing.Differing('less', 'plain')
MORE = differing.Differing('more', 'amd-sev 0x0033')
COLUMN = 65535  # bytes of TEXT, of MySQL


def make(count, differing=LESS):
    return {'%08d-1111-2222-3333-444444444444' % number: differing
            for number in range(count)}


@ddt.ddt
class DifferingTest(testtools.TestCase):

    @ddt.data({}, {'a': LESS}, {'a': LESS, 'b': MORE})
    def test_what_is_written_is_read(self, found):
        self.assertEqual(
            differing.Seen(found),
            differing.read({differing.STAT: differing.write(found)}))

    @ddt.data(None, {}, {'failed_builds': '0'})
    def test_a_host_without_the_series_does_not_tell(self, stats):
        self.assertIsNone(differing.read(stats))

    def test_the_worst_are_named(self):
        more = make(differing.MOST, MORE)
        seen = differing.read({differing.STAT: differing.write(
            {**more, 'x': LESS, 'y': LESS})})
        self.assertEqual(differing.MOST, len(seen.servers))
        self.assertLessEqual({'x', 'y'}, seen.servers.keys())
        self.assertEqual(2, seen.unnamed)

    def test_it_fits_its_column(self):
        """Whatever a host of 1006 ASIDs runs; Nova keeps JSON of it."""
        text = differing.write(make(1006, differing.Differing(
            'less', 'amd-sev-snp 0x00030000 +authorKey +kernelHashes +vcek')))
        self.assertLess(len(jsonutils.dumps({differing.STAT: text})),
                        COLUMN // 2)

    def test_each_kind_has_its_words(self):
        self.assertLessEqual({*differing.KINDS}, problems.KINDS.keys())
