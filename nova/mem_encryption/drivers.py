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

"""Find what a driver has of memory encryption."""


def find(driver):
    """Return the state and acts of a driver, a compute.driver.MemEncryption.

    :param nova.virt.driver.ComputeDriver driver: of nova-compute
    :returns: None if it is not libvirt's
    """
    # NOTE: not by a default of getattr, which would also hide an error within.
    if not hasattr(type(driver), '_mem_encryption'):
        return None
    return driver._mem_encryption
