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


"""Have an encrypted guest keep its firmware, as it keeps its NVRAM."""
import contextvars

from lxml import etree

from nova import exception
from nova.virt.libvirt import driver

from nova_mem_encryption import overlay

_rebooted: contextvars.ContextVar = contextvars.ContextVar('rebooted',
                                                           default=None)


def get(self, instance):
    """Return the firmware that a guest has had so far.

    :param nova.virt.libvirt.driver.LibvirtDriver self: the driver
    :param nova.objects.Instance instance: the server
    :returns: the path of the loader; None if there is no such guest
    """
    if _rebooted.get() is not None:
        return _rebooted.get()
    try:
        guest = self._host.get_guest(instance)
    except exception.InstanceNotFound:
        return None
    return etree.fromstring(
        guest.get_xml_desc(dump_inactive=True)).findtext('os/loader') or None


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver.destroy', 'LibvirtDriver._get_guest_xml'])
def _hard_reboot(upstream, self, context, instance, network_info, share_info,
                 block_device_info=None, accel_info=None):
    """Look at the guest before it is undefined, to be defined again."""
    try:
        encrypted = self._get_mem_encryption_config(
            instance.flavor, instance.image_meta)
    except (exception.MemEncryptionUnavailable,
            exception.InvalidMachineType,
            exception.FlavorImageConflict):
        encrypted = None  # upstream comes to it, after it ended the guest
    token = _rebooted.set(encrypted and get(self, instance))
    try:
        return upstream(self, context, instance, network_info, share_info,
                        block_device_info=block_device_info,
                        accel_info=accel_info)
    finally:
        _rebooted.reset(token)
