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
"""The series of patches, as it is written for a Nova."""
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import typing as ty

from nova_mem_encryption.engine import packages
from nova_mem_encryption.export import series as exported

TREE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
# What the ways of applying patches leave beside the files, or bring
BESIDE = {'.git', '.pc', '__pycache__', 'debian'}


class Wrong(Exception):
    """A way, a patch or a Nova that is not as it has to be."""


class Patch(ty.NamedTuple):
    """A patch of the series.

    :param name: of its file
    :param text: the file
    """

    name: str
    text: str

    @property
    def paths(self) -> ty.List[str]:
        """The files that it makes or changes, below the folder of nova/."""
        return [path for path in re.findall(
            r'(?m)^\+\+\+ b/(\S+)', self.text)]

    @property
    def runs(self) -> bool:
        """Whether it is of what runs, neither of tests nor of pages."""
        return any(path.startswith('nova/') and
                   not path.startswith('nova/tests/') for path in self.paths)

    @property
    def hunks(self) -> int:
        return len(re.findall(r'(?m)^@@ -\d', self.text))


class Hunk(ty.NamedTuple):
    """A hunk of a patch.

    :param patch: name of the file of the patch
    :param path: of the file that it changes
    :param head: the lines of the patch that name the file
    :param text: its lines, the one with @@ first
    """

    patch: str
    path: str
    head: str
    text: str

    @property
    def key(self) -> str:
        """The same as long as the hunk says the same of the same file."""
        lines = [line for line in self.text.splitlines()
                 if line[:1] in ('+', '-')]
        return '%s:%s' % (self.path, hashlib.sha256(
            '\n'.join(lines).encode()).hexdigest()[:10])

    @property
    def added(self) -> ty.List[str]:
        return [line[1:] for line in self.text.splitlines()[1:]
                if line.startswith('+')]


def split(patch: Patch) -> ty.List[Hunk]:
    """Return the hunks of a patch."""
    found = []
    for part in re.split(r'(?m)^(?=diff --git )', patch.text)[1:]:
        part = re.sub(r'\n-- \n[^\n]*\n*\Z', '\n', part)
        head, *texts = re.split(r'(?m)^(?=@@ -\d)', part)
        path = re.search(r'(?m)^\+\+\+ b/(\S+)', head)
        found += [Hunk(patch.name, path.group(1), head, text)
                  for text in texts if path]
    return found


def find_lines(hunk: Hunk, text: str) -> ty.Set[int]:
    """Return the numbers of the lines of a hunk in a file that has it.

    :param text: of the file, with all patches
    """
    lines = text.splitlines()
    body = [line[1:] for line in hunk.text.splitlines()[1:]
            if line[:1] in (' ', '+')]
    start = int(re.match(r'@@ -\S+ \+(\d+)', hunk.text).group(1)) - 1
    found = set()
    # Later patches may have moved it, or come between its lines.
    at = min((at for at in range(len(lines) - len(body) + 1)
              if lines[at:at + len(body)] == body),
             key=lambda at: abs(at - start), default=None)
    if at is not None:
        marks = [line[:1] for line in hunk.text.splitlines()[1:]
                 if line[:1] in (' ', '+')]
        found |= {at + 1 + number for number, mark in enumerate(marks)
                  if mark == '+'}
    else:
        found |= {number for number, line in enumerate(lines, 1)
                  if line.strip() and line in hunk.added}
    return found


