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

"""Test the command nova-mem-encryption, aside from some of its commands.

Of status see test_overlay_environments, of revert test_revert, of check
test_check, of measure test_measure, of demo the functional test_demo.
"""
import contextlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys

import ddt
import fixtures
import nova
import testtools

import nova_mem_encryption
from nova_mem_encryption import cli

NOVA = os.path.dirname(nova.__file__)

PLACEMENT = """\
[placement]
auth_type = none
endpoint_override = http://127.0.0.1:1/
"""


class CommandTestCase(testtools.TestCase):

    def call(self, *args):
        """Run a command.

        :returns: exit status, and what was written to stdout and stderr
        """
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main(args)
            except SystemExit as e:
                code = e.code
        return code, out.getvalue(), err.getvalue()


@ddt.ddt
class UsageTest(CommandTestCase):

    def test_the_version(self):
        self.assertEqual((0, nova_mem_encryption.__version__ + '\n', ''),
                         self.call('--version'))

    def test_no_command_shows_them(self):
        code, out, err = self.call()
        self.assertEqual((2, ''), (code, out))
        self.assertEqual(self.call('--help')[1], err)

    def test_the_help_names_each_command(self):
        code, out, err = self.call('--help')
        self.assertEqual((0, ''), (code, err))
        for command in ('status', 'check', 'explain', 'upgrade-check',
                        'slots', 'servers', 'measure', 'fits', 'export',
                        'revert', 'demo'):
            self.assertIn(command, out.split())

    def test_the_help_needs_no_docstrings(self):
        for command in ([], ['revert'], ['check']):
            told = {subprocess.run(
                [sys.executable, '-m', 'nova_mem_encryption.cli', *command,
                 '--help'], env={**os.environ, 'PYTHONOPTIMIZE': level},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
                for level in ('', '2')}
            self.assertEqual(1, len(told), told)
            self.assertIn(b'usage: nova-mem-encryption', told.pop())

    @ddt.data(
        ('check', 255, '--bogus'), ('check', 255, 'bogus'),
        ('check', 255, '--record'),
        ('check', 255, '--record', 'a', '--recorded', 'b'),
        ('upgrade-check', 255, '--bogus'), ('upgrade-check', 255, '--json=1'),
        ('slots', 2, '--bogus'), ('status', 2, '--json=1'),
        ('servers', 2, '--model', 'none-such'),
        ('explain', 2, '--bogus'), ('explain', 2, '--json=1'),
        ('measure', 2, '--from'))
    @ddt.unpack
    def test_a_wrong_command_line(self, command, status, *options):
        code, out, err = self.call(command, *options)
        self.assertEqual((status, ''), (code, out))
        self.assertIn('usage: nova-mem-encryption %s' % command, err)
        self.assertIn(options[0].partition('=')[0], err.splitlines()[-1])


class ConfiguredCommandTestCase(testtools.TestCase):
    """Commands that read the configuration of Nova, as processes."""

    def write(self, text):
        """Write nova.conf; return its path."""
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'conf')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return path

    def run_it(self, *options, **env):
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', self.command,
             *options], env={**os.environ, **env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, done.stdout, done.stderr


class UnusableTestMixin:
    """Where a command cannot be run, with exit status cannot."""

    def test_a_configuration_that_is_not_there(self):
        code, out, err = self.run_it('--config-file', '/nonexistent')
        self.assertEqual((self.cannot, ''), (code, out))
        self.assertIn('/nonexistent', err.splitlines()[-1])

    def test_it_is_for_the_series(self):
        code, out, err = self.run_it(NOVA_MEM_ENCRYPTION='off')
        self.assertEqual((self.cannot, ''), (code, out))
        self.assertIn('The series is not applied', err)

    def test_the_series_is_refused(self):
        code, out, err = self.run_it(NOVA_MEM_ENCRYPTION='maybe')
        self.assertEqual((self.cannot, ''), (code, out))
        self.assertIn("which is neither 'on' nor 'off'", err)
        self.assertNotIn('Traceback', err)


class SlotsTest(UnusableTestMixin, ConfiguredCommandTestCase):
    """What it tells is tested by test_mem_encryption_slots_command."""

    command = 'slots'
    cannot = 1

    def test_without_a_configuration(self):
        code, out, err = self.run_it('--config-file', os.devnull)
        self.assertEqual((1, ''), (code, out))
        self.assertIn('Placement cannot be asked: ', err)
        self.assertIn('See [placement] in nova.conf (read: /dev/null).', err)
        self.assertNotIn('Traceback', err)

    def test_a_value_that_is_none(self):
        path = self.write(PLACEMENT + 'insecure = secret\n')
        code, out, err = self.run_it('--config-file', path)
        self.assertEqual((1, '', (
            'Placement cannot be asked: %s: option insecure has a value that '
            'it cannot have. See [placement] in nova.conf (read: %s).\n'
            % (path, path))), (code, out, err))

    def test_one_format_at_a_time(self):
        code, out, err = self.run_it('--json', '--prometheus')
        self.assertEqual((2, ''), (code, out))


class ServersTest(UnusableTestMixin, ConfiguredCommandTestCase):
    """What it tells is tested by test_mem_encryption_servers_command."""

    command = 'servers'
    cannot = 255

    def test_without_a_configuration(self):
        code, out, err = self.run_it('--config-file', os.devnull)
        self.assertEqual((255, ''), (code, out))
        self.assertIn('The servers cannot be looked at: ', err)
        self.assertIn('in nova.conf (read: /dev/null).', err)
        self.assertEqual(1, err.count('\n'))

    def test_one_format_at_a_time(self):
        code, out, err = self.run_it('--json', '--csv')
        self.assertEqual((2, ''), (code, out))


class UpgradeCheckTest(UnusableTestMixin, ConfiguredCommandTestCase):
    """The checks are tested by test_mem_encryption_upgrade_check."""

    command = 'upgrade-check'
    cannot = 255

    def test_without_a_configuration_each_says_that_it_cannot_be_run(self):
        empty = os.devnull
        code, out, err = self.run_it('--config-file', empty, '--json')
        self.assertEqual(1, code)
        found = json.loads(out)
        self.assertEqual([empty], found['files'])
        found = found['findings']
        self.assertEqual(
            ['flavors', 'images', 'resource providers', 'servers'],
            [finding['check'] for finding in found])
        for finding in found:
            self.assertEqual('warning', finding['severity'])
            self.assertIn('cannot be checked', finding['problem'])
        code, out, err = self.run_it('--config-file', empty)
        self.assertEqual(1, code)
        self.assertIn('WARNING: images: This cannot be checked: there is no '
                      '[service_user] to ask Glance as. Check nova.conf',
                      out)

    def test_what_cannot_be_used_is_a_finding(self):
        for url, said in (
                ('no url:secret', 'is no URL'),
                ('kind://nova:secret@host/nova', 'is no URL'),
                ('sqlite://nova@host:secret/nova', 'is no URL'),
                ('oracle+oracledb://nova:secret@host/nova', 'oracledb')):
            code, out, err = self.run_it('--json', '--config-file', self.write(
                PLACEMENT + 'insecure = secret\n'
                '[api_database]\nconnection = %s\n' % url))
            self.assertEqual(1, code, err)
            found = {finding['check']: finding['problem']
                     for finding in json.loads(out)['findings']}
            self.assertIn(said, found['flavors'])
            self.assertIn('insecure', found['resource providers'])
            self.assertNotIn('secret', out + err)
            self.assertNotIn('Traceback', err)


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class InterruptTest(testtools.TestCase):
    """Ctrl-C, while Placement does not answer."""

    @ddt.data(
        (('revert', 'compute1'), 'It was interrupted. Run this again: it '
         'goes on where it was stopped.'),
        (('slots',), 'Interrupted. Run this again.'))
    @ddt.unpack
    def test_it_says_what_to_do(self, command, said):
        server = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(server.close)
        server.settimeout(60)
        folder = self.useFixture(fixtures.TempDir()).path
        conf = os.path.join(folder, 'nova.conf')
        with open(conf, 'w') as f:
            f.write(PLACEMENT.replace(':1/', ':%d/' % server.getsockname()[1]))
        process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-m', 'nova_mem_encryption.cli',
             *command, '--config-file', conf],
            env={**os.environ, 'no_proxy': '*'}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            # What runs the tests may be told to ignore it, as in a build.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        connection, _ = server.accept()
        self.addCleanup(connection.close)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((130, '', said), (
            process.returncode, out, err.splitlines()[-1]))
        self.assertNotIn('Traceback', err)


