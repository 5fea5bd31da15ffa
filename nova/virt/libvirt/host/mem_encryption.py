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

"""Tell what a host can give its guests, and who runs on it."""
import functools

from nova.virt.libvirt import host

from nova_mem_encryption.nova.mem_encryption.compute import abilities
from nova_mem_encryption.nova.mem_encryption.compute import parameters
from nova_mem_encryption import overlay


@overlay.add(host.Host)
@functools.cached_property
def _mem_encryption_abilities(self):
    """Memory encryption on this host: a compute.abilities.Abilities."""
    return abilities.Abilities(self)


@overlay.add(host.Host, leans_on=[
    'Host.get_connection', 'Host.has_min_version', 'Host.max_sev_es_guests',
    'Host.max_sev_guests', 'Host.supports_amd_sev'])
@property
def supports_amd_sev_es(self):
    """Tell whether the host supports AMD SEV-ES for guests.

    :returns: bool
    """
    found = self._mem_encryption_abilities
    return found.find_obstacle('amd-sev-es') is None


@overlay.wrap(host.Host, mends='a kernel parameter that makes no sense')
def _kernel_supports_amd_sev(upstream, self):
    """Say no, and do not fail, where the parameter makes no sense.

    What is said is kept, as it tells why libvirt may offer nothing.
    """
    try:
        answer = upstream(self)
    except (OSError, ValueError) as e:
        parameters.warn(host.SEV_KERNEL_PARAM_FILE, e)
        answer = False
    self._mem_encryption_abilities.kernel_has_sev = answer
    return answer


@overlay.wrap(host.Host, leans_on=[
    'nova.virt.libvirt.driver:LibvirtDriver._get_vcpu_used',
    'nova.virt.libvirt.guest:Guest.id', 'nova.virt.libvirt.guest:Guest.uuid'])
def list_guests(upstream, self, only_running=True):
    """Keep what is found, for who wants to know without asking again.

    Nova asks with each update of the host's resources.
    """
    guests = upstream(self, only_running=only_running)
    if only_running:
        self._mem_encryption_abilities.running_guests = guests
    return guests
