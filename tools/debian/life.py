#!/usr/bin/python3
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

"""Run the cloud of tools/cloud on Debian's own, and remove the package.

To be run inside of a Debian 13 that has the package, and is thrown away.
"""
import glob
import os
import subprocess
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))), 'cloud'))
import client
import cloud
import scenario

import steps

HOST = 'es1'
ABSENT = "No module named 'nova.virt.mem_encryption'"


def apt(*words):
    """Run apt-get; return what it said."""
    return subprocess.run(
        ['apt-get', '-qy', *words], check=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT).stdout


class Life(scenario.Scenario):
    """The steps of the cloud, and the removal of the package."""

    real = tuple(text.replace('from its wheel', 'from its package')
                 + ' All are packages of Debian 13.'
                 for text in scenario.REAL)

    def remove(self, step):
        """The package is removed while an SEV-ES server runs"""
        self.users.boot('kept', 'm1.es', 'uefi', HOST)
        expected = [client.guest('kept', HOST + '_amd_sev_es',
                                 *scenario.ES_GUEST)]
        self.check_servers(step, expected)
        before = self.get_state('kept')
        said = apt('remove', steps.PACKAGE)
        step.check('its removal says what Nova does without it',
                   'starts servers of SEV-ES as plain SEV' in
                   ' '.join(said.split()))
        last = self.users.get_report(HOST)
        self.cloud.end_compute(HOST)
        self.cloud.start_compute(HOST)
        process = self.cloud._processes[HOST]
        code = process.wait(60)
        log = self.cloud.read_log(HOST)
        step.fact('nova-compute', [line for line in log.splitlines()
                                   if ABSENT in line][-1:])
        step.check('nova-compute ends, with exit status %d, and names what '
                   'is absent' % code, code and ABSENT in log)
        step.check('the server goes on, as it was',
                   self.get_state('kept') == before)
        apt('install', *glob.glob(steps.DEB))
        self.cloud.start_compute(HOST)
        self.cloud.wait(HOST, lambda: self.users.get_report(HOST) not in (
            None, last))
        step.check('installed again, it starts, and logs that the series is '
                   'applied', self.get_applied(HOST))
        step.check('the server was not touched',
                   self.get_state('kept') == before)
        self.users.delete(['kept'])

    # NOTE: before the commands of the pages, one of which disables a host.
    STEPS = [*scenario.Scenario.STEPS]
    STEPS.insert(STEPS.index(scenario.Scenario.use) + 1, remove)


if __name__ == '__main__':
    sys.exit(cloud.main(['run', '--light', *sys.argv[1:]], Life))
