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

"""Move the slots of servers from one provider of a host to another."""
from nova import exception
from nova.i18n import _

from nova_mem_encryption.nova.mem_encryption import providers

SLOT = providers.SLOT


def find(allocations, provider):
    """Return the allocations of those that have a slot of a provider."""
    found = {}
    for consumer, data in (allocations or {}).items():
        held = data['allocations'].get(provider)
        if held is not None and SLOT in held['resources']:
            found[consumer] = data['allocations']
    return found


def move(consumer, allocs, source, destination):
    """Move the slot of one server or migration to another provider."""
    resources, there = allocs[source]['resources'], allocs.get(destination)
    amount = resources[SLOT]
    if amount != 1 or there is not None and SLOT in there['resources']:
        raise exception.ReshapeFailed(error=_(
            'consumer %(consumer)s has %(amount)d %(slot)s on provider '
            '%(source)s, which cannot be moved to %(destination)s: a server '
            'has one. Correct its allocations and start the service again.')
            % {'consumer': consumer, 'amount': amount, 'slot': SLOT,
               'source': source, 'destination': destination})
    del resources[SLOT]
    if not resources:
        del allocs[source]
    if there is None:
        there = allocs[destination] = {'resources': {}}
    there['resources'][SLOT] = amount
