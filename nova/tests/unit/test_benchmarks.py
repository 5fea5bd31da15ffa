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

"""Test how the benchmarks compare."""
import os
import sys

import ddt

from nova import test

from nova_mem_encryption.engine import tree

sys.path.append(os.path.join(tree.root(), 'benchmarks'))
import environments  # noqa: H306
import ratios


@ddt.ddt
class RatiosTest(test.NoDBTestCase):

    def test_a_ratio_is_that_of_the_medians_of_a_round(self):
        self.assertEqual([2.0, 0.5], ratios.pair(
            [[2, 4, 100], [1, 1, 1]], [[2, 2, 0], [2, 0, 9]]))

    def test_a_difference_is_that_of_the_medians_of_a_round(self):
        self.assertEqual([1, -2], ratios.differ(
            [[1, 3, 100], [3]], [[2], [5]]))

    # Conover, Practical Nonparametric Statistics, table A3: of 6 to 8 values
    # the extremes, of 9 to 11 the second from both ends, of 12 the third.
    @ddt.data((1, 0), (3, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2),
              (20, 5))
    @ddt.unpack
    def test_the_interval_is_that_of_the_sign_test(self, count, skipped):
        values = list(range(count))
        median, low, high = ratios.summarize(values[::-1])
        self.assertEqual(((count - 1) / 2, skipped, count - 1 - skipped),
                         (median, low, high))

    @ddt.data((0.5, 50), (0.99, 99), (1, 100))
    @ddt.unpack
    def test_percentile(self, share, expected):
        self.assertEqual(expected, ratios.percentile(
            list(range(100, 0, -1)), share))

    @ddt.data(0, 1, 1.5, 2)
    def test_growth_is_the_exponent_of_the_largest_sizes(self, exponent):
        self.assertAlmostEqual(exponent, ratios.growth(
            {500: 3 * 500 ** exponent, 2000: 3 * 2000 ** exponent, 10: 7}))


class EnvironmentsTest(test.NoDBTestCase):

    def test_an_environment_is_another_with_other_constraints(self):
        self.assertEqual(environments.describe('31.3.1', 'a===1\n'),
                         environments.describe('31.3.1', 'a===1\n'))
        self.assertEqual(3, len({
            environments.describe('31.3.1', 'a===1\n'),
            environments.describe('31.3.1', 'a===2\n'),
            environments.describe('32.2.1', 'a===1\n')}))

    def test_the_requirements_are_a_part_of_it(self):
        with open(environments.COMMON[1]) as f:
            self.assertIn(f.read(), environments.describe('31.3.1', ''))
