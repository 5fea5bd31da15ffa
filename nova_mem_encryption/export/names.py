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

"""What names of the tree are called where its code goes in Nova."""
import ast
import typing as ty

from nova_mem_encryption.engine import release
from nova_mem_encryption.export import edits
from nova_mem_encryption.export import source as sources

# What of the engine the tree reads, by its value
VALUES = {('nova_mem_encryption.engine.release', 'LAST'): str(release.LAST)}
COMPREHENSIONS = (ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)


class Unclear(ValueError):
    """Code of the tree that cannot be moved into Nova as it is."""


class Home(ty.NamedTuple):
    """Where something of a file of the tree goes."""

    module: str
    name: str
    method: bool = False  # of the class that its first argument is


def own(function: ty.Any) -> ty.Set[str]:
    """Return the names that are local to a function itself."""
    names = {a.arg for a in ast.walk(function.args) if isinstance(a, ast.arg)}
    body = function.body if isinstance(function.body, list) else [
        function.body]
    todo: ty.List[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        if isinstance(node, (*sources.Function, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Lambda) or isinstance(node, COMPREHENSIONS):
            continue
        else:
            if isinstance(node, ast.Name) and not isinstance(
                    node.ctx, ast.Load):
                names.add(node.id)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                names.add(node.name)
            todo += ast.iter_child_nodes(node)
    return names


def _annotations(function: ty.Any) -> ty.List[ast.AST]:
    return [a for a in [
        getattr(function, 'returns', None),
        *(a.annotation for a in ast.walk(function.args)
          if isinstance(a, ast.arg))] if a is not None]


class Rewriter:
    """Find what of a piece of the tree is called otherwise in a module.

    :param source: the file of the tree
    :param homes: (module of the tree, name) to Home
    :param dest: the module that it goes to: its module, and alias(module,
        preferred name, names to avoid) that has a module imported there
    :param avoid: names that are local where the piece goes
    """

    def __init__(self, source: sources.Source,
                 homes: ty.Mapping[ty.Tuple[str, str], Home], dest: ty.Any,
                 avoid: ty.Iterable[str] = ()) -> None:
        self.source, self.homes, self.dest = source, homes, dest
        self.avoid = frozenset(avoid)
        self.edits: ty.List[edits.Edit] = []

    def visit(self, node: ast.AST, local: ty.FrozenSet[str] = frozenset()
              ) -> None:
        """Collect the edits of a node.

        :param local: names that are not of the file there
        :raises Unclear: if something cannot be called anything there
        """
        if isinstance(node, (*sources.Function, ast.Lambda)):
            outside: ty.List[ty.Any] = [
                *getattr(node, 'decorator_list', []), *node.args.defaults,
                *filter(None, node.args.kw_defaults), *_annotations(node)]
            for part in outside:
                if not is_verb(part):
                    self.visit(part, local)
            inner = local | own(node)
            for child in (node.body if isinstance(node.body, list)
                          else [node.body]):
                self.visit(child, inner)
            return
        if isinstance(node, COMPREHENSIONS):
            local = local | {
                n.id for g in node.generators for n in ast.walk(g.target)
                if isinstance(n, ast.Name)}
        elif isinstance(node, ast.ClassDef):
            for base in [*node.bases, *node.decorator_list]:
                if not is_verb(base):
                    self.visit(base, local)
            attributes = {n.id for s in node.body if isinstance(
                s, (ast.Assign, ast.AnnAssign)) for n in ast.walk(s)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
            for child in node.body:
                self.visit(child, local if isinstance(
                    child, sources.Function) else local | attributes)
            return
        elif isinstance(node, ast.Call) and self._visit_method(node, local):
            return
        elif isinstance(node, ast.Attribute) and isinstance(
                node.value, ast.Name) and node.value.id not in local and (
                node.value.id in self.source.imports):
            self._visit_attribute(node, local)
            return
        elif isinstance(node, ast.Name):
            self._visit_name(node, local)
            return
        for each in ast.iter_child_nodes(node):
            self.visit(each, local)

    def _put(self, node: ast.AST, text: str) -> None:
        start, end = self.source.span(node)
        if self.source.text[start:end] != text:
            self.edits.append((start, end, text))

    def _home(self, module: str, name: str) -> Home:
        return self.homes.get((module, name), Home(module, name))

    def _visit_method(self, call: ast.Call, local: ty.FrozenSet[str]) -> bool:
        """Have a function be called as the method that it becomes."""
        f = call.func
        if isinstance(f, ast.Name) and f.id not in local:
            home = self._home(self.source.module, f.id)
        elif isinstance(f, ast.Attribute) and isinstance(
                f.value, ast.Name) and f.value.id not in local:
            home = self._home(
                self.source.imports.get(f.value.id, ''), f.attr)
        else:
            return False
        if not home.method:
            return False
        first = call.args[0]
        rest: ty.List[ast.AST] = [*call.args[1:], *call.keywords]
        end = (self.source.span(rest[0])[0] if rest else
               self.source.span(first)[1])
        self.edits.append((
            self.source.span(f)[0], end, '%s.%s(' % (
                self.source.text[slice(*self.source.span(first))],
                home.name)))
        for part in rest:
            self.visit(part, local)
        return True

    def _visit_attribute(self, node: ty.Any, local: ty.FrozenSet[str]
                         ) -> None:
        module = self.source.imports[node.value.id]
        if (module, node.attr) in VALUES:
            self._put(node, VALUES[module, node.attr])
            return
        home = self._home(module, node.attr)
        if home.method:
            raise self._unclear(node, 'a method that is not called')
        if home.module == self.dest.module:
            if home.name in local:
                raise self._unclear(node, '%s is local' % home.name)
            self._put(node, home.name)
        else:
            self._put(node, '%s.%s' % (self.dest.alias(
                home.module, node.value.id, local | self.avoid), home.name))

    def _visit_name(self, node: ast.Name, local: ty.FrozenSet[str]) -> None:
        if node.id in local:
            return
        if node.id in self.source.imports:
            module = self.source.imports[node.id]
            if module == self.dest.module:
                raise self._unclear(node, 'it is the module itself')
            self._put(node, self.dest.alias(
                module, node.id, local | self.avoid))
        elif node.id in self.source.defined:
            home = self._home(self.source.module, node.id)
            if home.method:
                raise self._unclear(node, 'a method that is not called')
            if home.module != self.dest.module:
                self._put(node, '%s.%s' % (self.dest.alias(
                    home.module, home.module.rpartition('.')[2],
                    local | self.avoid), home.name))
            else:
                self._put(node, home.name)

    def _unclear(self, node: ty.Any, why: str) -> Unclear:
        return Unclear('%s: line %d: %s: %s' % (
            self.source.path, node.lineno, ast.unparse(node), why))


def is_verb(node: ast.AST) -> bool:
    """Tell whether something is a verb of the overlay."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
        'overlay.')
