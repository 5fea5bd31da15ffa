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

"""Find the commands in the documentation, and have their programs parse them.

    tools/doc_commands.py [PAGE...]

Each is given to the parser of the real program: that of the openstack
command, of Nova's, of pip, or of the project's own tools. Nothing is run;
tools/cloud runs those of an operator. A program without such a parser is in
UNPARSED, with the reason. The exit status is 0 if all are understood.
"""
import configparser
import contextlib
import functools
import glob
import importlib
import importlib.metadata
import io
import os
import re
import shlex
import subprocess
import sys
import typing as ty

from docutils import core
from docutils import nodes

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = ('README.rst', 'CONTRIBUTING.rst', 'doc/source/*.rst',
         'tools/*/README.rst', 'benchmarks/README.rst')
# A literal block that begins with one of these is of commands, as is one of
# those in PARSERS and UNPARSED.
SHELL = {
    'apt', 'aa-status', 'bash', 'curl', 'dnf', 'env', 'export', 'find', 'git',
    'grubby', 'journalctl', 'lscpu', 'make', 'modprobe', 'python',
    'qemu-system-x86_64', 'sed', 'setfacl', 'sh', 'ssh', 'sysctl', 'systemctl',
    'tar', 'update-grub', 'usermod', 'virt-host-validate'}
# Nothing is to be parsed of these: their arguments are files and modes.
COREUTILS = {'cd', 'chmod', 'chown', 'cp', 'echo', 'install', 'ln', 'ls',
             'mkdir', 'mv', 'rm', 'truncate'}
# What an operator upgrades on a host, beside what the project needs there
UPGRADED = {'amd64-microcode', 'linux-image-amd64'}
# Program: why nothing parses it here
UNPARSED = {
    'ansible-playbook': "Ansible's, which only tools/cloud has; it runs it",
    'bash': 'a shell',
    'cat': 'the files are those of a kernel with kvm_amd; tools/cloud '
           'runs it on an imitated one',
    'dmesg': "of a guest, and none runs in the tests, or the machine's",
    'docker': "the machine's; what is in the container is read, not run",
    'dch': "Debian's; tools/export runs it",
    'dpkg-buildpackage': "Debian's; tools/debian runs it",
    'dpkg-source': "Debian's; tools/export runs it",
    'eval': 'the shell; the command in it is parsed',
    'git': 'copies a checkout, and applies patches; tools/debian builds from '
           'another copy, tools/export runs the latter',
    'glance-manage': "Glance's, which only tools/cloud has; it runs it",
    'grep': 'a filter of what another command prints',
    'kolla-ansible': 'its recipe is read, not run',
    'kolla-build': 'its recipe is read, not run; that of patches tools/export '
                   'runs',
    'openstack-ansible': 'its recipe is read, not run',
    'promtool': "Prometheus'; tools/monitoring runs it",
    'rdmsr': 'of a guest, and none runs in the tests',
    'quilt': "its own; tools/export runs it",
    'rdopkg': 'it reads a repository on the Internet, before its arguments',
    'reboot': "the machine's",
    'register-python-argcomplete': "argcomplete's, which is optional; a unit "
                                   'test completes with what it prints',
    'rpmbuild': "rpm's; tools/export runs it",
    'sed': 'a filter, and an edit of a file; tools/export runs it',
    'sev-snp-measure': 'the tests of measure run it, and what measure prints '
                       'of it',
    'snpguest': 'of a guest with SEV-SNP, and no processor has it here',
    'stestr': "Nova's tests, in a patched source; tools/export runs them",
    'systemctl': "the machine's; what services are named differs",
    'systemd-detect-virt': 'of a guest, and none runs in the tests',
    'umask': "the shell's",
    'virsh': "libvirt's, not from PyPI; tools/cloud runs it on an imitated "
             'host',
    'wc': 'a count of lines; tools/export runs it',
}
PLACEHOLDER = re.compile(r'<[^<>]+>|\.\.\.$')
# What is run in a cloud of processes, with or without the name of a node
IN_CLOUD = re.compile(r'cloud\.py exec \S+ (?:(?:es\d|controller) )?(.*)')
ASSIGNMENT = re.compile(r'[A-Z_]+=\S*')
# A script up to where it has parsed its arguments. It has a process of its
# own, as scripts import what lies beside them, by common names.
PARSE = """
import argparse, os, runpy, sys
parse = argparse.ArgumentParser.parse_args
def parse_only(self, *args, **kwargs):
    parse(self, *args, **kwargs)
    os._exit(0)
argparse.ArgumentParser.parse_args = parse_only
del sys.argv[0]
sys.path.insert(0, os.curdir)
runpy.run_path(sys.argv[0], run_name='__main__')
"""


