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

from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)


class ForeignGuests:
    """Guests of one host that are not servers, or are and have no slot.

    :param nova.virt.libvirt.host.Host host: the host
    :param abilities.Abilities abilities: who runs on it
    :param holders.Holders holders: who has slots
    :param news.News news: what the log has of it
    """

    def __init__(self, host, abilities, holders, news):
        self._host = host
        self._abilities = abilities
        self._holders = holders
        self._news = news
        self._counts = {}  # how many there are, by model
        # Which ASIDs guests have, by UUID and libvirt's id, which is another
        # with each start
        self._asids = {}
        # ASIDs that no guest of libvirt has, at the last look
        self._unknown = {}

    def get_count(self, model):
        """Return how many there were at the last look that take its slots.

        :param str model: its value
        """
        return self._counts.get(model, 0)

    def count(self, known, node, moves):
        """Count the guests that have ASIDs that nobody gave them.

        Nothing is asked of libvirt but what guests are that were started
        since the last look: who runs, Nova has just found out itself.

        :param set known: UUIDs of the servers of this host
        :param node, moves: as of holders.Holders.find_without
        :returns: a dict: model to how many take its slots; empty on a host
            without SEV
        """
        guests = self._abilities.running_guests
        if guests is None or not self._host.supports_amd_sev:
            return {}
        self._asids = _get_asids(guests, self._asids)
        unknown = self._count_unknown()
        self._counts = {}
        for key, rows in models.get_pools().items():
            names = {guest.uuid: '%s (%s)' % (guest.name, guest.uuid)
                     for guest in guests
                     if self._asids.get((guest.uuid, guest.id)) == key}
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

    def _count_unknown(self):
        """Return how many ASIDs no guest of libvirt has, by their kind."""
        counts, reason, _path = misc_cgroup.read_current(files.ROOT)
        kinds = {row.count.asids for row in models.MODELS.values()}
        news = self._news.is_news('current', reason)
        if counts is None:
            if news:
                LOG.info('Guests that libvirt does not know of are not looked '
                         'for, as the kernel does not tell how many ASIDs are '
                         'in use. %s', reason)
            return dict.fromkeys(kinds, 0)
        taken = list(self._asids.values())
        now = {kind: max(0, counts[kind] - taken.count(kind))
               for kind in kinds}
        # NOTE: a guest may have come or gone since it was listed, so it takes
        # two looks, a minute apart by default, to believe it.
        last, self._unknown = self._unknown, now
        return {kind: min(count, last.get(kind, 0))
                for kind, count in now.items()}


def _get_asids(guests, old):
    """Return which ASIDs guests have, if that can be told."""
    found = {}
    for guest in guests:
        key = (guest.uuid, guest.id)
        try:
            found[key] = old[key] if key in old else _get_kind(guest)
        except libvirt_guest.libvirt.libvirtError as e:
            if e.get_error_code() != libvirt_guest.libvirt.VIR_ERR_NO_DOMAIN:
                LOG.warning('Cannot tell whether guest %(name)s has an ASID: '
                            '%(error)s', {'name': guest.name, 'error': e})
    return found


def _get_kind(guest):
    """Return the kernel's name of the ASIDs that a guest has one of.

    :returns: None if it has no ASID
    """
    found = launch_security.read(guest.get_xml_desc())
    return found and models.find_asids(found.element, found.policy or 0)
