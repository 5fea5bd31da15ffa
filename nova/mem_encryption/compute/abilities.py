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

"""Tell which models a host can give its guests, and why not the others."""
from oslo_log import log as logging

import nova.conf
from nova.objects import fields
from nova.virt.libvirt import guest as libvirt_guest

from nova_mem_encryption.nova.mem_encryption.compute import firmware
from nova_mem_encryption.nova.mem_encryption.compute import launch_security
from nova_mem_encryption.nova.mem_encryption.compute import options
from nova_mem_encryption.nova.mem_encryption.compute import parameters
from nova_mem_encryption.nova.mem_encryption.compute import secure_processor
from nova_mem_encryption.nova.mem_encryption.host import remedies
from nova_mem_encryption.nova.mem_encryption import models

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

KVM = 'kvm'  # the virt_type of which alone guests can be encrypted


class _Untold(Exception):
    """libvirt does not answer."""


class Abilities:
    """What one host can give its guests. Each added model is looked at once.

    :param nova.virt.libvirt.host.Host host: the host
    """

    def __init__(self, host):
        self._host = host
        self._secure_processor = secure_processor.SecureProcessor()
        self._obstacles = {}  # by model
        self._untold = set()  # models of which libvirt was asked in vain
        # What Nova has read of the kernel; it asks libvirt only after that
        self.kernel_has_sev = False
        # The guests that ran when that was last looked at, None if never
        self.running_guests = None

    def find_obstacle(self, model):
        """Return what keeps the host from a model.

        :param str model: its value
        :returns: sentences for people, with the remedy; None if nothing does
        """
        row = models.MODELS[model]
        if row.native and self.get_count(model) == 0:
            return '%s.' % row.count.none
        if model not in self._obstacles:
            try:
                self._obstacles[model] = self._look_for_obstacle(row)
            except _Untold as e:
                return self._explain_untold(row, e)  # and ask again
            self._log(row, self._obstacles[model])
        return self._obstacles[model]

    def _explain_untold(self, row, error):
        obstacle = 'libvirt does not tell what it offers (%s). %s' % (
            error, remedies.UNTOLD)
        if row.value not in self._untold:
            self._untold.add(row.value)
            LOG.warning('No AMD %s yet: %s', row.title, obstacle)
        return obstacle

    def get_count(self, model):
        """Return how many guests of a model libvirt says the host can run.

        :param str model: its value
        :returns: int, or None if libvirt does not tell
        """
        return getattr(self._host, models.MODELS[model].count.attribute)

    def _log(self, row, obstacle):
        if row.native and (
                obstacle is None or not self._host.supports_amd_sev):
            return  # Nova itself says that
        if not options.is_enabled(row):
            LOG.debug('No AMD %s: %s', row.title, obstacle)
            return  # as nobody wants it
        if obstacle is not None:
            LOG.info('No AMD %s: %s', row.title, obstacle)
            return
        LOG.info('AMD %s support detected: %d guests', row.title,
                 self.get_count(row.value))
        unheard = not row.resets and self._host._mem_encryption_resets.obstacle
        if unheard:
            LOG.warning('A server with %s that is rebooted from inside stays '
                        'off, as QEMU cannot reset it, and nobody tells that '
                        'it was to be: %s.', row.title, unheard)

    def _look_for_obstacle(self, row):
        if not options.is_enabled(row):
            return '[libvirt] %s is false. %s' % (
                row.option, remedies.enable(row))
        if not self._host.supports_amd_sev:
            return self._explain_no_sev(row)
        # libvirt's capabilities tell of SEV for emulated guests as well, and
        # QEMU ends with "accelerator does not support confidential guest".
        if CONF.libvirt.virt_type != KVM:
            return ('[libvirt] virt_type is %s, and only KVM guests can have '
                    'encrypted memory. %s' % (
                        CONF.libvirt.virt_type, remedies.VIRT_TYPE))
        if 'file_backed_memory' in row.lacks and (
                CONF.libvirt.file_backed_memory):
            return '[libvirt] file_backed_memory is %d. %s %s' % (
                CONF.libvirt.file_backed_memory,
                row.lacks['file_backed_memory'], remedies.FILE_BACKED)
        if row.native:
            return self._find_fault(row)  # Nova itself has looked at the rest
        fault = parameters.find_fault(row)
        if fault is not None:
            return fault
        if not self._host.has_min_version(lv_ver=row.min_libvirt):
            return 'libvirt is too old. ' + remedies.upgrade(row.min_libvirt)
        if not self._host.has_min_version(hv_ver=row.min_qemu):
            return 'QEMU is too old. ' + remedies.upgrade(row.min_qemu)
        if not self._is_offered(row):
            return 'libvirt offers no %s to KVM guests. %s' % (
                row.title, remedies.CACHE)
        count = self.get_count(row.value)
        if count is None and row.count.required:
            return 'libvirt does not tell %s. %s' % (
                row.count.element, remedies.COUNTS)
        if count is not None and count <= 0:
            return '%s is %d: %s. %s' % (
                row.count.element, count, row.count.none, remedies.SPLIT)
        fault = self._find_fault(row)
        if fault is None and row.firmware.required:
            return firmware.find_obstacle(self._host, row.value)
        return fault

    def _is_offered(self, row):
        """Tell whether QEMU knows the launch security of a model.

        libvirt tells of that of SEV elsewhere, where Nova has read it.

        :raises _Untold: if it does not answer
        """
        element = row.launch_security.element
        if element == models.NATIVE.launch_security.element:
            return True
        try:
            return element in launch_security.read_offered(
                self._host.get_connection().getDomainCapabilities(
                    None, fields.Architecture.X86_64, 'q35', KVM, 0))
        except libvirt_guest.libvirt.libvirtError as e:
            raise _Untold(str(e)) from e

    def _explain_no_sev(self, row):
        if not self.kernel_has_sev:
            return 'the host does not support AMD SEV. ' + remedies.SEV
        return self._find_fault(row) or (
            'libvirt offers no AMD SEV, though the kernel has it. ' +
            remedies.NOT_OFFERED)

    def _find_fault(self, row):
        fault = self._secure_processor.find_fault(row)
        return fault and '%s. %s' % (fault.found, fault.cause.remedy)
