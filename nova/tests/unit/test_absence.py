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

"""Test that nova-compute does not run where the series should be and is not.

Real processes of nova-compute, up to where they load their driver. Before that
they ask a conductor whether it is there, and Placement for its version.
"""
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time

import testtools

from nova.tests.fixtures import environment
from nova.tests.fixtures import patched
from nova_mem_encryption.engine import tree

PROJECT = tree.root()
BUS = os.path.join(PROJECT, 'tools', 'cloud', 'filesystem_bus.py')
LINE = 'mem_encryption.LibvirtDriver'
NOVAS = 'libvirt.LibvirtDriver'
CONF = '''\
[DEFAULT]
host = here
compute_driver = %(driver)s
transport_url = folder://%(bus)s
state_path = %(folder)s/state
[oslo_concurrency]
lock_path = %(folder)s/state
[placement]
auth_type = none
endpoint_override = http://127.0.0.1:%(port)d
'''
# What they ask, by Nova's own code and as Placement says it
CONTROL_PLANE = '''\
import nova.monkey_patch
from http import server
import json, os, sys
import oslo_messaging
from nova import baserpc, config, rpc

class Placement(server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({'versions': [{
            'id': 'v1.0', 'status': 'CURRENT', 'min_version': '1.0',
            'max_version': '1.39', 'links': [
                {'rel': 'self', 'href': ''}]}]}).encode())

    def log_message(self, *args):
        pass

os.umask(0)
config.parse_args(sys.argv)
conductor = rpc.get_server(
    oslo_messaging.Target(topic='conductor', server='here'),
    [baserpc.BaseRPCAPI('conductor', None)])
conductor.start()
placement = server.HTTPServer(('127.0.0.1', 0), Placement)
print(placement.server_port, flush=True)
placement.serve_forever()
'''
# As pip writes it
NOVA_COMPUTE = '''\
#!%s
import sys
from nova.cmd.compute import main
if __name__ == '__main__':
    sys.exit(main())
'''
# What Nova says where it is missing, as doc/source/troubleshooting.rst has it
MISSING = "ModuleNotFoundError: No module named 'nova.virt.mem_encryption'\n"
# ... and where its libvirt driver is loaded, or wants libvirt, which may not
# be there.
LOADED = ('No provider configs found', "Error: No module named 'libvirt'\n")
SECONDS = 60
AS_NOBODY = ('setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups')


def write_bus(folder):
    """Have Python find the bus in a folder that it looks in."""
    info = os.path.join(folder, 'filesystem_bus-1.dist-info')
    os.makedirs(info, exist_ok=True)
    shutil.copy(BUS, folder)
    for name, text in (
            ('METADATA', 'Metadata-Version: 2.1\nName: filesystem-bus\n'
             'Version: 1\n'),
            ('entry_points.txt', '[oslo.messaging.drivers]\n'
             'folder = filesystem_bus:Driver\n')):
        with open(os.path.join(info, name), 'w') as f:
            f.write(text)


def clean(**variables):
    """Return the environment of a process, without what is ours here."""
    return {**{name: value for name, value in os.environ.items()
               if not name.startswith(('PYTHON', 'NOVA_MEM_'))}, **variables}


@testtools.skipUnless(os.path.isfile(BUS), 'the installed package has no '
                      'tools/cloud, a checkout has')
