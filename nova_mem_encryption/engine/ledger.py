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

"""What the series did to Nova."""
import typing as ty

from nova_mem_encryption.engine import state


class Entry(ty.NamedTuple):
    """One thing that the series did to Nova."""

    verb: str                        # add, wrap or within
    module: str                      # nova.virt.libvirt.host
    name: str                        # Host.supports_amd_sev_es
    file: str                        # where it is written
    line: int
    fingerprint: ty.Optional[str]    # of the function that is wrapped
    leans_on: ty.Tuple[str, ...]
    mends: ty.Optional[str]          # the fault of Nova's own that it mends
    target: ty.Any                   # the class, module or dict itself
    attribute: str
    original: ty.Any                 # the object of Nova, None for an add
    current: ty.Any                  # the object of ours


def entries() -> ty.List[Entry]:
    """Return each add, wrap and within that took place, in order."""
    return list(state.state().ledger)
