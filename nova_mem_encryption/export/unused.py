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

"""Find what of nova/mem_encryption only commands of the package use."""
import ast
import re
import typing as ty

from nova_mem_encryption.export import hunks
from nova_mem_encryption.export import source as sources

Name = ty.Tuple[str, str]  # module, and what it defines
WHATEVER = '', ''  # what is run, or stays, in any case
DOTTED = re.compile(r'\b(\w+)\.(\w+)')


def find(tree: ty.Mapping[str, sources.Source], new: ty.Container[str],
         by_hand: ty.Iterable[hunks.ByHand]) -> ty.Set[Name]:
    """Return what nothing in a patched Nova uses.

    :param tree: module of the tree to its Source, of those that are exported
    :param new: which of them are new to Nova
    :param by_hand: hunks, which use something too
    """
    used: ty.Dict[Name, ty.Set[Name]] = {WHATEVER: {
        (module, name) for each in by_hand for module in each.imports
        for hunk in each.hunks for line in hunk if line[0] == '+'
        for last, name in DOTTED.findall(line)
        if module.rpartition('.')[2] == last}}
    for module, source in tree.items():
        for node in source.body:
            names = [(module, name) for name in sources.defines(node)
                     ] if module in new else []
            for name in names or [WHATEVER]:
                used.setdefault(name, set()).update(find_uses(source, node))
    there, todo = {WHATEVER}, [WHATEVER]
    while todo:
        more = used[todo.pop()] & used.keys()
        todo += more - there
        there |= more
    return {*used} - there


def find_uses(source: sources.Source, statement: ast.AST
               ) -> ty.Iterator[Name]:
    """Yield what a statement of a file uses, of that and of other files."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            # Also what it binds, as that stays or goes together.
            yield source.module, node.id
        elif isinstance(node, ast.Attribute) and isinstance(
                node.value, ast.Name):
            yield source.imports.get(node.value.id, ''), node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # As a type may be
            yield source.module, node.value
            for alias, name in DOTTED.findall(node.value):
                yield source.imports.get(alias, ''), name