class AbsenceTestCase(testtools.TestCase):

    port = 0  # of Placement

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.chmod(cls.folder, 0o755)
        cls.bus = os.path.join(cls.folder, 'bus')
        old = os.umask(0)
        try:
            for name in ('drafts', 'replies', 'taken'):
                os.makedirs(os.path.join(cls.bus, name))
        finally:
            os.umask(old)
        library = os.path.join(cls.folder, 'library')
        write_bus(library)
        control = subprocess.Popen(
            [sys.executable, '-c', CONTROL_PLANE, '--config-file',
             cls.write_conf(cls.folder, NOVAS)], cwd=cls.folder, text=True,
            stdout=subprocess.PIPE, env=clean(PYTHONPATH=library))
        cls.addClassCleanup(cls.end, control)
        cls.port = int(control.stdout.readline())

    @classmethod
    def end(cls, process):
        process.kill()
        process.wait()
        process.stdout.close()

    @classmethod
    def write_conf(cls, folder, driver):
        path = os.path.join(folder, 'nova.conf')
        with open(path, 'w') as f:
            f.write(CONF % {'folder': folder, 'bus': cls.bus,
                            'driver': driver, 'port': cls.port})
        return path

    def make(self, ours=False):
        """Make an environment with Nova; return it."""
        env = self.useFixture(environment.Environment(ours=ours))
        os.chmod(env.path, 0o755)
        state = os.path.join(env.path, 'state')
        os.mkdir(state)
        os.chmod(state, 0o777)
        write_bus(env.site)
        self.write_command(env, env.python)
        return env

    def write_command(self, env, interpreter):
        path = os.path.join(env.path, 'bin', 'nova-compute')
        with open(path, 'w') as f:
            f.write(NOVA_COMPUTE % interpreter)
        os.chmod(path, 0o755)

    def start(self, env, driver=LINE, prefix=(), **variables):
        """Start nova-compute, until it has its driver or ends.

        :param prefix: the command that starts it, if not this process
        :returns: what it said, and its exit status, None if it runs on
        """
        process = subprocess.Popen(
            [*prefix, os.path.join(env.path, 'bin', 'nova-compute'),
             '--config-file', self.write_conf(env.path, driver)],
            cwd=env.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=clean(**variables))
        self.addCleanup(self.end, process)
        said, end = '', time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(end - time.monotonic()):
                text = os.read(process.stdout.fileno(), 1 << 16).decode()
                said += text
                if any(words in said for words in LOADED):
                    return said, None
                if not text:
                    return said, process.wait(SECONDS)
        self.fail('neither started nor ended:\n' + said)

    def assert_starts(self, env, **kwargs):
        said, code = self.start(env, **kwargs)
        self.assertIsNone(code, said)
        return said

    def assert_ends(self, env, **kwargs):
        """Assert that it ends with the error that names what is missing."""
        said, code = self.start(env, **kwargs)
        self.assertEqual(1, code, said)
        self.assertIn('Unable to load the virtualization driver', said)
        self.assertIn(MISSING, said)


class LineTest(AbsenceTestCase):
    """With the series, and without the line."""

    def test_with_the_series_it_starts(self):
        said = self.assert_starts(self.make(ours=True))
        self.assertIn("Loading compute driver '%s'" % LINE, said)

    def test_without_the_line_absence_is_silent(self):
        said = self.assert_starts(self.make(), driver=NOVAS)
        self.assertNotIn('mem_encryption', said)

    def test_the_driver_is_novas(self):
        done = self.make(ours=True).run('-c', '''
from nova.virt import mem_encryption
from nova.virt.libvirt import driver
print(mem_encryption.LibvirtDriver is driver.LibvirtDriver)
''')
        self.assertEqual(('True\n', ''), (done.stdout, done.stderr))

    def test_beside_nova_32_it_starts_and_nothing_is_applied(self):
        env = self.make(ours=True)
        # So that the version decides, and not the files alone
        env.change('nova.service', 'setup_profiler')
        env.release('32.0.0')
        said = self.assert_starts(env)
        self.assertEqual(1, said.count('has SEV-ES itself'))
        self.assertNotIn('applied', said)

    def test_a_nova_that_carries_the_series_needs_no_package(self):
        env = self.make()
        patched.put(env, patched.texts())
        said = self.assert_starts(env)
        self.assertIn("Loading compute driver '%s'" % LINE, said)

    def test_refused_it_ends_and_says_why(self):
        env = self.make(ours=True)
        env.change('nova.service', 'setup_profiler')
        said, code = self.start(env)
        self.assertEqual(1, code, said)
        self.assertIn('nova.service: setup_profiler is not the one', said)

    def test_a_nova_that_has_such_a_module_is_refused(self):
        env = self.make(ours=True)
        env.write('nova/virt/mem_encryption.py', 'LibvirtDriver = None\n')
        reason = 'nova.virt: there is a mem_encryption already'
        self.assertIn(reason, env.command('status').stdout)
        said, code = self.start(env)
        self.assertEqual(1, code, said)
        self.assertIn('Misfit: nova-mem-encryption: %s.\n' % reason, said)


