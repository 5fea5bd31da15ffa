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

"""Test the other name of the libvirt driver."""
from unittest import mock

from nova import test
from nova.virt import driver
from nova.virt.libvirt import driver as libvirt_driver


class NameTest(test.NoDBTestCase):

    @mock.patch.object(
        libvirt_driver.LibvirtDriver, '__init__', return_value=None)
    def test_it_is_loaded_as_the_compute_driver(self, init):
        loaded = driver.load_compute_driver(
            mock.sentinel.virtapi, 'mem_encryption.LibvirtDriver')
        self.assertIs(libvirt_driver.LibvirtDriver, type(loaded))
        init.assert_called_once_with(mock.sentinel.virtapi)
