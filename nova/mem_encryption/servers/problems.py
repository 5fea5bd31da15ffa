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

"""Name what can be wrong with a server."""
import typing as ty

from nova_mem_encryption.nova.mem_encryption import differing

NO_SLOT, WRONG_PROVIDER, SPARE_SLOT, UNREADABLE = (
    'no-slot', 'wrong-provider', 'spare-slot', 'unreadable')
OF_SLOTS = (NO_SLOT, WRONG_PROVIDER, SPARE_SLOT)
# What is shown in place of what nobody tells, and of what is not there
UNKNOWN, NOTHING = 'unknown', '-'

# The worst first: the end of a sentence that begins with the server
KINDS = {
    differing.LESS: 'runs with less than it asks for',
    differing.MORE: 'runs with more than it asks for',
    differing.UNTOLD: 'runs, and its host does not tell with what',
    NO_SLOT: 'asks for a model and has no slot',
    WRONG_PROVIDER: 'has no slot but of another model, or another host',
    SPARE_SLOT: 'has a slot that it does not ask for',
    UNREADABLE: 'is stored with what Nova cannot read',
}


class Problem(ty.NamedTuple):
    """What does not agree."""

    kind: str  # one of KINDS
    text: str  # a sentence without its beginning, the server
    remedy: str


class Server(ty.NamedTuple):
    """A server, as all that is known of it has it."""

    uuid: str
    name: str
    project: str
    host: str    # name of the node, as 'openstack hypervisor list' has it
    state: str   # with what is done with it, if anything is
    asked: str   # the model that flavor and image ask for, or models.PLAIN
    slots: ty.List[str]  # names of the providers of its slots
    runs: str    # model and policy that it runs with
    problems: ty.List[Problem]

    @property
    def models(self) -> ty.Set[str]:
        """What of models is in it: asked for, or run with."""
        return {self.asked, self.runs.partition(' ')[0]}