class AbsentTest(AbsenceTestCase):
    """A way each in which the series can be absent."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        checkout = os.path.join(cls.folder, 'checkout')
        shutil.copytree(PROJECT, checkout, ignore=shutil.ignore_patterns(
            '.*_cache', '.git', '.hypothesis', '.stestr', '.tox', '.venv',
            '*.egg-info', '__pycache__', 'build', 'dist'))
        built = subprocess.run(
            [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-index',
             '--no-build-isolation', '-w', cls.folder, checkout], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert not built.returncode, built.stdout
        cls.wheel, = [os.path.join(cls.folder, name)
                      for name in os.listdir(cls.folder)
                      if name.endswith('.whl')]
        os.chmod(cls.wheel, 0o644)

    def pip(self, env, *arguments, umask=0o022):
        done = subprocess.run(
            [env.python, '-m', 'pip', '--disable-pip-version-check',
             *arguments], cwd=env.path, env=clean(), text=True,
            preexec_fn=lambda: os.umask(umask),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(0, done.returncode, done.stdout)

    def install(self, env, *options, **kwargs):
        self.pip(env, 'install', '--no-deps', '--no-index', *options,
                 self.wheel, **kwargs)

    def test_it_is_gone(self):
        env = self.make()
        self.install(env)
        self.assert_starts(env)
        self.pip(env, 'uninstall', '--yes', 'nova-mem-encryption')
        self.assert_ends(env)

    def test_its_user_cannot_read_it(self):
        env = self.make_for_nobody()
        self.install(env, umask=0o077)
        self.assert_starts(env)
        self.assert_ends(env, prefix=AS_NOBODY)

    def test_its_user_cannot_read_a_part_of_it(self):
        env = self.make_for_nobody()
        self.install(env)
        self.assert_starts(env, prefix=AS_NOBODY)
        folder = os.path.join(env.site, 'nova_mem_encryption/nova/scheduler')
        os.chmod(folder, 0o700)
        said, code = self.start(env, prefix=AS_NOBODY)
        self.assertEqual(1, code, said)
        self.assertIn('Misfit: nova-mem-encryption: %s cannot be read: '
                      'Permission denied.\n' % folder, said)

    def make_for_nobody(self):
        """Make an environment whose Python nobody can run."""
        if os.geteuid():
            self.skipTest('only root can run it as another user')
        if shutil.which('setpriv') is None:
            self.skipTest('there is no command setpriv')
        env = self.make()
        if subprocess.run([*AS_NOBODY, env.python, '-c', 'import nova'],
                          env=clean(), cwd='/').returncode:
            self.skipTest('nobody cannot read the environment of the tests')
        return env

    def test_it_is_found_by_pythonpath(self):
        self.assert_ends(self.make(), PYTHONPATH=PROJECT)

    def test_it_is_installed_by_target(self):
        env = self.make()
        target = os.path.join(env.path, 'target')
        self.install(env, '--target', target)
        self.assertIn('nova_mem_encryption.pth', os.listdir(target))
        self.assert_ends(env)
        self.assert_ends(env, PYTHONPATH=target)

    def test_python_runs_without_site(self):
        env = self.make(ours=True)
        self.write_command(env, env.python + ' -S')
        self.assert_ends(env, PYTHONPATH=env.site)

    def test_it_is_in_another_environment(self):
        env, other = self.make(ours=True), self.make()
        self.assert_starts(env)
        self.write_command(env, other.python)
        self.assert_ends(env)

    def test_the_environment_was_made_anew(self):
        """As with an image that is rebuilt, or another Python."""
        env = self.make()
        self.install(env)
        self.assert_starts(env)
        new = self.make()
        shutil.rmtree(env.site)
        shutil.copytree(new.site, env.site, symlinks=True)
        self.assert_ends(env)

    def test_it_is_switched_off(self):
        self.assert_ends(self.make(ours=True), NOVA_MEM_ENCRYPTION='off')
