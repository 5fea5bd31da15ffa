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

"""Find guests that have ASIDs and no slots."""
from oslo_log import log as logging

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)


class ForeignGuests:
    """Guests of one host that are not servers, or are and have no slot.

    :param nova.virt.libvirt.host.Host host: the host
    :param abilities.Abilities abilities: what it can give guests
    :param running_guests.RunningGuests running: who runs on it
    :param holders.Holders holders: who has slots
    :param news.News news: what the log has of it
    """

    def __init__(self, host, abilities, running, holders, news):
        self._host = host
        self._abilities = abilities
        self._running = running
        self._holders = holders
        self._news = news
        self._counts = {}  # how many there are, by model
        # ASIDs that no guest of libvirt has, at the last look
        self._unknown = {}

    def get_count(self, model):
        """Return how many there were at the last look that take its slots.

        :param str model: its value
        """
        return self._counts.get(model, 0)

    def count(self, known, node, moves):
        """Count the guests that have ASIDs that nobody gave them.

        :param set known: UUIDs of the servers of this host
        :param node, moves: as of holders.Holders.find_without
        :returns: a dict: model to how many take its slots; empty on a host
            without SEV
        """
        guests = self._running.get()
        if guests is None or not self._host.supports_amd_sev:
            return {}
        asids = {guest: guest.security and models.find_asids(
            guest.security.element, guest.security.policy or 0)
            for guest in guests}
        unknown = self._count_unknown(list(asids.values()))
        self._counts = {}
        for key, rows in models.get_pools().items():
            names = {guest.uuid: '%s (%s)' % (guest.name, guest.uuid)
                     for guest, kind in asids.items() if kind == key}
            without = self._holders.find_without(
                known.intersection(names), rows, node, moves)
            foreign = sorted(names[uuid] for uuid in names.keys() - known)
            servers = sorted(names[uuid] for uuid in without)
            count = len(foreign) + len(servers) + unknown[key]
            if unknown[key]:
                foreign.append(
                    '%d that libvirt does not know of' % unknown[key])
            # Of the model that the host gives, if it gives any; the others
            # have no slots but those that are held.
            row = next((row for row in rows if self._abilities.find_obstacle(
                row.value) is None), rows[0])
            self._counts[row.value] = count
            self._tell(row.suffix, count, foreign)
            self._tell_of_servers(row.suffix, count, servers)
        return self._counts

    def _tell(self, suffix, count, names):
        if not self._news.is_news('foreign ' + suffix, names or None):
            return
        if names:
            LOG.warning(
                'Guests that Nova does not know of have ASIDs of this host: '
                '%(names)s. Of the slots of %(suffix)s, %(count)d are '
                'reserved therefore, if so many are free. Stop the guests '
                '(virsh), unless they are yours.',
                {'suffix': suffix, 'count': count, 'names': ', '.join(names)})
        else:
            LOG.info('Only servers have ASIDs of %s on this host again.',
                     suffix)

    def _tell_of_servers(self, suffix, count, names):
        if self._news.is_news('servers ' + suffix, names or None) and names:
            LOG.warning(
                'Servers have ASIDs of this host and no slots of %(suffix)s: '
                '%(names)s. Of these slots %(count)d are reserved therefore, '
                'if so many are free. A server that does not ask for this '
                'model is not what it asked for: reboot it hard (one in '
                'rescue after its state was reset to active). One that '
                'does has lost its slot: nova-manage placement '
                'heal_allocations --force --instance UUID.',
                {'suffix': suffix, 'count': count, 'names': ', '.join(names)})

    def _count_unknown(self, taken):
        """Return how many ASIDs no guest of libvirt has, by their kind.

        :param taken: the kinds of those that guests have
        """
        counts, reason, _path = misc_cgroup.read_current(files.ROOT)
        kinds = {row.count.asids for row in models.MODELS.values()}
        news = self._news.is_news('current', reason)
        if counts is None:
            if news:
                LOG.info('Guests that libvirt does not know of are not looked '
                         'for, as the kernel does not tell how many ASIDs are '
                         'in use. %s', reason)
            return dict.fromkeys(kinds, 0)
        now = {kind: max(0, counts[kind] - taken.count(kind))
               for kind in kinds}
        # NOTE: a guest may have come or gone since it was listed, so it takes
        # two looks, a minute apart by default, to believe it.
        last, self._unknown = self._unknown, now
        return {kind: min(count, last.get(kind, 0))
                for kind, count in now.items()}
