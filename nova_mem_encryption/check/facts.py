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

"""What the files and answers of a host mean."""
import os
import re
import typing as ty

from lxml import etree

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import libvirt
from nova_mem_encryption.check import names
from nova_mem_encryption.nova.mem_encryption.host import misc_cgroup
from nova_mem_encryption.nova.mem_encryption.host import secure_processor
from nova_mem_encryption.nova.mem_encryption import model as model_row

MODULES = '/sys/module/%s/parameters/%s'


class Processor(ty.NamedTuple):
    """The first processor, as /proc/cpuinfo has it."""

    vendor: str
    family: int
    model: int
    name: str
    flags: ty.FrozenSet[str]


class MemoryEncryption(ty.NamedTuple):
    """CPUID leaf 0x8000001F.

    See AMD's "Architecture Programmer's Manual", volume 3 (publication
    24594), appendix E.4.17.
    """

    features: int   # EAX
    last: int       # ECX: highest ASID of an encrypted guest
    first_sev: int  # EDX: lowest ASID of a SEV guest without ES

    def has(self, model: model_row.Model) -> bool:
        """Tell whether the processor has a model."""
        return bool(self.features & 1 << model.cpuid)


class Versions(ty.NamedTuple):
    """Of the libvirt daemon and of QEMU."""

    libvirt: ty.Tuple[int, ...]
    qemu: ty.Tuple[int, ...]


def get_processor(host: hosts.Host) -> Processor:
    """Return what /proc/cpuinfo says of the first processor.

    :raises hosts.Unanswered: if it makes no sense
    """
    found: ty.Dict[str, str] = {}
    for line in host.read('/proc/cpuinfo').split('\n'):
        if not line.strip() and found:
            break
        name, _, value = line.partition(':')
        found[name.strip()] = value.strip()
    numbers = [found.get(name, '') for name in ('cpu family', 'model')]
    if not all(re.fullmatch('[0-9]{1,5}', number) for number in numbers):
        raise hosts.Unanswered(
            '/proc/cpuinfo tells no family and model of the processor.')
    return Processor(found.get('vendor_id', ''), int(numbers[0]),
                     int(numbers[1]), found.get('model name', ''),
                     frozenset(found.get('flags', '').split()))


def get_memory_encryption(host: hosts.Host) -> ty.Optional[MemoryEncryption]:
    """Return what the processor says of memory encryption.

    :returns: None if it cannot be asked, as only root can
    :raises hosts.Unanswered: if the answer makes no sense
    """
    try:
        answer = host.ask('cpuid')
    except hosts.Missing:
        return None
    match = re.fullmatch(r'\s*eax=0x([0-9a-f]{8}) ebx=0x[0-9a-f]{8} '
                         r'ecx=0x([0-9a-f]{8}) edx=0x([0-9a-f]{8})\s*', answer)
    if match is None:
        raise hosts.Unanswered('cpuid makes no sense: %.60r.' % answer)
    eax, ecx, edx = (int(number, 16) for number in match.groups())
    return MemoryEncryption(eax, ecx, edx)


def get_platform_status(host: hosts.Host) -> ty.Union[
        secure_processor.Status, secure_processor.Fault]:
    """Return what the secure processor says, or why it says nothing.

    :raises hosts.Unanswered: if it cannot be asked
    """
    found = host.ask_json('platform-status')
    if 'error' not in found:
        return secure_processor.Status(
            (found['api'][0], found['api'][1]), found['build'],
            found['state'], found['es'])
    # NOTE: to JSON Schema 16.0 is an integer, too.
    number = int(found['error'])
    error = OSError(number, os.strerror(number))
    fault = secure_processor.read_error(error)
    if fault is None:
        raise hosts.Unanswered('platform-status: %s.' % error.strerror)
    return fault


def get_parameter(host: hosts.Host, module: str, name: str
                  ) -> ty.Optional[bool]:
    """Tell whether a parameter of a kernel module is on.

    :returns: None if there is no such parameter, or the module is not loaded
    :raises hosts.Unanswered: if it is neither on nor off
    """
    path = MODULES % (module, name)
    try:
        text = host.read(path).strip()
    except hosts.Missing:
        return None
    # 1 and 0 in old kernels, Y and N in later ones
    if text not in ('Y', '1', 'N', '0'):
        raise hosts.Unanswered('%s is neither Y nor N: %.60r.' % (path, text))
    return text in ('Y', '1')


