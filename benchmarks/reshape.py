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

"""Time the move of the slots from the root provider to its children."""
import gc
import os
import tracemalloc
from unittest import mock

import computehost
from keystoneauth1 import adapter
import pyperf
import timing

SIZES = [int(n) for n in os.environ.get('NOVA_BENCHMARK_SIZES', '10').split()]
# To measure it takes time.
MEMORY = 'NOVA_BENCHMARK_MEMORY' in os.environ


class Reshape:
    """One reshape; its time, the driver's part of that, and the memory.

    ``alone`` is the driver's part without the requests to Placement, which
    answers in the same process here.
    """

    def __init__(self, servers):
        self.servers = servers
        self.driver = self.alone = self.peak = 0.0

    def run(self, loops):
        """Return the seconds of all of nova-compute's first report."""
        whole = 0.0
        self.driver = self.alone = self.peak = 0.0
        for _ in range(loops):
            with computehost.ComputeHost() as host:
                host.make_older()
                host.add_guests(self.servers)
                whole += self._time(host)
        return whole

    def get_peak(self, loops):
        """Return the peak of what the driver allocates to move the slots."""
        self.run(loops)
        return self.peak

    def _time(self, host):
        update = host.driver.update_provider_tree
        ask = adapter.Adapter.request
        alone = 'reshape driver alone/%d' % self.servers

        def timed(provider_tree, nodename, allocations=None):
            section = timing.Section('reshape driver/%d' % self.servers, alone)
            asking = 0.0

            def request(*args, **kwargs):
                nonlocal asking
                excluded = timing.Excluded(alone)
                try:
                    with excluded:
                        return ask(*args, **kwargs)
                finally:
                    asking += excluded.seconds

            try:
                with mock.patch.object(adapter.Adapter, 'request', request):
                    if MEMORY and allocations is not None:
                        gc.collect()
                        tracemalloc.start()
                    with section:
                        return update(provider_tree, nodename,
                                      allocations=allocations)
            finally:
                self.driver += section.seconds
                self.alone += section.seconds - asking
                if tracemalloc.is_tracing():
                    self.peak += tracemalloc.get_traced_memory()[1]
                    tracemalloc.stop()

        host.driver.update_provider_tree = timed
        with timing.Section('reshape/%d' % self.servers) as section:
            host.update(startup=True)
        return section.seconds


def main():
    """Be a worker of pyperf."""
    runner = pyperf.Runner()
    for servers in SIZES:
        reshape = Reshape(servers)
        if MEMORY:
            runner.bench_time_func('reshape memory/%d' % servers,
                                   reshape.get_peak,
                                   metadata={'unit': 'byte'})
            continue
        runner.bench_time_func('reshape/%d' % servers, reshape.run)
        runner.bench_time_func('reshape driver/%d' % servers,
                               lambda loops, r=reshape: r.driver)
        runner.bench_time_func('reshape driver alone/%d' % servers,
                               lambda loops, r=reshape: r.alone)


if __name__ == '__main__':
    main()
