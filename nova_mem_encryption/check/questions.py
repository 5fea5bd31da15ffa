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

"""What is asked of a host besides its files.

Each answer is text, and has no more than the checks need: it may be sent to
others as it is.
"""
import os
import sys
import typing as ty

from nova_mem_encryption.check import commands
from nova_mem_encryption.check import libvirt
from nova_mem_encryption.check import system
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import taken_names

# NOTE: the folder of the package comes last. A checkout needs it; first, as -m
# has the current folder, it would hide what Python and Nova import.
ASK_NOVA = """\
import sys
sys.path.append(sys.argv[1])
from nova_mem_encryption.check import ask_nova
sys.exit(ask_nova.main(*sys.argv[2:]))
"""
PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


class Question(ty.NamedTuple):
    """What is asked, and what the answer looks like if it is JSON.

    Either a function has the answer, or ask_nova, in a process of its own: to
    load Nova changes much, and Placement may not answer.
    """

    function: ty.Optional[ty.Callable[[], str]]
    schema: ty.Any = None
    nova: ty.Optional[str] = None  # what ask_nova is asked

    def answer(self, options: ty.Sequence[str]) -> str:
        """Return the answer.

        :param options: '--config-file=PATH' and '--config-dir=PATH', absolute;
            none for the files that nova-compute reads
        :raises commands.NoAnswer: if there is none
        """
        if self.function is not None:
            return self.function()
        return commands.run(
            sys.executable, '-c', ASK_NOVA, PACKAGE, str(self.nova),
            *options, name=str(self.nova))


_COUNT = {'type': 'integer', 'minimum': 0, 'maximum': 2 ** 31 - 1}
_STRING = {'type': 'string', 'maxLength': 4096}
_STRINGS = {'type': 'array', 'items': _STRING}
_PROVIDER = {
    'type': 'object',
    'properties': {'total': _COUNT, 'reserved': _COUNT, 'used': _COUNT,
                   'traits': _STRINGS},
    'required': ['total', 'reserved', 'used', 'traits']}


def _null_or(kind: ty.Dict[str, ty.Any]) -> ty.Dict[str, ty.Any]:
    return {'anyOf': [{'type': 'null'}, kind]}


_POOLS = list(models.get_pools())
_SUFFIXES = [model.suffix for model in models.MODELS.values()]
# What nova.conf is asked for: nothing that names or opens anything
OPTIONS = {
    'compute_driver': _null_or(_STRING),
    'ram_allocation_ratio': _null_or({'type': 'number'}),
    'initial_ram_allocation_ratio': {'type': 'number'},
    'reserved_host_memory_mb': _COUNT,
    'libvirt.virt_type': _STRING,
    'libvirt.hw_machine_type': _STRINGS,
    'libvirt.cpu_mode': _null_or(_STRING),
    'libvirt.cpu_models': _STRINGS,
    'libvirt.num_memory_encrypted_guests': _null_or(_COUNT)}

QUESTIONS = {
    'cpuid': Question(system.get_cpuid),
    'kernel': Question(system.get_kernel),
    'dev-sev': Question(system.get_dev_sev, _null_or({
        'type': 'object',
        'properties': {
            'device': {'type': 'boolean'},
            'mode': {'type': 'string', 'pattern': '^[0-7]{4}$'},
            'user': _STRING, 'group': _STRING},
        'required': ['device', 'mode', 'user', 'group']})),
    'qemu-conf': Question(system.get_qemu_conf, {
        'type': 'object',
        'properties': dict.fromkeys(
            ('user', 'namespaces', 'security_driver'), _null_or(_STRINGS)),
        'required': ['user', 'namespaces', 'security_driver']}),
    'apparmor': Question(system.get_apparmor, {
        'type': 'object',
        'properties': {'enabled': {'type': 'boolean'}, 'rules': _STRINGS},
        'required': ['enabled', 'rules']}),
    'version': Question(libvirt.get_version),
    'domcapabilities': Question(libvirt.get_domcapabilities),
    'guests': Question(libvirt.get_guests, {
        'type': 'object', 'properties': dict.fromkeys(_POOLS, _COUNT),
        'required': _POOLS}),
    'engine': Question(None, {
        'type': 'object',
        'properties': {'state': _STRING, 'reason': _null_or(_STRING),
                       'nova': _null_or(_STRING),
                       'armed': {'type': 'boolean'}},
        'required': ['state', 'reason', 'nova', 'armed']}, 'engine'),
    'services': Question(None, {
        'type': 'object',
        'properties': {
            'services': {'type': 'array', 'items': {
                'type': 'object',
                'properties': {'command': _STRING, 'python': _null_or(_STRING),
                               'state': _null_or(_STRING)},
                'required': ['command', 'python', 'state'],
                'additionalProperties': False}},
            'unreadable': _null_or({**_STRINGS, 'minItems': 2,
                                    'maxItems': 2})},
        'required': ['services', 'unreadable']}, 'services'),
    'nova-conf': Question(None, {
        'type': 'object', 'properties': {'files': _COUNT, **OPTIONS},
        'required': ['files', *OPTIONS]}, 'conf'),
    'placement': Question(None, {
        'type': 'object',
        'properties': {
            'root': _PROVIDER,
            **dict.fromkeys(_SUFFIXES, _null_or(_PROVIDER)),
            'taken': {'type': 'object', 'properties': dict.fromkeys(
                _SUFFIXES, {'enum': list(taken_names.KINDS)})}},
        'required': ['root', *_SUFFIXES]}, 'placement'),
}
