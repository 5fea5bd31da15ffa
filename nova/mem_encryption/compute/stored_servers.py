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

"""Say of servers, when nova-compute starts, what is not as they asked for."""
from oslo_log import log as logging

from nova import exception
from nova.virt import hardware
from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption.compute import starts
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)


class StoredServers:
    """The servers of one host, when nova-compute starts.

    :param nova.virt.libvirt.host.Host host: the host
    :param guests.Guests guests: what they ask for
    :param launches.Launches launches: what lets them start
    """

    def __init__(self, host, guests, launches):
        self._host = host
        self._guests = guests
        self._launches = launches

    def check(self, instance):
        """Check that a server could be started here, and what it runs as.

        :param nova.objects.Instance instance: a server of this host
        :raises nova.exception.MemEncryptionUnavailable: if it could not
        :raises nova.exception.MemEncryptionInvalid: if no host could
        :raises nova.exception.FlavorImageConflict: the same, as Nova does
        :raises nova.exception.InvalidMachineType: if the machine type is not
            q35
        """
        _warn_of_unknown_model(instance)
        if not self._complain(instance):
            self._guests.plan(instance, instance.image_meta)

    def _complain(self, instance):
        """Say of a server that runs that it is not what it asked for.

        :returns: whether that, or that nothing can be told, was said
        """
        asked = hardware.get_mem_encryption_constraint(
            instance.flavor, instance.image_meta)
        try:
            guest = self._host.get_guest(instance)
            if not guest.is_active():
                return False  # Nova defines it again when it starts it.
            found, _told = starts.read_running(guest)
        except exception.InstanceNotFound:
            return False  # it is built, or moved
        except (exception.InternalError,
                libvirt_guest.libvirt.libvirtError) as e:
            LOG.warning('Cannot tell which guest policy it has: %s', e,
                        instance=instance)
            self._guests.get_config(instance.flavor, instance.image_meta)
            return True
        difference = launch_security.compare(asked, found)
        if difference is None:
            return False
        remedy = restarts.get_remedy(instance)
        try:
            self._guests.plan(instance, instance.image_meta)
            self._launches.admit(instance)
        except restarts.REFUSALS as e:
            remedy = ('Stop or migrate it, as a reboot is refused. %s' %
                      e.format_message())
        LOG.error('This server runs with %(kind)s than it asked for: '
                  '%(reason)s %(remedy)s',
                  {'kind': 'less' if difference.less else 'more',
                   'reason': difference.reason, 'remedy': remedy},
                  instance=instance)
        return True


def _warn_of_unknown_model(instance):
    """Name a server that was stored before anybody looked at the model."""
    value = instance.system_metadata.get(models.STORED)
    if value is not None and value not in models.MODELS:
        LOG.warning("Server %(uuid)s was stored with image property %(key)s="
                    "'%(value)s', which is not one of %(allowed)s. It is "
                    "ignored, as it was before.",
                    {'uuid': instance.uuid, 'key': models.PROPERTY,
                     'value': value, 'allowed': ', '.join(models.MODELS)})
