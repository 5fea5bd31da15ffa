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


# NOTE: what each kind of service passes, an API under a web server too, when
# logging is set up and it is about to start.
@overlay.wrap(service)
def setup_profiler(upstream, binary, host):
    """Say so."""
    LOG.info(overlay.summary())
    upstream(binary, host)
