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

"""Stand in for Keystone: projects, users, roles, and tokens."""
import secrets
import uuid

import rest

VERSION = {'status': 'stable', 'updated': '2025-01-01T00:00:00Z'}
DOMAIN = {'id': 'default', 'name': 'Default'}
PROJECT = 'cloud'
# Whoever has a role has these, too.
IMPLIED = {'admin': ('manager', 'member', 'reader'),
           'manager': ('member', 'reader'), 'member': ('reader',)}
ROLES = ('admin', 'manager', 'member', 'reader', 'service')
INTERFACES = ('public', 'internal', 'admin')


class Keystone(rest.Service):
    """Knows the users of the cloud, and those that they create.

    :param config: a dict: port, password, catalog (type to URL), and users
        (name to roles in the project PROJECT)
    """

    def __init__(self, config):
        self.config = config
        self.url = 'http://127.0.0.1:%d/identity/v3' % config['port']
        self.tokens = {}
        self.grants = set()  # of project, user, role
        self.collections = {kind: rest.Collection(kind) for kind in (
            'domains', 'projects', 'users', 'roles')}
        self._add('domains', DOMAIN['name'], DOMAIN['id'])
        self._add('projects', PROJECT, PROJECT)
        for role in ROLES:
            self._add('roles', role, role)
        for name, roles in config['users'].items():
            self._add('users', name, name, password=config['password'])
            self.grants.update((PROJECT, name, role) for role in roles)

    def get_token(self, headers, name='X-Auth-Token'):
        """Return the token that a header has.

        :raises rest.Refused: if it is none
        """
        if headers.get(name) not in self.tokens:
            raise rest.Refused(401, 'The request you have made requires '
                                    'authentication.')
        return self.tokens[headers[name]]

    @staticmethod
    def get_error(error):
        return {'error': {'code': error.status, 'message': error.message,
                          'title': error.kind}}

    def show_version(self, request):
        version = dict(VERSION, id='v3.14', links=[
            {'rel': 'self', 'href': self.url + '/'}])
        return 200, {'version': version, 'versions': {'values': [version]}}

    # -- tokens ------------------------------------------------------------

    def log_in(self, request):
        auth = request.body['auth']
        user = self._identify(auth['identity'])
        token = {
            'methods': auth['identity']['methods'],
            'issued_at': '2025-01-01T00:00:00.000000Z',
            'expires_at': '2099-01-01T00:00:00.000000Z',
            'user': {'id': user['id'], 'name': user['name'],
                     'domain': DOMAIN, 'password_expires_at': None}}
        scope = auth.get('scope')
        if isinstance(scope, dict) and 'project' in scope:
            token.update(self._scope(user, scope['project']))
        number = secrets.token_urlsafe()
        self.tokens[number] = {'token': token}
        return 201, self.tokens[number], [('X-Subject-Token', number)]

    def show_token(self, request):
        self.get_token(request.headers)
        try:
            return 200, self.get_token(request.headers, 'X-Subject-Token')
        except rest.Refused as e:
            raise rest.Refused(404, 'Could not find token.') from e

    def delete_token(self, request):
        self.show_token(request)
        del self.tokens[request.headers['X-Subject-Token']]
        return 204, b''

    def _identify(self, identity):
        """Return the user who logs in, by password or token."""
        if 'password' not in identity:
            token = self.get_token({'id': identity['token']['id']}, 'id')
            return self.collections['users'].get_one(
                token['token']['user']['id'])
        given = identity['password']['user']
        user = self._find('users', given)
        if user is None or given['password'] != user.get(
                'password'):
            raise rest.Refused(401, 'The request you have made requires '
                                    'authentication.')
        return user

    def _scope(self, user, wanted):
        """Return what a token has for a project."""
        project = self._find('projects', wanted)
        roles = {role for number, name, role in self.grants
                 if project and (number, name) == (project['id'], user['id'])}
        if not roles:
            raise rest.Refused(401, '%s has no role there.' % user['name'])
        names = {self.collections['roles'][role]['name'] for role in roles}
        names.update(*(IMPLIED.get(name, ()) for name in names))
        return {
            'project': {'id': project['id'], 'name': project['name'],
                        'domain': DOMAIN},
            'is_domain': False,
            'roles': [_named(name) for name in sorted(names)],
            'catalog': [dict(_named(kind), type=kind, endpoints=[
                {'id': kind + interface, 'url': url, 'interface': interface,
                 'region': 'cloud', 'region_id': 'cloud'}
                for interface in INTERFACES])
                for kind, url in self.config['catalog'].items()]}

    # -- the rest ----------------------------------------------------------

    def list_all(self, request, kind):
        self.get_token(request.headers)
        return 200, {'links': {}, kind: [
            _show(each) for each in self.collections[kind].values()
            if all(str(each[name]).lower() in map(str.lower, values)
                   for name, values in request.query.items()
                   if name in each)]}

    def create(self, request, kind):
        self.get_token(request.headers)
        one = self.collections[kind].one
        body = request.body[one]
        if self._find(kind, {'name': body['name']}):
            raise rest.Refused(409, 'There is a %s %s.' % (one, body['name']))
        return 201, {one: _show(self._add(kind, **body))}

    def show(self, request, kind, number):
        self.get_token(request.headers)
        collection = self.collections[kind]
        return 200, {collection.one: _show(collection.get_one(number))}

    def update(self, request, kind, number):
        collection = self.collections[kind]
        self.get_token(request.headers)
        collection.get_one(number).update(request.body[collection.one])
        return self.show(request, kind, number)

    def delete(self, request, kind, number):
        self.get_token(request.headers)
        self.collections[kind].get_one(number)
        del self.collections[kind][number]
        self.grants = {grant for grant in self.grants if number not in grant}
        return 204, b''

    def list_roles(self, request, project, user):
        self.get_token(request.headers)
        return 200, {'links': {}, 'roles': [
            self.collections['roles'][role]
            for number, name, role in sorted(self.grants)
            if (number, name) == (project, user)]}

    def change_role(self, request, *grant):
        """Grant a role to a user on a project, revoke it, or ask for it."""
        self.get_token(request.headers)
        for kind, number in zip(('projects', 'users', 'roles'), grant):
            self.collections[kind].get_one(number)
        if request.method == 'PUT':
            self.grants.add(grant)
        elif grant not in self.grants:
            raise rest.Refused(404, 'Could not find role assignment.')
        elif request.method == 'DELETE':
            self.grants.remove(grant)
        return 204, b''

    def _find(self, kind, wanted):
        """Return who has an ID or, without one, a name; or None."""
        name = 'id' if 'id' in wanted else 'name'
        return next((each for each in self.collections[kind].values()
                     if each[name] == wanted.get(name)), None)

    def _add(self, kind, name, number=None, **values):
        number = number or uuid.uuid4().hex
        one = {'id': number, 'name': name, 'enabled': True, 'links': {},
               'description': '', **values}
        if kind in ('projects', 'users'):
            one['domain_id'] = DOMAIN['id']
        self.collections[kind][number] = one
        return one

    KINDS = '/v3/(projects|users|roles|domains)'
    GRANT = '/v3/projects/([^/]+)/users/([^/]+)/roles'
    ROUTES = [
        ('GET', '(?:/v3)?', show_version),
        ('POST', '/v3/auth/tokens', log_in),
        ('GET HEAD', '/v3/auth/tokens', show_token),
        ('DELETE', '/v3/auth/tokens', delete_token),
        ('GET', GRANT, list_roles),
        ('PUT HEAD GET DELETE', GRANT + '/([^/]+)', change_role),
        ('GET', KINDS, list_all),
        ('POST', KINDS, create),
        ('GET', KINDS + '/([^/]+)', show),
        ('PATCH', KINDS + '/([^/]+)', update),
        ('DELETE', KINDS + '/([^/]+)', delete),
    ]


def _named(name):
    return {'id': name, 'name': name}


def _show(one):
    return {name: value for name, value in one.items() if name != 'password'}
