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

"""Where the documentation tells what to do about something."""
import re

# As it is built; doc/source/troubleshooting.rst has the anchors as labels.
PAGE = 'troubleshooting.html'


def locate(kind: str, name: str) -> str:
    """Return the page and the anchor in it.

    :param kind: 'check' or 'cause'
    :param name: of that check, or in the code of that cause
    """
    return '%s#%s' % (PAGE, '-'.join(re.findall(
        '[a-z0-9]+', ('%s %s' % (kind, name)).lower())))
