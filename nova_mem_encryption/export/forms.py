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

"""Tell in which form a wrap goes into the function that it is about.

Its statements go to the top, to the bottom or before the one return. Where
that would not be the same, the wrap becomes a decorator.
"""
import ast
import builtins
import typing as ty

from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import target as targets

TOP, BOTTOM, RETURN, DECORATOR = 'top', 'bottom', 'return', 'decorator'
BINDING = ('staticmethod', 'classmethod')


class Wrap:
    """A wrap of the tree, and the function of Nova.

    :param source: the file of the tree
    :param node: the wrap
    :param dest: the module of Nova
    :param name: of the function there, 'Class.function'
    """

    def __init__(self, source: sources.Source, node: ast.FunctionDef,
                 dest: targets.Target, name: str) -> None:
        self.source, self.node, self.dest, self.name = source, node, dest, name
        self.nova = dest.source
        self.original = self.nova.find(name)
        documented = ast.get_docstring(node) is not None
        self.body = node.body[documented:]
        self.upstream = node.args.args[0].arg
        self.calls = [n for n in ast.walk(node) if isinstance(n, ast.Call) and
                      getattr(n.func, 'id', None) == self.upstream]
        self.decorators = [
            d for d in self.original.decorator_list
            if ast.unparse(d) not in BINDING]
        self.avoid = sources.bound(self.original) | sources.bound(node)

    @property
    def comment(self) -> str:
        """What the docstring says, without parameters and the like."""
        text = ast.get_docstring(self.node) or ''
        return text.split('\n\n:')[0]

    def choose(self) -> str:
        """Return the first form that is the same as the wrap."""
        if self.decorators or len(self.calls) != 1 or not self._hands_on() or (
                self._clashes() or sources.is_generator(self.original) or
                self._find_defaults(self.node) != self._find_defaults(
                    self.original, self._params())):
            return DECORATOR
        last = self.body[-1]
        if getattr(last, 'value', None) is self.calls[0] and isinstance(
                last, (ast.Return, ast.Expr)):
            return TOP
        at = self.find_call()
        if at is None:
            return DECORATOR
        before, call, after = self.body[:at], self.body[at], self.body[at + 1:]
        if (self._params() | sources.stores(before)) & sources.loads(after) & (
                sources.stores(self.original.body)):
            return DECORATOR  # the function changes what is read after it
        returns = sources.own_returns(self.original)
        if isinstance(call, ast.Expr) and not returns and not any(
                r.value for r in sources.own_returns(self.node)):
            return BOTTOM
        if isinstance(call, ast.Assign) and self._returns_name(returns, after):
            return RETURN
        return DECORATOR

    def _params(self) -> ty.Set[str]:
        return {a.arg for a in self.node.args.args}

    @staticmethod
    def _find_defaults(node: ast.FunctionDef,
                       wanted: ty.Optional[ty.Set[str]] = None
                       ) -> ty.Dict[str, str]:
        """Return the defaults of parameters; of those that are wanted."""
        a = node.args
        params = a.posonlyargs + a.args
        pairs = [*zip(params[len(params) - len(a.defaults):], a.defaults),
                 *zip(a.kwonlyargs, a.kw_defaults)]
        return {param.arg: ast.unparse(default) for param, default in pairs
                if default and (wanted is None or param.arg in wanted)}

    def _hands_on(self) -> bool:
        """Tell whether upstream gets the parameters as they are named."""
        a = self.original.args
        params = [p.arg for p in a.posonlyargs + a.args]
        call = self.calls[0]
        given: ty.List[str] = []
        for number, arg in enumerate(call.args):
            if isinstance(arg, ast.Starred):
                return given == params[:len(given)]
            if getattr(arg, 'id', None) != params[number]:
                return False
            given.append(params[number])
        for keyword in call.keywords:
            if keyword.arg is None:
                return True
            if getattr(keyword.value, 'id', None) != keyword.arg:
                return False
            given.append(keyword.arg)
        return sorted(given) == sorted(
            params + [p.arg for p in a.kwonlyargs])

    def _clashes(self) -> bool:
        """Tell whether a local of the wrap hides a global of the function."""
        mine = sources.stores(self.body) - self._params()
        globals_ = sources.loads([self.original]) - sources.bound(
            self.original)
        return any(name in globals_ or hasattr(builtins, name)
                   for name in mine)

    def find_call(self) -> ty.Optional[int]:
        for number, statement in enumerate(self.body):
            if getattr(statement, 'value', None) is self.calls[0] and (
                    isinstance(statement, (ast.Expr, ast.Assign))):
                return number
        return None

    def _returns_name(self, returns, after) -> bool:
        """Tell whether both end with the one return of a plain name."""
        mine = sources.own_returns(self.node)
        call = self.calls[0]
        assigned = [s for s in self.body if isinstance(s, ast.Assign) and
                    s.value is call][0].targets[0]
        return (len(returns) == 1 and returns[0] is self.original.body[-1] and
                isinstance(returns[0].value, ast.Name) and
                len(mine) == 1 and bool(after) and mine[0] is after[-1] and
                isinstance(assigned, ast.Name) and
                getattr(mine[0].value, 'id', None) == assigned.id ==
                returns[0].value.id)
