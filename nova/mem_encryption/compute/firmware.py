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

"""Give encrypted guests firmware that can start them."""
import typing as ty

from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt.libvirt import config as vconfig

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import selection
from nova_mem_encryption.nova.mem_encryption import models

LOG = logging.getLogger(__name__)
NONE_FITS = _('it has no firmware that can start such a guest.')
NONE_OF_NOVA = (
    'Nova finds no firmware in flash (code and NVRAM, for q35, without secure '
    'boot), and gives no guest UEFI without, though this would have other. '
    'Install OVMF in two files (OVMF_CODE.fd, OVMF_VARS.fd), with its '
    'descriptor.')
REMEDIES = {
    models.SPLIT_FLASH:
        'Install OVMF of edk2-stable202102 or later, built without SMM, with '
        'its descriptor, or describe it in /etc/qemu/firmware.',
    models.MEMORY:
        'Install OVMF as one file (OVMF.fd), built without SMM, and describe '
        'it in /etc/qemu/firmware, for device memory, with its features.',
}


class Wish(ty.NamedTuple):
    """What an encrypted guest is to have of the firmware of a host."""

    model: str  # of memory encryption
    choice: selection.Selection
    current: ty.Optional[str]  # the loader that it has had so far
    instance: ty.Any  # the server


def choose(host, model, machine, current, instance):
    """Choose the firmware for an encrypted guest.

    :param nova.virt.libvirt.host.Host host: the host
    :param str model: of memory encryption
    :param str machine: the machine type
    :param str current: the path of the loader that the guest has had so far,
        None for a new guest
    :param nova.objects.Instance instance: the server
    :returns: a Wish
    :raises nova.exception.MemEncryptionUnavailable: if nothing can start it
    """
    machine = _get_canonical(host, machine)
    choice = selection.choose(model, machine, files.ROOT, current)
    if choice.firmware is None and models.MODELS[model].firmware.required:
        LOG.error(*_explain(model, machine, choice), instance=instance)
        raise exception.MemEncryptionUnavailable(
            model=model, reason=NONE_FITS)
    return Wish(model, choice, current, instance)


def configure(guest, wish):
    """Give an encrypted guest the firmware that was chosen.

    A model that does not require any may have secure boot, and if nothing
    says that it is for it, it gets what it has always got: both are Nova's
    own choice.

    :param nova.virt.libvirt.config.LibvirtConfigGuest guest: to configure
    :param Wish wish: what it is to have
    """
    found = wish.choice.firmware
    if not models.MODELS[wish.model].firmware.required and (
            found is None or guest.os_loader_secure):
        return
    if wish.current not in (None, found.executable):
        LOG.warning(
            'Its firmware was %(old)s, which does not fit any more, so it '
            'gets %(new)s. It may not boot with the NVRAM of the other. Not '
            'taken: %(rejected)s',
            {'old': wish.current, 'new': found.executable,
             'rejected': wish.choice}, instance=wish.instance)
    kind = models.MODELS[wish.model].firmware.kind
    guest.os_loader = found.executable
    guest.os_loader_type = kind.loader
    guest.os_loader_secure = False
    if kind.stateless:
        guest.os_loader_stateless, guest.os_nvram_template = True, None
    elif guest.os_nvram_template is not None:
        guest.os_nvram_template = found.nvram_template
    unfit = vconfig.LibvirtConfigGuestFeatureSMM
    guest.features = [feature for feature in guest.features
                      if not isinstance(feature, unfit)]


def find_obstacle(host, model):
    """Say why no firmware of a host can start guests of a model.

    :param nova.virt.libvirt.host.Host host: the host
    :param str model: of memory encryption
    :returns: the reason, for users, or None if one can. Operators have the
        list of what was looked at in the log.
    """
    machine = _get_canonical(host, 'q35')
    choice = selection.choose(model, machine, files.ROOT)
    if choice.firmware is not None:
        if models.MODELS[model].firmware.kind.stateless and (
                not _has_flash(host, machine)):
            return NONE_OF_NOVA
        LOG.debug('Firmware for guests of model %s: %s, by %s', model,
                  choice.firmware.executable, choice.firmware.path)
        return None
    LOG.warning(*_explain(model, machine, choice))
    return NONE_FITS


def _has_flash(host, machine):
    """Tell whether Nova finds the firmware that it looks for with UEFI.

    It does so where it defines a guest, before that is given another.
    """
    try:
        host.get_loader(fields.Architecture.X86_64, machine,
                        has_secure_boot=False)
    except (exception.UEFINotSupported, exception.InternalError):
        return False
    return True


def _explain(model, machine, choice):
    return ('No firmware can start a guest of model %(model)s with machine '
            'type %(machine)s. Looked at: %(choice)s. %(remedy)s',
            {'model': model, 'machine': machine, 'choice': choice,
             'remedy': REMEDIES[models.MODELS[model].firmware.kind]})


def _get_canonical(host, machine):
    try:
        return host.get_canonical_machine_type(
            fields.Architecture.X86_64, machine)
    except exception.InternalError:
        return machine  # Nova refuses it where it defines the guest.