class Wrong(Exception):
    """A command that its program would not understand."""


class Command(ty.NamedTuple):
    """A command of a page; of a text, it may lack arguments."""

    page: str
    text: str
    whole: bool

    @property
    def words(self) -> ty.List[str]:
        """Its words, from the program on, which is without its folder."""
        words = shlex.split(PLACEHOLDER.sub('X', self.text))
        while words and (words[0] == 'sudo' or ASSIGNMENT.fullmatch(words[0])):
            del words[0]
        return [os.path.basename(word) if number == 0 else word
                for number, word in enumerate(words)]


def get_pages() -> ty.List[str]:
    """Return the paths of the pages, below the tree."""
    return sorted(os.path.relpath(path, TREE) for page in PAGES
                  for path in glob.glob(os.path.join(TREE, page)))


def find(page: str) -> ty.List[Command]:
    """Return the commands of a page, in their order."""
    return find_in(page, _read(page))


def find_in(page: str, text: str) -> ty.List[Command]:
    """Return the commands of a text."""
    found = []
    for node in _get_literals(text):
        if isinstance(node, nodes.literal):
            words = node.astext().split()
            if len(words) > 1 and _program(words) in PARSERS:
                found.append(Command(page, ' '.join(words), False))
        else:
            found += [Command(page, part, True) for line in _lines(node)
                      for part in _parts(line)]
    return found


def find_lines(page: str) -> ty.List[str]:
    """Return what is to be typed, as the literal blocks of a page have it."""
    return [line for lines in find_blocks(page) for line in lines]


def find_blocks(page: str) -> ty.List[ty.List[str]]:
    """Return the same, a list for each literal block."""
    return [[*_lines(node)] for node in _get_literals(_read(page))
            if isinstance(node, nodes.literal_block)]


def _read(page):
    with open(os.path.join(TREE, page), encoding='utf-8') as f:
        return f.read()


def _get_literals(text):
    # Roles and directives of Sphinx are unknown here, which is no matter.
    return core.publish_doctree(text, settings_overrides={
        'report_level': 5, 'halt_level': 5,
        'file_insertion_enabled': False}).findall(
            lambda node: isinstance(node, (nodes.literal_block,
                                           nodes.literal)))


def _program(words: ty.Sequence[str]) -> str:
    return os.path.basename(next(
        (word for word in words if word != 'sudo' and
         not ASSIGNMENT.fullmatch(word)), ''))


def is_prompted(block: nodes.literal_block) -> bool:
    """Tell whether a literal block has prompts, and what is printed."""
    # In a file of configuration, # begins a comment, but not the first line.
    return bool(re.match(r'[$#] ', block.astext()))


def has_commands(block: nodes.literal_block) -> bool:
    """Tell whether a literal block has something to be typed."""
    return (is_prompted(block) or
            bool({'console', 'shell', 'bash'} & {*block['classes']}) or
            _is_command(_join(block)[0]))


def _join(block):
    """Return the lines of a literal block; a command is on one."""
    return re.sub(r'\\\n|(?<=&&)\n', ' ', block.astext()).splitlines()


def _lines(block: nodes.literal_block) -> ty.Iterator[str]:
    """Yield the commands of a literal block, none if it has no commands."""
    if not has_commands(block):
        return
    prompted = is_prompted(block)
    for line in _join(block):
        if prompted and not re.match(r'[$#] ', line):
            continue  # what it prints
        line = ' '.join(re.sub(r'^[$#] | {2,}# .*|^#.*', '', line).split())
        if line:
            yield line


def _parts(line: str) -> ty.List[str]:
    """Return the commands of a pipe or a list, and those within another."""
    line = re.sub(r' > \S+(?=$| &&)', '', line)
    parts = re.split(r' (?:\||&&) ', re.sub(r'\$\(.*?\)', 'X', line))
    return [*re.findall(r'\$\((.*?)\)', line), *parts,
            *[found.group(1) for found in map(IN_CLOUD.match, parts) if found]]


