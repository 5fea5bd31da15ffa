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

"""What of a server's definition is measured, or is in its report."""
import typing as ty

from lxml import etree

from nova_mem_encryption import errors
from nova_mem_encryption.measure import cpus
from nova_mem_encryption.measure import domains
from nova_mem_encryption.measure import kernel_hashes
from nova_mem_encryption.measure import save_area
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption import models

# The model with reports of its guests; the digest in them is of firmware with
# metadata.
MODEL = next(row for row in models.MODELS.values()
             if row.firmware.snp_metadata)
PARSER = etree.XMLParser(resolve_entities=False, no_network=True)
# Of the modes of a CPU, the one in which it is the same on each host
CUSTOM = 'custom'


class Cpu(ty.NamedTuple):
    """The processor that a guest sees."""

    mode: str               # as libvirt has it, and Nova's cpu_mode
    name: ty.Optional[str]  # of QEMU's model; None: it is the host's
    signature: cpus.Signature


class Guest(ty.NamedTuple):
    """A guest, as it is started."""

    name: str
    uuid: str
    firmware: str  # path
    sha256: ty.Optional[str]  # of the firmware, if that was recorded
    vcpus: int
    cpu: Cpu
    policy: int
    features: int
    hashes: ty.Optional[kernel_hashes.Hashes]
    digest: ty.Optional[str]  # of its launch, if that was recorded


def read(answer: domains.Answer, remote: bool) -> Guest:
    """Return the guest that libvirt has.

    :param answer: libvirt's
    :param remote: whether the host's files may not be here
    :raises errors.CannotRun: if its digest cannot be told
    """
    live = etree.fromstring(answer.live.encode(), PARSER)
    name = live.findtext('name') or ''
    security = live.find('launchSecurity')
    if security is None or (
            security.get('type') != MODEL.launch_security.element):
        raise errors.CannotRun(_explain_other(name, security))
    loader = live.find('os/loader')
    if loader is None or loader.get('type') != MODEL.firmware.kind.loader:
        raise errors.CannotRun(
            "Server %s has no firmware in memory (<loader type='%s'>), with "
            'which alone QEMU starts %s.' % (
                name, MODEL.firmware.kind.loader, MODEL.title))
    vcpu = live.find('vcpu')
    return Guest(
        name, live.findtext('uuid') or '',
        (loader.text or '').strip(), None,
        # NOTE: there is a save area for each that is there at the start.
        int(vcpu.get('current') or vcpu.text), _read_cpu(
            name, live, etree.fromstring(answer.asked.encode(), PARSER),
            answer.capabilities),
        int(security.findtext('policy') or '0', 0), save_area.SNP_ACTIVE,
        _read_hashes(name, live, remote)
        if security.get('kernelHashes') == 'yes' else None, None)


def _explain_other(name: str, security: ty.Any) -> str:
    has = 'no memory encryption'
    if security is not None:
        model = models.find_model(
            security.get('type'), int(security.findtext('policy') or '0', 0))
        has = security.get('type') if model is None else model.title
    return (
        'Server %s has %s, and not %s. Only with %s the processor signs a '
        'report, in which the guest has its launch digest; with anything less '
        'Nova offers nothing that a user could check.' % (
            name, has, MODEL.title, MODEL.title))


def _read_cpu(name: str, live: ty.Any, asked: ty.Any, capabilities: str
              ) -> Cpu:
    mode = _get_mode(asked)
    # NOTE: there, libvirt has made a custom one of host-model.
    if _get_mode(live) == CUSTOM:
        model = (live.findtext('cpu/model') or '').strip()
        signature = cpus.find(model)
        if signature is None:
            raise errors.CannotRun(
                'The CPU model %s of server %s is not known here. Known are '
                '%s.' % (model, name, ', '.join(cpus.NAMED)))
        return Cpu(mode, model, signature)
    found = etree.fromstring(capabilities.encode(), PARSER).find(
        'host/cpu/signature')
    if found is None:
        raise errors.CannotRun(
            "Server %s has the host's CPU (%s), and libvirt does not say "
            'which that is: its capabilities have no signature.' % (
                name, mode))
    return Cpu(mode, None, cpus.Signature(*(
        int(found.get(part)) for part in cpus.Signature._fields)))


def _get_mode(domain: ty.Any) -> str:
    cpu = domain.find('cpu')
    return CUSTOM if cpu is None else cpu.get('mode', CUSTOM)


def _read_hashes(name: str, live: ty.Any, remote: bool
                 ) -> kernel_hashes.Hashes:
    """Return the hashes of the kernel that QEMU loads."""
    kernel, initrd = (
        (live.findtext('os/' + tag) or '').strip()
        for tag in ('kernel', 'initrd'))
    if not kernel:
        raise errors.CannotRun(
            'Server %s has kernel hashes on, and no kernel that QEMU loads: '
            'QEMU does not start that.' % name)
    if remote:
        raise errors.CannotRun(
            'Server %s has a kernel that is measured, and its files are on '
            'its host. Run this there.' % name)
    try:
        return kernel_hashes.make(kernel, initrd,
                                  live.findtext('os/cmdline') or '')
    except files.Unfit as e:
        raise errors.CannotRun(
            'The kernel of server %s, %s with %s: %s.' % (
                name, kernel, initrd or 'no initial RAM disk', e)) from e
