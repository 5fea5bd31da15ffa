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

"""Test the documentation: commands, and what it says that is said."""
import ast
import contextlib
import functools
import glob
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

import ddt
import testtools

from nova.tests.fixtures import tables

from nova_mem_encryption.nova.mem_encryption import models

from nova_mem_encryption.engine import state
from nova_mem_encryption.engine import tree

PROJECT = tree.root()
SCRIPT = os.path.join(PROJECT, 'tools', 'doc_commands.py')
# How many messages the lists of these pages have at least
MESSAGES = {'doc/source/troubleshooting.rst': 30, 'doc/source/operator.rst': 6}
# Where else than in the project a quoted message may come from
NOVA = ('exception', 'compute/api', 'compute/manager', 'conductor/manager',
        'virt/libvirt/driver', 'virt/libvirt/host', 'scheduler/manager',
        'scheduler/client/report', 'scheduler/utils', 'virt/hardware')
# Prints what a cloud would neither run nor say why it does not
UNKNOWN = '''
import os, re, sys
sys.path.insert(0, 'tools/cloud')
import documented, maintenance
seen = 0
for page in (documented.QUICK_START, *documented.PAGES, maintenance.PAGE):
    for line in documented.doc_commands.find_lines(page):
        seen += 1
        known = [program for program in documented.PROGRAMS
                 if os.path.basename(line.split()[0]) == program]
        known += [why for pattern, why in documented.NOT_RUN
                  if re.match(pattern, line)]
        if not known:
            print(page, line)
print(seen)
'''
# Prints by which exit statuses each of its arguments has gone well there
CODES = '''
import sys
sys.path.insert(0, 'tools/cloud')
import documented
for line in sys.argv[1:]:
    print(documented.get_codes(line))
'''
# What is run on a controller, what on a host: never in one block
CONTROLLER = re.compile(
    r'\S*(openstack|nova-manage|nova-status|glance-manage|'
    r'nova-mem-encryption (slots|servers|upgrade-check))( |$)')
HOST = re.compile(
    r'\S*(virsh|reboot|modprobe|nova-mem-encryption (check|revert))( |$)|'
    r'systemctl \S+ nova-compute$')
# What no program understands, in a literal block and in a sentence
WRONG = [
    'openstack flavour set --property a=b m1',
    'openstack flavor set --propety a=b m1',
    'openstack flavor set --property',
    'openstack resource provider inventory list',
    'openstack resource provider list --nmae x',
    'nova-mem-encryption statsu',
    'nova-mem-encryption revert --dray',
    'nova-manage placement heal_allocation',
    'nova-manage placement audit --loud',
    'nova-status upgrade chek',
    'tools/tox -e clouds',
    'tools/tox --loud',
    'tools/tox -e unit -- test_frobnication',
    'tools/tox -e cloud -- --dark',
    'tools/tox -e demo -- --no-such',
    'tools/tox -e nova-tests -- --suite none',
    'tools/tox -e sevhost -- --loud',
    '.tox/cloud/bin/python tools/cloud/clod.py',
    'tools/tox -e pep8 -- test',
    'apt-get install qemu-system-arm',
    'python -m pip instal .',
    'pip install --loud .',
    'tools/sevhost/sevhost.py begin host',
    'tools/cloud/cloud.py up --dark',
    'cloud.py exec /srv/cloud es1 nova-mem-encryption statsu',
    'cloud.py exec /srv/cloud nova-manage placement heal',
    'cloud.py exec /srv/cloud frob',
    'tools/sevhost/sevhorst.py start host',
    'env $(tools/sevhost/sevhost.py begin host) | cat',
    'cat file | grubby --info',
    'sudo modprobe kvm_amd',
]
WRONG_IN_TEXT = [
    'openstack server restart', 'openstack server list --nmae',
    'nova-mem-encryption statsu', 'nova-mem-encryption --loud',
    'nova-manage placement heal', 'tools/tox -e clouds',
]


