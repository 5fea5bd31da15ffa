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

"""Tell which server a guest is of: see Guest.create and Guest.launch."""
import contextlib

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
    'SchedulerReportClient.get_resource_provider_name'])
def _create_guest(upstream, self, context, xml, instance, power_on=True,
                  pause=False, post_xml_callback=None):
    """Say in plain words why a server is not started, where libvirt does."""
    launches = self._mem_encryption.launches
    # NOTE: of a container the config was refused already.
    with (contextlib.nullcontext() if CONF.libvirt.virt_type == 'lxc' else
          launches.of(instance)) as start:
        try:
            return upstream(
                self, context, xml, instance, power_on=power_on,
                pause=pause, post_xml_callback=post_xml_callback)
        except driver.libvirt.libvirtError as e:
            error = start and launches.translate(e, start.config, instance)
            if error is None:
                raise
            raise error from e


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver.reboot',
    'nova.virt.libvirt.guest:Guest.get_xml_desc',
    'nova.virt.libvirt.host:Host.get_guest'])
def _soft_reboot(upstream, self, instance):
    """Stop no guest that would not be started again.

    :returns: False where it is not what the server asks for; a hard reboot
        follows, that makes it so or says why not
    """
    launches = self._mem_encryption.launches
    with launches.of(instance) as start:
        try:
            if start.config is not None:
                start.check(launches.read_definition(instance))
            done = upstream(self, instance)
            # It may have been started by somebody else meanwhile.
            if done:
                start.verify(self._host.get_guest(instance))
        except exception.MemEncryptionMismatch as e:
            LOG.warning('%s It is rebooted hard.', e.format_message(),
                        instance=instance)
            return False
    return done


# A guest that was suspended for the snapshot is started again, and has to
# be what its server asks for.
overlay.within(
    driver.LibvirtDriver, '_resume_guest_after_snapshot',
    lambda self, context, live_snapshot, original_power_state, instance,
    guest:
        self._mem_encryption.launches.of(instance))


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver.destroy', 'LibvirtDriver._get_guest_xml'])
def _hard_reboot(upstream, self, context, instance, network_info, share_info,
                 block_device_info=None, accel_info=None):
    """Refuse a hard reboot before it undefines the guest, to define it anew.

    This is also how a guest is powered on, and what a soft reboot falls back
    to.
    """
    config = self._mem_encryption.restarts.check(instance)
    with self._mem_encryption.guests.keep_firmware(instance, config):
        upstream(self, context, instance, network_info, share_info,
                 block_device_info=block_device_info,
                 accel_info=accel_info)
