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

"""Test that each rule of the tree can be broken."""
import os
import sys

import ddt
import fixtures
import testtools

from nova_mem_encryption.engine import tree

TOOLS = os.path.join(tree.root(), 'tools')
sys.path.append(TOOLS)
ENGINE = 'nova_mem_encryption/engine.py'
DRIVER = 'nova/virt/libvirt/driver/launch.py'
MODELS = 'nova/mem_encryption/models.py'
UNIT = 'nova/tests/unit/'


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
@testtools.skipUnless(os.path.isdir(TOOLS),
                      'the installed package has no tools')
class CheckTreeTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def check(self, **files):
        import check_tree
        for path, text in files.items():
            path = os.path.join(self.folder, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
        return list(check_tree.check(self.folder))

    @ddt.data(
        (ENGINE, 'x = 1\nimport y  # noqa: F401, E402\n', 2,
         'an import that is not at the top'),
        (ENGINE, '\n' * 251, 251, '251 lines, more than 250'),
        (DRIVER, '\n' * 201, 201, '201 lines, more than 200'),
        (DRIVER, 'x = model == AMD_SEV\n', 1, 'asks for one model'),
        (DRIVER, 'x = fields.Model.AMD_SEV_ES != model\n', 1,
         'asks for one model'),
        (DRIVER, "\nx = name == 'amd-sev-es'\n", 2, 'asks for one model'),
        ('nova/virt/__init__.py', '', 1, 'would shadow'),
        (UNIT + 'virt/test_mem_encryption_launch.py', '', 1,
         'no file has a path that it mirrors'),
        (UNIT + 'virt/libvirt/test_mem_encryption_lunch.py', '', 1,
         'no file has a path that it mirrors'),
        ('README.rst', 'See \xfcber.\n', 1, 'not ASCII'),
        ('README.rst', 'cd /%s/somebody\n' % 'home', 1, 'a path of'),
        ('README.rst', '\n# TO%s: more\n' % 'DO', 2, 'unfinished work'),
        ('README.rst', 'pypi.%s\n' % 'org', 1, 'a host of a package'),
        ('README.rst', "pip install '%s[demo]'\n" % 'nova-mem-encryption', 1,
         'a name that anybody could take'),
    )
    @ddt.unpack
    def test_what_is_wrong_is_found(self, path, text, line, problem):
        found = self.check(**{DRIVER: '', path: text})
        self.assertEqual(1, len(found), found)
        self.assertTrue(found[0].startswith(
            '%s:%d: %s' % (path, line, problem)), found)

    @ddt.data(
        (ENGINE, '\n' * 250), (DRIVER, '\n' * 200),
        (MODELS, 'x = model == AMD_SEV\n'),
        (DRIVER, 'x = MODELS[AMD_SEV] == model.row\n'),
        (UNIT + 'virt/libvirt/test_mem_encryption_launch.py', '\n' * 999),
        (UNIT + 'virt/libvirt/test_mem_encryption_driver_more.py',
         'x = model == AMD_SEV\n'),
        (UNIT + 'virt/libvirt/driver/test_mem_encryption_launch.py', ''),
        (UNIT + '__init__.py', ''),
        ('.git', 'gitdir: /%s/somebody\n' % 'home'),
    )
    @ddt.unpack
    def test_what_is_not_is_not(self, path, text):
        self.assertEqual([], self.check(**{DRIVER: '', path: text}))
