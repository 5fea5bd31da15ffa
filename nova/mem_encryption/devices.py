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

"""Say why a server cannot have a device of the host."""
import re

from nova.i18n import _
from nova import objects

from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import properties

# The extra specs that ask for a device which a model may lack. Of resources
# as ResourceRequest reads them; Cyborg's are passed through like others.
DEVICES = {
    'vgpu': re.compile(r'resources([a-zA-Z0-9_-]{1,64})?:VGPU$'),
    'pci': re.compile(r'(pci_passthrough:alias|accel:device_profile)$'),
}
# With these no guest was ever started.
VITAL = ('pci',)


def find_refusal(flavor, model, lacks=tuple(DEVICES)):
    """Say why a model cannot be had with the device that a flavor asks for.

    :param nova.objects.Flavor flavor: of the server
    :param str model: the model
    :param lacks: which of DEVICES to look at
    :returns: the reason with the remedy; None if it can
    """
    specs = properties.get_field(flavor, 'extra_specs') or {}
    for lack in models.get_lacking(model, lacks):
        found = find_request(specs, lack)
        if found:
            return _(
                'Flavor %(flavor)s has %(found)s, and memory encryption is '
                'requested. %(why)s Use a flavor without %(found)s, or flavor '
                'and image without memory encryption%(others)s.') % {
                    'flavor': flavor.name, 'found': found,
                    'why': models.MODELS[model].lacks[lack],
                    'others': _name_others(lack)}
    return None


def find_port_refusal(get_requests, model):
    """Say why a model cannot be had with the ports that a server has.

    :param get_requests: returns the InstancePCIRequests of the server; those
        of its flavor are judged by the flavor, as a resize gives it others
    :param str model: the model
    :returns: the reason with the remedy; None if it can
    """
    if 'pci' not in models.MODELS[model].lacks:
        return None
    requests, of_port = get_requests(), objects.InstancePCIRequest.NEUTRON_PORT
    if not requests or all(
            request.source != of_port for request in requests.requests):
        return None
    return explain_port(model)


def explain_port(model):
    """Say why a model cannot be had with a port that is a device."""
    return _('It has a port that is a device of the host (SR-IOV). %s Use '
             'ports of vnic_type normal.') % models.MODELS[model].lacks['pci']


def find_request(extra_specs, lack='vgpu'):
    """Return the extra spec that asks for a device, None if there is none.

    :param dict extra_specs: of a flavor
    :param str lack: of DEVICES
    """
    matches = DEVICES[lack].match
    found = [key for key, value in extra_specs.items()
             if value != '0' and matches(key)]
    return min(found) if found else None


def _name_others(lack):
    others = [model for model, row in models.MODELS.items()
              if lack not in row.lacks]
    return others and _(', or model %s') % _(' or ').join(others) or ''
