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

"""Refuse ports that a server cannot have with the model it asks for."""
from nova.compute import manager
from nova import exception
from nova.virt import hardware

from nova_mem_encryption.nova.mem_encryption import devices
from nova_mem_encryption import overlay


@overlay.wrap(manager.ComputeManager, leans_on=[
    'ComputeManager._attach_interface'])
def _claim_pci_device_for_interface_attach(upstream, self, context, instance,
                                           pci_reqs):
    """Refuse a port before its device is claimed, also if the server is off.

    What was allocated for the port is given back where such an exception is
    caught, and the API waits for it and answers with its words.
    """
    config = pci_reqs.requests and hardware.get_mem_encryption_constraint(
        instance.flavor, instance.image_meta)
    reason = config and devices.find_port_refusal(
        lambda: pci_reqs, config.model)
    if reason:
        raise exception.InterfaceAttachPciClaimFailed(reason)
    return upstream(self, context, instance, pci_reqs)
