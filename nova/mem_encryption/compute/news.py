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

"""Say in the log what is not there already."""


class News:
    """What was said last, by what it is about."""

    def __init__(self):
        self._said = {}

    def is_news(self, about, what):
        """Tell whether something was not what was said last.

        :param str about: what it is about
        :param what: what there is to say, None if nothing
        """
        last, self._said[about] = self._said.get(about), what
        return last != what
