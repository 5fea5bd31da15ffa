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

"""Stand in for Keystone, Neutron and systemd, and stand before Placement.

As a program, with a JSON file as its argument, this is Keystone under
/identity and Neutron under /network: see Keystone for what the file has.
"""
import http.client
from http import server
import json
import sys
import threading

import keystone
import neutron
import rest

PROXY_TIMEOUT = 60


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


class _Systemd(rest.Handler):

    def do_POST(self):
        _, node, *words = self.path.split('/')
        try:
            self.answer(200, self.do(node, *words))
        except Exception as e:
            self.answer(500, '%s: %s' % (type(e).__name__, e))


class _PlacementProxy(rest.Handler):
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
        config = json.load(f)
    identity = keystone.Keystone(config)
    rest.serve(config['port'], {
        'identity': identity, 'network': neutron.Neutron(identity)})


if __name__ == '__main__':
    main(sys.argv[1])
