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

"""Tell how many slots a host has, and how many of them are not for servers."""
from oslo_log import log as logging

import nova.conf
from nova.db import constants as db_const

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption import models

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)


class Slots:
    """The slots of one host.

    :param abilities.Abilities abilities: what the host can
    :param foreign_guests.ForeignGuests foreign_guests: who else is there
    :param news.News news: what the log has of it
    """

    def __init__(self, abilities, foreign_guests, news):
        self._abilities = abilities
        self._foreign_guests = foreign_guests
        self._news = news

    def get_inventories(self, native):
        """Return what this host offers.

        :param int native: slots of the native model, by Nova
        :returns: a dict: model to its inventory
        """
        totals = self._limit_by_kernel({
            model: 0 if self._abilities.find_obstacle(model) is not None else
            native if row.native else
            self._abilities.get_count(model) or db_const.MAX_INT
            for model, row in models.MODELS.items()})
        return {model: {'total': total, 'min_unit': 1, 'max_unit': 1,
                        'step_size': 1, 'allocation_ratio': 1.0,
                        'reserved': self._get_reserved(model, total)}
                for model, total in totals.items()}

    def _limit_by_kernel(self, totals):
        """Return no more slots than the kernel has ASIDs.

        libvirt asks the processor, and keeps what it found in a cache. What
        the kernel has is what guests get.

        :param dict totals: model to the slots, by libvirt
        :returns: the same, where the kernel tells
        """
        if not any(totals.values()):
            return totals
        counts, reason, path = misc_cgroup.read_capacity(files.ROOT)
        # NOTE: without an ASID at all, SEV would be off.
        if counts is None or not any(counts.values()):
            if self._news.is_news('capacity', reason):
                LOG.info('The slots are not compared with the ASIDs that the '
                         'kernel has. %s', reason or '%s tells of none.'
                         % path)
            return totals
        kernel = {model: counts[row.count.asids]
                  for model, row in models.MODELS.items()}
        told = {model: self._abilities.get_count(model) for model in totals}
        wrong = [
            'guests of %s: libvirt %d, kernel %d' % (
                models.MODELS[model].suffix, told[model], kernel[model])
            for model in totals
            if totals[model] and told[model] not in (None, kernel[model])]
        if self._news.is_news('capacity', wrong) and wrong:
            LOG.warning(
                'libvirt and the kernel do not agree on how many guests this '
                'host can run; the smaller number counts (%(wrong)s; '
                '%(path)s). Delete /var/cache/libvirt/qemu/capabilities, then '
                'restart libvirtd (or virtqemud) and nova-compute.',
                {'wrong': '; '.join(wrong), 'path': path})
        return {model: min(total, kernel[model])
                for model, total in totals.items()}

    def _get_reserved(self, model, total):
        """Return how many slots of a model are not for servers.

        They are those that the operator keeps, or, if that is more, those of
        guests that are not Nova's: the operator's own guests use what is
        kept.
        """
        option = models.MODELS[model].reserved
        # It is None where it is set to nothing.
        kept = CONF.libvirt[option] or 0 if option else 0
        return min(total, max(kept, self._foreign_guests.get_count(model)))
