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

"""Load Nova's own tests of the modules that the series extends.

stestr finds this file only; the tests keep their own ids.
"""
import importlib
import importlib.util
import os
import pkgutil
import random
import unittest

SUITES = {
    'unit': [
        'nova.tests.unit.api.openstack.test_wsgi_app',
        'nova.tests.unit.api.validation',
        'nova.tests.unit.cmd.test_manage',
        'nova.tests.unit.cmd.test_status',
        'nova.tests.unit.compute.test_api',
        'nova.tests.unit.compute.test_compute_mgr',
        'nova.tests.unit.compute.test_resource_tracker',
        'nova.tests.unit.compute.test_shelve',
        'nova.tests.unit.conductor.test_conductor',
        'nova.tests.unit.limit.test_placement',
        'nova.tests.unit.notifications',
        'nova.tests.unit.objects.test_fields',
        'nova.tests.unit.objects.test_image_meta',
        'nova.tests.unit.objects.test_objects',
        'nova.tests.unit.objects.test_request_spec',
        'nova.tests.unit.scheduler.client.test_report',
        'nova.tests.unit.scheduler.test_utils',
        'nova.tests.unit.test_service',
        'nova.tests.unit.virt.libvirt.test_config',
        'nova.tests.unit.virt.libvirt.test_driver',
        'nova.tests.unit.virt.libvirt.test_guest',
        'nova.tests.unit.virt.libvirt.test_host',
        'nova.tests.unit.virt.libvirt.test_utils',
        'nova.tests.unit.virt.test_hardware',
        'nova.tests.unit.virt.test_virt_drivers',
    ],
    'functional': [
        'nova.tests.functional.libvirt',
        'nova.tests.functional.regressions.test_bug_1928063',
        'nova.tests.functional.test_nova_manage',
        'nova.tests.functional.test_unified_limits',
    ],
}


PACE = os.path.join(os.path.dirname(os.path.abspath(__file__)), *(
    2 * [os.pardir]), 'nova', 'tests', 'fixtures', 'pace.py')
# In place of a suite, the names of modules
MODULES = 'NOVA_TESTS_MODULES'
# The seed of the part of a folder's modules to take, of its functional tests,
# and of how many it is one
PART, PARTS = 'NOVA_TESTS_PART', 3


def modules(name):
    """Return the test modules of Nova at or below a name."""
    module = importlib.import_module(name)
    if not hasattr(module, '__path__'):
        return [name]
    found = sorted(
        info.name
        for info in pkgutil.walk_packages(module.__path__, name + '.')
        if info.name.rpartition('.')[2].startswith('test_'))
    if PART in os.environ and name in SUITES['functional']:
        random.Random(os.environ[PART]).shuffle(found)
        return sorted(found[::PARTS])
    return found


def get_pace():
    """Return the module that has tests take less time, of this checkout."""
    # NOTE: a Nova whose tests are not patched yet has none.
    spec = importlib.util.spec_from_file_location('pace', PACE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_tests(loader, tests, pattern):
    """Implement unittest's load_tests protocol."""
    # NOTE: Nova runs the two apart; in one process the fixtures of the one
    # disturb the other.
    names = os.environ[MODULES].split() if MODULES in os.environ else (
        SUITES[os.environ['NOVA_TESTS']])
    found = unittest.TestSuite(
        loader.loadTestsFromName(module)
        for name in names for module in modules(name))
    if MODULES not in os.environ:
        # Only now, as what they have loaded wants to be the first to patch.
        pace = get_pace()
        if os.environ['NOVA_TESTS'] == 'functional':
            pace.quicken_clouds()
        else:
            pace.quicken()
    return found
