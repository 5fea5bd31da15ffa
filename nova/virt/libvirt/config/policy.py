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

"""Write type and guest policy of the launch security of each model."""
from nova.virt.libvirt import config

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

overlay.add(config.LibvirtConfigGuestSEVLaunchSecurity, 'policy',
            models.NATIVE.launch_security.value)
overlay.add(config.LibvirtConfigGuestSEVLaunchSecurity, 'type',
            models.NATIVE.launch_security.element)


@overlay.wrap(config.LibvirtConfigGuestSEVLaunchSecurity)
def format_dom(upstream, self):
    """Write those of this guest in the place of the fixed ones.

    Those with SEV-SNP have the same elements.
    """
    root = upstream(self)
    root.set('type', self.type)
    root.find('policy').text = '0x%04x' % self.policy
    return root
