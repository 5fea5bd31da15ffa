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

"""Say what is to be corrected before an upgrade."""
import typing as ty

WARNING, FAILURE = 'warning', 'failure'


class Finding(ty.NamedTuple):
    """Something to be corrected."""

    severity: str  # WARNING or FAILURE
    object: str    # what it is about, such as 'flavor m1.sev'
    problem: str
    remedy: str

    @property
    def message(self):
        """All of it, as sentences."""
        return '%s %s %s' % (self.object, self.problem, self.remedy)
