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

"""The series as ordinary patches, for who patches Nova."""

# What the command takes
STYLES = GIT, KOLLA = 'git', 'kolla'
PYTHON = '3.12'  # of Kolla's images, most of them
NOVA = ('a wheel of Nova, a .deb of it, one of them unpacked, a source tree, '
        'or a folder in which it is installed')
