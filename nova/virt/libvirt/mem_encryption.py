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

"""Start a guest with the memory encryption it asked for, or not at all."""
from keystoneauth1 import exceptions as ks_exc
from lxml import etree
import os_resource_classes as orc
from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)
AMD_SEV = fields.MemEncryptionModel.AMD_SEV
AMD_SEV_ES = fields.MemEncryptionModel.AMD_SEV_ES

POLICIES = {
    AMD_SEV: vconfig.LibvirtConfigGuestSEVLaunchSecurity.DEFAULT_SEV_POLICY,
    AMD_SEV_ES:
        vconfig.LibvirtConfigGuestSEVLaunchSecurity.DEFAULT_SEV_ES_POLICY,
}
PROVIDERS = {AMD_SEV: '%s_amd_sev', AMD_SEV_ES: '%s_amd_sev_es'}


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'nova.virt.libvirt.utils:get_machine_type'])
def _sev_enabled(upstream, self, flavor, image_meta):
    """Answer yes or no, for SEV-ES as for SEV.

    A guest of either model needs what Nova asks this for.
    """
    with hardware.stored_mem_encryption():
        return bool(upstream(self, flavor, image_meta))


@overlay.add(driver.LibvirtDriver)
def _get_mem_encryption_config(self, flavor, image_meta):
    """Return the memory encryption that a server asks for.

    :param nova.objects.Flavor flavor: of the server
    :param nova.objects.ImageMeta image_meta: of the server
    :returns: a hardware.MemEncryptionConfig, or None
    :raises nova.exception.MemEncryptionUnavailable: if this host cannot give
        it
    :raises nova.exception.InvalidMachineType: if the machine type is not q35
    """
    with hardware.stored_mem_encryption():
        config = hardware.get_mem_encryption_constraint(flavor, image_meta)
        if config is None:
            return None
        if not self._host.supports_amd_sev:
            _refuse(config, _('the host does not support AMD SEV.'))
        if config.model == AMD_SEV_ES and not self._host.supports_amd_sev_es:
            _refuse(config, self._host._no_amd_sev_es)
        if config.model == AMD_SEV and self._host.max_sev_guests == 0:
            _refuse(config, _('all its ASIDs are set aside for SEV-ES.'))
        # The machine type may be this host's own choice.
        return hardware.get_mem_encryption_constraint(
            flavor, image_meta, libvirt_utils.get_machine_type(image_meta))


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._guest_configure_sev',
    'LibvirtDriver._guest_add_launch_security',
    'LibvirtDriver._find_sev_feature',
    'LibvirtDriver._get_guest_memory_backing_config',
    'LibvirtDriver._set_qemu_guest_agent',
    'LibvirtDriver._get_guest_xml'])
def _get_guest_config(upstream, self, instance, network_info, image_meta,
                      disk_info, rescue=None, block_device_info=None,
                      context=None, mdevs=None, accel_info=None,
                      share_info=None):
    """Build the guest with the model it asks for, or not at all."""
    config = self._get_mem_encryption_config(instance.flavor, image_meta)
    _check_request(instance, image_meta)
    wanted = self._get_mem_encryption_config(
        instance.flavor, instance.image_meta) if rescue else config
    if wanted is not None and wanted != config:
        _refuse(wanted, _('the rescue image does not ask for it. Rescue with '
                          'an image that has the same properties.'))
    guest = upstream(
        self, instance, network_info, image_meta, disk_info, rescue=rescue,
        block_device_info=block_device_info, context=context, mdevs=mdevs,
        accel_info=accel_info, share_info=share_info)
    self._guest_configure_mem_encryption(guest, config)
    return guest


def _check_request(instance, image_meta):
    """Refuse, or for a server of old warn of, what the API now refuses."""
    try:
        hardware.get_mem_encryption_constraint(instance.flavor, image_meta)
    except exception.FlavorImageConflict as e:
        if not instance.obj_attr_is_set('launched_at') or (
                instance.launched_at is None):
            # It came through an API without the series.
            raise
        LOG.warning('%s As the server was created before this was checked, '
                    'it is started as it was.', e.format_message(),
                    instance=instance)


