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

"""Find servers that run as something else than they ask for."""
from nova import exception
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption import differing


class DifferingServers:
    """The servers of one host, while they run.

    :param running_guests.RunningGuests running: what the guests run with
    """

    def __init__(self, running):
        self._running = running
        self._found = {}  # differing.Differing by UUID and id of the guest

    def find(self, instances):
        """Return the servers that run as something else than they ask for.

        One that something is done with is as it was at the last look, while
        its guest is the same: it may ask already for what it gets when it is
        started again.

        :param instances: the servers of the host
        :returns: differing.Differing by UUID; None if it is not known which
            guests run
        """
        running = self._running.get()
        if running is None:
            return None
        guests = {guest.uuid: guest for guest in running}
        found = {}
        for instance in instances:
            guest = guests.get(instance.uuid)
            if guest is None:
                continue
            key = guest.uuid, guest.id
            difference = _compare(instance, guest) if (
                instance.task_state is None) else self._found.get(key)
            if difference is not None:
                found[key] = difference
        self._found = found
        return {uuid: difference
                for (uuid, _id), difference in found.items()}


def _compare(instance, guest):
    try:
        asked = hardware.get_mem_encryption_constraint(
            instance.flavor, instance.image_meta)
    except (exception.NovaException, ValueError):
        return None  # What it asks for is what disagrees.
    if not guest.told:
        return asked and differing.Differing(differing.UNTOLD, 'unknown')
    difference = launch_security.compare(asked, guest.security)
    if difference is None:
        return None
    return differing.Differing(
        differing.LESS if difference.less else differing.MORE,
        launch_security.name(guest.security))
