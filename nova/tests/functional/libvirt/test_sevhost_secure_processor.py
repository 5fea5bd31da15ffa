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

"""Test that what is offered is what starts, whatever the secure processor is.

In each of its states the kernel's parameters say that there are SEV and
SEV-ES.
"""
import os
import runpy

import ddt

from nova.tests.functional.libvirt import sevhost as base
from nova.virt.libvirt import host as libvirt_host

STATES = ('ready', 'no-es', 'failed', 'timed-out', 'absent', 'snp', 'lazy',
          'old', 'no-cpuid')
# SEV-ES is first, as a plain SEV guest has a lazy one initialised.
MODELS = {'amd-sev-es': base.ES, 'amd-sev': base.SEV}


@ddt.ddt
class SecureProcessorTest(base.SevhostTestBase):

    def test_all_its_states_are_tried(self):
        self.assertCountEqual(STATES, runpy.run_path(os.path.join(
            os.path.dirname(base.TOOL), 'psp.py'))['STATES'])

    @ddt.data(*STATES)
    def test_what_is_offered_starts(self, state):
        self.start_cloud('--psp', state)
        offered = {rp['provider']: rp['slots']
                   for rp in self.cloud.get_tree()}
        for model, specs in MODELS.items():
            server = self.cloud.boot(model, specs)
            if offered.get('host1_' + model.replace('-', '_')):
                self.assert_runs(server, model)
                continue
            self.assertIn('No valid host', server['fault']['message'])
            self.assertEqual([], self.get_calls(server))
            # Nor would one that somebody else starts.
            self.assertRaises(
                libvirt_host.libvirt.libvirtError, self.start_foreign_guest,
                base.POLICIES[model])
