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

"""Try each command with all that can be wrong with nova.conf and its streams.

Each is a process with files of its own, but one that has Nova already.
"""
import argparse
import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import ddt
import fixtures
import testtools

from nova_mem_encryption import cli  # noqa: F401 - a checkout's tree
from nova_mem_encryption.cli import parser
from nova_mem_encryption import errors

# Runs what it is told on its standard input; a line of it is JSON: arguments,
# files for output and errors, after how many seconds Ctrl-C, whether root is
# to have the rights of others.
SERVER = r'''
import ctypes, gc, json, os, signal, sys, time
from nova_mem_encryption import cli
from nova_mem_encryption.engine import finder, tree
tree.tree()
finder.load()
from nova import config
from nova_mem_encryption.check import ask_nova, report
from nova_mem_encryption import explain, revert
from nova_mem_encryption.cli import parser
from nova_mem_encryption.nova.mem_encryption import slots
from nova_mem_encryption.nova.mem_encryption.upgrade import checks

def drop():
    # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7)
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, data) == 0
    data[0] &= ~0b110
    assert libc.capset(header, data) == 0

def run(args, out, err, seconds):
    for path, number in ((out, 1), (err, 2)):
        if path.endswith('/pipe'):
            reader, writer = os.pipe()
            os.close(reader)
        else:
            writer = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(writer, number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, lambda *args: os.kill(
            os.getpid(), signal.SIGINT))
    drop()
    if seconds:
        # NOTE: of the processor, so that it has begun on a slow machine, too;
        # but it takes none while it reads.
        signal.setitimer(signal.ITIMER_REAL if args[0] == 'explain' else
                         signal.ITIMER_PROF, seconds)
    if args[0] != 'ask_nova':
        return cli.main(args)
    # NOTE: check asks in a process of its own.
    found = ask_nova.answer(args[1], args[2:])
    for name, stream in (('answer', sys.stdout), ('error', sys.stderr)):
        if name in found:
            print(found[name], file=stream)
    return 'error' in found

gc.freeze()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        status = run(*json.loads(line))
        try:
            # NOTE: so does Python at its end, which takes its time.
            sys.stdout.flush()
            sys.stderr.flush()
        except OSError:
            status = 120
        os._exit(status)
    sys.__stdout__.write('%d\n' % os.waitstatus_to_exitcode(
        os.waitpid(child, 0)[1]))
    sys.__stdout__.flush()
'''
SECRET = 'S3cret'
NOBODY = '[placement]\nauth_type = none\nendpoint_override = http://%s/\n'
# What keeps any command from reading it: content, or None
UNUSABLE = {
    'absent': None, 'folder': None, 'unreadable': '[DEFAULT]\n', 'loop': None,
    'latin-1': '[DEFAULT]\n# M\xfcller\npassword = %s\xfc\n' % SECRET,
    'utf-16': '[DEFAULT]\npassword = %s\n' % SECRET,
    'no assignment': '[placement]\npassword %s\n' % SECRET,
    'no section': 'password = %s\n' % SECRET,
    'no end of section': '[%s\n' % SECRET,
    'continuation': ' %s\n' % SECRET}
# What may keep one from its work: content
POOR = {
    'empty': '',
    'option of commands': '[DEFAULT]\ndebug = %s\n' % SECRET,
    'NUL': NOBODY % ('127.0.0.1:1/\0x'),
    'no boolean': NOBODY % '127.0.0.1:1' + 'insecure = %s\n' % SECRET,
    'no number': '[libvirt]\nnum_memory_encrypted_guests = %s\n' % SECRET,
    'no plugin': '[placement]\nauth_type = none\0\x1b\n',
    'password in an address': NOBODY % ('nova:%s@127.0.0.1:1' % SECRET),
    'no address': NOBODY % ('nova:%s@[' % SECRET),
    'no port': NOBODY % '127.0.0.1:port',
    'transport_url': '[DEFAULT]\ntransport_url = rabbit://nova:%s@h:x:y\n'
                     % SECRET,
    'kind of transport_url': '[DEFAULT]\ntransport_url = no:%s\n' % SECRET,
    'database': '[api_database]\nconnection = sqlite://n@host:%s/n\n' % SECRET,
    'kind of database': '[api_database]\nconnection = no://n:%s@h/n\n'
                        % SECRET,
    'variable': '[DEFAULT]\nmy_ip = $%s\nhost = $my_ip\n' % SECRET,
}


