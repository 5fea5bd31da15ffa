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

"""Ask Placement whether it knows the trait of a model."""
from oslo_log import log as logging

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import placement as client

LOG = logging.getLogger(__name__)


class Traits:
    """The traits that Placement knows, of those that it may not.

    It refuses all that a host tells it with a trait that it does not know:
    the other models would have no slots either.

    :param nova.scheduler.client.report.SchedulerReportClient placement: of
        nova-compute
    :param news.News news: what the log has of it
    """

    def __init__(self, placement, news):
        self._client = client.Client(placement)
        self._news = news
        self._known = set()

    def find_unknown(self, wanted):
        """Return the models whose trait Placement does not know.

        It is asked again until it does, as it can be upgraded meanwhile.

        :param wanted: values of models
        :returns: a set of values
        :raises nova.exception.NovaException: if Placement does not tell
        """
        rows = [models.MODELS[model] for model in wanted
                if models.MODELS[model].os_traits is not None]
        asked = {row.trait for row in rows} - self._known
        if asked:
            self._known.update(self._client.get(
                '/traits?name=in:' + ','.join(sorted(asked)))['traits'])
        for row in rows:
            self._tell(row, row.trait in self._known)
        return {row.value for row in rows if row.trait not in self._known}

    def _tell(self, row, known):
        if not self._news.is_news('trait ' + row.suffix,
                                  None if known else row.trait):
            return
        if known:
            LOG.info('Placement knows trait %s.', row.trait)
            return
        LOG.warning(
            'This host offers no AMD %(title)s, as Placement does not know '
            'trait %(trait)s. Upgrade os-traits to %(release)s or later where '
            'Placement is installed, and restart Placement. It is asked again '
            'with each update of the resources of this host.',
            {'title': row.title, 'trait': row.trait,
             'release': row.os_traits})
