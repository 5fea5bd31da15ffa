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

"""Know what the guests of a host run as, and ask libvirt once of each."""
import typing as ty

from oslo_log import log as logging

from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption.compute import starts

LOG = logging.getLogger(__name__)


class Running(ty.NamedTuple):
    """A guest that runs."""

    uuid: str
    id: int    # libvirt's, which is another with each start
    name: str
    told: bool  # whether libvirt tells what it runs with
    # None if it has none, or that is not told
    security: ty.Optional[launch_security.LaunchSecurity]


class RunningGuests:
    """The guests that ran at the last update of the host's resources.

    :param abilities.Abilities abilities: who they are
    """

    def __init__(self, abilities):
        self._abilities = abilities
        self._listed = None  # the guests that are known
        self._known = {}  # by UUID and id

    def get(self):
        """Return what they run with.

        Nothing is asked of libvirt but of guests that were started since the
        last look: who runs, Nova has just found out itself.

        :returns: a list of Running; None if Nova has not looked yet
        """
        guests = self._abilities.running_guests
        if guests is not self._listed:
            self._known = {
                (guest.uuid, guest.id): running for guest, running in (
                    (guest, self._read(guest)) for guest in guests)
                if running is not None}
            self._listed = guests
        return None if guests is None else list(self._known.values())

    def _read(self, guest):
        """Return a Running, None if the guest has ended."""
        known = self._known.get((guest.uuid, guest.id))
        if known is not None and known.told:
            return known
        try:
            security, _told = starts.read_running(guest)
        except libvirt_guest.libvirt.libvirtError as e:
            if (e.get_error_code() ==
                    libvirt_guest.libvirt.VIR_ERR_NO_DOMAIN):
                return None
            LOG.warning('Cannot tell whether guest %(name)s has an ASID: '
                        '%(error)s', {'name': guest.name, 'error': e})
            return Running(guest.uuid, guest.id, guest.name, False, None)
        return Running(guest.uuid, guest.id, guest.name, True, security)
