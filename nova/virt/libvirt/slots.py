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
from nova import context as nova_context
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.virt.libvirt import misc_cgroup
from nova_mem_encryption import overlay

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)
ROOT = '/'  # folder of the host's files
# What the kernel calls the models of the providers
KEYS = {'amd_sev': misc_cgroup.SEV, 'amd_sev_es': misc_cgroup.SEV_ES}

# What the log has of this host: what it is about to what was said last
overlay.add(driver.LibvirtDriver, '_mem_encryption_said', {})


def is_news(self, about, what):
    """Tell whether something is not what the log has of it already.

    :param nova.virt.libvirt.driver.LibvirtDriver self: the driver
    :param str about: what it is about
    :param what: what there is to say, None if nothing
    """
    said = self._mem_encryption_said
    self._mem_encryption_said = {**said, about: what}
    return said.get(about) != what


def limit_by_kernel(self, totals):
    """Return no more slots than the kernel has ASIDs.

    libvirt asks the processor, and keeps what it found in a cache. What the
    kernel has is what guests get.

    :param nova.virt.libvirt.driver.LibvirtDriver self: the driver
    :param dict totals: the provider's suffix to the slots, by libvirt
    :returns: the same, where the kernel tells
    """
    if not any(totals.values()):
        return totals
    counts, reason, path = misc_cgroup.read_capacity(ROOT)
    # NOTE: without an ASID at all, SEV would be off.
    if counts is None or not any(counts.values()):
        if is_news(self, 'capacity', reason):
            LOG.info('The slots are not compared with the ASIDs that the '
                     'kernel has. %s', reason or '%s tells of none.' % path)
        return totals
    told = {'amd_sev': self._host.max_sev_guests,
            'amd_sev_es': self._host.max_sev_es_guests}
    wrong = [
        'guests of %s: libvirt %d, kernel %d' % (suffix, told[suffix], count)
        for suffix, count in ((s, counts[key]) for s, key in KEYS.items())
        if totals[suffix] and told[suffix] not in (None, count)]
    if is_news(self, 'capacity', wrong) and wrong:
        LOG.warning(
            'libvirt and the kernel do not agree on how many guests this host '
            'can run; the smaller number counts (%(wrong)s; %(path)s). '
            'Delete /var/cache/libvirt/qemu/capabilities, then restart '
            'libvirtd (or virtqemud) and nova-compute.',
            {'wrong': '; '.join(wrong), 'path': path})
    return {suffix: min(total, counts[KEYS[suffix]])
            for suffix, total in totals.items()}


def get_reserved(self, suffix, total):
    """Return how many slots of a model are not for servers.

    They are those that the operator keeps, or, if that is more, those of
    guests that are not Nova's: the operator's own guests use what is kept.

    :param nova.virt.libvirt.driver.LibvirtDriver self: the driver
    :param str suffix: of the provider
    :param int total: slots of the provider; no more are reserved
    """
    kept = 0
    if suffix == 'amd_sev_es':
        # It is None where it is set to nothing.
        kept = CONF.libvirt.reserved_sev_es_guests or 0
    return min(total, max(kept, self._foreign_guests.get(suffix, 0)))


def limit_reserved(self, inventory, provider):
    """Reserve no slot that somebody has.

    Placement gives nothing more out either way. But of a provider where more
    is used and reserved than there is, nobody could be moved away: a
    migration gets the slot of its server like any other.

    :param nova.virt.libvirt.driver.LibvirtDriver self: the driver
    :param dict inventory: to correct
    :param nova.compute.provider_tree.ProviderData provider: whose it is
    """
    if inventory['reserved']:
        inventory['reserved'] = max(0, min(
            inventory['reserved'],
            inventory['total'] - len(_get_consumers(self, provider))))


def get_holders(self, provider):
    """Return who holds slots of a provider that has none to offer any more.

    :param nova.virt.libvirt.driver.LibvirtDriver self: the driver
    :param nova.compute.provider_tree.ProviderData provider: the provider
    :returns: UUIDs of servers and migrations, sorted
    """
    holders = _get_consumers(self, provider)
    if is_news(self, provider.name, holders) and holders:
        LOG.warning(
            'This host has no slots for %(name)s any more, but %(count)d are '
            'in use. No other is offered. These servers or migrations hold '
            'them, and cannot be started here: %(holders)s. Move them, or '
            'give the host its ability back.',
            {'name': provider.name, 'count': len(holders),
             'holders': ', '.join(holders)})
    return holders


def _get_consumers(self, provider):
    return sorted(
        self.virtapi.reportclient.get_allocations_for_resource_provider(
            nova_context.get_admin_context(), provider.uuid).allocations)
