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

"""Choose which files of the tree are exported, and what of them."""
import ast
import functools
import typing as ty

from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import hunks
from nova_mem_encryption.export import layout
from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import unused


class Chosen:
    """The files of the tree that are exported.

    :param tree: module of the tree to its Source
    :param by_hand: what hunks.load() returned
    """

    def __init__(self, tree: ty.Mapping[str, sources.Source],
                 by_hand: ty.Sequence[hunks.ByHand]) -> None:
        self._tree = tree
        # Each is asked for with each patch.
        self._needs = functools.lru_cache(maxsize=None)(self._find_needs)
        wanted = {m: tree[m] for subject in decisions.SUBJECTS
                  for m in sorted(self.closure(subject.modules))}
        #: what of the modules that are new to Nova nothing there uses
        self.unused = unused.find(wanted, {
            m for m in wanted if m.startswith(layout.PACKAGE)}, by_hand)
        #: those that are no tests, in order, without what nothing uses
        self.files: ty.Dict[str, sources.Source] = {}
        for module, source in wanted.items():
            gone = [node for node in source.body for name in sources.defines(
                node) if (module, name) in self.unused]
            if not gone:
                self.files[module] = source
            elif len(gone) < len(source.body):
                self.files[module] = sources.without(source, gone)

    def _find_needs(self, module: str) -> ty.FrozenSet[str]:
        """Return the modules of nova/mem_encryption that a module imports."""
        found = set()
        for node in ast.walk(self._tree[module].tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    name = sources.plain('%s.%s' % (node.module, alias.name))
                    if name in self._tree and name.startswith(layout.PACKAGE):
                        found.add(name)
        return frozenset(found)

    def closure(self, modules: ty.Iterable[str]) -> ty.Set[str]:
        """Return modules with all of nova/mem_encryption that they need."""
        found: ty.Set[str] = set()
        todo = list(modules)
        while todo:
            module = todo.pop()
            if module not in found:
                found.add(module)
                todo += self._needs(module)
        return found

    def left_out(self) -> ty.Dict[str, str]:
        """Return the modules of the tree that are in no patch, and why."""
        return {module: decisions.LEFT_OUT.get(
            module, 'only commands of the package use it')
            for module in self._tree if module not in self.files and
            not module.startswith(layout.TESTS)}
