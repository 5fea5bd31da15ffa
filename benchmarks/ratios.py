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

"""Ratios of what was measured in turn, with their spread, and growth."""
import math
import statistics


def pair(first, second):
    """Return the ratio in each round.

    :param first: the values of each round
    :param second: the same, of what it is compared with
    :returns: a list of floats
    """
    return [statistics.median(a) / statistics.median(b)
            for a, b in zip(first, second)]


def differ(first, second):
    """Return the difference in each round; parameters as of pair."""
    return [statistics.median(a) - statistics.median(b)
            for a, b in zip(first, second)]


def summarize(values):
    """Return the median, and an interval that holds that of all rounds.

    The interval is between two of the values, so nothing is assumed of how
    they are distributed: that of 95 % confidence by the sign test, for which
    it takes 6 rounds; with less the lowest and the highest.

    :returns: median, low, high
    """
    ordered, count = sorted(values), len(values)
    skipped, outside = 0, 2 / 2 ** count
    while skipped < (count - 1) // 2:
        outside += 2 * math.comb(count, skipped + 1) / 2 ** count
        if outside > 0.05:
            break
        skipped += 1
    return (statistics.median(ordered), ordered[skipped],
            ordered[count - 1 - skipped])


def percentile(values, share):
    """Return the least value that so many of them do not exceed.

    :param float share: 0.99 for the 99th percentile
    """
    return sorted(values)[math.ceil(share * len(values)) - 1]


def growth(points):
    """Return the exponent with which a time grows between the largest sizes.

    Of the small ones most is what does not grow.

    :param points: size to time; 1.0 is linear
    """
    (small, less), (large, more) = sorted(points.items())[-2:]
    return math.log(more / less) / math.log(large / small)
