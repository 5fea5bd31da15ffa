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

"""Decide what is to become of the providers of a host."""
import typing as ty

from nova_mem_encryption.nova.mem_encryption.compute import taken_names
from nova_mem_encryption.nova.mem_encryption.compute import traits
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import providers


class Plan(ty.NamedTuple):
    """What is to become of the providers of a host."""

    inventories: ty.Dict[str, ty.Dict[str, ty.Any]]  # by model
    taken: ty.Set[str]  # models that get no provider
    moves: bool         # whether the root has slots that are to move


class Plans:
    """What one host wants of its providers.

    :param slots.Slots slots: what the host offers
    :param nova.scheduler.client.report.SchedulerReportClient placement: to
        ask what is there
    :param news.News news: what the log has of it
    """

    def __init__(self, slots, placement, news):
        self._slots = slots
        self._names = taken_names.TakenNames(placement, news)
        self._traits = traits.Traits(placement, news)
        # The tree that a reshape was asked for, and what it is to become
        self._reshape = (None, None)

    def make(self, provider_tree, nodename, get_native, again=False):
        """Tell what is to become of the providers.

        :param nova.compute.provider_tree.ProviderTree provider_tree: as
            Placement has it
        :param str nodename: name of the root provider
        :param get_native: returns the slots of the native model, by Nova
        :param bool again: whether a reshape was asked for, and follows: then
            nothing is looked at a second time
        :returns: a Plan
        :raises nova.exception.NovaException: if Placement does not tell
        """
        (tree, plan), self._reshape = self._reshape, (None, None)
        if not again or tree is not provider_tree:
            plan = self._make(provider_tree, nodename, get_native())
        if plan.moves and not again:
            self._reshape = provider_tree, plan
        return plan

    def _make(self, provider_tree, nodename, native):
        inventories = self._slots.get_inventories(native)
        root = provider_tree.data(nodename)
        on_root = providers.SLOT in root.inventory
        taken = self._names.find_taken(provider_tree, root, [
            model for model, row in models.MODELS.items()
            if inventories[model]['total'] or row.native and on_root])
        taken |= self._traits.find_unknown([
            model for model, inventory in inventories.items()
            if inventory['total']])
        return Plan(inventories, taken,
                    on_root and models.NATIVE.value not in taken)
