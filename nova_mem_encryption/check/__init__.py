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

"""Check a host, from the processor to Placement.

hosts     where facts come from: this host, or one that was recorded
questions what is asked of this host besides its files: by system, libvirt
          (commands runs virsh) and nova_process, which has ask_nova run
facts     what the answers mean
tree      what a check is, and how all are run
processor, kernel, hypervisor, presence, services
          the checks; names what those of a model are called
record    makes a recorded host
report    the command; terminal prints for it
"""
from nova_mem_encryption.engine import aliases

# NOTE: nova_mem_encryption.nova is found only after this.
aliases.arm()
