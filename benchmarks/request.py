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

"""Time the translation of requests, and the check in the API.

    request.py queries     prints what Placement is asked for, as JSON
"""
import json
import sys

import pyperf
import servers
import timing

from nova.compute import api
from nova.scheduler import utils
from nova.virt import hardware

INNER = 500


def time_calls(loops, name, function, *args):
    """Return the seconds of INNER calls for each loop."""
    with timing.Section(name) as section:
        for _ in range(loops * INNER):
            function(*args)
    return section.seconds


def main():
    """Print the queries, or be a worker of pyperf."""
    requests = {kind: servers.make_request(kind) for kind in servers.SPECS}
    if sys.argv[1:] == ['queries']:
        print(json.dumps({
            kind: utils.ResourceRequest.from_request_spec(
                request).to_querystring()
            for kind, request in requests.items()}))
        return
    runner = pyperf.Runner()
    for kind, request in requests.items():
        image = servers.make_image_of_glance()
        for name, function, *args in (
                ('request', utils.ResourceRequest.from_request_spec, request),
                ('constraint', hardware.get_mem_encryption_constraint,
                 request.flavor, request.image),
                ('api', api.API._validate_flavor_image_numa_pci, image,
                 request.flavor)):
            full = '%s/%s' % (name, kind)
            runner.bench_time_func(full, time_calls, full, function, *args,
                                   inner_loops=INNER)


if __name__ == '__main__':
    main()
