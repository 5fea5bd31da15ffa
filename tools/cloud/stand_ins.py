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

"""Stand in for Keystone and Neutron, and stand between Nova and Placement.

As a program, with a JSON file of port, password, users and catalog as its
argument, this is Keystone, which knows these users and their one password,
and Neutron, which has nothing in it.
"""
import http.client
from http import server
import json
import re
import secrets
import sys
import threading

VERSION = {'status': 'stable', 'updated': '2025-01-01T00:00:00Z'}
PROXY_TIMEOUT = 60


class _Handler(server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def body(self):
        return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def answer(self, status, body, headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = [*headers, ('Content-Type', 'application/json')]
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        if status != 204:
            self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Write nothing; the services log what they ask for."""


class StandIns(_Handler):
    """Keystone under /identity, Neutron under /network."""

    config = {}
    tokens = {}

    def do_GET(self):
        path = self.path.partition('?')[0].rstrip('/')
        if path.startswith('/network'):
            return self.neutron(path)
        if path in ('/identity', '/identity/v3'):
            v3 = dict(VERSION, id='v3.14', links=[
                {'rel': 'self', 'href': self.url('/identity/v3/')}])
            return self.answer(200, {
                'version': v3, 'versions': {'values': [v3]}})
        if path == '/identity/v3/auth/tokens' and self.known(
                'X-Auth-Token') and self.known('X-Subject-Token'):
            return self.answer(200, self.known('X-Subject-Token'))
        return self.answer(404, {'error': {'code': 404, 'message': path}})

    def do_POST(self):
        body = self.body()
        if self.path.rstrip('/') != '/identity/v3/auth/tokens':
            return self.answer(404, {'error': {'code': 404}})
        user = json.loads(body)['auth']['identity']['password']['user']
        roles = self.config['users'].get(user['name'])
        if roles is None or user['password'] != self.config['password']:
            return self.answer(401, {'error': {'code': 401}})
        token = secrets.token_urlsafe()
        self.tokens[token] = {'token': {
            'methods': ['password'],
            'issued_at': '2025-01-01T00:00:00.000000Z',
            'expires_at': '2099-01-01T00:00:00.000000Z',
            'user': dict(_named(user['name']), domain=_named('default')),
            'project': dict(_named('cloud'), domain=_named('default')),
            'roles': [_named(role) for role in roles],
            'catalog': [dict(_named(kind), type=kind, endpoints=[
                dict(_named(kind), url=url, interface=interface,
                     region='cloud', region_id='cloud')
                for interface in ('public', 'internal', 'admin')])
                for kind, url in self.config['catalog'].items()]}}
        return self.answer(201, self.tokens[token],
                           [('X-Subject-Token', token)])

    def known(self, header):
        return self.tokens.get(self.headers.get(header))

    def neutron(self, path):
        # NOTE: Nova asks for ports even of servers without networks.
        if path in ('/network', '/network/v2.0'):
            return self.answer(200, {'versions': [dict(
                VERSION, id='v2.0', status='CURRENT', links=[
                    {'rel': 'self', 'href': self.url('/network/v2.0')}])]})
        collection = re.fullmatch('/network/v2.0/([a-z-]+)', path)
        if collection:
            return self.answer(
                200, {collection.group(1).replace('-', '_'): []})
        return self.answer(404, {'error': {'code': 404, 'message': path}})

    def url(self, path):
        return 'http://127.0.0.1:%d%s' % (self.config['port'], path)


def _named(name):
    return {'id': name, 'name': name}


class Proxy:
    """Passes on what one nova-compute asks of Placement.

    It can hold the next POST /reshaper, and then drop it: Placement has not
    seen the request (BEFORE), or nova-compute has not seen the answer (AFTER).
    """

    BEFORE, AFTER = 'with the request held', 'with the answer held'

    def __init__(self, placement_port):
        self.placement_port = placement_port
        self.reshapes = []  # what Placement answered, None if it was not asked
        self.requests = []  # as 'POST /reshaper'
        self._hold = None
        self._held = threading.Event()
        self._go = threading.Event()
        handler = type('_PlacementProxy', (_PlacementProxy,), {'proxy': self})
        self._server = server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self.url = 'http://127.0.0.1:%d' % self._server.server_port
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()

    def hold(self, when):
        """Hold the next POST /reshaper.

        :param when: BEFORE or AFTER
        """
        self._held.clear()
        self._go.clear()
        self._hold = when

    def wait(self, seconds):
        """Wait until a request is held.

        :returns: True; False if there was none in time
        """
        return self._held.wait(seconds)

    def drop(self):
        """End what is held: it is neither passed on nor answered."""
        self._go.set()

    def close(self):
        self._go.set()
        self._server.shutdown()
        self._server.server_close()

    def held(self, when):
        """Tell whether a request was held here, after it is dropped."""
        if self._hold != when:
            return False
        self._held.set()
        self._go.wait()
        self._hold = None
        return True


class Systemd:
    """Does what systemctl of the nodes asks for.

    :param do: called with the name of a node and the words of systemctl;
        returns its exit status
    """

    def __init__(self, do):
        handler = type('_Systemd', (_Systemd,), {'do': staticmethod(do)})
        self._server = server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self.url = 'http://127.0.0.1:%d' % self._server.server_port
        threading.Thread(target=self._server.serve_forever,
                         daemon=True).start()


class _Systemd(_Handler):

    def do_POST(self):
        _, node, *words = self.path.split('/')
        try:
            self.answer(200, self.do(node, *words))
        except Exception as e:
            self.answer(500, '%s: %s' % (type(e).__name__, e))


class _PlacementProxy(_Handler):
    proxy = None

    def pass_on(self):
        body = self.body()
        reshape = self.command == 'POST' and self.path == '/reshaper'
        self.proxy.requests.append('%s %s' % (self.command, self.path))
        if reshape:
            self.proxy.reshapes.append(None)
            if self.proxy.held(Proxy.BEFORE):
                self.close_connection = True
                return
        placement = http.client.HTTPConnection(
            '127.0.0.1', self.proxy.placement_port, timeout=PROXY_TIMEOUT)
        try:
            placement.request(self.command, self.path, body, {
                name: value for name, value in self.headers.items()
                if name.lower() not in ('host', 'connection')})
            answer = placement.getresponse()
            content = answer.read()
        finally:
            placement.close()
        if reshape:
            self.proxy.reshapes[-1] = answer.status
            if self.proxy.held(Proxy.AFTER):
                self.close_connection = True
                return
        self.answer(answer.status, content, [
            header for header in answer.getheaders() if header[0].lower()
            not in ('content-length', 'connection', 'date', 'server')])

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = pass_on


def main(path):
    with open(path, encoding='utf-8') as f:
        StandIns.config = json.load(f)
    server.ThreadingHTTPServer(
        ('127.0.0.1', StandIns.config['port']), StandIns).serve_forever()


if __name__ == '__main__':
    main(sys.argv[1])
