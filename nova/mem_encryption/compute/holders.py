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

"""Tell which servers of a host have no slot."""
from keystoneauth1 import exceptions as ks_exc
from oslo_log import log as logging

from nova import exception

from nova_mem_encryption.nova.mem_encryption import placement as client
from nova_mem_encryption.nova.mem_encryption import providers

LOG = logging.getLogger(__name__)


class Holders:
    """Who has the slots of one host.

    :param nova.scheduler.client.report.SchedulerReportClient placement: of
        nova-compute
    :param news.News news: what the log has of it
    """

    def __init__(self, placement, news):
        self._client = client.Client(placement)
        self._news = news

    def find_without(self, servers, models, node, moves):
        """Return the servers that have no slot of any of some models.

        :param set servers: UUIDs; Placement is not asked if there are none
        :param models: a list of model.Model
        :param str node: UUID of the root provider
        :param dict moves: UUIDs of migrations to those of their servers,
            whose slots they hold
        :returns: a set of UUIDs; empty, with a warning, if Placement does not
            answer
        """
        if not servers:
            return set()
        found, reason = set(), None
        try:
            found = self._find_without(servers, models, node, moves)
        except (ks_exc.ClientException, exception.NovaException) as e:
            reason = str(e)
        if self._news.is_news('holders', reason) and reason:
            LOG.warning('Cannot tell which servers have slots: %s. None is '
                        'reserved for those without.', reason.rstrip('.'))
        return found

    def _find_without(self, servers, models, node, moves):
        tree = providers.Providers(self._client.get, node)
        children = tree.get_children(node)
        found = [children.get(model.value) for model in models]
        if any(model.native for model in models):
            # Before the first reshape they are there.
            found.append(tree.by_uuid.get(node))
        for provider in filter(None, found):
            if servers:
                servers = servers - {moves.get(consumer, consumer)
                                     for consumer in provider.consumers}
        return servers
