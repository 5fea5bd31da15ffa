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

"""Put one file of the tree into the module of Nova that it extends."""
import ast
import textwrap
import typing as ty

from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import edits
from nova_mem_encryption.export import forms
from nova_mem_encryption.export import hunks
from nova_mem_encryption.export import names
from nova_mem_encryption.export import pieces
from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import words
from nova_mem_encryption.export import wraps

CONTEXTS = 'nova.mem_encryption.contexts'


class Done(ty.NamedTuple):
    """What became of one verb of the tree."""

    file: str
    verb: str
    module: str
    name: str
    form: str


class Extension:
    """The parts of a file of the tree.

    :param assembly: what it is put into: target(module), homes, by_hand,
        hunks_put
    :param source: the file
    :param parts: of it
    :param home: the module of Nova
    """

    def __init__(self, assembly, source, parts, home) -> None:
        self._assembly, self._source = assembly, source
        self._parts, self._home = parts, home
        self._done: ty.List[Done] = []

    def _rewriter(self, dest, avoid=()) -> names.Rewriter:
        return names.Rewriter(
            self._source, self._assembly.homes, dest, avoid)

    def put(self) -> ty.List[Done]:
        """Put them; :returns: what became of each verb."""
        block: ty.List[ty.Tuple[bool, str, ty.Any]] = []
        anchor = None  # behind which what is added goes
        first = []     # what the block stands before
        for part in self._parts:
            if part.kind in (pieces.WRAP, pieces.WITHIN):
                dest = self._assembly.target(part.module)
                node = dest.source.find(part.full)
                anchor = (part, node.end_lineno + 1)
            if part.module == self._home.module and (
                    part.owner or part.kind == pieces.WRAP):
                first.append(self._home.source.find(part.owner or part.name))
        for part in self._parts:
            by_hand = self._find_by_hand(part)
            if by_hand is not None:
                if by_hand.name not in self._assembly.hunks_put:
                    self._assembly.hunks_put.add(by_hand.name)
                    hunks.put(by_hand, self._assembly.target(part.module))
                self._note(part, 'by hand')
            elif part.kind == pieces.WRAP:
                text = self._wrap(part)
                if text:
                    block.append((True, text, part.node))
            elif part.kind == pieces.WITHIN:
                self._within(part)
            elif part.kind == pieces.VALUE:
                self._value(part)
            elif part.kind == pieces.ADD and part.owner:
                self._method(part, part.module, part.owner,
                             anchor if anchor and (
                                 anchor[0].owner == part.owner) else None)
                self._note(part, 'added')
            elif part.kind == pieces.METHOD:
                owner = next(p for p in self._parts if p.owner)
                self._method(part, owner.module, owner.owner, anchor)
            else:
                text = self._piece(part, self._home)
                if part.kind == pieces.ADD:
                    self._note(part, 'added')
                if text:
                    block.append((not isinstance(part.node, (
                        ast.Assign, ast.AnnAssign)), text, part.node))
        if block:
            self._put_block(block, first)
        return self._done

    def _note(self, part, form) -> None:
        verb = pieces.ADD if part.kind == pieces.VALUE else part.kind
        self._done.append(Done(
            self._source.path, verb, part.module, part.full, form))

    def _find_by_hand(self, part) -> ty.Optional[hunks.ByHand]:
        for each in self._assembly.by_hand:
            if each.module == part.module and part.full in each.verbs:
                return each
        return None

    def _wrap(self, part) -> ty.Optional[str]:
        dest = self._assembly.target(part.module)
        wrap = forms.Wrap(self._source, part.node, dest, part.full)
        form = wrap.choose()
        self._note(part, form)
        return wraps.put(wrap, form, self._rewriter(
            dest, wrap.avoid))

    def _within(self, part) -> None:
        """Have a function run within a context, by a decorator."""
        dest = self._assembly.target(part.module)
        call = part.node.value
        context = call.args[2]
        rewriter = self._rewriter(dest)
        rewriter.visit(context)
        expression = edits.replaced(self._source, context, rewriter.edits)
        original = dest.source.find(part.full)
        pad = ' ' * original.col_offset
        alias = dest.alias(CONTEXTS, 'contexts', sources.bound(original))
        above = self._source.lines[self._source.first_line(part.node) - 1:
                             part.node.lineno - 1]
        comment = ''.join('%s%s\n' % (pad, line.strip()) for line in above)
        line = '%s@%s.within(%s)\n' % (pad, alias, expression)
        if '\n' in expression or len(line) > words.WIDTH + 1:
            line = '%s@%s.within(\n%s)\n' % (pad, alias, textwrap.indent(
                _fill(expression), pad + '    '))
        dest.put(wraps.line_of_decorator(original), comment + line)
        self._note(part, 'decorator')

    def _piece(self, part, dest, indent=0) -> str:
        module = self._source.module
        defined = sources.defines(part.node)
        if all((module, name) in decisions.DROPPED for name in defined) or (
                pieces.is_there(part.node, dest)):
            return ''
        rewriter = self._rewriter(dest)
        rewriter.visit(part.node)
        for name in defined:
            new = self._assembly.homes.get((module, name))
            if hasattr(part.node, 'name') and new and new.name != name:
                at = self._source.span(part.node)[0] + len(
                    'class ' if isinstance(part.node, ast.ClassDef)
                    else 'def ')
                rewriter.edits.append((at, at + len(name), new.name))
        return pieces.text(self._source, part.node, rewriter.edits, indent)

    def _method(self, part, module, owner, anchor) -> None:
        dest = self._assembly.target(module)
        text = self._piece(part, dest, 4)
        named = decisions.ANCHORS.get((module, owner))
        if named and part.kind == pieces.ADD:
            line = dest.source.find(
                '%s.%s' % (owner, named)).end_lineno + 1
        elif anchor:
            line = anchor[1]
        else:
            line = dest.source.find(owner).end_lineno + 1
        dest.put(line, '\n' + text, order=1)

    def _value(self, part) -> None:
        dest = self._assembly.target(part.module)
        call = part.node.value
        rewriter = self._rewriter(dest)
        rewriter.visit(call.args[2])
        value = edits.replaced(self._source, call.args[2], rewriter.edits)
        above = [line.strip() for line in self._source.lines[
            self._source.first_line(part.node) - 1:part.node.lineno - 1]]
        cls = dest.source.find(part.owner)
        if part.into:
            line, pad, text = self._find_entry(cls, part), 8, "'%s': %s," % (
                part.name, value)
        else:
            functions = [s for s in cls.body if isinstance(
                s, sources.Function)]
            line, pad, text = dest.source.first_line(functions[0]), 4, (
                '%s = %s' % (part.name, value))
        dest.put(line, ''.join(' ' * pad + each + '\n'
                               for each in [*above, text]) +
                 ('\n' if self._is_last_value(part) else ''))
        self._note(part, 'added')

    def _is_last_value(self, part) -> bool:
        """Tell whether no other value goes to the same place."""
        if part.into:
            return False
        values = [p for p in self._parts
                  if p.kind == pieces.VALUE and p.owner == part.owner]
        return values[-1] is part

    @staticmethod
    def _find_entry(cls, part) -> int:
        """Return the line where an entry of a dict of a class goes."""
        for statement in cls.body:
            if part.into in sources.defines(statement):
                known = [(key.value, value) for key, value in zip(
                    statement.value.keys, statement.value.values)]
                return max((key, value.end_lineno + 1) for key, value in known
                           if key < part.name)[1]
        raise KeyError(part.full)

    def _put_block(self, block, first) -> None:
        text = ''
        for number, (is_def, piece, node) in enumerate(block):
            if number:
                above = self._source.lines[self._source.first_line(node) - 2]
                blank = 2 if is_def or block[number - 1][0] else int(
                    not above.strip())
                text += '\n' * blank
            text += piece
        anchor = decisions.ANCHORS.get((self._home.module, ''))
        before = decisions.BEFORE.get(self._home.module)
        if before:
            first = [self._home.source.defined[before]]
        if first:
            line = min(self._home.source.first_line(node) for node in first)
            self._home.put(line, text + '\n\n', order=-1)
        elif anchor:
            self._home.put(self._home.source.find(anchor).end_lineno + 1,
                     '\n\n' + text, order=1)
        else:
            raise names.Unclear('%s: where does it go in %s?' % (
                self._source.path, self._home.module))


def _fill(expression: str) -> str:
    """Return an expression in lines that have no indent of their own."""
    first, *rest = expression.split('\n')
    return '\n'.join([first, *textwrap.dedent('\n'.join(rest)).split('\n')]
                     ) if rest else first
