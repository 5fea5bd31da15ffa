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

"""Let no slot be offered twice, or as one of another model, meanwhile."""
from keystoneauth1 import exceptions as ks_exc

from nova import exception
from nova.scheduler.client import report

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import overlay

SEV = models.NATIVE.trait


@overlay.wrap(report.SchedulerReportClient, leans_on=[
    'SchedulerReportClient.set_traits_for_provider',
    'SchedulerReportClient._set_up_and_do_reshape',
    'SchedulerReportClient._clear_provider_cache_for_tree'])
def update_from_provider_tree(upstream, self, context, new_tree,
                              allocations=None):
    """Write first that the root has the trait no more.

    Nova writes traits last. Until then, or for as long as nova-compute
    is stopped in between, a request for SEV would find the trait on the root
    and the slot on the provider of SEV-ES. Without the trait it finds none.
    """
    try:
        _take_sev_trait_off(self, context, new_tree, allocations)
        upstream(self, context, new_tree, allocations=allocations)
    except (exception.NovaException, ks_exc.ClientException):
        # NOTE: what was written is unknown. A provider is read again only
        # where a conflict is known of, so one would be created that is
        # there.
        for uuid in new_tree.get_provider_uuids():
            self._clear_provider_cache_for_tree(uuid)
        raise


@overlay.wrap(report.SchedulerReportClient, mends=(
    'slots that could not be read are taken for none'), leans_on=[
    'SchedulerReportClient._refresh_associations'])
def _refresh_and_get_inventory(upstream, self, context, rp_uuid):
    """Raise where Nova returns None, which it then takes for none.

    A root whose slots could not be read would be one that has none to move,
    and the host would offer them a second time.
    """
    found = upstream(self, context, rp_uuid)
    if found is None:
        raise exception.ResourceProviderRetrievalFailed(uuid=rp_uuid)
    return found


def _take_sev_trait_off(self, context, new_tree, allocations):
    """Write that no root has the trait of SEV that is not to have it."""
    known = self._provider_tree
    for uuid in new_tree.get_provider_uuids():
        if not known.exists(uuid) or (
                not known.has_traits(uuid, [SEV])) or (
                new_tree.has_traits(uuid, [SEV])):
            continue
        try:
            self.set_traits_for_provider(
                context, uuid, known.data(uuid).traits - {SEV})
            if known.has_traits(uuid, [SEV]):
                # Without a connection nothing is raised.
                raise exception.PlacementAPIConnectFailure()
        except (exception.PlacementAPIConnectFailure,
                exception.ResourceProviderUpdateFailed,
                exception.TraitCreationFailed,
                exception.TraitRetrievalFailed,
                ks_exc.ClientException) as e:
            if allocations is not None:
                raise exception.ReshapeFailed(error=e) from e
            raise exception.ResourceProviderSyncFailed() from e
        # The reshape is sent with the generation that stands there.
        new_tree.update_inventory(
            uuid, new_tree.data(uuid).inventory,
            generation=known.data(uuid).generation)