def get_commands(option=None):
    """Return the parser of each command, by its name."""
    commands = next(
        action.choices for action in parser.make_parser()._actions
        if isinstance(action, argparse._SubParsersAction))
    return {name: each for name, each in commands.items()
            if option is None or option in each._option_string_actions}


def get_cannot(command):
    """Return the exit status of a command that cannot be run."""
    return parser.COMMANDS[command].CANNOT


class CommandsTestCase(testtools.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = subprocess.Popen(
            [sys.executable, '-W', 'ignore', '-c', SERVER], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, 'no_proxy': '*'})
        cls.addClassCleanup(cls.server.communicate)

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def run_command(self, *args, out='out', seconds=0):
        """Return exit status, output and errors of a command."""
        paths = [os.path.join(self.folder, name) for name in (out, 'err')]
        self.server.stdin.write(json.dumps([args, *paths, seconds]) + '\n')
        self.server.stdin.flush()
        status = int(self.server.stdout.readline())
        told = []
        for path in paths:
            if os.path.isfile(path):
                with open(path) as f:
                    told.append(f.read())
                os.unlink(path)
            else:
                told.append('')
        return (status, *told)

    def assert_plain(self, told, what):
        """Check that there is no more than a line, and nothing secret."""
        status, out, err = told
        self.assertNotIn(SECRET, out + err, what)
        self.assertNotIn('Traceback', out + err, what)
        self.assertLessEqual(err.count('\n'), 1, (what, err))
        self.assertTrue(err[:-1].isprintable(), (what, err))

    def make(self, kind):
        """Make a nova.conf; return its path."""
        path = os.path.join(self.folder, '%s.conf' % kind)
        text = {**UNUSABLE, **POOR}[kind]
        if kind == 'folder':
            os.mkdir(path)
        elif kind == 'loop':
            os.symlink(path, path)
        elif text is not None:
            with open(path, 'w', encoding=(
                    kind if kind in ('latin-1', 'utf-16') else 'utf-8')) as f:
                f.write(text)
        if kind == 'unreadable':
            os.chmod(path, 0)
        return path


