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

"""Ask libvirt, by virsh.

Each answer is text, and has no more than the checks need.
"""
import json

from lxml import etree

from nova_mem_encryption.check import commands
from nova_mem_encryption.check import names
from nova_mem_encryption.nova.mem_encryption import models

URI = 'qemu:///system'
# Of <sev> in libvirt's domain capabilities. cpu0Id is not among them, which
# is the name of one processor of the world.
COUNTS = list(dict.fromkeys(['cbitpos', 'reducedPhysBits', *(
    model.count.element for model in names.MODELS)]))
# Since libvirt 10.5
SECTYPES = ("features/launchSecurity[@supported='yes']"
            "/enum[@name='sectype']/value")
PARSER = etree.XMLParser(resolve_entities=False, no_network=True)


def _virsh(*args: str) -> str:
    return commands.run('virsh', '-q', '-c', URI, *args)


def get_version() -> str:
    """Return the versions of the daemon and of QEMU."""
    return _virsh('version', '--daemon')


def get_domcapabilities() -> str:
    """Return what matters of those of q35 with KVM."""
    return reduce_capabilities(_virsh(
        'domcapabilities', '--virttype', 'kvm', '--arch', 'x86_64',
        '--machine', 'q35'))


def reduce_capabilities(text: str) -> str:
    """Return what matters of libvirt's domain capabilities.

    :param text: XML
    :raises commands.NoAnswer: if it is not
    """
    try:
        found = etree.fromstring(text.encode(), PARSER)
    except (etree.XMLSyntaxError, ValueError) as e:
        raise commands.NoAnswer('virsh domcapabilities: %s.' % e) from e
    kept = etree.Element('domainCapabilities')
    for name in ('domain', 'machine', 'arch'):
        etree.SubElement(kept, name).text = found.findtext(name)
    sev = found.find('features/sev')
    if sev is not None:
        features = etree.SubElement(kept, 'features')
        copy = etree.SubElement(features, 'sev',
                                supported=sev.get('supported', ''))
        for name in COUNTS:
            if sev.find(name) is not None:
                etree.SubElement(copy, name).text = sev.findtext(name)
    types = [value.text for value in found.iterfind(SECTYPES)]
    if types and sev is not None:
        security = etree.SubElement(features, 'launchSecurity',
                                    supported='yes')
        enum = etree.SubElement(security, 'enum', name='sectype')
        for name in types:
            etree.SubElement(enum, 'value').text = name
    etree.indent(kept)
    return etree.tostring(kept, encoding='unicode')


def get_guests() -> str:
    """Count the guests that have ASIDs."""
    counts = dict.fromkeys(models.get_pools(), 0)
    for uuid in _virsh('list', '--state-running', '--state-paused',
                       '--uuid').split():
        try:
            domain = etree.fromstring(_virsh('dumpxml', uuid).encode(),
                                      PARSER)
            security = domain.find('launchSecurity')
            element = None if security is None else security.get('type')
            policy = int(domain.findtext('launchSecurity/policy') or '0', 0)
        except (commands.NoAnswer, etree.XMLSyntaxError, ValueError):
            continue  # it has ended
        asids = models.find_asids(element, policy)
        if asids in counts:
            counts[asids] += 1
    return json.dumps(counts)
