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

"""Do without a provider whose name another one has."""
from oslo_log import log as logging

from nova import exception

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import placement as client
from nova_mem_encryption.nova.mem_encryption import providers
from nova_mem_encryption.nova.mem_encryption import taken_names

LOG = logging.getLogger(__name__)


class TakenNames:
    """Names that the providers of one host are to have.

    Placement refuses a name that it has already, and the update of the whole
    host with it.

    :param nova.scheduler.client.report.SchedulerReportClient placement: to
        ask who has a name
    :param news.News news: what the log has of it
    """

    def __init__(self, placement, news):
        self._placement = placement
        self._client = client.Client(placement)
        self._news = news

    def find_taken(self, provider_tree, root, wanted):
        """Return the models whose provider has another one's name.

        Of a provider that is there nothing is asked.

        :param nova.compute.provider_tree.ProviderTree provider_tree: as
            Placement has it
        :param nova.compute.provider_tree.ProviderData root: of the node
        :param wanted: models that are to have a provider
        :returns: a set
        :raises nova.exception.ResourceProviderUpdateConflict: if the tree is
            not as Placement has it; it has to be read again
        :raises nova.exception.NovaException: if Placement does not tell
        """
        taken = set()
        for model in wanted:
            name = providers.name_of(root.name, model)
            known = (provider_tree.data(name) if provider_tree.exists(name)
                     else None)
            other = None
            if known is None or known.parent_uuid != root.uuid:
                other = taken_names.find_by_name(self._client.get, name)
                if _is_stale(known, other, root):
                    self._placement.clear_provider_cache()
                    raise exception.ResourceProviderUpdateConflict(
                        uuid=root.uuid, generation=root.generation,
                        error='provider %s has changed' % name)
            if other is not None:
                taken.add(model)
            self._tell(models.MODELS[model], root.name, name, other)
        return taken

    def _tell(self, row, nodename, name, other):
        if not self._news.is_news('name ' + name, other):
            return
        if other is None:
            LOG.info('Provider %(name)s of this host can be had again.',
                     {'name': name})
            return
        LOG.error(
            'This host offers no slots for %(title)s: their provider is to be '
            'a child of %(node)s, and provider %(other)s has its name. Rename '
            'that (openstack resource provider set --name ... %(uuid)s) or '
            'delete it; the next update brings the slots.',
            {'title': row.title, 'node': nodename, 'other': other,
             'uuid': other.uuid})


def _is_stale(known, other, root):
    """Tell whether the tree differs from what Placement says of a name."""
    if other is None:
        return known is not None
    return other.parent == root.uuid
