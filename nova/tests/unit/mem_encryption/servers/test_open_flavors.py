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

"""Test which flavors leave it open who takes a slot."""
import ddt
import testtools

from nova_mem_encryption.nova.mem_encryption.servers import open_flavors

SLOT = 'MEM_ENCRYPTION_CONTEXT'


@ddt.ddt
class OpenFlavorsTest(testtools.TestCase):

    @ddt.data(
        ({}, 'image'),
        ({'hw:cpu_policy': 'shared'}, 'image'),
        ({'hw:mem_encryption_model': 'amd-sev-es'}, 'image'),
        ({'resources:' + SLOT: '0'}, 'image'),
        ({'resources:VCPU': '1'}, 'image'),
        ({'hw:mem_encryption': 'false'}, None),
        ({'hw:mem_encryption': '0'}, None),
        ({'hw:mem_encryption': 'true'}, 'flavor'),
        ({'hw:mem_encryption': 'yes'}, 'flavor'),
        ({'resources:' + SLOT: '1'}, 'flavor'),
        ({'hw:mem_encryption': 'false', 'resources1:' + SLOT: '1'}, 'flavor'),
        ({'hw:mem_encryption': 'false', 'resources_A:' + SLOT: '1'},
         'flavor'))
    @ddt.unpack
    def test_who_asks(self, specs, by):
        self.assertEqual(by, open_flavors.judge(specs))
