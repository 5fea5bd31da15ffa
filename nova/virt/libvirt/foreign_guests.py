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

from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver

from nova_mem_encryption.nova.virt.libvirt import misc_cgroup
from nova_mem_encryption.nova.virt.libvirt import slots
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)
ES = vconfig.LibvirtConfigGuestSEVLaunchSecurity.SEV_POLICY_ES

# How many there are, by the suffix of the provider
overlay.add(driver.LibvirtDriver, '_foreign_guests', {})
# What guests are, by UUID and libvirt's id, which is another with each start
overlay.add(driver.LibvirtDriver, '_guest_models', {})
# ASIDs that no guest of libvirt has, by the suffix, at the last look
overlay.add(driver.LibvirtDriver, '_unknown_asids', {})


@overlay.add(driver.LibvirtDriver)
def _count_foreign_guests(self, known):
    """Count the guests that have ASIDs and are not servers of this host.

    Nothing is asked of libvirt but what guests are that were started since
    the last look: who runs, Nova has just found out itself.

    :param known: UUIDs of the servers of this host
    :returns: a dict: suffix of the provider to how many there are; empty on a
        host without SEV
    """
    guests = self._host._running_guests
    if guests is None or not self._host.supports_amd_sev:
        return {}
    self._guest_models = _get_models(guests, self._guest_models)
    unknown = _count_unknown_asids(self, list(self._guest_models.values()))
    foreign = {}
    for suffix in slots.KEYS:
        names = sorted(
            '%s (%s)' % (guest.name, guest.uuid) for guest in guests
            if guest.uuid not in known and
            self._guest_models.get((guest.uuid, guest.id)) == suffix)
        foreign[suffix] = len(names) + unknown[suffix]
        if unknown[suffix]:
            names.append('%d that libvirt does not know of'
                         % unknown[suffix])
        _tell(self, suffix, foreign[suffix], names)
    self._foreign_guests = foreign
    return foreign


def _tell(self, suffix, count, names):
    if not slots.is_news(self, 'foreign ' + suffix, names or None):
        return
    if names:
        LOG.warning(
            'Guests that Nova does not know of have ASIDs of this host: '
            '%(names)s. Of the slots of %(suffix)s, %(count)d are reserved '
            'therefore, if so many are free. Stop the guests (virsh), unless '
            'they are yours.',
            {'suffix': suffix, 'count': count, 'names': ', '.join(names)})
    else:
        LOG.info('Only servers have ASIDs of %s on this host again.', suffix)


def _get_models(guests, old):
    """Return what guests are, if that can be told."""
    models = {}
    for guest in guests:
        key = (guest.uuid, guest.id)
        try:
            models[key] = old[key] if key in old else _get_model(guest)
        except driver.libvirt.libvirtError as e:
            if e.get_error_code() != driver.libvirt.VIR_ERR_NO_DOMAIN:
                LOG.warning('Cannot tell whether guest %(name)s has an ASID: '
                            '%(error)s', {'name': guest.name, 'error': e})
    return models


def _get_model(guest):
    """Return the suffix of the provider that a guest would have a slot of.

    :returns: None if it has no ASID
    """
    security = etree.fromstring(guest.get_xml_desc()).find('launchSecurity')
    kind = None if security is None else security.get('type')
    if kind == 'sev':
        policy = int(security.findtext('policy', '0'), 0)
        return 'amd_sev_es' if policy & ES else 'amd_sev'
    # Its ASIDs are those of SEV-ES; see sev_asid_new in the kernel's
    # arch/x86/kvm/svm/sev.c.
    return 'amd_sev_es' if kind == 'sev-snp' else None


def _count_unknown_asids(self, models):
    """Return how many ASIDs no guest of libvirt has.

    :param models: those of all guests that run
    :returns: a dict: suffix of the provider to how many
    """
    counts, reason, _path = misc_cgroup.read_current(slots.ROOT)
    if counts is None:
        if slots.is_news(self, 'current', reason):
            LOG.info('Guests that libvirt does not know of are not looked '
                     'for, as the kernel does not tell how many ASIDs are in '
                     'use. %s', reason)
        return dict.fromkeys(slots.KEYS, 0)
    now = {suffix: max(0, counts[key] - models.count(suffix))
           for suffix, key in slots.KEYS.items()}
    # NOTE: a guest may have come or gone since it was listed, so it takes two
    # looks, a minute apart by default, to believe it.
    last, self._unknown_asids = self._unknown_asids, now
    return {suffix: min(count, last.get(suffix, 0))
            for suffix, count in now.items()}
