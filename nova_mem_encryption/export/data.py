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

"""What is no code, and is in a checkout only: data of tests, pages, notes."""
import os
import re
import typing as ty

from nova_mem_encryption.engine import tree as trees
from nova_mem_encryption.export import lines as numbered
from nova_mem_encryption.export import words

Files = ty.Dict[str, ty.List[numbered.Line]]
# What is written for a patched Nova: in files/, and in Nova
PAGES = {
    'memory-encryption-models.rst':
        'doc/source/admin/memory-encryption-models.rst',
}
FILES = os.path.join(os.path.dirname(__file__), 'files')
# Release notes about the package and not about Nova
OF_PACKAGE = re.compile(
    r'(absence|backports|check|command-line|debian|explain|extra-specs|fits|'
    r'measure|metadefs|patched-nova|recipes|revert|servers|upgrade-check-at)')


def is_checkout() -> bool:
    """Tell whether there are tests and pages."""
    return os.path.isdir(os.path.join(trees.root(), 'nova', 'tests', 'unit'))


def of_tests(modules: ty.Iterable[str]) -> Files:
    """Return what lies beside tests and is no code.

    :param modules: the tests
    """
    found: Files = {}
    for folder in {m.rpartition('.')[0].replace('.', '/') for m in modules}:
        for name in sorted(os.listdir(os.path.join(trees.root(), folder))):
            if name.endswith('.txt'):
                path = '%s/%s' % (folder, name)
                found[path] = _read(path, words.inside_tests)
    return found


def of_docs() -> Files:
    """Return the pages and release notes, as they are in Nova."""
    found: Files = {path: _read(os.path.join(FILES, name), str)
                    for name, path in PAGES.items()}
    notes = 'releasenotes/notes'
    for name in sorted(os.listdir(os.path.join(trees.root(), notes))):
        if name.endswith('.yaml') and not OF_PACKAGE.match(name):
            path = '%s/%s' % (notes, name)
            lines = _read(path, words.inside_notes)
            if len(lines) > 1:
                found['%s/mem-encryption-%s' % (notes, name)] = lines
    return found


def _read(path: str, say: ty.Callable[[str], str]
          ) -> ty.List[numbered.Line]:
    """Return the lines of a file, as it is said inside Nova."""
    with open(os.path.join(trees.root(), path), encoding='utf-8') as f:
        return [numbered.Line(line, 0) for line in say(f.read()).split('\n')
                [:-1]]
