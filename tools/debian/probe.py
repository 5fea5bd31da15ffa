#!/usr/bin/python3
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

"""Start the services as Debian does, inside of a Debian 13.

    tools/debian/probe.py {applied|refused}

They run as the user nova, by Debian's own scripts; nova-api by uWSGI. What is
found is printed, and whether it is as expected of the state of the series.
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

AS_NOVA = ['setpriv', '--reuid', 'nova', '--regid', 'nova', '--init-groups']
URL = 'http://127.0.0.1:8774/'
APPLIED = re.compile('nova-mem-encryption .* applied .* wraps\\)')
NOT_THE_ONE = 'is not the one of Nova'
CLONE_NEWNET = 0x40000000  # of sched.h
PRIVSEP = """
from nova import config
from nova.privsep import path
config.parse_args(['nova-compute', '--config-file=/etc/nova/nova.conf'])
print(path.last_bytes('/etc/shadow', 1))
"""
CONF = """
[DEFAULT]
transport_url = fake://
[api_database]
connection = sqlite:////var/lib/nova/api.sqlite
[database]
connection = sqlite:////var/lib/nova/cell.sqlite
[placement]
auth_type = none
endpoint_override = http://127.0.0.1:1/
"""
UWSGI = '/etc/nova/nova-api-uwsgi.ini'
problems = []


def expect(what, ok):
    """Print whether something is as it should be."""
    print('%-7s%s' % ('ok' if ok else 'FAILED', what), flush=True)
    if not ok:
        problems.append(what)


def run(*words, seconds=60):
    """Run a command as nova; return its exit status and what it said."""
    try:
        done = subprocess.run(
            [*AS_NOVA, *words], cwd='/var/lib/nova', text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, 'it goes on'
    return done.returncode, done.stdout


def ask(path, process):
    """Return the status with which nova-api answers, None if it has ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(URL + path) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            time.sleep(0.3)
    return None


def start_api():
    """Start nova-api by the script that its unit has."""
    return subprocess.Popen([*AS_NOVA, '/etc/init.d/nova-api',
                             'systemd-start'], cwd='/var/lib/nova')


def end(process):
    process.terminate()
    process.wait()


def probe_api(applied):
    """See how nova-api answers under uWSGI."""
    process = start_api()
    try:
        if applied:
            expect('nova-api under uWSGI answers / with its versions',
                   ask('', process) == 200)
            expect('and /v2.1/servers with 401, as nobody has logged in',
                   ask('v2.1/servers', process) == 401)
        else:
            expect('nova-api under uWSGI answers 500', ask(
                '', process) == 500)
    finally:
        end(process)
    if not applied:
        with open(UWSGI) as f:
            text = f.read()
        # As the page "Installation" has it
        with open(UWSGI, 'w') as f:
            f.write(re.sub('(?m)^lazy-apps = true', 'lazy-apps = false', text)
                    .replace('[uwsgi]', '[uwsgi]\nneed-app = true', 1))
        process = start_api()
        try:
            code = process.wait(60)
        except subprocess.TimeoutExpired:
            code = None
            end(process)
        expect('with need-app and without lazy-apps it ends, with exit status '
               '%s' % code, code)


def main(state):
    """Probe all; return the exit status."""
    applied = state == 'applied'
    # No port of the machine is used.
    ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET)
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    kept = tempfile.mkdtemp()
    for path in ('/etc/nova/nova.conf', UWSGI):
        shutil.copy2(path, kept)
    with open('/etc/nova/nova.conf', 'a') as f:
        f.write(CONF)
    os.makedirs('/run/nova', exist_ok=True)
    shutil.chown('/run/nova', 'nova', 'nova')
    try:
        if applied:
            for words in (('api_db', 'sync'), ('db', 'sync')):
                code, said = run('nova-manage', *words)
                expect('nova-manage ' + ' '.join(words), code == 0)
            code, said = run('python3', '-c', PRIVSEP)
            expect('privsep reads a file of root over sudo, as user nova: %s'
                   % said.strip().splitlines()[-1:], code == 0)
            for name in ('conductor', 'scheduler'):
                code, said = run('/etc/init.d/nova-' + name, 'systemd-start',
                                 seconds=20)
                with open('/var/log/nova/nova-%s.log' % name) as f:
                    lines = APPLIED.findall(f.read())
                expect('nova-%s goes on, and logs: %s' % (name, lines),
                       code is None and len(lines) == 1)
        else:
            for name in ('compute', 'conductor', 'scheduler'):
                code, said = run('/etc/init.d/nova-' + name, 'systemd-start')
                expect('nova-%s ends with exit status %s, and names the '
                       'function' % (name, code),
                       code == 1 and NOT_THE_ONE in said)
        probe_api(applied)
    finally:
        shutil.copy2(os.path.join(kept, 'nova.conf'), '/etc/nova/nova.conf')
        shutil.copy2(os.path.join(kept, os.path.basename(UWSGI)), UWSGI)
    print('Not as expected: %s' % '; '.join(problems) if problems
          else 'All as expected.')
    return int(bool(problems))


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
