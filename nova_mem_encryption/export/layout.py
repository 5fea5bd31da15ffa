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

"""Lay out the files of a patched Nova: which there are, and their text."""
import os
import typing as ty

import nova_mem_encryption
from nova_mem_encryption.engine import patched
from nova_mem_encryption.engine import state
from nova_mem_encryption.export import assemble
from nova_mem_encryption.export import data
from nova_mem_encryption.export import decisions
from nova_mem_encryption.export import extend
from nova_mem_encryption.export import lines as numbered
from nova_mem_encryption.export import words

TESTS, PACKAGE = state.TESTS, patched.PACKAGE
INIT = '''\
%s
"""Models of memory encryption: AMD SEV, SEV-ES and SEV-SNP."""

VERSION = '%s'
'''
FOLDER = '''\
%s
"""%s"""
'''


def files_of(
    assembly: assemble.Assembly, modules: ty.Container[str],
    bytes_of: ty.Callable[[str], ty.Optional[bytes]],
) -> ty.Dict[str, ty.List[numbered.Line]]:
    """Return the lines of each file that is changed or new.

    :param assembly: files of the tree, in Nova
    :param modules: which of them
    :param bytes_of: returns a file of Nova, None if there is none
    """
    files = {}
    for target in assembly.targets.values():
        edits = target.edits(modules)
        if edits:
            files[target.source.path] = numbered.lay(
                target.source.text, edits)
        if target.uses('contexts', modules):
            files[_path(extend.CONTEXTS)] = _fresh(
                _text(os.path.join(data.FILES, 'contexts.py')))
    folders: ty.Set[str] = {PACKAGE}
    for module, text in assembly.new.items():
        if module not in modules:
            continue
        files[_path(module)] = _fresh(text)
        if module.startswith(PACKAGE):
            parts = module.split('.')
            folders.update('.'.join(parts[:n])
                           for n in range(2, len(parts)))
        elif module.startswith(TESTS):
            folders.add(module.rpartition('.')[0])
    head = assembly.licence
    for folder in folders:
        path = _path(folder + '.__init__')
        if folder == PACKAGE:
            text = INIT % (head, nova_mem_encryption.__version__)
        elif folder.startswith(TESTS):
            text = FOLDER % (head, 'Tests of memory encryption.')
        else:
            text = FOLDER % (
                head, decisions.FOLDERS[folder[len(PACKAGE) + 1:]])
        if bytes_of(path) is None:
            files[path] = _fresh(text)
    return files


def read(module: str, path: str) -> str:
    """Return the text of a file of the tree as it is said inside Nova."""
    text = _text(path)
    return (words.inside_tests(text) if module.startswith(TESTS) else
            words.inside(text))


def _path(module: str) -> str:
    return module.replace('.', '/') + '.py'


def _fresh(text: str) -> ty.List[numbered.Line]:
    return [numbered.Line(line, 0) for line in text.split('\n')[:-1]]


def _text(path: str) -> str:
    with open(path, encoding='utf-8') as f:
        return f.read()
