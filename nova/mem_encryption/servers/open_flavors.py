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

"""Find the public flavors by which any user may take a slot."""
import typing as ty

from oslo_utils import strutils

from nova import context as nova_context
from nova import objects

from nova_mem_encryption.nova.mem_encryption import providers

# Who asks for the slot
BY = {'image': 'a server takes a slot if its image asks for it',
      'flavor': 'each server takes a slot'}


class OpenFlavor(ty.NamedTuple):
    """A flavor that leaves it open who takes a slot."""

    flavor: str  # its name
    asked_by: str  # a key of BY


def find_open():
    """Return the public flavors that any user may take a slot by.

    :returns: a list of OpenFlavor, by name
    """
    return sorted(
        OpenFlavor(flavor.name, by) for flavor, by in (
            (flavor, judge(flavor.extra_specs))
            for flavor in objects.FlavorList.get_all(
                nova_context.get_admin_context(),
                filters={'is_public': True, 'disabled': False})) if by)


def judge(specs):
    """Return who asks for a slot by a flavor.

    :param dict specs: its extra specs
    :returns: a key of BY; None if nobody gets one by it
    """
    asked = specs.get('hw:mem_encryption')
    if asked is not None and strutils.bool_from_string(asked) or any(
            key.startswith('resources') and value != '0' and
            key.partition(':')[2] == providers.SLOT
            for key, value in specs.items()):
        return 'flavor'
    # NOTE: one that says no conflicts with an image that asks, which Nova
    # refuses.
    return 'image' if asked is None else None