@functools.lru_cache(maxsize=None)
def load():
    """Return the module of the script, which no package has."""
    spec = importlib.util.spec_from_file_location('doc_commands', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.lru_cache(maxsize=None)
def get_strings():
    """Return all strings in the code of the project, and in part of Nova."""
    import nova
    paths = [path for folder in ('nova', 'nova_mem_encryption', 'tools')
             for path in glob.glob(os.path.join(PROJECT, folder, '**', '*.py'),
                                   recursive=True)
             if os.sep + 'tests' + os.sep not in path]
    paths += [os.path.join(nova.__path__[0], name + '.py') for name in NOVA]
    found = []
    for path in paths:
        with open(path, encoding='utf-8') as f:
            found += [node.value for node in ast.walk(ast.parse(f.read()))
                      if isinstance(node, ast.Constant) and
                      isinstance(node.value, str)]
    # NOTE: a model is called by its title.
    found += [text.replace('%s', model.title) for text in found
              if '%s' in text for model in models.MODELS.values()]
    return [' '.join(text.split()) for text in found]


@ddt.ddt
@testtools.skipUnless(os.path.isfile(SCRIPT),
                      'only a checkout has the documentation')
class DocCommandsTest(testtools.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.script = load()
        # NOTE: in a process of its own, as the parsers are of programs that
        # do without eventlet. One for all, as it takes seconds to start.
        folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, folder)
        pages = []
        for number, text in enumerate(
                ['::\n\n    %s\n' % text for text in WRONG] +
                ['Use ``%s`` then.' % text for text in WRONG_IN_TEXT]):
            pages.append(os.path.join(folder, '%d.rst' % number))
            with open(pages[-1], 'w', encoding='utf-8') as f:
                f.write(text)
        cls.wrong = cls.run_script(*pages)

    @staticmethod
    def run_script(*pages):
        return subprocess.run(
            [sys.executable, '-W', 'ignore', SCRIPT, *pages], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def find(self, text):
        return [command.text for command in self.script.find_in('p', text)]

    def test_every_command_is_one_that_its_program_understands(self):
        done = self.run_script()
        self.assertEqual((0, ''), (done.returncode, done.stdout))

    def test_each_is_run_in_the_cloud_or_has_a_reason(self):
        said = subprocess.run(
            [sys.executable, '-c', UNKNOWN], cwd=PROJECT, text=True,
            stdout=subprocess.PIPE, check=True).stdout
        *unknown, seen = said.splitlines()
        self.assertEqual([], unknown)
        self.assertGreater(int(seen), 50)

    def test_only_what_warns_may_end_with_1_in_the_cloud(self):
        lines = {'/opt/nova/bin/nova-mem-encryption slots': '(0,)',
                 'nova-mem-encryption status --json': '(0,)',
                 'nova-mem-encryption servers': '(0, 1)',
                 'nova-mem-encryption upgrade-check --json': '(0, 1)',
                 '/opt/nova/bin/nova-status upgrade check': '(0, 1)',
                 'openstack server list': '(0,)'}
        said = subprocess.run(
            [sys.executable, '-c', CODES, *lines], cwd=PROJECT, text=True,
            stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual([*lines.values()], said.splitlines())

    def test_no_block_is_for_a_controller_and_for_a_host(self):
        for page in self.script.get_pages():
            for lines in self.script.find_blocks(page):
                self.assertFalse(
                    any(map(CONTROLLER.match, lines)) and
                    any(map(HOST.match, lines)), (page, lines))

    def test_all_pages_are_looked_at(self):
        pages = self.script.get_pages()
        for page in ('README.rst', 'CONTRIBUTING.rst', 'doc/source/user.rst',
                     'tools/cloud/README.rst'):
            self.assertIn(page, pages)
        found = {command.words[0] for page in pages
                 for command in self.script.find(page)}
        self.assertLessEqual(
            {'openstack', 'nova-mem-encryption', 'nova-status', 'nova-manage',
             'tox', 'python', 'sevhost.py'}, found)

    @ddt.data(*range(len(WRONG) + len(WRONG_IN_TEXT)))
    def test_a_wrong_command_is_found(self, number):
        self.assertEqual(1, self.wrong.returncode, self.wrong.stdout)
        self.assertIn('/%d.rst: ' % number, self.wrong.stdout)

    def test_an_exception_that_nothing_needs_is_found(self):
        with mock.patch.dict(self.script.UNPARSED, {'frob': 'a reason'}), \
                mock.patch.object(self.script, 'check'), \
                contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(1, self.script.main([]))
        self.assertEqual('frob is in UNPARSED, and on no page\n',
                         out.getvalue())

    def test_a_command_may_have_several_lines_and_a_comment(self):
        self.assertEqual(
            ['tools/tox -e pep8', 'openstack flavor show x'],
            self.find('::\n\n    tools/tox -e pep8   # lint\n'
                      '    openstack flavor \\\n        show x\n'))

    def test_of_lines_with_a_prompt_the_others_are_output(self):
        self.assertEqual(
            ['openstack flavor list', 'modprobe kvm_amd'],
            self.find('.. code-block:: console\n\n'
                      '    $ openstack flavor list\n    | nova | x |\n'
                      '    # modprobe kvm_amd\n'))

    def test_of_a_pipe_a_list_or_a_command_in_a_command_each_is_one(self):
        self.assertEqual(['cat a', 'grep b'], self.find(
            '::\n\n    cat a | grep b > c\n'))
        self.assertEqual(['cat a', 'mv b c'], self.find(
            '::\n\n    cat a > b &&\n        mv b c\n'))
        self.assertEqual(['tools/tox -e unit', 'eval X'], self.find(
            '::\n\n    eval $(tools/tox -e unit)\n'))
        self.assertEqual(['cloud.py exec x es1 cat a', 'cat a'], self.find(
            '::\n\n    cloud.py exec x es1 cat a\n'))

    @tables.data('[libvirt]\n    # The type\n    virt_type = kvm',
                 'compute1\n      SLOTS: 3',
                 'Nova 32.2.1 has SEV-ES itself; nova-mem-encryption can go',
                 'nova-mem-encryption 1.0.0 on Nova 31.3.1: applied')
    def test_what_is_no_command_is_left_alone(self, text):
        self.assertEqual([], self.find('::\n\n    %s\n' % text))

    def test_placeholders_and_variables_are_no_words(self):
        command, = load().find_in(
            'p', '::\n\n    A=1 sudo /opt/bin/openstack x <the UUID> ...\n')
        self.assertEqual(['openstack', 'x', 'X', 'X'], command.words)


@testtools.skipUnless(os.path.isfile(SCRIPT),
                      'only a checkout has the documentation')
class DocMessagesTest(testtools.TestCase):
    """What the pages quote is what the code says."""

    def read(self, page):
        with open(os.path.join(PROJECT, page), encoding='utf-8') as f:
            return f.read()

    def test_the_line_at_the_start_of_a_service(self):
        said = re.sub(r'\d+(?= (additions|wraps))', '...', state.summary())
        # Each release of Nova has its own, with the same of the series.
        release = functools.partial(re.sub, r'(?<= on Nova )[\d.]+', '...')
        lines = [release(line.strip()) for page in load().get_pages()
                 for line in self.read(page).splitlines()
                 if re.match(r'\s+nova-mem-encryption \S+ on Nova ', line)]
        self.assertEqual({release(said)}, {*lines})

    def test_messages_are_those_of_the_code(self):
        # What Python says where a module is missing
        strings = [*get_strings(), "No module named '%s'" % tree.DRIVER]
        for page, least in MESSAGES.items():
            # The terms of its lists of definitions
            quoted = re.findall(r'^``([^`]+)``$', self.read(page), re.M)
            self.assertGreaterEqual(len(quoted), least, page)
            self.assertEqual([], [
                message for message in quoted
                for part in message.split('...') if part.strip() and
                not any(part.strip() in text for text in strings)])
