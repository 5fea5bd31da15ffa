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

"""Have the names of the package's tree lead to that of a patched Nova.

What is nova_mem_encryption.nova.mem_encryption.models to the commands is its
nova.mem_encryption.models there, so that no module is there twice. Where the
patches are of another release, the commands keep to the package's own.
"""
import importlib
from importlib import machinery
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption import bootstrap
from nova_mem_encryption.engine import finder
from nova_mem_encryption.engine import gate
from nova_mem_encryption.engine import patched
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.engine import tree


class Loader(machinery.SourceFileLoader):
    """Give a module of Nova the name by which the package imports it."""

    def create_module(self, spec):
        """Return that module."""
        module = importlib.import_module(_of_nova(spec.name))
        self._spec = module.__spec__
        return module

    def exec_module(self, module):
        """Have it as it was: the import system has given it our spec."""
        module.__spec__ = self._spec


class Finder:
    """Answer the import system for modules of the tree.

    Not for packages, which are but folders, and not for what commands alone
    need, which is in no patch.

    :param nova: the folders of the package nova
    """

    def __init__(self, nova: ty.List[str]) -> None:
        self._nova = nova

    def find_spec(self, name, path=None, target=None):
        """Implement importlib.abc.MetaPathFinder.find_spec."""
        if _of_nova(name) not in tree.tree():
            return None
        file = tree.file_of(self._nova, _of_nova(name))
        return file and machinery.ModuleSpec(name, Loader(name, file))


def arm() -> None:
    """Let commands import the tree; once, however often it is called.

    In a checkout it is not found before, and of a patched Nova not that of
    its own. Nothing else is decided for any other Nova.
    """
    tree.tree()
    if any(isinstance(other, Finder) for other in sys.meta_path):
        return
    spec = finder.ask([other for other in sys.meta_path
                       if other is not bootstrap.Finder], 'nova', None, None)
    nova = list(spec and spec.submodule_search_locations or [])
    if not nova or tree.file_of(nova, patched.PACKAGE) is None:
        return
    found = engine.State()
    gate.examine(nova, found)
    if found.patches == nova_mem_encryption.__version__:
        gate.decide(nova)
        sys.meta_path.insert(0, Finder(nova))


def _of_nova(name: str) -> str:
    return name[len(tree.PREFIX):] if name.startswith(tree.PREFIX) else ''
