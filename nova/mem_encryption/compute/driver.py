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

"""What a libvirt driver has of memory encryption, all in one place."""
from nova_mem_encryption.nova.mem_encryption.compute import differing_servers
from nova_mem_encryption.nova.mem_encryption.compute import foreign_guests
from nova_mem_encryption.nova.mem_encryption.compute import guests
from nova_mem_encryption.nova.mem_encryption.compute import holders
from nova_mem_encryption.nova.mem_encryption.compute import launches
from nova_mem_encryption.nova.mem_encryption.compute import news
from nova_mem_encryption.nova.mem_encryption.compute import plans
from nova_mem_encryption.nova.mem_encryption.compute import provider_tree
from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption.compute import running_guests
from nova_mem_encryption.nova.mem_encryption.compute import slots
from nova_mem_encryption.nova.mem_encryption.compute import stored_servers


class MemEncryption:
    """State and acts of memory encryption of one driver.

    :param nova.virt.libvirt.host.Host host: the host
    :param nova.scheduler.client.report.SchedulerReportClient placement: of
        nova-compute
    """

    def __init__(self, host, placement):
        abilities, said = host._mem_encryption_abilities, news.News()
        self.guests = guests.Guests(host, abilities)
        self.launches = launches.Launches(host, self.guests, placement)
        # Guests that asked for a reset: a resets.Resets
        self.resets = host._mem_encryption_resets
        self.restarts = restarts.Restarts(self.guests, self.launches)
        self.stored_servers = stored_servers.StoredServers(
            host, self.guests, self.launches)
        running = running_guests.RunningGuests(abilities)
        self.differing_servers = differing_servers.DifferingServers(running)
        self.foreign_guests = foreign_guests.ForeignGuests(
            host, abilities, running, holders.Holders(placement, said), said)
        self.slots = slots.Slots(abilities, self.foreign_guests, said)
        self.plans = plans.Plans(self.slots, placement, said)
        self.providers = provider_tree.Providers(placement, said)
        # UUIDs of the nodes that Placement has had an update of
        self.reported = set()
