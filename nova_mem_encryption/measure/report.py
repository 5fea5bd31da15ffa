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

"""Work out the launch digest of a server, and say what it is of."""
import argparse
import json
import os
import shlex
import textwrap
import typing as ty

from nova_mem_encryption import errors
from nova_mem_encryption.measure import definition
from nova_mem_encryption.measure import digest
from nova_mem_encryption.measure import domains
from nova_mem_encryption.measure import firmware
from nova_mem_encryption.measure import recorded
from nova_mem_encryption.measure import save_area

PAGE = 'attestation.html'
COMMAND = 'sev-snp-measure'
WIDTH = 79
HARDWARE = {
    'host-model': 'libvirt has made its CPU model of that of the host',
    'host-passthrough': "its CPU is the host's",
    'maximum': "its CPU is the host's"}


def compute(guest: definition.Guest, image: firmware.Firmware) -> str:
    """Return the launch digest, as hexadecimal digits.

    :param guest: what is started
    :param image: with which firmware
    :raises firmware.Unfit: if the kernel is to be measured, and is not
    """
    launch = digest.Digest()
    launch.value = image.digest
    image.add_sections(launch, guest.hashes)
    for start, count in ((save_area.RESET, 1),
                         (image.reset_address, guest.vcpus - 1)):
        area = save_area.make(start, guest.cpu.signature.value,
                              guest.features)
        for _ in range(count):
            launch.add(digest.VMSA, digest.VMSA_ADDRESS, area)
    return launch.value.hex()


def name_command(guest: definition.Guest) -> ty.List[str]:
    """Return the words of the command with which a user does the same."""
    words = [COMMAND, '--mode', 'snp', '--vcpus', str(guest.vcpus)]
    for part, value in guest.cpu.signature._asdict().items():
        words += ['--vcpu-' + part, str(value)]
    words += ['--guest-features', '0x%x' % guest.features, '--ovmf',
              os.path.basename(guest.firmware) or 'OVMF.fd']
    if guest.hashes is not None:
        words += ['--kernel', 'KERNEL', '--initrd', 'INITRD', '--append',
                  'COMMAND LINE']
    return words


def _read_guest(args: argparse.Namespace) -> definition.Guest:
    if args.recorded:
        return recorded.read(args.recorded)
    remote = domains.is_remote(args.libvirt)
    if remote and not args.firmware:
        raise errors.CannotRun(
            'libvirt at %s may be of another machine, and so is the firmware. '
            'Give a copy of it: --firmware FILE.' % args.libvirt)
    return definition.read(domains.ask(args.libvirt, args.server), remote)


def _measure(guest: definition.Guest, path: str) -> ty.Dict[str, ty.Any]:
    """Return the description of a guest, with what came of it."""
    try:
        image = firmware.read(path)
        found = compute(guest, image)
    except firmware.Unfit as e:
        raise errors.CannotRun(
            'Firmware %s cannot be measured: %s. Take the one that server %s '
            'is started with, or a copy of it: --firmware FILE.' % (
                path, e, guest.name or guest.uuid)) from e
    told = recorded.show(guest)
    told['firmware'].update(path=path, sha256=image.sha256,
                            digest=image.digest.hex())
    told.update(
        launch_digest=found, command=shlex.join(name_command(guest)),
        reproducible=guest.cpu.mode == definition.CUSTOM, differs=[
            '%s is %s, and was recorded as %s' % (what, now, before)
            for what, now, before in (
                ('SHA-256 of the firmware', image.sha256, guest.sha256),
                ('launch digest', found, guest.digest))
            if before not in (None, now)])
    return told


def _print(told: ty.Mapping[str, ty.Any]) -> None:
    cpu, image, hashes = (
        told[name] for name in ('cpu', 'firmware', 'kernel_hashes'))
    rows = [
        ('server', '%(name)s (%(uuid)s)' % told),
        ('firmware', image['path']),
        ('  SHA-256', image['sha256']),
        ('  its part', image['digest']),
        ('vCPUs', told['vcpus']),
        ('CPU', "%s: family %d, model %d, stepping %d" % (
            cpu['name'] or "the host's", cpu['family'], cpu['model'],
            cpu['stepping'])),
        ('  mode', cpu['mode']),
        ('guest features', '0x%x' % told['guest_features']),
        ('policy', '0x%x' % told['policy']),
        ('kernel hashes', 'none, no kernel is measured' if hashes is None
         else '')]
    rows += [('  ' + name, value) for name, value in (hashes or {}).items()]
    rows.append(('launch digest', told['launch_digest']))
    for name, value in rows:
        print(errors.plain(('%-15s %s' % (name, value)).rstrip()))
    for problem in told['differs']:
        print('DIFFERS: %s.' % problem)
    texts = [
        'What the cloud says of itself proves nothing. Work it out on a '
        'machine that is not of the cloud, with firmware from the '
        'distribution, and compare the report of the guest with that (%s):'
        % PAGE]
    if not told['reproducible']:
        texts.insert(0, (
            'This digest depends on the hardware: %s (cpu_mode %s). With '
            'cpu_mode custom it is the same on all hosts.' % (
                HARDWARE.get(cpu['mode'], 'so does the CPU'),
                errors.plain(cpu['mode']))))
    print('\n%s\n\n    %s' % ('\n'.join(
        textwrap.fill(text, WIDTH, break_on_hyphens=False) for text in texts),
        errors.plain(told['command'])))


def main(args: argparse.Namespace) -> int:
    """Run the command.

    :param args: server or recorded; firmware, libvirt, json
    :returns: exit status
    """
    guest = _read_guest(args)
    told = _measure(guest, args.firmware or guest.firmware)
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        _print(told)
    return 1 if told['differs'] else 0
