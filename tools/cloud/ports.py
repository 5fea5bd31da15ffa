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

"""Give a port of the stand-in for Neutron what it has on a host."""
import ipaddress
import itertools

import rest

TAP = 'tap'


def get_prefix(port):
    """Return what the names of the network devices of a cloud begin with.

    :param port: that of 127.0.0.1 which the stand-ins have
    """
    return '%s%04x' % (TAP, port)


def name(each, port, number):
    """Give one an ID by which its device is named, and a MAC address.

    Nova calls a device 'tap', and then the beginning of the ID.

    :param each: the port, a dict as in a body
    :param port: as of get_prefix
    :param number: how many there were before
    """
    prefix = get_prefix(port)[len(TAP):]
    each['id'] = prefix + each['id'][len(prefix):]
    each.setdefault('mac_address', 'fa:16:3e:%02x:%02x:%02x' % (
        number >> 16, number >> 8 & 255, number & 255))


def bind(each):
    """Make one a tap device on the host that it has, or nothing."""
    bound = bool(each['binding:host_id'])
    each['binding:vif_type'] = 'tap' if bound else 'unbound'
    each['binding:vif_details'] = {'port_filter': False} if bound else {}
    each['status'] = 'ACTIVE' if bound else 'DOWN'


def give_addresses(each, subnets, others):
    """Give one the addresses that it asks for.

    :param subnets: those of its network
    :param others: the other ports of its network
    :raises rest.Refused: if it cannot have one
    """
    taken = {address['ip_address'] for other in others
             for address in other['fixed_ips']}
    for address in each['fixed_ips']:
        _give(address, subnets, taken)
        taken.add(address['ip_address'])


def _give(address, subnets, taken):
    subnets = [each for each in subnets
               if address.get('subnet_id') in (None, each['id'])]
    if 'ip_address' in address:
        wanted = ipaddress.ip_address(address['ip_address'])
        if str(wanted) in taken:
            raise rest.Refused(409, '%s is taken.' % wanted,
                               'IpAddressAlreadyAllocated')
        subnets = [each for each in subnets
                   if wanted in ipaddress.ip_network(each['cidr'])]
    if not subnets:
        raise rest.Refused(400, 'No subnet has it.', 'InvalidIpForNetwork')
    address['subnet_id'] = subnets[0]['id']
    # NOTE: the first is that of the router.
    hosts = ipaddress.ip_network(subnets[0]['cidr']).hosts()
    address.setdefault('ip_address', next(
        str(host) for host in itertools.islice(hosts, 1, None)
        if str(host) not in taken))
