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

import jsonschema
from oslo_log import log as logging

from nova import exception
from nova.i18n import _
from nova.objects import fields
from nova.virt.libvirt import config as vconfig
from nova.virt.libvirt import host

from nova_mem_encryption.nova.virt.libvirt import firmware
from nova_mem_encryption.nova.virt.libvirt import firmware_descriptors
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)
ROOT = '/'
AMD_SEV_ES = fields.MemEncryptionModel.AMD_SEV_ES
NONE_FITS = _('it has no firmware that can start such a guest.')
REMEDY = ('Install OVMF of edk2-stable202102 or later, built without SMM, '
          'with its descriptor, or describe it in /etc/qemu/firmware.')

# What Host.get_loader takes out of a descriptor
_FILE = {'type': 'object', 'required': ['filename'],
         'properties': {'filename': {'type': 'string'}}}
_STRINGS = {'type': 'array', 'items': {'type': 'string'}}
KNOWN = jsonschema.Draft7Validator({
    'type': 'object', 'required': ['targets', 'features', 'mapping'],
    'properties': {
        'features': _STRINGS,
        'targets': {'type': 'array', 'items': {
            'type': 'object', 'required': ['architecture', 'machines'],
            'properties': {'machines': _STRINGS}}},
        'mapping': {
            'type': 'object', 'required': ['executable', 'nvram-template'],
            'properties': {'executable': _FILE, 'nvram-template': _FILE}}}})


class Wish(ty.NamedTuple):
    """What an encrypted guest is to have of the firmware of a host."""

    model: str  # of memory encryption
    choice: firmware.Choice
    current: ty.Optional[str]  # the loader that it has had so far
    instance: ty.Any  # the server


def choose(self, model, machine, current, instance):
    """Choose the firmware for an encrypted guest.

    :param nova.virt.libvirt.host.Host self: the host
    :param str model: of memory encryption
    :param str machine: the machine type
    :param str current: the path of the loader that the guest has had so far,
        None for a new guest
    :param nova.objects.Instance instance: the server
    :returns: a Wish
    :raises nova.exception.MemEncryptionUnavailable: if nothing can start it
    """
    machine = _get_canonical(self, machine)
    choice = firmware.choose(model, machine, ROOT, current)
    if choice.firmware is None and model == AMD_SEV_ES:
        LOG.error(*_explain(machine, choice), instance=instance)
        raise exception.MemEncryptionUnavailable(
            model=model, reason=NONE_FITS)
    return Wish(model, choice, current, instance)


def configure(guest, wish):
    """Give an encrypted guest the firmware that was chosen.

    Plain SEV may have secure boot, and if nothing says that it is for SEV, it
    gets what it has always got: both are Nova's own choice.

    :param nova.virt.libvirt.config.LibvirtConfigGuest guest: to configure
    :param Wish wish: what it is to have
    """
    found = wish.choice.firmware
    if wish.model != AMD_SEV_ES and (found is None or guest.os_loader_secure):
        return
    if wish.current not in (None, found.executable):
        LOG.warning(
            'Its firmware was %(old)s, which does not fit any more, so it '
            'gets %(new)s. It may not boot with the NVRAM of the other. Not '
            'taken: %(rejected)s',
            {'old': wish.current, 'new': found.executable,
             'rejected': wish.choice}, instance=wish.instance)
    guest.os_loader = found.executable
    guest.os_loader_secure = False
    if guest.os_nvram_template is not None:
        guest.os_nvram_template = found.nvram_template
    unfit = vconfig.LibvirtConfigGuestFeatureSMM
    guest.features = [feature for feature in guest.features
                      if not isinstance(feature, unfit)]


def why_no_sev_es(self):
    """Say why no firmware of a host can start SEV-ES guests.

    :param nova.virt.libvirt.host.Host self: the host
    :returns: the reason, for users, or None if one can. Operators have the
        list of what was looked at in the log.
    """
    machine = _get_canonical(self, 'q35')
    choice = firmware.choose(AMD_SEV_ES, machine, ROOT)
    if choice.firmware is not None:
        LOG.debug('Firmware for guests of model %s: %s, by %s', AMD_SEV_ES,
                  choice.firmware.executable, choice.firmware.path)
        return None
    LOG.warning(*_explain(machine, choice))
    return NONE_FITS


def _explain(machine, choice):
    return ('No firmware can start a guest of model %(model)s with machine '
            'type %(machine)s. Looked at: %(choice)s. %(remedy)s',
            {'model': AMD_SEV_ES, 'machine': machine, 'choice': choice,
             'remedy': REMEDY})


def _get_canonical(self, machine):
    try:
        return self.get_canonical_machine_type(
            fields.Architecture.X86_64, machine)
    except exception.InternalError:
        return machine  # Nova refuses it where it defines the guest.


# NOTE: it cannot lean on Host.get_loader too, for which KNOWN is: that of 31.3
# is another than that of 31.0 to 31.2.
@overlay.wrap(host, leans_on=[
    'Host.loaders', 'Host.get_canonical_machine_type'])
def _get_loaders(upstream):
    """Leave out descriptors of kinds that Nova fails with.

    It fails as a whole with what is no JSON, such as the empty file that
    masks another one; and before 31.3 with firmware that is not for flash.
    """
    try:
        specs = upstream()
    except (OSError, ValueError, RecursionError) as e:
        found, rejected = firmware_descriptors.read_specs(ROOT)
        specs = list(found.values())
        LOG.warning('Nova cannot read all descriptors of firmware (%(error)s).'
                    ' It gets those that can be read, in the order that QEMU '
                    'has. Left out: %(rejected)s',
                    {'error': e,
                     'rejected': '; '.join(map(str, rejected)) or 'none'})
    return [spec for spec in specs if _is_known(spec)]


def _is_known(spec):
    try:
        return KNOWN.is_valid(spec)
    except RecursionError:
        return False
