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

"""Define a guest as exactly what its server asks for, or not at all."""
import contextlib
import contextvars
import typing as ty

from lxml import etree
from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.virt import hardware
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import utils as libvirt_utils

from nova_mem_encryption.nova.mem_encryption.compute import conflicts
from nova_mem_encryption.nova.mem_encryption.compute import firmware
from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption import devices
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties

LOG = logging.getLogger(__name__)


class Plan(ty.NamedTuple):
    """What a guest is to have."""

    config: ty.Optional[hardware.MemEncryptionConfig]
    firmware: ty.Optional['firmware.Wish']
    # What the API would refuse of it
    tolerated: ty.Optional[str]


class Guests:
    """The guests of one host, when they are defined.

    :param nova.virt.libvirt.host.Host host: the host
    :param abilities.Abilities abilities: what it can
    """

    def __init__(self, host, abilities):
        self._host = host
        self._abilities = abilities
        # The loader of the guest that is defined again
        self._loader = contextvars.ContextVar('loader', default=None)

    def get_config(self, flavor, image_meta):
        """Return the memory encryption that a server asks for.

        :param nova.objects.Flavor flavor: of the server
        :param nova.objects.ImageMeta image_meta: of the server
        :returns: a hardware.MemEncryptionConfig, or None
        :raises nova.exception.MemEncryptionUnavailable: if this host cannot
            give it
        :raises nova.exception.MemEncryptionInvalid: if no host can
        :raises nova.exception.FlavorImageConflict: as Nova does
        :raises nova.exception.InvalidMachineType: if that is not q35
        """
        config = hardware.get_mem_encryption_constraint(flavor, image_meta)
        if config is None:
            return None
        obstacle = self._abilities.find_obstacle(config.model)
        if obstacle is not None:
            raise unavailable(config, obstacle)
        refusal = properties.find_refusal(
            flavor, image_meta, config.model, properties.VITAL
        ) or devices.find_refusal(flavor, config.model, devices.VITAL)
        if refusal:
            raise exception.MemEncryptionInvalid(reason=refusal)
        if image_meta.properties.get('hw_machine_type') is None:
            # It is this host's own choice.
            return hardware.get_mem_encryption_constraint(
                flavor, image_meta, libvirt_utils.get_machine_type(image_meta))
        return config

    def plan(self, instance, image_meta, flavor=None):
        """Decide what a guest is to have, before it is configured.

        :param nova.objects.Instance instance: the server
        :param nova.objects.ImageMeta image_meta: that it is started with
        :param nova.objects.Flavor flavor: that it is to have, None for its own
        :returns: a Plan
        :raises nova.exception.MemEncryptionUnavailable: if this host cannot
            give it
        :raises nova.exception.MemEncryptionInvalid: if no host can
        :raises nova.exception.FlavorImageConflict: as Nova does
        :raises nova.exception.InvalidMachineType: if that is not q35
        """
        flavor = flavor or instance.flavor
        config = self.get_config(flavor, image_meta)
        # NOTE: Nova has the database asked where they are not loaded.
        refusal = config and devices.find_port_refusal(
            lambda: instance.pci_requests, config.model)
        if refusal:
            raise exception.MemEncryptionInvalid(reason=refusal)
        tolerated = conflicts.check(instance, flavor, image_meta)
        return Plan(config, config and firmware.choose(
            self._host, config.model,
            libvirt_utils.get_machine_type(image_meta),
            self._find_loader(instance, config.model), instance), tolerated)

    def configure(self, guest, plan, instance):
        """Give a guest what it is to have, and leave out what it cannot have.

        :param nova.virt.libvirt.config.LibvirtConfigGuest guest: to configure
        :param Plan plan: what it is to have
        :param nova.objects.Instance instance: the server
        :raises nova.exception.MemEncryptionMismatch: if it would have none
        :raises nova.exception.MemEncryptionInvalid: if a port is a device
        """
        if plan.tolerated is not None:
            LOG.warning('%s It is started all the same, as Nova did before '
                        'this was checked.', plan.tolerated, instance=instance)
        if plan.config is None:
            return
        firmware.configure(guest, plan.firmware)
        row = models.MODELS[plan.config.model]
        # NOTE: no PCI request tells of one of Cyborg.
        if 'pci' in row.lacks and any(map(_is_of_host, guest.devices)):
            raise exception.MemEncryptionInvalid(
                reason=devices.explain_port(row.value))
        if guest.launch_security is None:
            raise exception.MemEncryptionMismatch(
                reason=_('no launch security was configured.'))
        launch_security.write(guest, row)
        if not row.locked and guest.membacking is not None:
            guest.membacking.locked = False
        # NOTE: it wants DMA between guest and host. Nova leaves it out itself
        # since 31.2.0.
        unfit = vconfig.LibvirtConfigGuestFeatureVMCoreInfo
        guest.features = [feature for feature in guest.features
                          if not isinstance(feature, unfit)]

    @contextlib.contextmanager
    def keep_firmware(self, instance, config):
        """Within, a guest is defined again with the firmware it has now.

        It keeps its NVRAM, which may not fit another.

        :param nova.objects.Instance instance: the server
        :param config: what it asks for, a hardware.MemEncryptionConfig or None
        """
        token = self._loader.set(
            config and self._find_loader(instance, config.model))
        try:
            yield
        finally:
            self._loader.reset(token)

    def _find_loader(self, instance, model):
        """Return the path of the firmware that a guest has had so far.

        :returns: None if there is no such guest, or the firmware is of a kind
            that the model never has: then it was of another
        """
        if self._loader.get() is not None:
            return self._loader.get()
        try:
            guest = self._host.get_guest(instance)
        except exception.InstanceNotFound:
            return None
        loader = etree.fromstring(
            guest.get_xml_desc(dump_inactive=True)).find('os/loader')
        kind = models.MODELS[model].firmware.kind.loader
        if loader is None or loader.get('type', kind) != kind:
            return None
        return loader.text or None


def _is_of_host(device):
    return (isinstance(device, vconfig.LibvirtConfigGuestHostdevPCI) or
            getattr(device, 'net_type', None) in ('hostdev', 'vdpa'))


def unavailable(config, reason):
    """Return the error that this host does not give a server what it asks for.

    :param nova.virt.hardware.MemEncryptionConfig config: what it asks for
    :param str reason: for the server's user
    """
    return exception.MemEncryptionUnavailable(
        model=config.model, reason=reason)
