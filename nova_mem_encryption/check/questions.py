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
import typing as ty

from nova_mem_encryption.check import libvirt
from nova_mem_encryption.check import names
from nova_mem_encryption.check import nova_process
from nova_mem_encryption.check import rights_of_qemu
from nova_mem_encryption.check import system
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import taken_names


class Question(ty.NamedTuple):
    """What is asked, and what the answer looks like if it is JSON.

    Either a function has the answer, or Nova.
    """

    function: ty.Optional[ty.Callable[[], str]]
    schema: ty.Any = None
    nova: ty.Optional[str] = None  # what Nova is asked
    awaited: str = ''  # who answers, where that may take long
    newer: bool = False  # than hosts that were recorded

    def answer(self, nova: nova_process.Nova) -> str:
        """Return the answer.

        :raises commands.NoAnswer: if there is none
        """
        return (self.function() if self.function is not None else
                nova.ask(str(self.nova)))


_COUNT = {'type': 'integer', 'minimum': 0, 'maximum': 2 ** 31 - 1}
_BYTE = {'type': 'integer', 'minimum': 0, 'maximum': 255}
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
_SWITCHES = ['libvirt.' + model.option for model in models.MODELS.values()
             if model.option]
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
    'libvirt.num_memory_encrypted_guests': _null_or(_COUNT),
    'libvirt.file_backed_memory': _COUNT,
    'pci.device_spec': _COUNT,  # how many
    **dict.fromkeys(_SWITCHES, {'type': 'boolean'})}
# Those that hosts recorded by older versions do not have
LATER = ('libvirt.file_backed_memory', 'pci.device_spec', *_SWITCHES)

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
    'platform-status': Question(system.get_platform_status, {'anyOf': [
        {'type': 'object',
         'properties': {'api': {'type': 'array', 'items': _BYTE,
                                'minItems': 2, 'maxItems': 2},
                        'build': _BYTE, 'state': _BYTE,
                        'es': {'type': 'boolean'}},
         'required': ['api', 'build', 'state', 'es'],
         'additionalProperties': False},
        {'type': 'object', 'properties': {'error': _BYTE},
         'required': ['error'], 'additionalProperties': False}]}, newer=True),
    'snp-status': Question(system.get_snp_status, {'anyOf': [
        {'type': 'object', 'properties': {'initialised': {'type': 'boolean'}},
         'required': ['initialised'], 'additionalProperties': False},
        {'type': 'object', 'properties': {'error': _BYTE},
         'required': ['error'], 'additionalProperties': False}]}, newer=True),
    'kernel-log': Question(system.get_kernel_log, _null_or(_STRINGS),
                           newer=True),
    'qemu-conf': Question(rights_of_qemu.get_qemu_conf, {
        'type': 'object',
        'properties': dict.fromkeys(
            ('user', 'namespaces', 'security_driver'), _null_or(_STRINGS)),
        'required': ['user', 'namespaces', 'security_driver']}),
    'apparmor': Question(rights_of_qemu.get_apparmor, {
        'type': 'object',
        'properties': {'enabled': {'type': 'boolean'}, 'rules': _STRINGS},
        'required': ['enabled', 'rules']}),
    'kvm-access': Question(rights_of_qemu.get_kvm_access, {
        'type': 'object',
        'properties': {'user': _STRING, 'guessed': {'type': 'boolean'},
                       'error': _BYTE},
        'required': ['user', 'guessed', 'error']}, newer=True),
    'selinux': Question(rights_of_qemu.get_selinux, {
        'type': 'object',
        'properties': {'enforcing': {'type': 'boolean'},
                       'type': _null_or(_STRING)},
        'required': ['enforcing', 'type']}, newer=True),
    'iommu': Question(system.get_iommu, _COUNT, newer=True),
    'libvirtd': Question(rights_of_qemu.get_libvirtd, {
        'type': 'object',
        'properties': {'may_raise': {'type': 'boolean'},
                       'memlock': _null_or({**_COUNT, 'maximum': 2 ** 63})},
        'required': ['may_raise', 'memlock']}, newer=True),
    'version': Question(libvirt.get_version, awaited='libvirt'),
    'domcapabilities': Question(libvirt.get_domcapabilities,
                                awaited='libvirt'),
    'guests': Question(libvirt.get_guests, {
        'type': 'object', 'properties': dict.fromkeys(_POOLS, _COUNT),
        'required': _POOLS}, awaited='libvirt'),
    'engine': Question(None, {
        'type': 'object',
        'properties': {'state': _STRING, 'reason': _null_or(_STRING),
                       'nova': _null_or(_STRING),
                       'armed': {'type': 'boolean'},
                       'version': _STRING, 'patches': _null_or(_STRING)},
        'required': ['state', 'reason', 'nova', 'armed']}, 'engine', 'Nova'),
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
        'required': ['services', 'unreadable']}, 'services',
        'the Python of the services', newer=True),
    'nova-conf': Question(None, {
        'type': 'object', 'properties': {
            'files': _COUNT, 'paths': _STRINGS, **OPTIONS},
        'required': ['files', *(name for name in OPTIONS
                                if name not in LATER)]}, 'conf', 'Nova'),
    'libvirt-python': Question(None, {
        'type': 'object',
        'properties': {
            'version': _null_or({'type': 'array', 'items': _COUNT,
                                 'minItems': 3, 'maxItems': 3}),
            'fault': _null_or(_STRING)},
        'required': ['version', 'fault']}, 'libvirt_python', newer=True),
    'placement': Question(None, {
        'type': 'object',
        'properties': {
            'root': _PROVIDER,
            **dict.fromkeys(_SUFFIXES, _null_or(_PROVIDER)),
            'taken': {'type': 'object', 'properties': dict.fromkeys(
                _SUFFIXES, {'enum': list(taken_names.KINDS)})},
            # Whose traits Placement does not know
            'unknown': {'type': 'array', 'items': {'enum': _SUFFIXES}}},
        'required': ['root', *(model.suffix for model in names.MODELS)]},
        'placement', 'Placement'),
}