def _is_command(line: str) -> bool:
    words = line.split()
    if words[:1] == ['nova-mem-encryption'] and words[2:4] == ['on', 'Nova']:
        return False  # what services log
    program = _program(words)
    return (program in {*SHELL, *COREUTILS, *PARSERS, *UNPARSED} or
            bool(re.match(r'(\.?/|tools/|\.tox/)', words[0])))


# -- the parsers -------------------------------------------------------------

def check(command: Command) -> None:
    """Have the program of a command parse it.

    :raises Wrong: if it would not understand it, or nothing knows it
    """
    program, *words = command.words
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(
                io.StringIO()):
            if program in PARSERS:
                PARSERS[program](words, command.whole)
            elif program not in UNPARSED and program not in COREUTILS:
                raise Wrong('it is neither in PARSERS nor in UNPARSED of '
                            'tools/doc_commands.py')
    except (SystemExit, Exception) as e:
        raise Wrong('%s: %s: %s' % (
            command.page, command.text, said.getvalue().strip() or e)) from e


def _parse(parser, words: ty.List[str], whole: bool) -> None:
    """Parse with an argparse.ArgumentParser; or look for the options only."""
    if whole:
        parser.parse_args(words)
        return
    known = parser._option_string_actions
    for word in words:
        if word.startswith('--') and word.split('=')[0] not in known:
            raise Wrong('it has no option ' + word)


@functools.lru_cache(maxsize=None)
def _get_openstack():
    from openstackclient import shell
    from osc_lib.command import commandmanager

    manager = commandmanager.CommandManager('openstack.cli')
    for group in sorted({
            point.group for distribution in importlib.metadata.distributions()
            for point in distribution.entry_points
            if point.group.startswith('openstack.')}):
        manager.add_command_group(group)
    app = shell.OpenStackShell()
    return app, app.build_option_parser('', ''), manager


def _openstack(words, whole):
    app, options, manager = _get_openstack()
    words = options.parse_known_args(words)[1]
    command, name, rest = manager.find_command(words)
    _parse(command(app, None).get_parser(name), rest, whole)


def _nova_mem_encryption(words, whole):
    from nova_mem_encryption.engine import tree
    tree.tree()  # a checkout's commands are found only after this
    from nova_mem_encryption.cli import parser as cli
    parser = cli.make_parser()
    if whole:
        parser.parse_args(words)
        return
    commands = next(action for action in parser._actions
                    if isinstance(action.choices, dict)).choices
    if words[0].startswith('-'):
        _parse(parser, words, False)
    elif words[0] not in commands:
        raise Wrong('there is no command ' + words[0])
    else:
        _parse(commands[words[0]], words[1:], False)


def _nova(module):
    """Return what parses for nova-manage or nova-status."""
    def parse(words, whole):
        from oslo_config import cfg
        options = importlib.import_module(module)
        conf = cfg.ConfigOpts()
        conf.register_cli_opt(options.category_opt)
        conf(words, project='nova', default_config_files=[],
             default_config_dirs=[])
    return parse


def _pip(words, whole):
    from pip._internal import commands
    parser = commands.create_command(words[0])
    options, arguments = parser.parse_args(words[1:])
    if '.' in arguments and not os.path.exists(
            os.path.join(TREE, 'setup.cfg')):
        raise Wrong('there is nothing to install in .')


def _apt_get(words, whole):
    if words[0] == 'download':
        from nova_mem_encryption.engine import fingerprints
        known = {name.split()[0]
                 for name in fingerprints.table()['distributions']}
        if {*words[1:]} - known:
            raise Wrong('no package of Nova that the table knows')
        return
    if words == ['source', 'nova']:
        return
    with open(os.path.join(TREE, 'bindep.txt'), encoding='utf-8') as f:
        known = {line.split()[0] for line in f if line.strip()}
    if words[0] not in ('build-dep', 'install', 'purge'):
        raise Wrong('nothing of the project needs that')
    if words[1:2] == ['--only-upgrade']:
        words, known = [words[0], *words[2:]], known | UPGRADED
    unknown = {*words[1:]} - known - {*_own_packages()}
    if unknown:
        raise Wrong('neither bindep.txt nor debian/ has %s'
                    % ', '.join(unknown))


def _own_packages():
    """Yield what apt can be given of debian/: its source, packages, files."""
    yield './'
    folder = os.path.join(TREE, 'debian')
    with open(os.path.join(folder, 'changelog'), encoding='utf-8') as f:
        version = re.search(r'\((.*)\)', f.readline()).group(1)
    with open(os.path.join(folder, 'control'), encoding='utf-8') as f:
        for package in re.findall('(?m)^Package: (.*)', f.read()):
            yield package
            yield './%s_%s_all.deb' % (package, version)


