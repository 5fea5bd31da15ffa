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

"""Arm the engine: what nova_mem_encryption.pth runs at interpreter start.

This runs in every interpreter of the environment, before anything else of
the program, so it costs next to nothing: the engine proper is imported when
'nova' is.
"""
import sys


class Finder:
    """First on sys.meta_path: shows the engine each import below nova."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Implement importlib.abc.MetaPathFinder.find_spec."""
        if name != 'nova' and not name.startswith('nova.'):
            return None
        from nova_mem_encryption.engine import finder
        return finder.find_spec(name, path, target, [
            other for other in sys.meta_path if other is not Finder])


def arm():
    """Put the finder in place; once, however often it is called.

    :raises nova_mem_encryption.engine.state.Misfit: if modules that the
        series extends are imported already: they would stay without it
    """
    if Finder in sys.meta_path:
        # NOTE: site reads a .pth file twice in a virtual environment.
        return
    sys.meta_path.insert(0, Finder)
    if 'nova' in sys.modules:
        from nova_mem_encryption.engine import finder
        finder.arm_late()