@ddt.ddt
class ConfigurationTest(CommandsTestCase):

    # NOTE: check asks of it in processes, which are tried by themselves.
    ARGS = {'revert': ['compute1'], 'slots': [], 'servers': [],
            'upgrade-check': []}

    def test_all_commands_that_read_one_are_tried(self):
        self.assertEqual({*self.ARGS, 'check'},
                         get_commands('--config-file').keys())
        self.assertEqual(get_commands('--config-file').keys(),
                         get_commands('--config-dir').keys())

    @ddt.data(*UNUSABLE)
    def test_it_cannot_be_used(self, kind):
        path = self.make(kind)
        for command, args in self.ARGS.items():
            told = self.run_command(command, *args, '--config-file', path)
            self.assert_plain(told, command)
            self.assertEqual((get_cannot(command), ''), told[:2], told)
            self.assertIn(path, told[2])
        for question in ('conf', 'placement'):
            told = self.run_command(
                'ask_nova', question, '--config-file=' + path)
            self.assert_plain(told, question)
            self.assertEqual((1, ''), told[:2], told)
            self.assertIn(path, told[2])

    @ddt.data(*UNUSABLE)
    def test_where_it_came_about_is_shown_without_what_is_in_it(self, kind):
        path = self.make(kind)
        for command, args in self.ARGS.items():
            status, out, err = self.run_command(
                command, *args, '--debug', '--config-file', path)
            self.assertEqual((get_cannot(command), ''), (status, out))
            self.assertIn('Traceback (most recent call last):\n', err)
            self.assertNotIn(SECRET, err)
            self.assertIn(path, err.splitlines()[-1])

    @ddt.data(*POOR)
    def test_something_in_it_cannot_be_used(self, kind):
        path = self.make(kind)
        for command, args in self.ARGS.items():
            for option in ((), ('--json',)):
                told = self.run_command(
                    command, *args, *option, '--config-file', path)
                self.assert_plain(told, command)
                # That of the database can do without.
                if command != 'upgrade-check':
                    self.assertEqual((get_cannot(command), 1), (
                        told[0], told[2].count('\n')), told)
                    self.assertIn(path, told[2])
                if option and told[1]:
                    self.assertEqual([path], json.loads(told[1])['files'])
        for question in ('conf', 'placement'):
            self.assert_plain(self.run_command(
                'ask_nova', question, '--config-file=' + path), question)

    def test_check_goes_on_without_it(self):
        path = self.make('latin-1')
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'check',
             '--config-file', path], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.assert_plain((done.returncode, done.stdout, done.stderr), 'check')
        self.assertIn('line 2 is not UTF-8', ' '.join(done.stdout.split()))

    def test_cells_can_be_gone_to(self):
        """With a cell's URL that is made of that of nova.conf."""
        path = os.path.join(self.folder, 'nova.conf')
        with open(path, 'w') as f:
            f.write('[DEFAULT]\ntransport_url = rabbit://n:p@host:1/\n')
        done = subprocess.run([sys.executable, '-Wignore', '-c', (
            'from nova_mem_encryption.cli import configuration\n'
            'configuration.configure(["--config-file=%s"])\n'
            'from nova import context, objects, rpc\n'
            'from nova.objects import cell_mapping\n'
            'url = cell_mapping.CellMapping.format_mq_url("{scheme}://h:2/")\n'
            'rpc.create_transport(url)\nprint(url)') % path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual('rabbit://h:2/\n', done.stdout, done.stderr)

    def test_check_says_which_files_were_read(self):
        path = self.make('empty')
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'check',
             '--json', '--config-file', path], stdout=subprocess.PIPE)
        self.assertEqual([path], json.loads(done.stdout)['files'])

    def test_a_folder(self):
        folder = os.path.join(self.folder, 'conf.d')
        os.mkdir(folder)
        for name, text in (('1.conf', POOR['no plugin']), ('2.conf', NOBODY % (
                '127.0.0.1:1')), ('3', UNUSABLE['no section'])):
            with open(os.path.join(folder, name), 'w') as f:
                f.write(text)
        paths = [os.path.join(folder, name) for name in ('1.conf', '2.conf')]
        for command, args in self.ARGS.items():
            told = self.run_command(command, *args, '--config-dir', folder)
            self.assert_plain(told, command)
            if command != 'upgrade-check':
                self.assertIn('(read: %s)' % ', '.join(paths), told[2])
        told = self.run_command('revert', 'compute1', '--json', '--config-dir',
                                folder)
        self.assertEqual(paths, json.loads(told[1])['files'])
        told = self.run_command('upgrade-check', '--json', '--config-dir',
                                folder)
        self.assertEqual(paths, json.loads(told[1])['files'])

    @ddt.data('absent', 'unreadable', 'file')
    def test_a_folder_that_cannot_be_read(self, kind):
        path = os.path.join(self.folder, kind)
        if kind == 'unreadable':
            os.mkdir(path, 0)
        if kind == 'file':
            open(path, 'w').close()
        for command, args in self.ARGS.items():
            told = self.run_command(command, *args, '--config-dir', path)
            self.assert_plain(told, command)
            self.assertEqual((get_cannot(command), ''), told[:2])
            self.assertIn(path, told[2])

    def test_what_comes_later_counts(self):
        for order in (['file', 'dir'], ['dir', 'file']):
            args = parser.make_parser().parse_args(['check'] + [
                word for name in order
                for word in ('--config-' + name, name)])
            self.assertEqual(
                ['--config-%s=%s' % (name, os.path.abspath(name))
                 for name in order], args.config)


@ddt.ddt
class StreamsTest(CommandsTestCase):

    def setUp(self):
        super().setUp()
        log = os.path.join(self.folder, 'log')
        with open(log, 'w') as f:
            f.write('fw_error=21\n' * 9)
        # What prints without a cloud; of the others, the help
        self.args = {
            **dict.fromkeys(get_commands(), ['--help']),
            'status': [], 'explain': [log],
            'upgrade-check': ['--config-file', os.devnull]}

    def test_the_output_is_full(self):
        for command, args in self.args.items():
            told = self.run_command(command, *args, out='/dev/full')
            self.assert_plain(told, command)
            self.assertEqual(1 if args == ['--help'] else get_cannot(command),
                             told[0], (command, told))
            self.assertIn('standard output cannot be written: No space left '
                          'on device', told[2])

    def test_nobody_reads_the_output(self):
        for command, args in self.args.items():
            told = self.run_command(command, *args, out='pipe')
            self.assertEqual((errors.CLOSED, '', ''), told, command)

    def test_errors_cannot_be_written(self):
        for command in ('slots', 'revert'):
            done = subprocess.run(
                ['sh', '-c', 'exec "$@" 2>/dev/full', 'sh', sys.executable,
                 '-m', 'nova_mem_encryption.cli', command, '--config-file',
                 '/nonexistent'], stdout=subprocess.PIPE)
            self.assertEqual((get_cannot(command), b''),
                             (done.returncode, done.stdout))

    def test_streams_that_are_closed(self):
        for closed in ('<&-', '>&-', '2>&-', '<&- >&- 2>&-'):
            done = subprocess.run(
                ['sh', '-c', 'exec "$@" ' + closed, 'sh', sys.executable,
                 '-m', 'nova_mem_encryption.cli', 'explain'],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE)
            # Nothing is known of nothing.
            self.assertEqual((1, b''), (done.returncode, done.stderr), closed)

    def test_what_a_terminal_cannot_show(self):
        done = subprocess.run(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'explain',
             '/\u00fc\x1b[2J'], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, 'PYTHONIOENCODING': 'ascii'})
        self.assertEqual((2, b'', b'/\\xfc?[2J cannot be read: No such file '
                          b'or directory.\n'),
                         (done.returncode, done.stdout, done.stderr))


