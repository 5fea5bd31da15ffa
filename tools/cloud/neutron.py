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

"""Stand in for Neutron: networks without anything in them, and ports.

A port that is bound to a host is a tap device there, and ends in nothing.
"""
import ipaddress
import itertools
import json
import uuid

import keystone
import ports
import rest

EXTENSIONS = ('binding', 'external-net', 'port-security', 'quotas', 'router',
              'security-group')
RESOURCES = ('floatingip', 'network', 'port', 'router', 'security_group',
             'security_group_rule', 'subnet')
# How lists are to be shown, and not what is to be in them
SHOWN_AS = ('fields', 'limit', 'marker', 'page_reverse', 'sort_dir',
            'sort_key')
DEFAULT_GROUP = 'default'
# What those of a kind have, besides what whoever creates them says
EVERY = {'name': '', 'description': '', 'admin_state_up': True, 'tags': [],
         'status': 'ACTIVE', 'created_at': '2025-01-01T00:00:00Z',
         'updated_at': '2025-01-01T00:00:00Z', 'revision_number': 1}
OF_KIND = {
    'networks': {'shared': False, 'router:external': False, 'mtu': 1450,
                 'port_security_enabled': True, 'subnets': [],
                 'availability_zones': []},
    'subnets': {'enable_dhcp': True, 'dns_nameservers': [],
                'host_routes': []},
    'routers': {'external_gateway_info': None},
    'ports': {'device_id': '', 'device_owner': '', 'binding:host_id': '',
              'binding:profile': {}, 'binding:vnic_type': 'normal',
              'allowed_address_pairs': [], 'extra_dhcp_opts': [],
              'port_security_enabled': True},
    'security_groups': {'shared': False, 'stateful': True},
    'security_group_rules': {
        'direction': 'ingress', 'ethertype': 'IPv4', 'protocol': None,
        'port_range_min': None, 'port_range_max': None,
        'remote_ip_prefix': None, 'remote_group_id': None},
}
# Two rules that have the same of these are one.
RULE = ('security_group_id', *OF_KIND['security_group_rules'])


