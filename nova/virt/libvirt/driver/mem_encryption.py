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

"""Give a driver what it has of memory encryption."""
import functools

from nova.virt.libvirt import driver

from nova_mem_encryption.nova.mem_encryption.compute import (
    driver as mem_encryption)
from nova_mem_encryption import overlay


@overlay.add(driver.LibvirtDriver)
@functools.cached_property
def _mem_encryption(self):
    """What this driver has of memory encryption, a MemEncryption."""
    # NOTE: only the virtapi of nova-compute has a client of Placement.
    return mem_encryption.MemEncryption(
        self._host, getattr(self.virtapi, 'reportclient', None))
