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

"""Switch on models, reserve slots, and deprecate a cap on SEV guests."""
from oslo_config import cfg

from nova.conf import libvirt

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

HELP = """
Number of AMD %(title)s guests that this compute host keeps slots for, which
Nova gives to no server.

A host can run a limited number of %(title)s guests, as its processor has an
address space identifier (ASID) for each. Set this where guests are started
past Nova, with virsh for example, or to keep a margin. Placement has the
number as ``reserved`` of the provider ``<node>_%(suffix)s``.

Guests with %(title)s that Nova does not know of use these slots. If there are
more of them than this, as many are reserved as there are. If it is more than
the host has slots, none is left for servers. Slots that servers have already
are not taken from them.

Related options:

* ``num_memory_encrypted_guests`` limits the guests with plain SEV. It does
  not count %(title)s guests.
"""

ENABLE = """
Offer guests with AMD %(title)s on this compute host.

Nova has memory encryption model ``%(value)s`` itself from %(nova)d on.
Those before it, which an upgrade of this one leads to, refuse its
servers.

Where the kernel has %(title)s on, servers with SEV-ES cannot run,
whether this is set or not. If it is unset again, servers with
%(title)s that run go on, and are not started any more on this host.

Placement has to know trait ``%(trait)s``,
which os-traits %(os_traits)s brings.
"""

OPTIONS = [
    cfg.IntOpt(model.reserved, default=0, min=0, help=HELP % {
        'title': model.title, 'suffix': model.suffix})
    for model in models.MODELS.values() if model.reserved
] + [
    cfg.BoolOpt(model.option, default=False, help=ENABLE % {
        'title': model.title, **model._asdict()})
    for model in models.MODELS.values() if model.option]


@overlay.wrap(libvirt, leans_on=['list_opts'])
def register_opts(upstream, conf):
    """Also register ours; mark the deprecated one, whose use is warned of.

    What is to be in the sample configuration is listed from the same place.
    """
    libvirt.ALL_OPTS.extend(
        option for option in OPTIONS if option not in libvirt.ALL_OPTS)
    for opt in libvirt.ALL_OPTS:
        if opt.name == 'num_memory_encrypted_guests':
            opt.deprecated_for_removal = True
            opt.deprecated_since = '31.0.0'
            opt.deprecated_reason = (
                'libvirt 8.0.0 and later tell how many SEV and how many '
                'SEV-ES guests a host can run. The option still caps the '
                'former and has no effect on the latter.')
    upstream(conf)
