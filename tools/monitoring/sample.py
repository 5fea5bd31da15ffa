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

"""Print the metrics of a small cloud, as the commands do.

    tools/monitoring/sample.py slots|servers

In it one thing is wrong of each kind that the alerts are for. What the
commands find out is made up here; what they make of it is their own code.
"""
import collections
import sys
import types

import nova.monkey_patch  # noqa: F401 - eventlet wants to be early

from nova_mem_encryption.engine import finder

finder.load()
# A checkout has it only now.
from nova_mem_encryption.nova.mem_encryption import models  # noqa: E402
from nova_mem_encryption.nova.mem_encryption.servers import (  # noqa: E402
    formats)
from nova_mem_encryption.nova.mem_encryption import slots  # noqa: E402

SLOTS = [
    # Of these each host has one that is free, or none.
    slots.Slots('compute1', model, 40, 40 - free, 0, 2 * (1 - free))
    for free, model in enumerate(list(models.MODELS)[:2])
] + [slots.Slots('compute2', model, 0, 0, 0, None, 'there is no provider')
     for model in models.MODELS]


def print_slots():
    print(slots.as_prometheus(SLOTS, []))


def print_servers():
    formats.write_prometheus(types.SimpleNamespace(
        servers=types.SimpleNamespace(
            by_model=collections.Counter({('compute1', value): 1
                                          for value in models.MODELS}),
            by_problem=collections.Counter({
                ('compute1', kind): 1
                for kind in ('less', 'no-slot', 'untold')})),
        hosts={'compute1': True, 'compute2': False}, open_flavors=[]), [])


if __name__ == '__main__':
    {'slots': print_slots, 'servers': print_servers}[sys.argv[1]]()
