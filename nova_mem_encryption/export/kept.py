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

"""Tell which of the tests are for a patched Nova, and take the others out.

What uses a part of the package that is not exported is taken out, and what
uses that in turn. So is a test that starts a host without the series, as all
hosts of a test are of the same Nova.
"""
import ast
import re
import typing as ty

from nova_mem_encryption.engine import state
from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import words

TESTS = state.TESTS
PLAIN = 'it starts a host of a Nova that is not patched'


def find_reason(module: str, rows: ty.Iterable[ty.Tuple[str, str]]
                ) -> ty.Optional[str]:
    """Return why a module of tests is left out as a whole, None if not.

    :param rows: as decisions.LEFT_OUT_TESTS
    """
    for pattern, reason in rows:
        if re.match(pattern, module[len(TESTS):]):
            return reason
    return None


class Kept:
    """The tests for a patched Nova.

    :param tree: module of the tree to its Source
    :param gone: modules that are not exported
    :param rows: which modules are no tests of Nova, and why
    """

    def __init__(self, tree: ty.Mapping[str, sources.Source],
                 gone: ty.Iterable[str],
                 rows: ty.Iterable[ty.Tuple[str, str]] =
                 decisions.LEFT_OUT_TESTS) -> None:
        #: module, or 'module:name', to the reason that it is left out
        self.left_out = {m: r for m in tree if m.startswith(TESTS)
                         for r in [find_reason(m, rows)] if r}
        self._gone = {*gone, *self.left_out}
        self._tree = {m: s for m, s in tree.items()
                      if m.startswith(TESTS) and m not in self.left_out}
        # Of each module: names at top level, and of methods
        self._names: ty.Dict[str, ty.Set[str]] = {m: set() for m in self._tree}
        self._methods: ty.Dict[str, ty.Set[str]] = {
            m: set() for m in self._tree}
        # Where the methods that a test has of its classes, or asks for, are
        self._reach = {m: self._find_reach(m) for m in self._tree}
        while any([self._look_at(m, s) for m, s in self._tree.items()]):
            pass

    def modules(self) -> ty.Dict[str, sources.Source]:
        """Return the modules without what is taken out."""
        found = {}
        for module, source in self._tree.items():
            new = sources.without(source, self._find_gone(module))
            if _has_tests(source.tree) and not _has_tests(new.tree):
                self.left_out[module] = next(
                    reason for name, reason in self.left_out.items()
                    if name.startswith(module + ':'))
                continue
            found[module] = new
        return found

    def _find_reach(self, module: str) -> ty.Set[str]:
        """Return a module of tests, and all that it imports, however far."""
        found: ty.Set[str] = set()
        todo = [module]
        while todo:
            name = todo.pop()
            if name in self._tree and name not in found:
                found.add(name)
                todo += self._tree[name].imports.values()
        return found

    def _is_gone(self, module: str) -> bool:
        return module in self._gone or (
            module.startswith(sources.OURS) and
            module != sources.OURS + 'overlay')

    def _reason(self, module: str, node: ast.AST) -> ty.Optional[str]:
        """Return why a piece of a module cannot be there."""
        source = self._tree[module]
        others = self._reach[module]
        for n in ast.walk(node):
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load):
                there = source.imports.get(n.id, '')
                if self._is_gone(there):
                    return 'it uses ' + there
                if n.id in self._names[module]:
                    return 'it uses ' + n.id
            elif isinstance(n, ast.Attribute):
                root = n.value
                if isinstance(root, ast.Name) and n.attr in self._names.get(
                        source.imports.get(root.id, ''), ()):
                    return 'it uses ' + n.attr
                while isinstance(root, ast.Attribute):
                    root = root.value
                if isinstance(root, ast.Name) and root.id == 'self' and any(
                        n.attr in self._methods[m] for m in others):
                    return 'it uses ' + n.attr
            elif isinstance(n, ast.keyword) and n.arg == 'plain':
                return PLAIN
            elif isinstance(n, ast.Constant) and isinstance(n.value, str) and (
                    words.PACKAGE.search(n.value)):
                return 'it is about the package'
        return None

    def _look_at(self, module: str, source: sources.Source) -> bool:
        """Find more that is to be taken out; tell whether there was."""
        more = False
        for node in source.body:
            names = sources.defines(node)
            name = names[0] if names else str(node.lineno)
            if name in self._names[module]:
                continue
            if not isinstance(node, ast.ClassDef):
                reason = self._reason(module, node)
                if reason:
                    self._take_out(module, name, reason)
                    more = True
                continue
            more = self._look_at_class(module, node) or more
        return more

    def _look_at_class(self, module: str, node: ast.ClassDef) -> bool:
        more = False
        outside = ast.Tuple([*node.bases, *node.decorator_list], ast.Load())
        reason = self._reason(module, outside)
        for each in node.body:
            name = getattr(each, 'name', str(each.lineno))
            key = '%s:%s.%s' % (module, node.name, name)
            if reason or key in self.left_out:
                continue
            why = self._reason(module, each)
            if why and name in ('setUp', 'setUpClass'):
                reason = why
            elif why:
                self.left_out[key] = why
                more = True
                if not name.startswith('test_'):
                    self._methods[module].add(name)
        left = [n for n in ast.walk(node) if isinstance(n, ast.FunctionDef) and
                n.name.startswith('test_')]
        if left and all('%s:%s.%s' % (module, node.name, n.name)
                        in self.left_out for n in left):
            reason = reason or 'none of its tests is left'
        if reason:
            self._take_out(module, node.name, reason)
            more = True
        return more

    def _take_out(self, module: str, name: str, reason: str) -> None:
        self._names[module].add(name)
        self.left_out['%s:%s' % (module, name)] = reason

    def _find_gone(self, module: str) -> ty.Iterator[ast.AST]:
        source = self._tree[module]
        for node in source.body:
            names = sources.defines(node)
            name = names[0] if names else str(node.lineno)
            if name in self._names[module]:
                yield node
            elif isinstance(node, ast.ClassDef):
                for each in node.body:
                    key = '%s:%s.%s' % (module, node.name, getattr(
                        each, 'name', each.lineno))
                    if key in self.left_out:
                        yield each


def _has_tests(tree: ast.AST) -> bool:
    return any(isinstance(n, ast.FunctionDef) and n.name.startswith('test_')
               for n in ast.walk(tree))
