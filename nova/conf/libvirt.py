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

"""Deprecate the option that caps the SEV guests of a host."""
from nova.conf import libvirt

from nova_mem_encryption import overlay


@overlay.wrap(libvirt)
def register_opts(upstream, conf):
    """Mark the option before it is registered; its use is warned of."""
    for opt in libvirt.ALL_OPTS:
        if opt.name == 'num_memory_encrypted_guests':
            opt.deprecated_for_removal = True
            opt.deprecated_reason = (
                'libvirt 8.0.0 and later tell how many SEV and how many '
                'SEV-ES guests a host can run. The option still caps the '
                'former and has no effect on the latter.')
    upstream(conf)
