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

"""Put a wrap into the function of Nova, in the form that was chosen."""
import ast
import textwrap
import typing as ty

from nova_mem_encryption.export import edits
from nova_mem_encryption.export import forms
from nova_mem_encryption.export import names
from nova_mem_encryption.export import words

DEFINITION = '''\
def {name}(function):
{said}
    @{functools}.wraps(function)
{head}{body}

    return {function}
'''


def put(wrap: forms.Wrap, form: str, rewriter: names.Rewriter
        ) -> ty.Optional[str]:
    """Put a wrap into the function of Nova.

    :param form: one of forms
    :param rewriter: with what its names are called there
    :returns: the decorator that is to be defined in the module; None if there
        is none
    """
    for statement in wrap.body:
        rewriter.visit(statement, frozenset(names.own(wrap.node)))
    original, dest = wrap.original, wrap.dest
    if form == forms.DECORATOR:
        return _decorate(wrap, rewriter.edits)
    first = _first_line(wrap)
    indent = original.body[0].col_offset
    last = (original.end_lineno + 1 if form == forms.BOTTOM else
            original.body[-1].lineno)
    at = len(wrap.body) - 1 if form == forms.TOP else wrap.find_call()
    assert at is not None
    pieces = [
        (first, _statements(wrap, rewriter.edits, 0, at, indent)),
        (last, _statements(wrap, rewriter.edits, at + 1, len(wrap.body) - (
            form == forms.RETURN), indent))]
    comment = _comment(wrap.comment, indent)
    for number, (line, text) in enumerate(pieces):
        if text:
            text = comment + text
            if number == 0:
                text += '\n'
            elif form == forms.BOTTOM:
                text = '\n' + text
            dest.put(line, text)
            comment = ''
    return None


def _first_line(wrap: forms.Wrap) -> int:
    """Return the line of the function's first statement."""
    body = wrap.original.body
    documented = ast.get_docstring(wrap.original) is not None
    if documented and len(body) > 1:
        return wrap.nova.first_line(body[1])
    return wrap.nova.first_line(body[0])


def _statements(wrap: forms.Wrap, changes, first: int, last: int,
                indent: int) -> str:
    """Return some statements of the wrap, as text."""
    if first >= last:
        return ''
    body: ty.List[ty.Any] = wrap.body
    begin = (body[first - 1].end_lineno + 1 if first else
             wrap.source.first_line(body[0]))
    end = body[last - 1].end_lineno
    text = edits.apply(wrap.source, begin, end, changes,
                       indent - body[first].col_offset)
    return text.lstrip('\n')


def _comment(text: str, indent: int) -> str:
    """Return a text as a comment."""
    pad = ' ' * indent + '#'
    return ''.join(line + '\n' for line in textwrap.wrap(
        ' '.join(text.split()), words.WIDTH, initial_indent=pad + ' ',
        subsequent_indent=pad + ' ', break_on_hyphens=False))


def name_decorator(wrap: forms.Wrap) -> str:
    """Return the name of the decorator that a wrap becomes."""
    return '_mem_encryption_' + wrap.node.name.strip('_')


def _decorate(wrap: forms.Wrap, found: ty.Iterable[edits.Edit]) -> str:
    """Put a decorator at the function; return its definition."""
    source, node = wrap.source, wrap.node
    functools = wrap.dest.alias('functools', 'functools', wrap.avoid)
    given = node.args.args
    if 'function' in wrap.avoid:
        raise names.Unclear('%s: line %d: function is a local name' % (
            source.path, node.lineno))
    changed = list(found)
    # Without the parameter upstream, which is called function now.
    start = source.span(given[0])[0]
    end = (source.span(given[1])[0] if len(given) > 1 else
           source.span(given[0])[1])
    changed.append((start, end, ''))
    for call in ast.walk(node):
        if getattr(call, 'id', None) == wrap.upstream:
            changed.append((*source.span(call), 'function'))
    # NOTE: every wrap has a docstring, which becomes the decorator's.
    doc: ty.Any = node.body[0]
    head = edits.apply(source, node.lineno, doc.lineno - 1, changed, 4)
    body = edits.apply(source, doc.end_lineno + 1, node.end_lineno or 0,
                       changed, 4)
    said = '\n'.join(source.lines[doc.lineno - 1:doc.end_lineno])
    name = name_decorator(wrap)
    original = wrap.original
    wrap.dest.put(line_of_decorator(original), '%s@%s\n' % (
        ' ' * original.col_offset, name))
    return DEFINITION.format(
        name=name, said=said, functools=functools, head=head,
        body=body.rstrip('\n'), function=node.name)


def line_of_decorator(function: ty.Any) -> int:
    """Return the line before which the outermost decorator goes."""
    binding = [d for d in function.decorator_list
               if ast.unparse(d) in forms.BINDING]
    if binding:
        return binding[-1].end_lineno + 1
    return min([function.lineno] + [
        d.lineno for d in function.decorator_list])
