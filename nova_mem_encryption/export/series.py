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

"""Make the series: what each patch does to which file."""
import functools
import typing as ty

from nova_mem_encryption.engine import declared
from nova_mem_encryption.engine import tree as trees
from nova_mem_encryption.export import assemble
from nova_mem_encryption.export import chosen
from nova_mem_encryption.export import common
from nova_mem_encryption.export import data
from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import extend
from nova_mem_encryption.export import hunks as by_hand
from nova_mem_encryption.export import kept as tests
from nova_mem_encryption.export import layout
from nova_mem_encryption.export import lines as numbered
from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import superseded
from nova_mem_encryption.export import target as targets
from nova_mem_encryption.export import words


class Change(ty.NamedTuple):
    """What a patch does to one file."""

    path: str
    hunks: ty.List[numbered.Hunk]
    new: bool  # the file was not there


class Patch(ty.NamedTuple):
    """One patch."""

    slug: str
    title: str
    body: str
    changes: ty.List[Change]


class Series:
    """The patches for a Nova.

    :param read: returns the bytes of a file below the folder that has nova;
        raises OSError or KeyError if there is none
    :param is_image: whether it is for an image, which has neither tests nor
        documentation
    :param rows: which modules of tests are left out, and why
    """

    def __init__(self, read: ty.Callable[[str], bytes],
                 is_image: bool = False,
                 rows: ty.Iterable[ty.Tuple[str, str]] =
                 decisions.LEFT_OUT_TESTS) -> None:
        self._read, self._is_image, self._rows = read, is_image, rows
        self.tree = {
            name: sources.Source(name, name.replace('.', '/') + '.py',
                                 layout.read(name, path))
            for name, path in sorted(trees.tree().items())}
        self.by_hand = by_hand.load()
        self.chosen = chosen.Chosen(self.tree)
        self.done: ty.List[extend.Done] = []
        self.unknown: ty.Set[str] = set()  # files of no release that is known
        self._wrong: ty.List[str] = []
        self.tests: ty.Dict[str, sources.Source] = {}
        self.tests_left_out: ty.Dict[str, str] = {}
        self._lines: ty.Dict[str, ty.List[numbered.Line]] = {}
        # Each is asked for with each patch.
        self.bytes_of = functools.lru_cache(maxsize=None)(self._bytes_of)
        self.nova = functools.lru_cache(maxsize=None)(self._nova)

    def _bytes_of(self, path: str) -> ty.Optional[bytes]:
        """Return a file of Nova, None if there is none."""
        try:
            return self._read(path)
        except (OSError, KeyError):
            return None

    def _text(self, path: str) -> ty.Optional[str]:
        found = self.bytes_of(path)
        return None if found is None else found.decode()

    def _nova(self, module: str) -> ty.Optional[sources.Source]:
        """Return a module of Nova, None if there is none."""
        path = targets.path_of(module, self._text)
        text = self._text(path)
        return None if text is None else sources.Source(module, path, text)

    def left_out(self) -> ty.Dict[str, str]:
        """Return the modules of the tree that are in no patch, and why."""
        return self.chosen.left_out()

    # -- the patches ---------------------------------------------------------

    def make(self) -> ty.Iterator[Patch]:
        """Make those of the code, one after the other."""
        assembly = assemble.Assembly(
            self.chosen.files, self.nova, self.by_hand)
        self.done = assembly.done
        modules: ty.Set[str] = set()
        for subject in decisions.SUBJECTS:
            modules |= self.chosen.closure(subject.modules)
            yield self._patch(subject, layout.files_of(
                assembly, modules, self.bytes_of))

    def compare(self, files: ty.Mapping[str, ty.List[numbered.Line]]
                ) -> ty.List[Change]:
        """Return what is changed since the patch before."""
        changes = []
        for path, after in sorted(files.items()):
            text = self._text(path)
            known = path in self._lines or text is not None
            before = self._lines.get(path, numbered.lay(text or '', []))
            if before != after or not known:
                change = Change(path, numbered.hunks(
                    before, after, self._blocks(path)), not known)
                self._wrong += words.find_wrong(path, [
                    line[1:] for hunk in change.hunks for line in hunk.lines
                    if line[0] == '+'])
                changes.append(change)
            self._lines[path] = after
        return changes

    def _blocks(self, path: str) -> ty.Sequence[numbered.Block]:
        data = self.bytes_of(path)
        if data is None:
            return ()
        found = common.find(path, data)
        if found is None:
            self.unknown.add(path)
            return ()
        return found

    def make_tests(self) -> Patch:
        """Make the patch of the tests, after those of the code."""
        kept = tests.Kept(self.tree, self.left_out(), self._rows)
        self.tests = kept.modules()
        self.tests_left_out = kept.left_out
        modules = {**self.chosen.files, **self.tests}
        assembly = assemble.Assembly(modules, self.nova, self.by_hand)
        files = layout.files_of(assembly, modules, self.bytes_of)
        for target in superseded.skip(self.nova).values():
            files[target.source.path] = numbered.lay(
                target.source.text, target.edits([superseded.LIST]))
        return self._patch(decisions.TESTS, {
            **files, **data.of_tests(self.tests)})

    def _patch(self, subject, files) -> Patch:
        return Patch(subject.slug, subject.title, subject.body,
                     self.compare(files))

    def make_docs(self) -> Patch:
        """Make the patch of the pages and release notes, which is the last."""
        return self._patch(decisions.DOCS, data.of_docs())

    def make_all(self) -> ty.Iterator[Patch]:
        """Make all patches that there are files for."""
        yield from self.make()
        if decisions.TESTS.slug not in self.not_made:
            yield self.make_tests()
        if decisions.DOCS.slug not in self.not_made:
            yield self.make_docs()

    @functools.cached_property
    def not_made(self) -> ty.Dict[str, str]:
        """The patches that there are no files for: slug to the reason."""
        both = (
            'an image has none' if self._is_image else
            None if data.is_checkout() else
            'a checkout of nova-mem-encryption has them: export from one')
        found = {subject.slug: both for subject in (
            decisions.TESTS, decisions.DOCS) if both}
        if not found and self.bytes_of('nova/tests/__init__.py') is None:
            found[decisions.TESTS.slug] = (
                'this Nova has none: name a wheel or a source')
        return found

    @property
    def total(self) -> int:
        """How many patches there are."""
        return len(decisions.SUBJECTS) + 2 - len(self.not_made)

    def texts(self) -> ty.Dict[str, str]:
        """Return the files that the patches so far change: path to text."""
        return {path: numbered.text_of(after)
                for path, after in self._lines.items()}

    def changed_paths(self) -> ty.Set[str]:
        """Return the paths of the files of Nova that are changed."""
        for _patch in self.make_all():
            pass
        return {path for path in self._lines
                if self.bytes_of(path) is not None}

    def check(self) -> None:
        """See that each verb of the tree is in a patch.

        :raises ValueError: if one is not, or if something reads wrong
        """
        if self._wrong:
            raise ValueError('\n'.join(self._wrong))
        left = self.left_out()
        done = {(d.file, d.verb, d.name) for d in self.done}
        for module, source in self.tree.items():
            if module in left or module.startswith(layout.TESTS):
                continue
            for call in declared.calls(source.text, module):
                if (source.path, call.verb, call.full) not in done:
                    raise ValueError('%s: overlay.%s of %s is not exported' % (
                        source.path, call.verb, call.full))
