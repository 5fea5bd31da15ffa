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

"""What a file of the tree is made of."""
import ast
import typing as ty

from nova_mem_encryption.export import edits
from nova_mem_encryption.export import names
from nova_mem_encryption.export import source as sources

WRAP, WITHIN, ADD, VALUE = 'wrap', 'within', 'add', 'value'
PIECE, METHOD = 'piece', 'method'
# What makes nothing inside Nova: its class is registered where it is defined.
REGISTER = 'base.NovaObjectRegistry.register'


class Part(ty.NamedTuple):
    """A statement of a file of the tree."""

    kind: str
    node: ty.Any
    module: str = ''  # of Nova, that a verb is about
    owner: str = ''   # the class in it; '' for the module itself
    name: str = ''    # what is wrapped or added
    into: ty.Optional[str] = None

    @property
    def full(self) -> str:
        """The name in the module, 'Class.function' or 'Class.dict.key'."""
        return '.'.join(filter(None, [self.owner, self.into, self.name]))


def split(source: sources.Source, extends: bool) -> ty.List[Part]:
    """Return the parts of a file of the tree, in order.

    :param source: the file
    :param extends: whether it extends a module of Nova; else it is a new one
    """
    parts = []
    for node in source.body:
        part = _read(source, node)
        if part is not None:
            parts.append(part)
    if extends and any(part.owner for part in parts):
        return [part._replace(kind=METHOD) if _is_method(part) else part
                for part in parts]
    return parts


def _is_method(part: Part) -> bool:
    return part.kind == PIECE and isinstance(
        part.node, ast.FunctionDef) and bool(
        part.node.args.args) and part.node.args.args[0].arg == 'self'


def _read(source: sources.Source, node: ty.Any) -> ty.Optional[Part]:
    call: ty.Any
    for call in getattr(node, 'decorator_list', []):
        if names.is_verb(call):
            kind = WRAP if call.func.attr == WRAP else ADD
            return Part(kind, node, *_target(source, call), name=node.name)
    if isinstance(node, ast.Expr) and names.is_verb(node.value):
        call = node.value
        kind = WITHIN if call.func.attr == WITHIN else VALUE
        into = [k.value.value for k in call.keywords if k.arg == 'into']
        return Part(kind, node, *_target(source, call),
                    name=call.args[1].value, into=into[0] if into else None)
    if isinstance(node, ast.Expr) and ast.unparse(node).startswith(REGISTER):
        return None
    return Part(PIECE, node)


def _target(source: sources.Source, call: ty.Any) -> ty.Tuple[str, str]:
    """Return module and class that a verb is about."""
    base, _, owner = ast.unparse(call.args[0]).partition('.')
    return source.imports[base], owner


def text(source: sources.Source, node: ty.Any,
         changes: ty.Iterable[edits.Edit], indent: int = 0) -> str:
    """Return a statement with the comments above it, without verbs."""
    first = source.first_line(node)
    skipped: ty.Set[int] = set()
    for call in getattr(node, 'decorator_list', []):
        if names.is_verb(call):
            skipped.update(range(call.lineno, call.end_lineno + 1))
    found, start = '', first
    for line in [*sorted(skipped), node.end_lineno + 1]:
        if line > start:
            found += edits.apply(source, start, line - 1, changes, indent)
        start = line + 1
    return found


def is_there(node, target) -> bool:
    """Tell whether Nova has the same, such as LOG, under this name."""
    return isinstance(node, ast.Assign) and any(
        ast.unparse(other) == ast.unparse(node)
        for name in sources.defines(node)
        for other in [target.source.defined.get(name)] if other)