@overlay.add(driver.LibvirtDriver)
def _guest_configure_mem_encryption(self, guest, config):
    """Set the guest policy of the model, and leave out what it cannot have.

    :param nova.virt.libvirt.config.LibvirtConfigGuest guest: to configure
    :param config: what _get_mem_encryption_config returned
    :raises nova.exception.MemEncryptionUnavailable: if the guest would have
        no encryption at all
    """
    if config is None:
        return
    if guest.launch_security is None:
        _refuse(config, _('no launch security was configured.'))
    guest.launch_security.policy = POLICIES[config.model]
    # NOTE: it wants DMA between guest and host. Nova leaves it out itself
    # since 31.2.0.
    guest.features = [
        feature for feature in guest.features
        if not isinstance(feature, vconfig.LibvirtConfigGuestFeatureVMCoreInfo)]


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._create_guest_with_network'])
def _create_guest(upstream, self, context, xml, instance, power_on=True,
                  pause=False, post_xml_callback=None):
    """Let no guest run before it is seen to have the model it asked for.

    This is the last step of all that starts a guest: spawn, hard reboot,
    power on, unshelve, evacuate, resize and its revert, rescue and unrescue.
    """
    config = self._get_mem_encryption_config(
        instance.flavor, instance.image_meta)
    start = power_on or pause
    if config is not None:
        _check_policy(config, _policy_of(xml))
        _check_allocation(self, context, instance, config)
        pause, resume = start, not pause
    guest = upstream(self, context, xml, instance, power_on=power_on,
                     pause=pause, post_xml_callback=post_xml_callback)
    if config is not None and start:
        _verify(guest, config, instance)
        if resume:
            guest.resume()
    return guest


@overlay.wrap(driver.LibvirtDriver)
def _soft_reboot(upstream, self, instance):
    """Start no guest again that is not what it asked for.

    :returns: False where it is not; a hard reboot follows, that makes it so
        or says why not
    """
    config = self._get_mem_encryption_config(
        instance.flavor, instance.image_meta)
    if config is None:
        return upstream(self, instance)
    guest = self._host.get_guest(instance)
    try:
        _check_policy(config, _policy_of(guest.get_xml_desc()))
    except exception.MemEncryptionUnavailable as e:
        LOG.warning('%s', e.format_message(), instance=instance)
        return False
    done = upstream(self, instance)
    if done:
        _verify(self._host.get_guest(instance), config, instance)
    return done


def _refuse(config, reason):
    raise exception.MemEncryptionUnavailable(model=config.model,
                                             reason=reason)


def _policy_of(xml):
    """Return the guest policy of a domain's XML, None if it has none."""
    policy = etree.fromstring(xml).findtext('launchSecurity/policy')
    return None if policy is None else int(policy, 0)


def _check_policy(config, policy):
    if policy != POLICIES[config.model]:
        _refuse(config, _('the guest policy is %(found)s and not '
                          '0x%(expected)04x.') % {
            'found': 'unset' if policy is None else '0x%04x' % policy,
            'expected': POLICIES[config.model]})


def _check_allocation(self, context, instance, config):
    """Refuse a guest whose slot is one of another model.

    A scheduler without the series does not ask for the model's trait.
    """
    client = self.virtapi.reportclient
    try:
        allocs = client.get_allocs_for_consumer(
            context, instance.uuid)['allocations']
        names = {client.get_resource_provider_name(context, uuid)
                 for uuid, data in allocs.items()
                 if orc.MEM_ENCRYPTION_CONTEXT in data['resources']}
    except (ks_exc.ClientException,
            exception.ConsumerAllocationRetrievalFailed,
            exception.ResourceProviderRetrievalFailed) as e:
        # NOTE: the guest's protection does not depend on this, its start
        # should not depend on Placement.
        LOG.warning('Cannot tell which slot the server has: %s', e,
                    instance=instance)
        return
    node = self._host.get_hostname()
    # An evacuated server also has one on the host that it comes from.
    names &= {node} | {name % node for name in PROVIDERS.values()}
    expected = PROVIDERS[config.model] % node
    # Before the series came, SEV had its slots on the root.
    if expected not in names and not (
            config.model == AMD_SEV and names <= {node}):
        _refuse(config, _('its slot is on %(found)s and not on '
                          '%(expected)s.') % {
            'found': ', '.join(sorted(names)) or _('no provider'),
            'expected': expected})


def _verify(guest, config, instance):
    """Destroy a guest that does not run with the policy it was given."""
    policy = guest.get_sev_policy()
    if policy is None:
        LOG.warning('libvirt does not tell the policy that the guest runs '
                    'with; it was started with 0x%04x',
                    POLICIES[config.model], instance=instance)
        return
    try:
        _check_policy(config, policy)
    except exception.MemEncryptionUnavailable:
        guest.poweroff()
        raise