class Neutron(rest.Service):
    """Keeps what projects have.

    :param identity: a keystone.Keystone, which knows the tokens
    """

    def __init__(self, identity):
        self.identity = identity
        self.url = identity.url.replace('/identity/v3', '/network/v2.0')
        self.collections = {kind: rest.Collection(kind) for kind in OF_KIND}
        self.numbers = itertools.count(1)

    @staticmethod
    def get_error(error):
        return {'NeutronError': {'type': error.kind, 'detail': '',
                                 'message': error.message}}

    def show_version(self, request):
        return 200, {'versions': [dict(
            keystone.VERSION, id='v2.0', status='CURRENT',
            links=[{'rel': 'self', 'href': self.url}])]}

    def list_extensions(self, request):
        return 200, {'extensions': [
            {'alias': alias, 'name': alias, 'description': '', 'links': [],
             'updated': '2025-01-01T00:00:00-00:00'} for alias in EXTENSIONS]}

    def show_quota(self, request, project):
        return 200, {'quota': dict.fromkeys(RESOURCES, -1)}

    def list_none(self, request, kind):
        """Answer for what there is nothing of."""
        return 200, {_as_key(kind): []}

    def change_interface(self, request, router, act):
        self._get('routers', router, request)
        return 200, {**request.body, 'id': router,
                     'port_id': str(uuid.uuid4())}

    # -- of any kind -------------------------------------------------------

    def list_all(self, request, kind):
        kind, project = _as_key(kind), self._get_project(request)
        if kind == 'security_groups':
            self._need_default(project)
        return 200, {kind: [
            self._show(kind, each) for each in self.collections[kind].values()
            if self._may_see(kind, each, request) and all(
                _matches(each, name, values)
                for name, values in request.query.items())]}

    def show(self, request, kind, number):
        kind = _as_key(kind)
        return 200, {self.collections[kind].one: self._show(
            kind, self._get(kind, number, request))}

    def create(self, request, kind):
        kind = _as_key(kind)
        one = self.collections[kind].one
        project = self._get_project(request)
        if kind in request.body:  # a list, as Nova sends rules
            return 201, {kind: [self._show(kind, self._create(
                kind, each, project)) for each in request.body[kind]]}
        return 201, {one: self._show(kind, self._create(
            kind, request.body[one], project))}

    def update(self, request, kind, number):
        kind = _as_key(kind)
        each = self._get(kind, number, request)
        each.update(request.body[self.collections[kind].one])
        if kind == 'ports':
            self._place(each)
        return self.show(request, kind, number)

    def delete(self, request, kind, number):
        kind = _as_key(kind)
        each = self._get(kind, number, request)
        if kind == 'networks':
            if self._having('ports', network_id=number):
                raise rest.Refused(409, 'It has ports.', 'NetworkInUse')
            self._drop('subnets', network_id=number)
        elif kind == 'subnets':
            self.collections['networks'][each['network_id']][
                'subnets'].remove(number)
        elif kind == 'security_groups':
            if each['name'] == DEFAULT_GROUP and not self._is_admin(request):
                raise rest.Refused(409, 'It is the default.',
                                   'SecurityGroupCannotRemoveDefault')
            if any(number in port['security_groups']
                   for port in self.collections['ports'].values()):
                raise rest.Refused(409, 'It is in use.',
                                   'SecurityGroupInUse')
            self._drop('security_group_rules', security_group_id=number)
            self._drop('security_group_rules', remote_group_id=number)
        del self.collections[kind][number]
        return 204, b''

    # -- parts -------------------------------------------------------------

    def _get_project(self, request):
        return self.identity.get_token(request.headers)['token'][
            'project']['id']

    def _is_admin(self, request):
        return any(role['name'] in ('admin', 'service') for role in
                   self.identity.get_token(request.headers)['token']['roles'])

    def _may_see(self, kind, each, request):
        return (self._is_admin(request) or kind == 'subnets' or
                each['project_id'] == self._get_project(request) or
                each.get('shared', False))

    def _get(self, kind, number, request):
        each = self.collections[kind].get_one(number)
        if not self._may_see(kind, each, request):
            raise rest.Refused(404, 'Could not find %s.' % number)
        return each

    def _show(self, kind, each):
        if kind == 'security_groups':
            return dict(each, security_group_rules=self._having(
                'security_group_rules', security_group_id=each['id']))
        return each

    def _having(self, kind, **values):
        """Return those of a kind that have these values."""
        return [each for each in self.collections[kind].values()
                if values.items() <= {
                    name: each.get(name) for name in values}.items()]

    def _drop(self, kind, **values):
        for each in self._having(kind, **values):
            del self.collections[kind][each['id']]

    def _create(self, kind, wanted, project):
        each = {**EVERY, **OF_KIND[kind], **wanted, 'id': str(uuid.uuid4())}
        each = json.loads(json.dumps(each))  # no list of it is another's
        project = wanted.get('project_id', wanted.get('tenant_id', project))
        each['project_id'] = each['tenant_id'] = project
        if kind == 'subnets':
            self._add_subnet(each)
        elif kind == 'ports':
            ports.name(each, self.identity.config['port'], next(self.numbers))
            if each.get('security_groups') is None:
                each['security_groups'] = [self._need_default(project)]
            network = self.collections['networks'].get_one(each['network_id'])
            each.setdefault('fixed_ips', [
                {'subnet_id': subnet} for subnet in network['subnets'][:1]])
            self._place(each)
        elif kind == 'security_group_rules':
            self.collections['security_groups'].get_one(
                each['security_group_id'])
            if self._having(kind, **{name: each[name] for name in RULE}):
                raise rest.Refused(409, 'There is such a rule.',
                                   'SecurityGroupRuleExists')
        self.collections[kind][each['id']] = each
        return each

    def _need_default(self, project):
        """Return the ID of a project's own security group."""
        wanted = {'name': DEFAULT_GROUP, 'project_id': project}
        found = self._having('security_groups', **wanted)
        return (found or [self._create('security_groups', wanted, project)]
                )[0]['id']

    def _add_subnet(self, subnet):
        cidr = ipaddress.ip_network(subnet['cidr'])
        subnet['ip_version'] = cidr.version
        subnet.setdefault('gateway_ip', str(cidr[1]))
        subnet.setdefault('allocation_pools', [
            {'start': str(cidr[2]), 'end': str(cidr[-2])}])
        self.collections['networks'].get_one(subnet['network_id'])[
            'subnets'].append(subnet['id'])

    def _place(self, port):
        """Give a port its addresses, and a device on the host it has."""
        others = self._having('ports', network_id=port['network_id'])
        ports.give_addresses(
            port, self._having('subnets', network_id=port['network_id']),
            [each for each in others if each is not port])
        ports.bind(port)

    KINDS = '/v2.0/(%s)' % '|'.join(OF_KIND).replace('_', '-')
    ROUTES = [
        ('GET', '(?:/v2.0)?', show_version),
        ('GET', '/v2.0/extensions', list_extensions),
        ('GET', '/v2.0/quotas/([^/]+)', show_quota),
        ('PUT', '/v2.0/routers/([^/]+)/(add|remove)_router_interface',
         change_interface),
        ('GET', KINDS, list_all),
        ('POST', KINDS, create),
        ('GET', KINDS + '/([^/]+)', show),
        ('PUT', KINDS + '/([^/]+)', update),
        ('DELETE', KINDS + '/([^/]+)', delete),
        ('GET', '/v2.0/([a-z-]+)', list_none),
    ]


def _as_key(kind):
    """Return a part of a path as it is called in a body."""
    return kind.replace('-', '_')


def _matches(each, name, values):
    """Tell whether a query of a list wants one."""
    if name == 'fixed_ips':
        has = {value for address in each['fixed_ips']
               for value in address.values()}
        return any(value.partition('=')[2] in has for value in values)
    if name in SHOWN_AS:
        return True
    # What it does not have, it does not have switched on.
    found = str(each.get(name, False)).lower()
    return found in map(str.lower, values)
