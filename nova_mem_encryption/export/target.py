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

"""A module of Nova, and what is put into it."""
import ast
import os
import typing as ty

from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import words

# What of Python the edited modules of Nova import
STANDARD = frozenset("""
    abc argparse array ast base64 binascii bisect calendar collections
    concurrent configparser contextlib contextvars copy ctypes dataclasses
    datetime decimal email enum errno fcntl fnmatch fractions functools gc
    getpass glob grp gzip hashlib heapq hmac html http importlib inspect io
    itertools json locale logging math mimetypes multiprocessing numbers
    operator os pathlib pickle platform pprint pwd queue random re resource
    secrets select shlex shutil signal socket socketserver sqlite3 ssl stat
    string struct subprocess sys tarfile tempfile textwrap threading time
    timeit tokenize traceback types typing unittest urllib uuid warnings
    weakref xml zipfile zlib
""".split())


class Edit(ty.NamedTuple):
    """Lines that are put in, and those that are taken away for them."""

    line: int    # before which
    taken: int   # how many from there on are taken away
    order: int   # among those at the same line
    text: str


def group(module: str) -> int:
    """Return which group of imports a module belongs to."""
    top = module.partition('.')[0]
    return 2 if top == 'nova' else 0 if top in STANDARD else 1


def statement(module: str, alias: str) -> str:
    """Return the statement that imports a module."""
    package, _, last = module.rpartition('.')
    if not package:
        return 'import %s%s\n' % (
            module, '' if alias == module else ' as ' + alias)
    line = 'from %s import %s' % (package, last)
    if alias != last:
        line += ' as ' + alias
    if len(line) > words.WIDTH:
        line = 'from %s import (\n    %s as %s)' % (package, last, alias)
    return line + '\n'


class Target:
    """A module of Nova that code of the tree goes to.

    :param source: as it is
    :param owner: the module of the tree whose code is put into it first
    """

    def __init__(self, source: sources.Source, owner: str) -> None:
        self.source, self.module = source, source.module
        self.owner = owner
        self._edits: ty.List[ty.Tuple[str, Edit]] = []
        # What is imported: alias to module, and by which modules of the tree
        self.new: ty.Dict[str, str] = {}
        self._users: ty.Dict[str, ty.Set[str]] = {}
        self._order = 0
        #: names that are put into it
        self.taken: ty.Set[str] = set(source.taken)

    def put(self, line: int, text: str, taken: int = 0, order: int = 0
            ) -> None:
        """Put lines before a line, or instead of some."""
        self._order += 1
        self._edits.append((self.owner, Edit(
            line, taken, order * 10000 + self._order, text)))

    def alias(self, module: str, preferred: str, avoid: ty.Iterable[str] = ()
              ) -> str:
        """Have a module imported; return what it is called here.

        :param preferred: what it is called where the code comes from
        :param avoid: names that are local to where it is used
        """
        # NOTE: what is imported already in another way, 'import nova.conf'.
        if module == 'nova':
            self.new.setdefault('nova', 'nova.conf')
            return self._use('nova')
        for alias, there in {**self.source.imports, **self.new}.items():
            if there == module and alias not in avoid:
                return self._use(alias)
        last = module.rpartition('.')[2]
        for alias in (preferred, last, 'mem_encryption_' + last,
                      'nova_' + last):
            if alias not in self.taken and alias not in avoid:
                self.new[alias] = module
                self.taken.add(alias)
                return self._use(alias)
        raise ValueError('%s: no name is free for %s' % (self.module, module))

    def _use(self, alias: str) -> str:
        self._users.setdefault(alias, set()).add(self.owner)
        return alias

    def uses(self, alias: str, modules: ty.Container[str]) -> bool:
        """Tell whether some modules of the tree want something imported."""
        return alias in self.new and any(
            user in modules for user in self._users[alias])

    def edits(self, modules: ty.Container[str]) -> ty.List[Edit]:
        """Return what some modules of the tree put into it."""
        return [edit for owner, edit in self._edits if owner in modules
                ] + self._imports(modules)

    def _imports(self, modules: ty.Container[str]) -> ty.List[Edit]:
        """Return the edits that import what is needed, in Nova's order."""
        present: ty.List[ty.Tuple[str, ty.Any]] = []
        for node in self.source.import_nodes:
            first = node.names[0].name
            present.append(('%s.%s' % (node.module, first) if hasattr(
                node, 'module') else first, node))
        found = []
        for alias, module in sorted(self.new.items(), key=_key):
            if not self.uses(alias, modules) or (
                    alias == 'nova' and 'nova' in self.source.imports):
                continue
            line = _line(alias, module)
            mine = [(m, n) for m, n in present if group(m) == group(module)]
            before = [n for m, n in mine if m.lower() <= module.lower()]
            self._order += 1
            if before:
                place, text = before[-1].end_lineno + 1, line
            elif mine:
                place, text = mine[0][1].lineno, line
            else:
                lower = [n for m, n in present if group(m) < group(module)]
                place, text = (
                    (lower[-1].end_lineno + 1, '\n' + line) if lower else
                    (present[0][1].lineno, line + '\n'))
                present.append((module, present[0][1]))
                present.sort(key=lambda item: item[1].lineno)
            found.append(Edit(place, 0, self._order, text))
        return found


class New:
    """A module that is new to Nova.

    :param source: of the tree, whose names it keeps
    """

    def __init__(self, source: sources.Source) -> None:
        self.module = source.module
        self._quoted = [n.value for n in ast.walk(source.tree)
                        if isinstance(n, ast.Constant) and
                        isinstance(n.value, str)]
        self._used: ty.Set[str] = set()
        self._known: ty.Dict[str, str] = {}
        for alias, module in source.imports.items():
            if not module.startswith(sources.OURS):
                self._known.setdefault(module, alias)
        self._dotted = source.dotted

    @property
    def imports(self) -> ty.Dict[str, str]:
        """What is imported: alias to module."""
        return {
            alias: self._dotted.get(alias, module)
            for module, alias in self._known.items()
            if alias in self._used or any(
                text.startswith(alias + '.') for text in self._quoted)}

    def alias(self, module: str, preferred: str, avoid: ty.Iterable[str] = ()
              ) -> str:
        """Return what a module is called here."""
        self._used.add(self._known[module])
        return self._known[module]


def _key(item: ty.Tuple[str, str]) -> str:
    return item[1].lower()


def _line(alias: str, module: str) -> str:
    if module.startswith(alias + '.'):
        return 'import %s\n' % module
    return statement(module, alias)


def make_imports(new: ty.Mapping[str, str]) -> str:
    """Return the imports of a new module, in groups."""
    groups: ty.List[ty.List[str]] = [[], [], []]
    for alias, module in sorted(new.items(), key=_key):
        groups[group(module)].append(_line(alias, module))
    return '\n'.join(''.join(lines) for lines in groups if lines)


def path_of(module: str, nova: ty.Callable[[str], ty.Optional[str]]) -> str:
    """Return the path of the file of a module, 'nova/virt/hardware.py'.

    :param nova: returns the text of a file of Nova, None if there is none
    """
    path = module.replace('.', '/')
    for found in (path + '.py', os.path.join(path, '__init__.py')):
        if nova(found) is not None:
            return found
    return path + '.py'
