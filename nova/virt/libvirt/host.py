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

"""Tell whether a host can start SEV-ES guests."""
import os

from oslo_log import log as logging
from oslo_utils import strutils

from nova.virt.libvirt import host

from nova_mem_encryption.nova.virt.libvirt import loaders
from nova_mem_encryption.nova.virt.libvirt import remedies
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)

# The specification "AMD SEV-ES support" asks for these.
MIN_LIBVIRT_SEV_ES_VERSION = (8, 0, 0)
MIN_QEMU_SEV_ES_VERSION = (6, 0, 0)

overlay.add(host.Host, '_supports_amd_sev_es', None)
overlay.add(host.Host, '_no_amd_sev_es', None)
# The guests that ran when that was last looked at, None if never
overlay.add(host.Host, '_running_guests', None)


@overlay.wrap(host.Host)
def _kernel_supports_amd_sev(upstream, self):
    """Say no, and do not fail, where the parameter makes no sense."""
    try:
        return upstream(self)
    except (OSError, ValueError) as e:
        _warn(host.SEV_KERNEL_PARAM_FILE, e)
        return False


@overlay.wrap(host.Host, leans_on=[
    'nova.virt.libvirt.driver:LibvirtDriver._get_vcpu_used'])
def list_guests(upstream, self, only_running=True):
    """Keep what is found, for who wants to know without asking again.

    Nova asks with each update of the host's resources.
    """
    guests = upstream(self, only_running=only_running)
    if only_running:
        self._running_guests = guests
    return guests


@overlay.add(host.Host)
@property
def supports_amd_sev_es(self):
    """Tell whether the host supports AMD SEV-ES for guests.

    The host is examined once. Why it does not is logged then, and kept in
    _no_amd_sev_es.

    :returns: bool
    """
    if self._supports_amd_sev_es is None:
        self._no_amd_sev_es = _why_not(self)
        self._supports_amd_sev_es = self._no_amd_sev_es is None
        if self._supports_amd_sev_es:
            LOG.info('AMD SEV-ES support detected: %d guests',
                     self.max_sev_es_guests)
        else:
            LOG.info('No AMD SEV-ES: %s', self._no_amd_sev_es)
    return self._supports_amd_sev_es


def _why_not(self):
    """Return what keeps the host from SEV-ES, with the remedy, or None."""
    if not self.supports_amd_sev:
        return 'the host does not support AMD SEV. ' + remedies.SEV
    if not _kernel_parameter('sev_es'):
        return 'kernel parameter kvm_amd.sev_es is off. ' + remedies.SEV_ES
    if _kernel_parameter('sev_snp'):
        return ('kernel parameter kvm_amd.sev_snp is on, which can disable '
                'SEV-ES. ' + remedies.SEV_SNP)
    if not self.has_min_version(lv_ver=MIN_LIBVIRT_SEV_ES_VERSION):
        return 'libvirt is too old. ' + remedies.LIBVIRT % (
            '.'.join(map(str, MIN_LIBVIRT_SEV_ES_VERSION)))
    if not self.has_min_version(hv_ver=MIN_QEMU_SEV_ES_VERSION):
        return 'QEMU is too old. ' + remedies.QEMU % (
            '.'.join(map(str, MIN_QEMU_SEV_ES_VERSION)))
    if self.max_sev_es_guests is None:
        return 'libvirt does not tell maxESGuests. ' + remedies.COUNTS
    if self.max_sev_es_guests <= 0:
        # The lowest ASID of a SEV guest, CPUID 0x8000001F EDX, is 1.
        return ('maxESGuests is %d: all ASIDs are set aside for plain SEV. %s'
                % (self.max_sev_es_guests, remedies.SPLIT))
    return loaders.why_no_sev_es(self)


def _kernel_parameter(name):
    """Tell whether a parameter of the kvm_amd module is on.

    :param str name: of the parameter
    :returns: bool; False with a warning if the file makes no sense
    """
    path = os.path.join(os.path.dirname(host.SEV_KERNEL_PARAM_FILE), name)
    try:
        with open(path) as f:
            # 1 and 0 in old kernels, Y and N in later ones
            return strutils.bool_from_string(f.read(64), strict=True)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as e:
        _warn(path, e)
        return False


def _warn(path, error):
    LOG.warning('Cannot tell what kernel parameter %(path)s is, so it is '
                'taken to be off: %(error)s', {'path': path, 'error': error})
