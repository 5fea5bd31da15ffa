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

"""Compare a module of Nova with the table, by parsing it.

This is what counts; scan only saves the time where all is well.
"""
import ast
import textwrap
import typing as ty

from nova_mem_encryption.engine import fingerprints


class Misfit(ty.NamedTuple):
    """One function that is not the one the series was made for."""

    module: str
    function: str
    expected: str
    found: ty.Optional[str]  # None: there is no such function
    path: str


class Source:
    """What a module defines.

    :param text: of the module; what is no Python defines nothing
    """

    def __init__(self, text: bytes) -> None:
        # NOTE: lines of bytes, as Python counts them; those of str also end
        # at form feeds and the like.
        self.lines = text.splitlines(keepends=True)
        #: function or Class.function to the node that counts
        self.functions: ty.Dict[str, ty.Union[
            ast.FunctionDef, ast.AsyncFunctionDef]] = {}
        #: all that is bound, in the module and in its classes; by what
        self.bound: ty.Dict[str, ty.Optional[ast.AST]] = {}
        try:
            text.decode('utf-8')
            body = ast.parse(text).body
        except (SyntaxError, ValueError):
            return
        self._visit(body, '')

    def _visit(self, body, prefix) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                self._bind(prefix + node.name, node)
                self._visit(node.body, prefix + node.name + '.')
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._bind(prefix + node.name, node)
                self.functions[prefix + node.name] = node
            else:
                for name in _names_bound(node):
                    self._bind(prefix + name, node)

    def _bind(self, name, node) -> None:
        """Have a name stand for something else than before."""
        self.bound[name] = node
        for other in list(self.functions):
            if other == name or other.startswith(name + '.'):
                del self.functions[other]

    def fingerprint(self, name: str) -> ty.Optional[str]:
        """Return the sha256 of the dedented text of a function.

        Its decorators belong to it.

        :param name: 'function' or 'Class.function'
        :returns: None if there is no such function
        """
        node = self.functions.get(name)
        if node is None:
            return None
        first = min([node.lineno] + [d.lineno for d in node.decorator_list])
        text = b''.join(self.lines[first - 1:node.end_lineno])
        return fingerprints.digest(
            textwrap.dedent(text.decode('utf-8')).encode())

    def find_problem(self, addition: str) -> ty.Optional[str]:
        """Tell why a name cannot be added.

        :param addition: 'name', 'Class.name' or 'Class.dict.key'
        :returns: what is wrong, None if nothing
        """
        place = addition.rpartition('.')[0]
        if place and place not in self.bound:
            return 'there is no ' + place
        return ('there is a %s already' % addition if self.has(addition)
                else None)

    def has(self, addition: str) -> bool:
        """Tell whether a name is there, as of find_problem()."""
        place, _, name = addition.rpartition('.')
        node = self.bound.get(place)
        if node is not None and not isinstance(node, ast.ClassDef):
            return name in _keys(node)
        return addition in self.bound


def _names_bound(statement) -> ty.Iterator[str]:
    """Yield the names that a statement may bind where it stands."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition('.')[0]
        else:
            # A definition, an exception, a pattern
            name = getattr(node, 'name', None) or getattr(node, 'rest', None)
            if isinstance(name, str):
                yield name


def _keys(statement) -> ty.Set[ty.Any]:
    """Return the keys of a dict, or of a tuple of pairs, that is assigned."""
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            keys: ty.List[ty.Any] = list(node.keys)
        elif isinstance(node, ast.Tuple):
            # As _('name') it is translated.
            keys = [arg for item in node.elts[:1] for arg in [
                item, *getattr(item, 'args', [])]]
        else:
            continue
        found |= {key.value for key in keys if isinstance(key, ast.Constant)}
    return found


def functions(text: bytes) -> ty.Dict[str, str]:
    """Return the fingerprint of each function of a module."""
    source = Source(text)
    return {name: source.fingerprint(name) or '' for name in source.functions}


def check(
    known: ty.Mapping[str, ty.Any],
    module: str,
    path: ty.Optional[str],
    text: bytes,
) -> ty.Tuple[ty.List[Misfit], ty.List[str]]:
    """Compare a module of a Nova with the table.

    :param known: what fingerprints.table() returned
    :param module: name of the module, 'nova.virt.hardware'
    :param path: the file that it would be imported from; None if there is
        none
    :param text: of it
    :returns: the functions that are not the known ones; and what is wrong
        with the names that are to be added
    """
    source = Source(text)
    misfits = [
        Misfit(module, name, value, source.fingerprint(name),
               path or '(no file)')
        for name, value in known['functions'].get(module, {}).items()
        if source.fingerprint(name) != value]
    problems = [source.find_problem(name)
                for name in known['additions'].get(module, [])]
    return misfits, ['%s: %s' % (module, problem)
                     for problem in problems if problem]


def find_unpatched(
    known: ty.Mapping[str, ty.Any],
    module: str,
    text: bytes,
) -> ty.List[str]:
    """Return what patches do to a module, and nobody has done.

    :param known: what fingerprints.table() returned
    :param module: name of the module
    :param text: of it
    :returns: names of functions that are as they were, or not there, and of
        what is to be added and is not there; and lines that are not
    """
    source = Source(text)
    patched = known['patched']
    return [name for name in patched['functions'].get(module, ())
            if source.fingerprint(name) in (
                None, known['functions'][module][name])] + [
        name for name in patched['additions'].get(module, ())
        if not source.has(name)] + [
        line.strip() for line in fingerprints.lacks_lines(known, module, text)]


def has_class(text: bytes, name: str) -> bool:
    """Tell whether a module defines a class."""
    return isinstance(Source(text).bound.get(name), ast.ClassDef)
