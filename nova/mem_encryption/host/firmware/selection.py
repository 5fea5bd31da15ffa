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

"""Choose firmware that can start an encrypted guest.

This and what it imports use only nova/mem_encryption of Nova, so that hosts
can be examined where Nova does not run, also those of which there are but the
files.
"""
import fnmatch
import os
import re
import time
import typing as ty

from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import (
    descriptor_format)
from nova_mem_encryption.nova.mem_encryption.host.firmware import descriptors
from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption import models

Rejected = descriptors.Rejected
MOST_KEPT = 64  # choices: a few for each machine type

# What a descriptor must not have, and why
UNWANTED = {
    'requires-smm': 'it requires SMM, which encrypted guests are not given',
    'secure-boot': 'it is for secure boot',
    'enrolled-keys': 'it is for secure boot',
}


class Selection(ty.NamedTuple):
    """The firmware for a guest, and those that were not taken for it."""

    firmware: ty.Optional[descriptor_format.Descriptor]
    rejected: ty.List[Rejected]  # as in the order of their descriptors

    def __str__(self):
        return '; '.join(map(str, self.rejected)) or (
            'there is no descriptor in %s'
            % ' or '.join(descriptors.FOLDERS))


class _Kept(ty.NamedTuple):
    """A choice, and the files that it was made of."""

    selection: Selection
    states: ty.Mapping[str, ty.Optional[files.State]]

    def is_valid(self):
        """Tell whether none of the files has changed."""
        return all(files.get_state(path) == state
                   for path, state in self.states.items())


_kept: ty.Dict[tuple, _Kept] = {}


def choose(model, machine, root='/', current=None):
    """Choose the firmware for an encrypted guest.

    It is the one that the guest has had so far, if that fits. Else it is the
    first that has the best feature of the model, or the next best. Of this
    host it is remembered until one of the folders and files changes that it
    was chosen by.

    :param str model: value of the model
    :param str machine: the machine type, its full name, as pc-q35-7.2
    :param str root: the folder that has the host's files
    :param str current: path of the executable that the guest has had so far,
        None for a new guest
    :returns: a Selection
    """
    key = model, machine, current, descriptors.FOLDERS
    if root != '/':
        return _choose(*descriptors.read_descriptors(root), model, machine,
                       root, current)
    kept = _kept.get(key)
    if kept is None or not kept.is_valid():
        kept = _make_kept(model, machine, current)
        # NOTE: what keeps guests from starting is looked at again, as it may
        # be mended by what changes no file, such as a policy of SELinux.
        if kept.selection.firmware is not None or not (
                models.MODELS[model].firmware.required):
            if len(_kept) >= MOST_KEPT:
                _kept.clear()
            _kept[key] = kept
    return kept.selection


def _make_kept(model, machine, current):
    """Choose, and tell of all files that the choice depends on."""
    begun = time.time_ns()
    found, rejected = descriptors.read_descriptors()
    selection = _choose(found, rejected, model, machine, '/', current)
    states: ty.Dict[str, ty.Optional[files.State]] = {}
    for path in (*descriptors.FOLDERS, *descriptors.list_paths(), *(
            path for descriptor in found for path in (
                descriptor.executable, descriptor.nvram_template)
            if path is not None)):
        state = files.get_state(path)
        # It may have changed meanwhile.
        states[path] = state if state is None or state.is_before(
            begun) else files.ANOTHER
    return _Kept(selection, states)


def _choose(found, rejected, model, machine, root, current):
    fit = []
    for descriptor in found:
        obstacle = find_obstacle(descriptor, model, machine, root, current)
        if obstacle is None:
            fit.append(descriptor)
        else:
            rejected.append(Rejected(descriptor.path, obstacle))
    features = models.MODELS[model].firmware.features
    fit.sort(key=lambda descriptor: (descriptor.executable != current, next(
        (rank for rank, feature in enumerate(features)
         if feature in descriptor.features), len(features))))
    rejected.sort(key=lambda r: os.fsencode(os.path.basename(r.path)))
    return Selection(fit[0] if fit else None, rejected)


def find_obstacle(descriptor, model, machine, root='/', current=None):
    """Say why a firmware is not for a guest.

    :param descriptor_format.Descriptor descriptor: of the firmware
    :param model, machine, root, current: as of choose
    :returns: the reason, or None if it is
    """
    if 'uefi' not in descriptor.interfaces:
        return 'it is not UEFI firmware'
    wanted = models.MODELS[model].firmware
    kind = wanted.kind
    if (descriptor.device, descriptor.mode) != (kind.device, kind.mode):
        return 'it is for %s, and such guests need %s' % (
            _name(descriptor.device, descriptor.mode),
            _name(kind.device, kind.mode))
    if descriptor.executable is None or (
            descriptor.nvram_template is None and not wanted.kind.stateless):
        return 'it has no executable, or no template of the NVRAM'
    if not any(architecture == 'x86_64' and _match(machine, globs)
               for architecture, globs in descriptor.targets):
        return 'it is not for x86_64, machine type %s' % machine
    for feature, reason in UNWANTED.items():
        if feature in descriptor.features:
            return reason
    # Nova does not tell libvirt of a format.
    if descriptor.formats != {'raw'}:
        return 'its format is %.60s and not raw' % ', '.join(
            sorted(descriptor.formats))
    # NOTE: Nova used to give SEV guests firmware that does not say so.
    if descriptor.features.isdisjoint(wanted.features) and (
            wanted.required or descriptor.executable != current):
        return 'its features lack %s' % ' and '.join(sorted(wanted.features))
    return _find_flaw(descriptor, wanted, root)


def _find_flaw(descriptor, wanted, root):
    """Say what is wrong with the files of a firmware."""
    for path in filter(None, (descriptor.executable,
                              descriptor.nvram_template)):
        try:
            real = files.locate(root, path)
            if path == descriptor.executable and wanted.required:
                flaw = guided_table.find_flaw(real, wanted)
            else:
                with files.open_regular(real):
                    flaw = None
        except files.Unfit as e:
            flaw = str(e)
        if flaw is not None:
            return '%s: %s' % (path, flaw)
    return None


def _name(device, mode):
    return 'device %.40r' % device + (
        '' if mode is None else ', mode %.40r' % mode)


def _match(machine, globs):
    for pattern in globs:
        try:
            if fnmatch.fnmatchcase(machine, pattern):
                return True
        except re.error:  # before Python 3.11, for a range such as [z-a]
            continue
    return False
