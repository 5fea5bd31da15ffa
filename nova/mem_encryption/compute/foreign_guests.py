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

"""Find guests that have ASIDs and are not Nova's."""
from lxml import etree
from oslo_log import log as logging

from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)


class ForeignGuests:
    """Guests of one host that are not servers.

    :param nova.virt.libvirt.host.Host host: the host
    :param abilities.Abilities abilities: who runs on it
    :param news.News news: what the log has of it
    """

    def __init__(self, host, abilities, news):
        self._host = host
        self._abilities = abilities
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

    def count(self, known):
        """Count the guests that have ASIDs and are not servers of this host.

        Nothing is asked of libvirt but what guests are that were started
        since the last look: who runs, Nova has just found out itself.

        :param known: UUIDs of the servers of this host
        :returns: a dict: model to how many take its slots; empty on a host
            without SEV
        """
        guests = self._abilities.running_guests
        if guests is None or not self._host.supports_amd_sev:
            return {}
        self._asids = _get_asids(guests, self._asids)
        unknown = self._count_unknown()
        self._counts = {}
        for model, row in models.MODELS.items():
            key = row.count.asids
            names = sorted(
                '%s (%s)' % (guest.name, guest.uuid) for guest in guests
                if guest.uuid not in known and
                self._asids.get((guest.uuid, guest.id)) == key)
            self._counts[model] = len(names) + unknown[key]
            if unknown[key]:
                names.append('%d that libvirt does not know of' % unknown[key])
            self._tell(row.suffix, self._counts[model], names)
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

    def _count_unknown(self):
        """Return how many ASIDs no guest of libvirt has, by their kind."""
        counts, reason, _path = misc_cgroup.read_current(files.ROOT)
        kinds = {row.count.asids for row in models.MODELS.values()}
        if counts is None:
            if self._news.is_news('current', reason):
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
    security = etree.fromstring(guest.get_xml_desc()).find('launchSecurity')
    if security is None:
        return None
    return models.find_asids(security.get('type'),
                             int(security.findtext('policy', '0'), 0))