def has_parameter(host: hosts.Host, module: str, name: str) -> bool:
    """Tell whether a kernel module has a parameter, whatever it is."""
    try:
        host.read(MODULES % (module, name))
    except hosts.Missing:
        return False
    except hosts.Unanswered:
        pass
    return True


def get_kernel(host: hosts.Host) -> ty.Tuple[int, int]:
    """Return the version of the kernel.

    :raises hosts.Unanswered: if it makes no sense
    """
    match = re.match(r'([0-9]{1,3})\.([0-9]{1,4})\D.* x86_64\s*$',
                     host.ask('kernel'))
    if match is None:
        raise hosts.Unanswered('It is no x86_64 kernel with a version: %.60r.'
                               % host.ask('kernel'))
    return int(match.group(1)), int(match.group(2))


def get_versions(host: hosts.Host) -> Versions:
    """Return the versions of libvirt and QEMU.

    :raises hosts.Unanswered: if they are not told
    """
    found = []
    for pattern in ('Running against daemon: ', 'Running hypervisor: QEMU '):
        match = re.search(r'^%s([0-9]{1,4}\.[0-9]{1,4}\.[0-9]{1,4})\s*$'
                          % pattern, host.ask('version'), re.MULTILINE)
        if match is None:
            raise hosts.Unanswered("virsh version has no line '%s...'."
                                   % pattern)
        found.append(tuple(map(int, match.group(1).split('.'))))
    return Versions(*found)


class Capabilities(ty.NamedTuple):
    """What libvirt says of guests on q35 with KVM."""

    machine: str
    supported: bool
    counts: ty.Dict[str, int]  # by the name of the element, where told
    elements: ty.List[str]  # types of launch security that QEMU has


def get_capabilities(host: hosts.Host) -> Capabilities:
    """Return what libvirt's domain capabilities say of SEV.

    :raises hosts.Unanswered: if they make no sense
    """
    try:
        found = etree.fromstring(host.ask('domcapabilities').encode(),
                                 libvirt.PARSER)
    except (etree.XMLSyntaxError, ValueError) as e:
        raise hosts.Unanswered('domcapabilities: it is no XML: %.100s.' % e
                               ) from e
    if found.tag != 'domainCapabilities' or (
            found.findtext('domain'), found.findtext('arch')) != (
            'kvm', 'x86_64'):
        raise hosts.Unanswered(
            'domcapabilities: they are not those of KVM on x86_64.')
    sev = found.find('features/sev')
    counts = {}
    for name in (model.count.element for model in names.MODELS):
        texts = [] if sev is None else [
            element.text or '' for element in sev.findall(name)]
        if not texts:
            continue
        if len(texts) > 1 or not re.fullmatch(r'\s*[0-9]{1,10}\s*', texts[0],
                                              re.ASCII):
            raise hosts.Unanswered('domcapabilities: %s is no number: %.60r.'
                                   % (name, ' and '.join(texts)))
        counts[name] = int(texts[0])
    return Capabilities(
        found.findtext('machine') or '',
        sev is not None and sev.get('supported') == 'yes', counts,
        [value.text or '' for value in found.iterfind(libvirt.SECTYPES)])


def get_capacity(host: hosts.Host) -> ty.Dict[str, int]:
    """Return how many ASIDs the kernel has.

    :raises hosts.Unanswered: if it does not tell
    """
    return _counts(misc_cgroup.read_capacity(host.root))


def get_current(host: hosts.Host) -> ty.Dict[str, int]:
    """Return how many ASIDs are in use.

    :raises hosts.Unanswered: if the kernel does not tell
    """
    return _counts(misc_cgroup.read_current(host.root))


def _counts(reading: misc_cgroup.Reading) -> ty.Dict[str, int]:
    if reading.counts is None:
        raise hosts.Unanswered(str(reading.reason))
    return reading.counts
