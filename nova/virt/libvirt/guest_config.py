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

"""Define a guest with the memory encryption it asks for, or not at all."""
from oslo_log import log as logging

import nova.conf
from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt import hardware
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import driver
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption.nova.virt.libvirt import guest_loader
from nova_mem_encryption.nova.virt.libvirt import loaders
from nova_mem_encryption import overlay

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)
AMD_SEV = fields.MemEncryptionModel.AMD_SEV
AMD_SEV_ES = fields.MemEncryptionModel.AMD_SEV_ES

POLICIES = {
    AMD_SEV: vconfig.LibvirtConfigGuestSEVLaunchSecurity.DEFAULT_SEV_POLICY,
    AMD_SEV_ES:
        vconfig.LibvirtConfigGuestSEVLaunchSecurity.DEFAULT_SEV_ES_POLICY,
}


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
        if CONF.libvirt.virt_type not in ('kvm', 'qemu'):
            refuse(config, _('its virt_type is %s.')
                    % CONF.libvirt.virt_type)
        if not self._host.supports_amd_sev:
            refuse(config, _('the host does not support AMD SEV.'))
        if config.model == AMD_SEV_ES and not self._host.supports_amd_sev_es:
            refuse(config, self._host._no_amd_sev_es)
        if config.model == AMD_SEV and self._host.max_sev_guests == 0:
            refuse(config, _('all its ASIDs are set aside for SEV-ES.'))
        if hardware.get_secure_boot_refusal(flavor, image_meta, config.model):
            refuse(config, _('it has no secure boot for guests of this model, '
                             'which the flavor or the image requires.'))
        # The machine type may be this host's own choice.
        return hardware.get_mem_encryption_constraint(
            flavor, image_meta, libvirt_utils.get_machine_type(image_meta))


@overlay.wrap(driver.LibvirtDriver, leans_on=[
    'LibvirtDriver._configure_guest_by_virt_type',
    'LibvirtDriver._guest_configure_sev',
    'LibvirtDriver._guest_add_launch_security',
    'LibvirtDriver._find_sev_feature',
    'LibvirtDriver._get_guest_memory_backing_config',
    'LibvirtDriver._set_qemu_guest_agent',
    'LibvirtDriver._get_guest_xml',
    'nova.compute.manager:ComputeManager._build_and_run_instance'])
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
        refuse(wanted, _('the rescue image does not ask for it. Rescue with '
                          'an image that has the same properties.'))
    wish = config and loaders.choose(
        self._host, config.model, libvirt_utils.get_machine_type(image_meta),
        guest_loader.get(self, instance), instance)
    guest = upstream(
        self, instance, network_info, image_meta, disk_info, rescue=rescue,
        block_device_info=block_device_info, context=context, mdevs=mdevs,
        accel_info=accel_info, share_info=share_info)
    if wish is not None:
        loaders.configure(guest, wish)
    self._guest_configure_mem_encryption(guest, config)
    return guest


def _check_request(instance, image_meta):
    """Refuse, or for a server of old warn of, what the API now refuses."""
    try:
        hardware.get_mem_encryption_constraint(instance.flavor, image_meta)
    except exception.FlavorImageConflict as e:
        models = set(hardware._get_flavor_image_meta(
            'mem_encryption_model', instance.flavor, image_meta)) - {None}
        less = len(models) > 1 and AMD_SEV_ES in models
        if less or not instance.obj_attr_is_set('launched_at') or (
                instance.launched_at is None):
            # It came through an API without the series. What had SEV-ES may
            # have been resized there, to a flavor with another model.
            raise exception.MemEncryptionInvalid(
                reason=e.format_message()) from e
        LOG.warning('%s It is started all the same, as Nova did before this '
                    'was checked.', e.format_message(), instance=instance)


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
        refuse(config, _('no launch security was configured.'))
    guest.launch_security.policy = POLICIES[config.model]
    # NOTE: it wants DMA between guest and host. Nova leaves it out itself
    # since 31.2.0.
    unfit = vconfig.LibvirtConfigGuestFeatureVMCoreInfo
    guest.features = [feature for feature in guest.features
                      if not isinstance(feature, unfit)]


def refuse(config, reason):
    """Say that this host does not give a server what it asks for.

    :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
    :param str reason: the reason, for the server's user
    :raises nova.exception.MemEncryptionUnavailable: always
    """
    raise exception.MemEncryptionUnavailable(model=config.model,
                                             reason=reason)