@ddt.ddt
class InterruptionTest(CommandsTestCase):
    """Of what waits for Placement see test_cli."""

    @ddt.data(.01, .03, .1, .3)
    def test_at_any_moment(self, seconds):
        for command, args in (
                ('slots', []), ('servers', []), ('upgrade-check', []),
                ('status', []),
                ('revert', ['compute1'])):
            config = (['--config-file', os.devnull]
                      if command != 'status' else [])
            told = self.run_command(command, *args, *config, seconds=seconds)
            self.assert_plain(told, command)
            if told[0] == errors.INTERRUPTED:
                self.assertIn('Run this again', told[2])
            else:
                self.assertIn(told[0], (0, 1, get_cannot(command)))

    def test_while_it_reads(self):
        fifo = os.path.join(self.folder, 'fifo')
        os.mkfifo(fifo)
        self.assertEqual(
            (errors.INTERRUPTED, '', 'Interrupted. Run this again.\n'),
            self.run_command('explain', fifo, seconds=.3))

    def test_while_nova_is_imported(self):
        process = subprocess.Popen(
            [sys.executable, '-m', 'nova_mem_encryption.cli', 'slots',
             '--config-file', '/nonexistent'], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        # By then it is at eventlet, which is about the first of it.
        while 'greenlet' not in self.read_maps(process):
            self.assertIsNone(process.poll())
            time.sleep(.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((errors.INTERRUPTED, '', 'Interrupted. Run this '
                          'again.\n'), (process.returncode, out, err))

    def read_maps(self, process):
        with open('/proc/%d/maps' % process.pid) as f:
            return f.read()


class GuardTest(testtools.TestCase):
    """An error that nobody has thought of."""

    def run_it(self, error, debug=False):
        def fail():
            raise error
        args = argparse.Namespace(prog='p', cannot=7, debug=debug)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            code = errors.guard(args, fail)
        return code, err.getvalue()

    def test_its_place_is_told_and_not_its_message(self):
        code, err = self.run_it(ValueError(SECRET))
        self.assertEqual(7, code)
        self.assertRegex(err, r'^p: unexpected ValueError in '
                         r'unit/test_errors.py, line \d+\. Run this with '
                         r'--debug to see more, and report it\.\n$')

    def test_a_message_of_code_is_told(self):
        self.assertIn(": 'int' object has no attribute", self.run_it(
            AttributeError("'int' object has no attribute 'x'"))[1])

    def test_a_password_of_an_address_is_not(self):
        code, err = self.run_it(errors.CannotRun(
            'http://n:%s@/p@host:1 is away' % SECRET))
        self.assertEqual((7, 'http://***@host:1 is away\n'), (code, err))


@ddt.ddt
class HelpTest(testtools.TestCase):

    @ddt.data(*parser.COMMANDS)
    def test_of_each_command(self, command):
        sub = get_commands()[command]
        told = sub.format_help()
        self.assertIn('exit status: 0 ', told)
        self.assertIn('%d ' % get_cannot(command),
                      told.partition('exit status:')[2])
        self.assertIn(parser.COMMANDS[command].HELP, sub.description)
        self.assertIn('--debug', sub._option_string_actions)
        self.assertEqual([], [line for line in told.splitlines()
                              if len(line) > 79])
        examples = [line.strip() for line in sub.epilog.splitlines()
                    if line.startswith('    ')]
        self.assertIn('nova-mem-encryption ' + command, ' '.join(examples))
        for example in examples:
            program, *words = re.split(' [|>] ', example)[0].split()
            if program == 'nova-mem-encryption':
                parser.make_parser().parse_args(words)

    @ddt.data(*parser.COMMANDS)
    def test_no_option_is_abbreviated(self, command):
        sub = get_commands()[command]
        self.assertFalse(sub.allow_abbrev)
        self.assertFalse(parser.make_parser().allow_abbrev)
