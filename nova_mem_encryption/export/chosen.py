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

"""Choose which files of the tree are exported."""
import ast
import functools
import typing as ty

from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import layout
from nova_mem_encryption.export import source as sources


class Chosen:
    """The files of the tree that are exported.

    :param tree: module of the tree to its Source
    """

    def __init__(self, tree: ty.Mapping[str, sources.Source]) -> None:
        self._tree = tree
        # Each is asked for with each patch.
        self._needs = functools.lru_cache(maxsize=None)(self._find_needs)
        #: those that are no tests, in order; the package's commands use them,
        #: too, where Nova is patched, so that what only they use stays
        self.files: ty.Dict[str, sources.Source] = {
            m: tree[m] for subject in decisions.SUBJECTS
            for m in sorted(self.closure(subject.modules))}

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
