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

"""Time what the scheduler asks Placement for, in regions of many hosts.

    candidates.py CONNECTION QUERIES OUTPUT SECONDS HOSTS...

QUERIES is what 'request.py queries' prints, CONNECTION is SQLAlchemy's. All
kinds of servers take turns, for so many seconds with each share of used slots.
"""
import json
import os
import sys
import time
import typing as ty

import pyperf
import region
import webob

SHARES = (0, 0.5, 0.99)
LEAST, MOST = 4, 100  # values of each
HEADERS = {'x-auth-token': 'admin',
           'OpenStack-API-Version': 'placement 1.36'}  # what Nova asks with


def ask(app, query):
    """Return the seconds of one request, and what it finds."""
    request = webob.Request.blank('/allocation_candidates?' + query,
                                  headers=HEADERS)
    begun = time.perf_counter()
    response = request.get_response(app)
    seconds = time.perf_counter() - begun
    if response.status_int != 200:
        raise RuntimeError('%s: %s' % (query, response.text))
    return seconds, len(response.json['allocation_requests'])


def measure(app, queries, seconds, least=LEAST):
    """Return seconds and number of candidates for each kind of server."""
    values: ty.Dict[str, ty.List[float]] = {kind: [] for kind in queries}
    found = {}
    end = time.monotonic() + seconds
    for number in range(MOST):
        if number >= least and time.monotonic() > end:
            break
        for kind, query in queries.items():
            value, found[kind] = ask(app, query)
            values[kind].append(value)
    return values, found


def main(connection, queries, output, seconds, *sizes):
    """Measure, and append what is found to a file of pyperf."""
    app = region.load(connection)
    database = connection.partition(':')[0].partition('+')[0]
    queries = json.loads(queries)
    filled = region.Region()
    least = LEAST if float(seconds) else 1
    filled.fill(int(sizes[0]))
    for query in queries.values():
        ask(app, query)  # the first takes longer, whatever it asks
    for hosts in map(int, sizes):
        filled.fill(hosts)
        for share in SHARES:
            filled.use(share)
            values, found = measure(app, queries, float(seconds), least)
            if found['sev-es'] != found['sev-es-by-group']:
                raise RuntimeError('not the same was found: %s' % found)
            for kind in queries:
                name = 'candidates %s %s/%d/%d' % (
                    database, kind, share * 100, hosts)
                bench = pyperf.Benchmark([pyperf.Run(values[kind], metadata={
                    'name': name, 'candidates': found[kind]})])
                if os.path.exists(output):
                    pyperf.add_runs(output, bench)
                else:
                    bench.dump(output)
            print(database, hosts, share, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
