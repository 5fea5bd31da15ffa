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

"""Let no guest run with less memory encryption than it asked for."""
from oslo_log import log as logging

import nova.conf
from nova import exception
from nova.virt.libvirt import driver

from nova_mem_encryption import overlay

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._create_guest_with_network',
    'nova.scheduler.client.report:'
    'SchedulerReportClient.get_allocs_for_consumer',
    'nova.scheduler.client.report:'
    'SchedulerReportClient.get_resource_provider_name',
    'nova.virt.libvirt.guest:Guest.launch',
    'nova.virt.libvirt.guest:Guest.poweroff',
    'nova.virt.libvirt.guest:Guest.resume'])
def _create_guest(upstream, self, context, xml, instance, power_on=True,
                  pause=False, post_xml_callback=None):
    """Let no guest run before it is seen to have the model it asked for.

    This is the last step of all that starts a guest: spawn, hard reboot,
    power on, unshelve, evacuate, resize and its revert, rescue and unrescue.
    """
    launches = self._mem_encryption.launches
    config = None
    if CONF.libvirt.virt_type != 'lxc':  # whose config was refused already
        config = self._mem_encryption.guests.get_config(
            instance.flavor, instance.image_meta)
    start, resume = power_on or pause, not pause
    if config is not None:
        launches.check_before(context, xml, instance, config)
        pause = start
    try:
        guest = upstream(self, context, xml, instance, power_on=power_on,
                         pause=pause, post_xml_callback=post_xml_callback)
    except driver.libvirt.libvirtError as e:
        error = config and launches.translate(e, config, instance)
        if error is None:
            raise
        raise error from e
    if config is not None and start:
        launches.verify(guest, config, instance)
        if resume:
            _resume(guest)
    return guest


def _resume(guest):
    """Resume a guest; without an answer it may run, though Nova gives up."""
    try:
        guest.resume()
    except driver.libvirt.libvirtError:
        guest.poweroff()
        raise


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'nova.virt.libvirt.guest:Guest.get_xml_desc',
    'nova.virt.libvirt.host:Host.get_guest'])
def _soft_reboot(upstream, self, instance):
    """Start no guest again that is not what it asked for.

    :returns: False where it is not; a hard reboot follows, that makes it so
        or says why not
    """
    launches = self._mem_encryption.launches
    config = self._mem_encryption.guests.get_config(
        instance.flavor, instance.image_meta)
    if config is None:
        return upstream(self, instance)
    guest = self._host.get_guest(instance)
    try:
        launches.check_policy(config, guest.get_xml_desc())
    except exception.MemEncryptionUnavailable as e:
        LOG.warning('%s', e.format_message(), instance=instance)
        return False
    done = upstream(self, instance)
    if done:
        launches.verify(self._host.get_guest(instance), config, instance)
    return done


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver.destroy', 'LibvirtDriver._get_guest_xml'])
def _hard_reboot(upstream, self, context, instance, network_info, share_info,
                 block_device_info=None, accel_info=None):
    """Refuse it before a guest is undefined, to be defined again.

    This is also how a guest is powered on, and what a soft reboot falls back
    to.
    """
    self._mem_encryption.restarts.check(context, instance)
    with self._mem_encryption.guests.keep_firmware(instance):
        upstream(self, context, instance, network_info, share_info,
                 block_device_info=block_device_info, accel_info=accel_info)
