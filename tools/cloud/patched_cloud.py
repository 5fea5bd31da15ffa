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

"""Take a cloud of a patched Nova through the steps, the package beside it."""
import json
import os

import client
import scenario
import services

# What of the steps and the pages is another thing, or none, and why
OTHERWISE = [
    ('pip install, .pth, debian/', 'the series came with the wheel of Nova'),
    ('what services log of the series', 'it is for an operator to see whether '
     'it was applied, and nothing is'),
    ('NOVA_MEM_ENCRYPTION=off', 'what it switches off is not there: %s has '
     'the Nova of PyPI until its upgrade' % scenario.OLD),
]
NODE = scenario.OLD


class Patched(scenario.Scenario):
    """The steps, and one with the commands of the package that stands by."""

    real = tuple(text.replace(
        'with the series from its wheel',
        'from a patched wheel, the package beside it')
        for text in scenario.REAL)

    def start(self, step):
        step.fact('what is otherwise', [
            {'what': what, 'why': why} for what, why in OTHERWISE])
        super().start(step)

    start.__doc__ = scenario.Scenario.start.__doc__

    def check_services(self, step, names, without=()):
        """Check that no service has anything to say of the series."""
        said = [name for name in names if self.get_applied(name)]
        step.check('no service logs that the series is applied%s' % (
            ': ' + ', '.join(said) if said else ''), not said)

    def stand_by(self, step):
        """The commands of the package, which has stood down"""
        self.users.boot('watched', 'm1.es', 'uefi', NODE)
        self.check_servers(step, [client.guest(
            'watched', NODE + '_amd_sev_es', *scenario.ES_GUEST)])
        status = json.loads(self.run('status', '--json'))
        step.fact('status', status['reason'])
        step.check('status: patched, by what starts the services, too',
                   [status['state'], *(
                       each['state'] for each in status['services']
                       if each['command'].startswith(services.BIN))] ==
                   3 * ['patched'])
        found = {each['name']: each for each in json.loads(self.run(
            'check', '--json', host=True, codes=(0, 1)))['checks']}
        step.fact('check', [
            {'check': name, 'verdict': each['verdict'],
             'found': each['found']} for name, each in found.items()
            if each['verdict'] in ('FAIL', 'WARN')])
        step.check('check: nothing of the host fails', not [
            name for name, each in found.items()
            if each['verdict'] == 'FAIL'])
        rows = self.run('slots', host=True)
        step.check('slots: of 4 for SEV-ES on %s one is in use' % NODE,
                   any(line.replace('|', ' ').split()[:4] == [
                       NODE, 'amd-sev-es', '4', '1']
                       for line in rows.splitlines()))
        self.users.delete(['watched'])
        self.cloud.end_compute(NODE)
        said = self.run('revert', '--dry-run', host=True)
        step.fact('revert --dry-run', said)
        self.run('revert', host=True)
        self.check_trees(step, 'revert: slots and trait are on the root', [
            client.provider(NODE, 8, [], scenario.SEV_TRAIT)], [NODE])
        last = self.users.get_report(NODE)
        self.cloud.start_compute(NODE, placement=self.proxy.url)
        self.cloud.wait(NODE, lambda: self.users.get_report(NODE) not in (
            None, last))
        self.check_trees(step, 'nova-compute starts, and they are on the '
                         'providers of the models again', [
                             client.provider(NODE),
                             client.provider(NODE + '_amd_sev', 8, [],
                                             scenario.SEV_TRAIT),
                             client.provider(NODE + '_amd_sev_es', 4, [],
                                             scenario.ES_TRAIT)], [NODE])

    # NOTE: the last leaves the host disabled, as a page does.
    STEPS = [start, *scenario.Scenario.STEPS[1:-1], stand_by,
             scenario.Scenario.read]

    def run(self, command, *options, host=False, codes=(0,)):
        """Run a command of the package.

        :param host: whether on the host, with its configuration
        :returns: what it prints
        """
        words = [os.path.join(services.BIN, 'nova-mem-encryption'), command,
                 *options]
        if not host:
            return self.cloud.command(command, words, codes)
        for name in ('nova.conf', NODE + '.conf'):
            words += ['--config-file', self.cloud.path('etc', name)]
        return self.cloud.on_host(NODE, *words, codes=codes)
