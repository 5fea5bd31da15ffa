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

"""Time the periodic report to Placement, and count what it asks for.

    update.py calls     prints the counts, as JSON

The numbers of guests are in NOVA_BENCHMARK_SIZES.
"""
import json
import os
import sys
import time

import computehost
import fixtures
import pyperf
import timing

SIZES = [int(n) for n in os.environ.get('NOVA_BENCHMARK_SIZES', '0').split()]
CALLS = 600  # to Placement for one value, about


def update(loops, guests, inner):
    """Return the seconds of updates in the steady state."""
    with computehost.ComputeHost() as host:
        host.update(startup=True)
        host.add_guests(guests)
        host.update()
        with timing.Section('update/%d' % guests) as section:
            for _ in range(loops * inner):
                host.update()
        return section.seconds


def count(guests):
    """Return the calls of the first update, of one later, and of a refresh.

    A refresh is one that comes when Nova has Placement tell it anew what it
    knows, every 5 minutes.
    """
    with computehost.ComputeHost() as host:
        calls = {'start': host.count(host.update, True)}
        host.add_guests(guests)
        host.update()
        calls['update'] = host.count(host.update)
        now = time.time
        with fixtures.MonkeyPatch('time.time', lambda: now() + 1000):
            calls['refresh'] = host.count(host.update)
        return calls


def main():
    """Print the counts, or be a worker of pyperf."""
    if sys.argv[1:] == ['calls']:
        print(json.dumps({guests: count(guests) for guests in SIZES}))
        return
    runner = pyperf.Runner()
    for guests in SIZES:
        inner = max(1, CALLS // (guests + 3) // 5)
        runner.bench_time_func('update/%d' % guests, update, guests, inner,
                               inner_loops=inner)


if __name__ == '__main__':
    main()