@testtools.skipUnless(importlib.util.find_spec('argcomplete'),
                      'argcomplete is not installed')
class CompletionTest(testtools.TestCase):
    """What bash offers, by argcomplete."""

    SCRIPT = """
    COMP_LINE="$*" COMP_POINT=${#COMP_LINE} COMP_TYPE=9
    COMP_WORDS=("$@") COMP_CWORD=$(( $# - 1 ))
    _python_argcomplete "$1" "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    for word in "${COMPREPLY[@]}"; do echo $word; done
    """

    def complete(self, *words, without=False):
        """Return what may follow."""
        import argcomplete
        folder = self.useFixture(fixtures.TempDir()).path
        name = os.path.join(folder, 'nova-mem-encryption')
        with open(name, 'w') as f:
            f.write('#!/bin/sh\nexec %s -m nova_mem_encryption.cli "$@"\n'
                    % sys.executable)
        os.chmod(name, 0o755)
        if without:
            with open(os.path.join(folder, 'argcomplete.py'), 'w') as f:
                f.write('raise ImportError\n')
        done = subprocess.run(
            ['bash', '-c', argcomplete.shellcode([name]) + self.SCRIPT, 'bash',
             name, *words], stdout=subprocess.PIPE, text=True, env={
                 **os.environ, **({'PYTHONPATH': folder} if without else {})})
        return done.stdout.split()

    def test_a_command(self):
        self.assertEqual(['status', 'slots', 'servers'], sorted(
            self.complete('s'), reverse=True))

    def test_an_option(self):
        self.assertEqual({'--config-file', '--config-dir'},
                         {*self.complete('slots', '--conf')})

    def test_without_argcomplete_there_is_nothing_and_no_error(self):
        self.assertEqual([], self.complete('s', without=True))


class PipeTest(testtools.TestCase):

    def test_nobody_reads_what_is_printed(self):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'status'],
            stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        self.assertEqual((128 + signal.SIGPIPE, b''),
                         (done.returncode, done.stderr))
