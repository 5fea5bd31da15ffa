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

"""Have all virtio devices of an encrypted guest know that it is one.

libvirt's "Launch security with AMD SEV" asks for <driver iommu='on'/> in each.
QEMU does it by itself since 6.0: machine_run_board_init, hw/core/machine.c.
"""
from nova.virt.libvirt import config
from nova.virt.libvirt import designer

from nova_mem_encryption import overlay

SERIAL = 'virtio-serial'


@overlay.wrap(designer, mends='input devices that use virtio', leans_on=[
    'nova.virt.libvirt.config:LibvirtConfigGuestInput.format_dom'])
def set_driver_iommu_for_device(upstream, dev):
    """Also look at input devices, which do not say whether they use it."""
    upstream(dev)
    if isinstance(dev, config.LibvirtConfigGuestInput):
        dev.driver_iommu = dev.driver_iommu or dev.bus == 'virtio'


@overlay.wrap(designer, mends='the controller of channels', leans_on=[
    'set_driver_iommu_for_device',
    'nova.virt.libvirt.driver:LibvirtDriver._guest_add_spice_channel',
    'nova.virt.libvirt.driver:LibvirtDriver._guest_configure_sev',
    'nova.virt.libvirt.driver:LibvirtDriver._set_qemu_guest_agent'])
def set_driver_iommu_for_all_devices(upstream, conf):
    """Add the controller that libvirt would add, without the element.

    Nova does so for the channel of the guest agent, not for that of SPICE.
    """
    if (any(isinstance(dev, config.LibvirtConfigGuestChannel) and
            dev.target_type == 'virtio' for dev in conf.devices) and
            SERIAL not in [getattr(dev, 'type', None)
                           for dev in conf.devices]):
        controller = config.LibvirtConfigGuestController()
        controller.type = SERIAL
        conf.add_device(controller)
    upstream(conf)
