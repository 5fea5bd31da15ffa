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

"""Put the tree into the source of Nova."""
import typing as ty

from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import edits
from nova_mem_encryption.export import extend
from nova_mem_encryption.export import hunks
from nova_mem_encryption.export import names
from nova_mem_encryption.export import pieces
from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import target as targets


class Assembly:
    """Some files of the tree, in Nova.

    :param tree: module of the tree to its Source, in order
    :param nova: returns the Source of a module of Nova, None if it has none
    :param by_hand: what hunks.load() returned
    """

    def __init__(
        self, tree: ty.Mapping[str, sources.Source],
        nova: ty.Callable[[str], ty.Optional[sources.Source]],
        by_hand: ty.Sequence[hunks.ByHand],
    ) -> None:
        self._nova, self.by_hand = nova, by_hand
        self.targets: ty.Dict[str, targets.Target] = {}
        self.new: ty.Dict[str, str] = {}  # module to text
        self.done: ty.List[extend.Done] = []
        self.homes: ty.Dict[ty.Tuple[str, str], names.Home] = {}
        self.hunks_put: ty.Set[str] = set()
        self.licence = sources.licence(next(iter(tree.values())))
        self.parts = {}
        self._owner = ''  # the module of the tree that is put in now
        for module, source in tree.items():
            home = self.home_of(module)
            self.parts[module] = pieces.split(source, home is not None)
            self._find_homes(module, source, home)
        for module, source in tree.items():
            home = self.home_of(module)
            if home is None:
                self.new[module] = self._make_new(source)
            else:
                self._owner = module
                self.done += extend.Extension(
                    self, source, self.parts[module], self.target(home)
                ).put()

    def home_of(self, module: str) -> ty.Optional[str]:
        """Return the module of Nova that a module of the tree extends."""
        for name in (module, module.rpartition('.')[0]):
            found = self._nova(name)
            if found is not None and not found.path.endswith('__init__.py'):
                return name
        return None

    def target(self, module: str) -> targets.Target:
        """Return a module of Nova, to put something into it."""
        if module not in self.targets:
            found = self._nova(module)
            assert found is not None
            self.targets[module] = targets.Target(found, self._owner)
        self.targets[module].owner = self._owner
        return self.targets[module]

    # -- where what goes -----------------------------------------------------

    def _find_homes(self, module, source, home) -> None:
        for part in self.parts[module]:
            if part.kind == pieces.ADD and not part.owner:
                self.homes[module, part.name] = names.Home(
                    part.module, part.name)
            if part.kind not in (pieces.PIECE, pieces.METHOD):
                continue
            for name in sources.defines(part.node):
                new = decisions.RENAMES.get((module, name), name)
                self.homes[module, name] = names.Home(
                    home or module, new, part.kind == pieces.METHOD)
                if home is None or part.kind == pieces.METHOD:
                    continue
                target = self.target(home)
                if pieces.is_there(part.node, target):
                    continue
                if new in target.taken:
                    raise names.Unclear('%s: %s is taken in %s' % (
                        source.path, new, home))
                target.taken.add(new)

    # -- new modules ---------------------------------------------------------

    def _make_new(self, source: sources.Source) -> str:
        dest = targets.New(source)
        rewriter = names.Rewriter(source, self.homes, dest)
        for node in source.body:
            rewriter.visit(node)
        head = source.tree.body[0].end_lineno or 1
        last = max([n.end_lineno for n in source.import_nodes] + [head])
        text = '\n'.join(source.lines[:head]) + '\n'
        imports = targets.make_imports(dest.imports)
        rest = edits.apply(source, last + 1, len(source.lines),
                           rewriter.edits)
        return (text + imports + rest).replace(
            sources.OURS + 'nova.', 'nova.').rstrip('\n') + '\n'
