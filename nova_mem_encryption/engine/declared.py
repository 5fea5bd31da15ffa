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

"""Read what the files of the tree do to Nova, from their text."""
import ast
import typing as ty

VERBS = {
    'add': ('name', 'value', 'into', 'leans_on'),
    'wrap': ('leans_on', 'mends'),
    'within': ('name', 'context', 'leans_on', 'mends')}
LITERAL = ('name', 'into', 'leans_on')


class Call(ty.NamedTuple):
    """One use of a verb, with what of it has to be a literal."""

    verb: str
    module: str                 # of Nova
    target: str                 # the class in it; '' for the module itself
    name: str                   # of the function or of what is added
    into: ty.Optional[str]
    leans_on: ty.Tuple[str, ...]
    line: int

    @property
    def full(self) -> str:
        """The name in the module, 'Class.function' or 'Class.dict.key'."""
        return '.'.join(filter(None, [self.target, self.into, self.name]))


def calls(source: str, module: str) -> ty.List[Call]:
    """Return what a file of the tree adds, wraps and runs within a context.

    :param source: the text of the file
    :param module: its name, for errors
    :raises ValueError: if something is written so that it cannot be read
    """
    tree = ast.parse(source)
    found: ty.List[ty.Tuple[ast.expr, ty.Optional[str]]] = []
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found += [(call, node.name) for call in node.decorator_list]
        elif isinstance(node, ast.Expr):
            found.append((node.value, None))
    found = [(call, name) for call, name in found if _is_verb(call)]
    read = [call for call, _ in found]
    other: ty.Any
    for other in ast.walk(tree):
        if _is_verb(other) and other not in read:
            raise ValueError('%s: line %d: overlay.%s must be at top level' % (
                module, other.lineno, other.func.attr))
    names = _imported(tree)
    return [_read(call, name, names, module) for call, name in found]


def _is_verb(node: ty.Any) -> bool:
    return (isinstance(node, ast.Call) and
            isinstance(node.func, ast.Attribute) and
            node.func.attr in VERBS and
            getattr(node.func.value, 'id', None) == 'overlay')


def _imported(tree: ast.Module) -> ty.Dict[str, str]:
    """Return what names of a file stand for: modules, or what is in them."""
    names = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = (
                    '%s:%s' % (node.module, alias.name))
        elif (isinstance(node, ast.Assign) and
                isinstance(node.targets[0], ast.Name) and
                isinstance(node.value, ast.Attribute)):
            # SEV = config.LibvirtConfigGuestSEVLaunchSecurity
            base, _, rest = ast.unparse(node.value).partition('.')
            if base in names:
                names[node.targets[0].id] = '%s.%s' % (names[base], rest)
    return names


def _read(call, decorated, names, module) -> Call:
    verb = call.func.attr
    base, _, rest = ast.unparse(call.args[0]).partition('.')
    if base not in names:
        raise ValueError('%s: overlay.%s(%s) names no imported module'
                         % (module, verb, base))
    package, _, found = names[base].partition(':')
    found, _, attribute = found.partition('.')
    arguments = dict(zip(VERBS[verb], call.args[1:]))
    arguments.update({k.arg: k.value for k in call.keywords})
    values: ty.Dict[str, ty.Any] = {}
    for key in LITERAL:
        try:
            values[key] = ast.literal_eval(arguments.get(key, 'None'))
        except ValueError as e:
            raise ValueError('%s: line %d: %s of overlay.%s must be a literal'
                             % (module, call.lineno, key, verb)) from e
    name = values['name'] or decorated
    if name is None or '.' in name:
        raise ValueError('%s: line %d: overlay.%s has no name to look for'
                         % (module, call.lineno, verb))
    return Call(verb, '%s.%s' % (package, found),
                '.'.join(filter(None, [attribute, rest])), name,
                values['into'], tuple(values['leans_on'] or ()),
                call.lineno)


def functions(source: str, module: str) -> ty.Dict[str, ty.Set[str]]:
    """Return what a file of the tree wraps and leans on.

    :returns: module of Nova to names of functions
    :raises ValueError: as calls()
    """
    result = wraps(source, module)
    for call in calls(source, module):
        for other in call.leans_on:
            elsewhere, _, function = other.rpartition(':')
            result.setdefault(elsewhere or call.module, set()).add(function)
    return result


def wraps(source: str, module: str) -> ty.Dict[str, ty.Set[str]]:
    """Return what a file of the tree wraps.

    :returns: module of Nova to names of functions
    :raises ValueError: as calls()
    """
    result: ty.Dict[str, ty.Set[str]] = {}
    for call in calls(source, module):
        if call.verb != 'add':
            result.setdefault(call.module, set()).add(call.full)
    return result


def additions(source: str, module: str) -> ty.Dict[str, ty.Set[str]]:
    """Return what a file of the tree adds.

    :returns: module of Nova to names, 'Class.name' or 'Class.dict.key'
    :raises ValueError: as calls()
    """
    result: ty.Dict[str, ty.Set[str]] = {}
    for call in calls(source, module):
        if call.verb == 'add':
            result.setdefault(call.module, set()).add(call.full)
    return result