def _python(words, whole):
    if words[:2] == ['-m', 'pip']:
        _pip(words[2:], whole)
    else:
        # A tool of the project
        _tool(words[0])(words[1:], whole)


def _tox(words, whole):
    config = configparser.ConfigParser(interpolation=None)
    config.read(os.path.join(TREE, 'tox.ini'))
    posargs: ty.List[str] = []
    if '--' in words:
        end = words.index('--')
        words, posargs = words[:end], words[end + 1:]
    environment = None
    for number, word in enumerate(words):
        if re.fullmatch('-q*e', word):
            environment = words[number + 1]
        elif word != environment and not re.fullmatch('-q+', word):
            raise Wrong('tools/doc_commands.py does not know ' + word)
    if environment is None:
        return
    if 'testenv:' + environment not in config:
        raise Wrong('tox.ini has no environment ' + environment)
    if not posargs:
        return
    # What takes the arguments of the environment
    commands = ' '.join(config['testenv:' + environment]['commands'].replace(
        '\\', ' ').split())
    script = re.search(r'(\S+\.py)((?: [a-z]\S*)*) \{posargs', commands)
    if environment == 'demo':
        _nova_mem_encryption(['demo', *posargs], whole)
    elif script:
        _tool(script.group(1))(
            [*script.group(2).split(), *posargs], whole)
    elif '{posargs' not in commands:
        raise Wrong('%s takes no arguments' % environment)
    if environment not in ('unit', 'functional', 'sevhost'):
        return
    # Those of stestr aside, the first is an expression for names of tests.
    if posargs[0] != '--concurrency' and not any(
            re.search(posargs[0], name) for name in _get_tests()):
        raise Wrong('there is no test ' + posargs[0])


@functools.lru_cache(maxsize=None)
def _get_tests() -> ty.List[str]:
    """Return the names of the modules of tests, of their classes and tests.

    Those of modules are whole, up to the dot before the class.
    """
    found = []
    for path in glob.glob(os.path.join(TREE, 'nova', 'tests', '**', '*.py'),
                          recursive=True):
        with open(path, encoding='utf-8') as f:
            module = os.path.relpath(path, TREE)[:-len('py')]
            found += [module.replace(os.sep, '.')] + re.findall(
                r'^(?:class| +def) (\w+)', f.read(), re.M)
    return found


def _tool(name):
    """Return what parses for a script of the project.

    :param name: its path below the tree, or its name in a folder of tools/
    """
    def parse(words, whole):
        paths = [path for pattern in (
            [name] if '/' in name else ['tools/' + name, 'tools/*/' + name])
            for path in glob.glob(os.path.join(TREE, pattern))]
        if not paths:
            raise Wrong('there is no ' + name)
        with open(paths[0], encoding='utf-8') as f:
            if not whole or 'import argparse' not in f.read():
                return
        done = subprocess.run(
            [sys.executable, '-c', PARSE, os.path.basename(name), *words],
            cwd=os.path.dirname(paths[0]), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode:
            raise Wrong(done.stderr.strip() or 'it fails')
    return parse


PARSERS = {
    'openstack': _openstack,
    'nova-mem-encryption': _nova_mem_encryption,
    'nova-manage': _nova('nova.cmd.manage'),
    'nova-status': _nova('nova.cmd.status'),
    'apt-get': _apt_get,
    'pip': _pip,
    'python': _python,
    'tox': _tox,
    'cloud.py': _tool('cloud.py'),
    'sevhost.py': _tool('sevhost.py'),
    'newer.py': _tool('newer.py'),
    'constraints.py': _tool('constraints.py'),
    'tests_of.py': _tool('tests_of.py'),
}


def main(pages: ty.Sequence[str]) -> int:
    """Check the commands of pages, of all by default.

    :returns: exit status: 1 if something is wrong, which is printed
    """
    code, programs = 0, set()
    for page in pages or get_pages():
        for command in find(page):
            programs.add(command.words[0])
            try:
                check(command)
            except Wrong as e:
                print(e, flush=True)
                code = 1
    for program in () if pages else sorted({*UNPARSED} - programs):
        print('%s is in UNPARSED, and on no page' % program)
        code = 1
    return code


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
