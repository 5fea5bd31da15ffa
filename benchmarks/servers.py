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

"""The three kinds of servers that are compared."""
# NOTE: eventlet wants to patch before anything else is imported.
import nova.monkey_patch  # noqa: F401
from nova import objects  # noqa: H306

objects.register_all()
SPECS = {
    'plain': {},
    'sev': {'hw:mem_encryption': 'true'},
    'sev-es': {'hw:mem_encryption': 'true',
               'hw:mem_encryption_model': 'amd-sev-es'},
}
IMAGE = '22222222-3333-4444-5555-666666666666'


def make_flavor(kind):
    """Return a flavor of one kind of servers."""
    return objects.Flavor(
        id=1, flavorid='1', name='m1.' + kind, memory_mb=1024, vcpus=1,
        root_gb=10, ephemeral_gb=0, swap=0, extra_specs=SPECS[kind])


def make_image():
    """Return an image that servers of all kinds can have."""
    return objects.ImageMeta(
        id=IMAGE, name='debian', container_format='bare', disk_format='qcow2',
        min_disk=0, min_ram=0, properties=objects.ImageMetaProps(
            hw_firmware_type='uefi', hw_machine_type='q35'))


def make_image_of_glance():
    """Return the same as the API has it, with what Debian's images have."""
    return {
        'id': IMAGE, 'name': 'debian', 'container_format': 'bare',
        'disk_format': 'qcow2', 'min_disk': 0, 'min_ram': 0, 'size': 1 << 28,
        'status': 'active', 'properties': {
            'hw_firmware_type': 'uefi', 'hw_machine_type': 'q35',
            'hw_disk_bus': 'virtio', 'hw_vif_model': 'virtio',
            'os_distro': 'debian', 'os_type': 'linux'}}


def make_request(kind):
    """Return the request that the scheduler has of a server."""
    return objects.RequestSpec(
        flavor=make_flavor(kind), image=make_image(), is_bfv=False,
        requested_resources=[],
        request_level_params=objects.RequestLevelParams())
