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

"""Look after servers that were stored long ago, or whose host changed."""
from oslo_log import log as logging

from nova.compute import manager
from nova.compute import vm_states
from nova import exception

from nova_mem_encryption.nova.mem_encryption.compute import restarts
from nova_mem_encryption.nova.mem_encryption import drivers
from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager._retry_reboot', 'nova.virt.libvirt.guest:Guest.is_active'])
def _init_instance(upstream, self, context, instance):
    """Name each server that this host cannot start again, when it starts.

    One that was to be rebooted when nova-compute ended is rebooted now.
    Without the catch nova-compute would not start where that is refused, nor
    where a server is stored with what cannot be judged.
    """
    try:
        upstream(self, context, instance)
    except restarts.REFUSALS as e:
        LOG.error('This server could not be rebooted. %s',
                  e.format_message(), instance=instance)
    mem_encryption = drivers.find(self.driver)
    if mem_encryption is None or instance.host != self.host or (
            instance.vm_state in (
                vm_states.DELETED, vm_states.SOFT_DELETED)):
        return  # the driver is not libvirt's, or there is nothing to start
    try:
        mem_encryption.stored_servers.check(instance)
    except exception.MemEncryptionUnavailable as e:
        LOG.warning('This server cannot be started again on this host. %s '
                    'If its guest runs, it runs on. Move it, or give the '
                    'host its ability back.', e.format_message(),
                    instance=instance)
    except restarts.REFUSALS as e:
        LOG.warning('This server cannot be started again as it is. %s If '
                    'its guest runs, it runs on. Resize it to a flavor '
                    'that fits its image.',
                    e.format_message(), instance=instance)
    except Exception:
        # NOTE: whatever it is. This only warns, and is no reason for
        # nova-compute not to start.
        LOG.exception('Cannot tell whether this server can be started '
                      'again on this host.', instance=instance)
