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

"""Tell what became of the series in this environment."""
import sys
import typing as ty

import nova_mem_encryption
from nova_mem_encryption import bootstrap
from nova_mem_encryption.engine import finder
from nova_mem_encryption.engine import ledger
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption import services


def examine() -> ty.Dict[str, ty.Any]:
    """Load the series; return what became of it, and whether it is armed."""
    armed = bootstrap.Finder in sys.meta_path
    try:
        bootstrap.arm()
        finder.load()
    except engine.Misfit:
        pass  # the state tells
    except ModuleNotFoundError as e:
        if e.name != 'nova':
            raise
    state = engine.state()
    return {
        'version': nova_mem_encryption.__version__,
        'state': state.name,
        'reason': state.reason or None,
        'nova': state.nova,
        'patches': state.patches or None,
        'misfits': [m._asdict() for m in state.misfits],
        'ledger': [{
            'verb': e.verb, 'module': e.module, 'name': e.name,
            'file': e.file, 'line': e.line, 'fingerprint': e.fingerprint,
            'leans_on': list(e.leans_on), 'mends': e.mends}
            for e in ledger.entries()],
        'armed': armed,
    }


def examine_services() -> ty.Dict[str, ty.Any]:
    """Return what the services of this machine have of the series."""
    return {
        'services': [service._asdict() for service in services.get_services()],
        'unreadable': services.get_unreadable(),
    }
