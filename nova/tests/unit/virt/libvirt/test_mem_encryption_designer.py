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

"""Test that no virtio device of an encrypted guest is forgotten."""
import inspect
import types

import ddt
from lxml import etree

from nova import test
from nova.tests.fixtures import tables
from nova.virt.libvirt import config
from nova.virt.libvirt import designer

# The classes of devices that can be virtio, and what makes them so
VIRTIO = {
    'LibvirtConfigGuestDisk': {
        'source_type': 'file', 'source_path': '/disk', 'target_dev': 'vda',
        'target_bus': 'virtio'},
    'LibvirtConfigGuestInterface': {
        'net_type': 'bridge', 'source_dev': 'br0', 'mac_addr': 'a:b',
        'model': 'virtio'},
    'LibvirtConfigGuestInput': {'bus': 'virtio'},
    'LibvirtConfigGuestVideo': {'type': 'virtio'},
    'LibvirtConfigMemoryBalloon': {'model': 'virtio'},
    'LibvirtConfigGuestController': {'type': 'scsi', 'model': 'virtio-scsi'},
    'LibvirtConfigGuestRng': {'device_model': 'virtio'},
}
# Those that have no such element, and why
OTHERS = {
    'LibvirtConfigGuestDevice': 'what all are made of',
    # -- of virtio
    'LibvirtConfigGuestChannel': 'its controller has it',
    'LibvirtConfigGuestFilesys': 'libvirt has none for it, and QEMU refuses '
                                 'vhost-user-fs with memory encryption',
    'LibvirtConfigGuestIOMMU': 'libvirt has none for it; SEV-ES lacks it',
    # -- of something else
    'LibvirtConfigGuestCharBase': 'serial ports, or as its children say',
    'LibvirtConfigGuestChar': 'a serial port',
    'LibvirtConfigGuestSerial': 'a serial port',
    'LibvirtConfigGuestConsole': 'a serial port',
    'LibvirtConfigGuestGraphics': 'not in the guest',
    'LibvirtConfigGuestHostdev': 'as its children say',
    'LibvirtConfigGuestHostdevPCI': 'a device of the host, by VFIO',
    'LibvirtConfigGuestHostdevMDEV': 'a vGPU, which SEV lacks',
    'LibvirtConfigGuestUSBHostController': 'USB',
    'LibvirtConfigGuestPCIeRootController': 'PCI Express',
    'LibvirtConfigGuestPCIeRootPortController': 'PCI Express',
    'LibvirtConfigGuestVPMEM': 'an NVDIMM: memory, no device that reads it',
    'LibvirtConfigGuestVTPM': 'a CRB or TIS: registers',
    'LibvirtConfigGuestWatchdog': 'i6300esb: registers',
}


def get_classes():
    """Return the classes of devices that Nova has, by name."""
    return {name: found for name, found in vars(config).items()
            if inspect.isclass(found) and
            issubclass(found, config.LibvirtConfigGuestDevice)}


def make(name, **attributes):
    """Make a device of a guest."""
    device = getattr(config, name)()
    for attribute, value in attributes.items():
        setattr(device, attribute, value)
    return device


def find_driver(device):
    """Return the attribute iommu of a device's XML."""
    root = etree.fromstring(etree.tostring(device.format_dom()))
    driver = root.find('driver')
    return None if driver is None else driver.get('iommu')


@ddt.ddt
class DevicesTest(test.NoDBTestCase):

    def test_all_classes_are_listed_once(self):
        self.assertEqual(sorted(get_classes()), sorted([*VIRTIO, *OTHERS]))

    def test_what_says_that_it_uses_virtio_is_of_virtio(self):
        own = {name for name, found in get_classes().items()
               if 'uses_virtio' in vars(found)}
        self.assertEqual({'LibvirtConfigGuestDevice',
                          *set(VIRTIO) - {'LibvirtConfigGuestInput'}}, own)

    @tables.data(*VIRTIO.items(), by=0)
    @ddt.unpack
    def test_a_virtio_device_has_the_element(self, name, attributes):
        device = make(name, **attributes)
        self.assertIsNone(find_driver(device))
        guest = types.SimpleNamespace(devices=[device])
        designer.set_driver_iommu_for_all_devices(guest)
        self.assertEqual('on', find_driver(device))
        self.assertEqual([device], guest.devices)

    @ddt.data('usb', 'ps2')
    def test_another_input_device_has_not(self, bus):
        device = make('LibvirtConfigGuestInput', bus=bus)
        designer.set_driver_iommu_for_device(device)
        self.assertIsNone(find_driver(device))

    @ddt.data((['virtio'], True, 1), (['virtio', 'virtio'], True, 1),
              (['virtio'], False, 1), ([], True, 0), (['guestfwd'], True, 0))
    @ddt.unpack
    def test_channels(self, types, add, count):
        guest = config.LibvirtConfigGuest()
        for kind in types:
            guest.add_device(make('LibvirtConfigGuestChannel',
                                  target_type=kind))
        if not add:
            guest.add_device(make('LibvirtConfigGuestController',
                                  type='virtio-serial'))
        designer.set_driver_iommu_for_all_devices(guest)
        controllers = [
            device for device in guest.devices
            if isinstance(device, config.LibvirtConfigGuestController)]
        self.assertEqual(['on'] * count, list(map(find_driver, controllers)))
