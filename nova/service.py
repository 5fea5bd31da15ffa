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

"""Say in each service's log that the series is applied."""
from oslo_log import log as logging

from nova import service

from nova_mem_encryption import overlay

LOG = logging.getLogger(__name__)


@overlay.wrap(service.WSGIService)
@overlay.wrap(service.Service)
def start(upstream, self):
    """Say so when logging is set up and the service is about to start."""
    LOG.info(overlay.summary())
    upstream(self)
