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

"""Answer HTTP, and keep what is created by it."""
from http import server
import json
import re
import threading
import typing as ty
from urllib import parse


class Refused(Exception):
    """A request cannot be met.

    :param status: that of HTTP
    :param message: what the user reads
    :param kind: what Neutron calls it
    """

    def __init__(self, status, message, kind='NotFound'):
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind


class Request(ty.NamedTuple):
    """What a service is asked; query has a list for each name."""

    method: str
    path: str  # below that of the service
    query: ty.Mapping[str, ty.List[str]]
    headers: ty.Mapping[str, str]
    body: ty.Any


class Collection(ty.Dict[str, ty.Dict[str, ty.Any]]):
    """What there is of a kind, by ID.

    :param kind: its name, in the plural
    """

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    @property
    def one(self):
        return self.kind[:-1]

    def get_one(self, number):
        """Return one. :raises Refused: if there is none of this ID"""
        if number not in self:
            raise Refused(404, 'Could not find %s %s.' % (self.one, number))
        return self[number]


class Service:
    """A service; ROUTES has methods, a pattern of paths, and a function.

    The function is called with the request and the groups of the pattern, and
    returns status and body, and headers where it has some.
    """

    ROUTES: ty.Sequence[ty.Tuple[str, str, ty.Callable]] = ()

    def answer(self, request):
        """Return what the request is answered.

        :raises Refused: if it cannot be met
        """
        for methods, pattern, function in self.ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and request.method in methods.split():
                return function(self, request, *match.groups())
        raise Refused(404, 'There is no %s %s.' % (
            request.method, request.path))

    @staticmethod
    def get_error(error):
        """Return the body that tells of a Refused."""
        raise NotImplementedError


class Handler(server.BaseHTTPRequestHandler):
    """Answers with bytes, or with JSON."""

    protocol_version = 'HTTP/1.1'
    # Headers and body are written one after the other.
    disable_nagle_algorithm = True

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
        if status != 204 and self.command != 'HEAD':
            self.wfile.write(body)

    def log_message(self, *args):
        """Write nothing; the services log what they ask for."""


class _Services(Handler):

    services: ty.Mapping[str, Service] = {}  # by the first part of the path
    lock = threading.Lock()

    def act(self):
        body = self.body()
        url = parse.urlsplit(self.path)
        name, slash, path = parse.unquote(url.path).strip('/').partition('/')
        if name not in self.services:
            return self.answer(404, {'error': {'code': 404, 'message': name}})
        service = self.services[name]
        try:
            with self.lock:
                answer = service.answer(Request(
                    self.command, slash + path,
                    parse.parse_qs(url.query, keep_blank_values=True),
                    self.headers, json.loads(body or b'null')))
        except Refused as e:
            answer = e.status, service.get_error(e)
        return self.answer(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = act


class _Server(server.ThreadingHTTPServer):
    request_queue_size = 128


def serve(port, services):
    """Serve for ever.

    :param port: of 127.0.0.1
    :param services: a Service each, by the first part of its path
    """
    _Server(('127.0.0.1', port), type(
        '_Services', (_Services,), {'services': services})).serve_forever()