def add_uses(lines: ty.Set[int], text: str) -> ty.Set[int]:
    """Add the lines of what lines are for to them.

    That is what they decorate, with what, and what names that they bind. They
    themselves may run only when they are imported.

    :param lines: numbers of lines of a file
    :param text: of the file
    """
    nodes = list(ast.walk(ast.parse(text)))
    bound = set()
    for node in nodes:
        if getattr(node, 'lineno', 0) not in lines:
            continue
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            bound |= {each.asname or each.name for each in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    found = set(lines)
    decorators = set()
    for node in nodes:
        if isinstance(node, ast.Name) and node.id in bound or (
                isinstance(node, ast.Attribute) and node.attr in bound):
            found.add(node.lineno)
        elif isinstance(node, ast.FunctionDef):
            touched = [each for each in node.decorator_list if lines & set(
                range(each.lineno, (each.end_lineno or 0) + 1))]
            decorators |= {each.id for each in touched
                           if isinstance(each, ast.Name)}
            if touched:
                found |= _get_body(node)
    for node in nodes:
        if isinstance(node, ast.FunctionDef) and node.name in decorators:
            found |= _get_body(node)
    return found


def _get_body(node: ast.FunctionDef) -> ty.Set[int]:
    return set(range(node.body[0].lineno, (node.end_lineno or 0) + 1))


def get_code(path: str) -> ty.Optional[str]:
    """Return what a module does, without what it says.

    :param path: of its file; without one it does nothing
    :returns: None if it is not Python
    """
    if not os.path.exists(path):
        return get_code(os.devnull)
    try:
        with open(path, encoding='utf-8') as f:
            tree = ast.parse(f.read())
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (
                ast.get_docstring(node) is not None):
            del node.body[0]
    return ast.dump(tree)


def write(folder: str, nova: str, *options: str) -> None:
    """Have the project write the series.

    :param folder: where it is to be
    :param nova: for which: a wheel or a folder that holds nova/
    :raises Wrong: if it does not
    """
    done = subprocess.run(
        [sys.executable, '-m', 'nova_mem_encryption.cli', 'export', folder,
         '--nova', nova, *options], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, cwd=TREE, env=with_tools())
    if done.returncode:
        raise Wrong('no series for %s: %s' % (nova, done.stdout.strip()))


def get_left_out(nova: str) -> ty.Dict[str, str]:
    """Return the tests that the series does not have, and why.

    :returns: name of a module, a class or a test to the reason
    """
    made = exported.Series(packages.open_package(nova).read)
    for _ in made.make_all():
        pass
    return {name.replace(':', '.'): reason
            for name, reason in made.tests_left_out.items()}


def with_tools(**environ: str) -> ty.Dict[str, str]:
    """Return an environment in which this checkout's commands are found."""
    return {**os.environ, 'PYTHONPATH': TREE, 'PATH': os.pathsep.join([
        os.path.dirname(sys.executable), os.environ['PATH']]), **environ}


def read(folder: str) -> ty.List[Patch]:
    """Return the patches of a series, in order.

    :raises Wrong: if the file 'series' and the patches are not the same
    """
    path = os.path.join(folder, 'series')
    if not os.path.exists(path):
        raise Wrong('%s: there is no file series' % folder)
    with open(path, encoding='utf-8') as f:
        names = [line.split()[0] for line in f
                 if line.strip() and not line.startswith('#')]
    others = {name for name in os.listdir(folder)
              if name.endswith('.patch')} ^ {*names}
    if others or not names:
        raise Wrong('%s: the file series is not of the patches beside it: %s'
                    % (folder, ', '.join(sorted(others)) or 'it is empty'))
    patches = []
    for name in names:
        with open(os.path.join(folder, name), encoding='utf-8',
                  newline='') as f:
            patches.append(Patch(name, f.read()))
    return patches


def apply(folder: str, patch: str, *options: str) -> None:
    """Apply the text of a patch to a folder, without fuzz.

    :param options: of patch; '--reverse' takes it away
    :raises Wrong: if it does not apply
    """
    done = subprocess.run(
        ['patch', '-p1', '--fuzz=0', '--batch', '--no-backup-if-mismatch',
         '--reject-file=-',
         *(options or ['--forward'])], input=patch, text=True, cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Wrong('it does not apply: %s' % done.stdout.strip())


def get_tests(patches: ty.Sequence[Patch]) -> Patch:
    """Return the patch of the tests. :raises Wrong: if it is not one"""
    found = [patch for patch in patches if not patch.runs and any(
        path.startswith('nova/tests/') for path in patch.paths)]
    if len(found) != 1:
        raise Wrong('the series has %d patches of tests, and not one'
                    % len(found))
    return found[0]


def get_new(patch: Patch) -> ty.List[str]:
    """Return the files that a patch makes."""
    return re.findall(r'(?m)^--- /dev/null\n\+\+\+ b/(\S+)', patch.text)


def get_texts(folder: str) -> ty.Dict[str, str]:
    """Return the digests of the files of a tree, without what is beside."""
    found = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in BESIDE]
        for name in files:
            path = os.path.join(where, name)
            with open(path, 'rb') as f:
                found[os.path.relpath(path, folder)] = hashlib.sha256(
                    f.read()).hexdigest()
    return found


def compare(one: ty.Mapping[str, str], other: ty.Mapping[str, str]
            ) -> ty.List[str]:
    """Return the files that are not the same in two trees."""
    return sorted(path for path in {*one, *other}
                  if one.get(path) != other.get(path))


def make_anew(folder: str) -> str:
    """Make an empty folder in place of what is there; return it."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder
