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
import time

import pyperf
import servers

from nova.scheduler import utils
from nova.virt import hardware

INNER = 500


def translate(loops, request):
    """Return the seconds of INNER translations for each loop."""
    begun = time.perf_counter()
    for _ in range(loops * INNER):
        utils.ResourceRequest.from_request_spec(request)
    return time.perf_counter() - begun


def check(loops, flavor, image):
    """Return the seconds of INNER checks for each loop."""
    begun = time.perf_counter()
    for _ in range(loops * INNER):
        hardware.get_mem_encryption_constraint(flavor, image)
    return time.perf_counter() - begun


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
        runner.bench_time_func('request/' + kind, translate, request,
                               inner_loops=INNER)
        runner.bench_time_func('constraint/' + kind, check, request.flavor,
                               request.image, inner_loops=INNER)


if __name__ == '__main__':
    main()
