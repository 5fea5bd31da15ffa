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

"""Test that a model which nobody has thought of is a row, and no more.

The series is copied, with a row more in its table, and a writer of launch
security, as the row has an element of its own. made_up_model has the tests,
which run on the copy, in a process of their own.
"""
import os
import shutil
import subprocess
import sys

import fixtures

from nova import test

from nova_mem_encryption.engine import tree

ROW = """\
    model.Model(
        value='made-up', title='MADE-UP', protects='all', native=False,
        trait='CUSTOM_MEM_ENCRYPTION_MADE_UP',
        count=model.Count('maxESGuests', 'max_sev_es_guests', asids='sev_es',
                          required=True, none='there is none'),
        parameters_on=('made_up',), parameters_off=(), parameters_behind=(),
        cpu_flag='made_up', flag_kernel=(6, 1), cpuid=4,
        processor='EPYC 9999', codename='Utopia', generation=(0x99, 0),
        earlier_firmware=None,
        min_kernel=(6, 1), min_libvirt=(8, 0, 0), min_qemu=(6, 2, 0),
        firmware=model.Firmware(SPLIT_FLASH, ('made-up', 'amd-sev'),
                                required=True, reset_block=True),
        launch_security=model.LaunchSecurity(
            'made-up', ('NODEBG', 'NOSEND'), policies.SEV),
        locked=False, resets=False, lacks={'secure_boot': 'MADE-UP has none.'},
        reserved='reserved_made_up_guests', option='enable_made_up'),
)}
"""
WRITER = """

class MadeUp(config.LibvirtConfigObject):
    def __init__(self, policy):
        super().__init__(root_name='launchSecurity')
        self.policy = policy

    def format_dom(self):
        root = super().format_dom()
        root.set('type', 'made-up')
        root.append(self._text_node('policy', '0x%04x' % self.policy))
        return root


WRITERS['made-up'] = lambda guest, policy: setattr(
    guest, 'launch_security', MadeUp(policy))
"""


class MadeUpModelTest(test.NoDBTestCase):

    TIMEOUT_SCALING_FACTOR = 2

    def edit(self, path, old, new):
        """Change a file of the copy, where it has a text once."""
        path = os.path.join(self.path, 'nova/mem_encryption', path)
        with open(path) as f:
            text = f.read()
        self.assertEqual(1, text.count(old), path)
        with open(path, 'w') as f:
            f.write(text.replace(old, new))

    def test_it_is_a_row(self):
        self.path = self.useFixture(fixtures.TempDir()).path
        for name in ('nova', 'nova_mem_encryption'):
            shutil.copytree(
                os.path.join(tree.root(), name),
                os.path.join(self.path, name),
                ignore=shutil.ignore_patterns('__pycache__'))
        self.edit('models.py', '\n)}\n', '\n' + ROW)
        self.edit('compute/launch_security.py', 'from lxml import etree\n',
                  'from lxml import etree\n'
                  'from nova.virt.libvirt import config\n')
        with open(os.path.join(
                self.path, 'nova/mem_encryption/compute/launch_security.py'),
                'a') as f:
            f.write(WRITER)
        done = subprocess.run(
            [sys.executable, '-m', 'testtools.run',
             'nova.tests.functional.libvirt.made_up_model'],
            cwd=self.path, env={**os.environ, 'PYTHONPATH': self.path},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(0, done.returncode, done.stdout)
        self.assertRegex(done.stdout, r'\nRan [1-9]\d* tests in ')
