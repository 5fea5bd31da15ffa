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

"""A file of Python as text, with what its parts are and where they stand."""
import ast
import bisect
import functools
import io
import tokenize
import typing as ty

# What of Nova the tree is called by where it is imported
OURS = 'nova_mem_encryption.'
Span = ty.Tuple[int, int]
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def plain(module: str) -> str:
    """Return what a module of the tree is called inside Nova."""
    return module[len(OURS):] if module.startswith(OURS + 'nova.') else module


def bound(node: ast.AST) -> ty.Set[str]:
    """Return the names that may be local somewhere in a function."""
    names: ty.Set[str] = set()
    for n in ast.walk(node):
        if isinstance(n, ast.arg):
            names.add(n.arg)
        elif isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load):
            names.add(n.id)
        elif isinstance(n, (*Function, ast.ClassDef)) and n is not node:
            names.add(n.name)
        elif isinstance(n, ast.ExceptHandler) and n.name:
            names.add(n.name)
        elif isinstance(n, (ast.Import, ast.ImportFrom)):
            names |= {(a.asname or a.name).split('.')[0] for a in n.names}
    return names


def loads(nodes: ty.Iterable[ast.AST]) -> ty.Set[str]:
    """Return the names that are read somewhere in nodes."""
    return {n.id for node in nodes for n in ast.walk(node)
            if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def stores(nodes: ty.Iterable[ast.AST]) -> ty.Set[str]:
    """Return the names that are bound somewhere in nodes."""
    return set().union(*(bound(node) for node in nodes)) - {
        n.arg for node in nodes for n in ast.walk(node)
        if isinstance(n, ast.arg)}


def defines(node: ast.AST) -> ty.List[str]:
    """Return the names that a statement at top level defines."""
    name = getattr(node, 'name', None)
    if isinstance(name, str):
        return [name]
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        return [node.id]
    if isinstance(node, (ast.Lambda, ast.GeneratorExp, ast.ListComp,
                         ast.SetComp, ast.DictComp)):
        return []
    return [name for child in ast.iter_child_nodes(node)
            for name in defines(child)]


def own_returns(function: ast.AST) -> ty.List[ast.Return]:
    """Return the return statements of a function, not of those within."""
    found, todo = [], list(ast.iter_child_nodes(function))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Return):
            found.append(node)
        if not isinstance(node, (*Function, ast.Lambda, ast.ClassDef)):
            todo += ast.iter_child_nodes(node)
    return found


def is_generator(function: ast.AST) -> bool:
    """Tell whether a function runs only when its values are asked for."""
    return any(isinstance(n, (ast.Yield, ast.YieldFrom))
               for n in ast.walk(function))


class Source:
    """A file.

    :param module: its name, 'nova.virt.hardware'; as it is inside Nova
    :param path: 'nova/virt/hardware.py'
    :param text: its text
    :raises SyntaxError: if that is no Python
    """

    def __init__(self, module: str, path: str, text: str) -> None:
        self.module, self.path, self.text = module, path, text
        self.tree = ast.parse(text)
        self.lines = text.split('\n')
        self._starts = [0]
        for line in self.lines:
            self._starts.append(self._starts[-1] + len(line) + 1)
        #: what a name that is imported stands for, 'nova.compute.api'
        self.imports: ty.Dict[str, str] = {}
        self.import_nodes: ty.List[ty.Any] = []
        #: 'nova' to 'nova.conf', where that is what is imported
        self.dotted: ty.Dict[str, str] = {}
        #: what else is defined at top level, and the statement
        self.defined: ty.Dict[str, ast.stmt] = {}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                self.import_nodes.append(node)
                for a in node.names:
                    self.imports[a.asname or a.name] = plain(
                        '%s.%s' % (node.module, a.name))
            elif isinstance(node, ast.Import):
                self.import_nodes.append(node)
                for a in node.names:
                    top = a.name.split('.')[0]
                    self.imports[a.asname or top] = a.name if a.asname else top
                    if not a.asname and top != a.name:
                        self.dotted[top] = a.name
            elif isinstance(node, (*Function, ast.ClassDef)):
                self.defined[node.name] = node
            else:
                for name in defines(node):
                    self.defined[name] = node

    @property
    def body(self) -> ty.List[ast.stmt]:
        """The statements at top level, without docstring and imports."""
        first = ast.get_docstring(self.tree) is not None
        return [n for n in self.tree.body[first:]
                if not isinstance(n, (ast.Import, ast.ImportFrom))]

    @property
    def taken(self) -> ty.Set[str]:
        """All names at top level."""
        return {*self.imports, *self.defined}

    def offset(self, line: int, column: int) -> int:
        """Return where in the text a column of bytes, as of ast, is."""
        return self._starts[line - 1] + len(
            self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ty.Any) -> Span:
        """Return where in the text a node begins and ends."""
        return (self.offset(node.lineno, node.col_offset),
                self.offset(node.end_lineno, node.end_col_offset))

    def line_of(self, offset: int) -> int:
        """Return the number of the line that has a place of the text."""
        return bisect.bisect_right(self._starts, offset)

    def start_of(self, line: int) -> int:
        """Return where in the text a line begins."""
        return self._starts[line - 1]

    def first_line(self, node: ty.Any) -> int:
        """Return the first line of a statement, with what belongs to it.

        These are its decorators, and the comments above.
        """
        line = min([node.lineno] + [
            d.lineno for d in getattr(node, 'decorator_list', [])])
        while line > 1 and self.lines[line - 2].lstrip().startswith('#') and (
                not self.lines[line - 2].lstrip().startswith('# --')):
            line -= 1
        return line

    def find(self, name: str) -> ty.Any:
        """Return the node of 'function', 'Class' or 'Class.function'.

        :raises KeyError: if there is none
        """
        node: ty.Any = self.tree
        for part in name.split('.'):
            node = {n.name: n for n in node.body if isinstance(
                n, (*Function, ast.ClassDef))}[part]
        return node

    @functools.cached_property
    def visual_lines(self) -> ty.Dict[int, ty.Tuple[int, int]]:
        """Return which lines are aligned with what follows a bracket.

        :returns: number of the line to line and column of the bracket
        """
        found, last = {}, 0
        stack: ty.List[ty.Tuple[int, int]] = []
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            line, column = token.start
            if line != last and token.type not in (
                    tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT):
                if stack and stack[-1][1] + 1 == column:
                    found[line] = stack[-1]
                last = line
            if token.type == tokenize.OP:
                if token.string in '([{':
                    stack.append(token.start)
                elif token.string in ')]}':
                    stack.pop()
            last = max(last, token.end[0])
        return found

    @functools.cached_property
    def text_lines(self) -> ty.Set[int]:
        """Return the lines that begin inside a string, docstrings apart."""
        found: ty.Set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.STRING and (
                    token.line.split(token.string[:3])[0].strip()):
                found.update(range(token.start[0] + 1, token.end[0] + 1))
        return found


def without(source: Source, nodes: ty.Iterable[ty.Any]) -> Source:
    """Return a file without some statements, and the blank lines above."""
    gone: ty.Set[int] = set()
    for node in nodes:
        first = source.first_line(node)
        while first > 1 and not source.lines[first - 2].strip():
            first -= 1
        gone.update(range(first, node.end_lineno + 1))
    return Source(source.module, source.path, '\n'.join(
        line for number, line in enumerate(source.lines, 1)
        if number not in gone))


def licence(source: Source) -> str:
    """Return the licence at the top of a file."""
    lines = []
    for line in source.lines:
        if not line.startswith('#'):
            break
        lines.append(line + '\n')
    return ''.join(lines)
