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

"""Check that the services of this host have the series, and always will."""
from nova_mem_encryption.check import facts
from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import offered
from nova_mem_encryption.check import tree
from nova_mem_encryption.engine import state as engine
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption import services as view

# compute_driver: Nova's own name of its driver, and that of the series
NOVAS, OURS = 'libvirt.LibvirtDriver', 'mem_encryption.LibvirtDriver'


def check_engine(host: hosts.Host) -> tree.Finding:
    """See whether the series is laid over Nova."""
    found = host.ask_json('engine')
    text = 'Nova %s: %s' % (found['nova'] or 'of unknown version',
                            found['state'])
    if found['state'] == engine.NOT_NEEDED:
        return tree.passed(text)
    if found['state'] == engine.PATCHED:
        if found.get('patches') != found.get('version'):
            return tree.warned(
                '%s: %s' % (text, found['reason']),
                'Install version %s of the package.' % found['patches'])
        return tree.passed(text)
    if found['state'] != engine.APPLIED:
        return tree.failed('%s: %s' % (text, found['reason']), host.again(
            'Run this in the environment of nova-compute.') +
            " See 'nova-mem-encryption status'.")
    if not found['armed']:
        return tree.failed(
            text + ', but not armed: services run without the series',
            'Install the package into the environment of Nova with pip.')
    return tree.passed(text)


def check_services(host: hosts.Host) -> tree.Finding:
    """See whether the services have the series, as their user."""
    answer = host.ask_json('services')
    services = [view.Service(**each) for each in answer['services']]
    for fault in view.get_faults(services, answer['unreadable']):
        return tree.failed(*fault)
    without = [service for service in services
               if service.state not in view.WITH]
    found = ', '.join('%s: %s' % (service.command, service.state or
                                  'it cannot be told')
                      for service in without or services)
    if without:
        return tree.warned(found, 'See that the services are run by a Python '
                           'that has the series: nova-mem-encryption status.')
    if not services:
        return tree.passed('there is neither %s here' % ' nor '.join(
            view.COMMANDS))
    return tree.passed(found)


def check_driver(host: hosts.Host) -> tree.Finding:
    """See whether nova-compute starts where the series is absent."""
    driver = host.ask_json('nova-conf')['compute_driver']
    found = 'compute_driver is %s' % driver
    if host.ask_json('engine')['state'] == engine.NOT_NEEDED:
        if driver == OURS:
            return tree.warned(
                found + ', and this Nova does not need the series',
                'Set compute_driver = %s before the package is uninstalled.'
                % NOVAS)
        return tree.passed(found)
    if driver == OURS:
        return tree.passed(found)
    if driver != NOVAS:
        return tree.Finding(tree.SKIP, 'until there is a nova.conf')
    titles = [model.title for model in offered.get_added(host) if all(
        facts.get_parameter(host, 'kvm_amd', name)
        for name in model.parameters_on)]
    if titles:
        return tree.warned(
            '%s: where the series is absent, nova-compute starts all the '
            'same, and servers of %s as %s' % (
                found, ' and '.join(titles), models.NATIVE.title),
            'Set compute_driver = %s, which only the series has.' % OURS)
    return tree.passed(found + ', and this host has no model of the series')
