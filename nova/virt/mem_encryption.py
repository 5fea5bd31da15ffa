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

"""Be the libvirt driver, by a name that only a Nova with models serves.

compute_driver = mem_encryption.LibvirtDriver in nova.conf has nova-compute end
where it would know no models of memory encryption, for whatever reason.
"""
from nova.virt import libvirt

# NOTE: the class itself, so that whatever asks for its name or module, or
# replaces a function of it, finds Nova's.
LibvirtDriver = libvirt.LibvirtDriver
