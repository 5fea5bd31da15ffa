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

"""The files of the series, and the modules of Nova that they extend."""
from __future__ import annotations

import os

import nova_mem_encryption
from nova_mem_encryption.engine import state

PREFIX = 'nova_mem_encryption.'
# The module that the series adds to Nova; all others extend one of Nova's.
DRIVER = 'nova.virt.mem_encryption'

_tree: dict[str, str] = {}
_folders: dict[str, list[str]] = {}


def _here() -> str:
    return os.path.dirname(os.path.abspath(nova_mem_encryption.__file__))


def root() -> str:
    """Return the folder that holds the tree nova/.

    It is the package's own folder, or, in a checkout, the one above.

    :raises Misfit: if the tree is missing
    """
    here = _here()
    above = os.path.dirname(here)
    if os.path.isdir(os.path.join(here, 'nova')):
        return here
    if os.path.isfile(os.path.join(above, 'nova', '__init__.py')):
        # NOTE: that is Nova, which would be laid over itself.
        state.state().fail('the tree is missing from %s; install the package '
                           'again' % here)
    return above


def tree() -> dict[str, str]:
    """Return the modules of the tree: name below nova to file.

    :raises Misfit: if a folder of it is missing, or cannot be read: that would
        be a part of the series
    """
    if _tree:
        return _tree
    base = root()
    if base != _here():
        nova_mem_encryption.__path__.append(base)
    for folder, folders, files in os.walk(
            os.path.join(base, 'nova'), onerror=_fail):
        folders[:] = sorted(f for f in folders if f != '__pycache__')
        package = os.path.relpath(folder, base).replace(os.sep, '.')
        for file in sorted(files):
            stem, ending = os.path.splitext(file)
            if ending == '.py' and stem != '__init__':
                name = '%s.%s' % (package, stem)
                _tree[name] = os.path.join(folder, file)
                _folders.setdefault(package, []).append(name)
    return _tree


def _fail(error: OSError) -> None:
    _tree.clear()
    _folders.clear()
    state.state().fail('%s cannot be read: %s' % (
        error.filename, error.strerror))


def concerns(module: str) -> bool:
    """Tell whether the tree has a file or a folder at the path of a module."""
    return module in tree() or module in _folders


def folder(module: str) -> str:
    """Return where the folder of the tree at the path of a module is."""
    return os.path.join(root(), module.replace('.', os.sep))


def extensions(module: str, package: bool) -> list[str]:
    """Return the modules of the tree that extend a module of Nova, in order.

    :param module: its name, 'nova.virt.libvirt.driver'
    :param package: whether it is one; a folder of the tree at the path of a
        package holds what is below it, and extends nothing
    """
    return [name for name in [module] if name in tree()] + (
        [] if package else _folders.get(module, []))


def extended(nova: list[str]) -> dict[str, str | None]:
    """Return which module of Nova each module of the tree extends, if any.

    :param nova: the folders of the package nova
    """
    found: dict[str, str | None] = dict.fromkeys(tree())
    for module in sorted({*_tree, *_folders} - {'nova'}):
        file = file_of(nova, module)
        if file is not None:
            package = os.path.basename(file) == '__init__.py'
            found.update(dict.fromkeys(extensions(module, package), module))
    return found


def file_of(nova: list[str], module: str) -> str | None:
    """Return the file of a module of Nova, without importing anything.

    :param nova: the folders of the package nova
    """
    path = nova
    *parents, name = module.split('.')[1:]
    for parent in parents:
        folders = [os.path.join(folder, parent) for folder in path]
        path = [folder for folder in folders if os.path.isdir(folder)]
    for folder in path:
        for file in (name + '.py', os.path.join(name, '__init__.py')):
            if os.path.isfile(os.path.join(folder, file)):
                return os.path.join(folder, file)
    return None
