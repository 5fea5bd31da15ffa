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

"""Write and read the description of a guest.

What is measured is in it, and what came of it; all of it is what somebody
says, and nothing of it is proof.
"""
import json
import typing as ty

import jsonschema

from nova_mem_encryption import errors
from nova_mem_encryption.measure import cpus
from nova_mem_encryption.measure import definition
from nova_mem_encryption.measure import kernel_hashes
from nova_mem_encryption.nova.mem_encryption.host import files

MOST_BYTES = 1 << 20
MOST_VCPUS = 4096  # of a machine of QEMU


def _hexadecimal(digits: int) -> ty.Dict[str, ty.Any]:
    return {'type': 'string', 'pattern': r'^[0-9a-f]{%d}\Z' % digits}


def _integer(most: int, least: int = 0) -> ty.Dict[str, ty.Any]:
    return {'type': 'integer', 'minimum': least, 'maximum': most}


def _object(required: ty.Dict[str, ty.Any], **others: ty.Any
            ) -> ty.Dict[str, ty.Any]:
    return {'type': 'object', 'properties': {**required, **others},
            'required': list(required)}


_TEXT = {'type': 'string', 'maxLength': 1024}
_U64 = _integer((1 << 64) - 1)
SCHEMA = jsonschema.Draft7Validator(_object(
    {'firmware': _object({'path': _TEXT}, sha256=_hexadecimal(64)),
     'vcpus': _integer(MOST_VCPUS, 1),
     'cpu': _object({'mode': _TEXT, **{
         part: _integer(most)
         for part, most in cpus.MOST._asdict().items()}},
         name={'type': ['string', 'null'], 'maxLength': 1024}),
     'guest_features': _U64, 'policy': _U64,
     'kernel_hashes': {'anyOf': [{'type': 'null'}, _object(dict.fromkeys(
         kernel_hashes.Hashes._fields, _hexadecimal(64)))]}},
    name=_TEXT, uuid=_TEXT, launch_digest=_hexadecimal(96)))


def show(guest: definition.Guest) -> ty.Dict[str, ty.Any]:
    """Return the description of a guest, for JSON."""
    return {
        'name': guest.name, 'uuid': guest.uuid,
        'firmware': {'path': guest.firmware},
        'vcpus': guest.vcpus,
        'cpu': {'mode': guest.cpu.mode, 'name': guest.cpu.name,
                **guest.cpu.signature._asdict()},
        'guest_features': guest.features, 'policy': guest.policy,
        'kernel_hashes': guest.hashes and guest.hashes._asdict()}


def read(path: str) -> definition.Guest:
    """Return the guest of a file with a description.

    :raises errors.CannotRun: if it is none
    """
    try:
        with files.open_regular(path) as (f, _):
            text = f.read(MOST_BYTES + 1)
    except files.Unfit as e:
        raise _fail(path, str(e)) from e
    if len(text) > MOST_BYTES:
        raise _fail(path, 'it has more than %d bytes' % MOST_BYTES)
    try:
        told = json.loads(text.decode())
        problem = next(SCHEMA.iter_errors(told), None)
    except (ValueError, RecursionError) as e:
        raise _fail(path, 'it is no JSON: %s' % e) from e
    if problem is not None:
        raise _fail(path, '%s: %.100s' % (problem.json_path, problem.message))
    cpu, hashes = told['cpu'], told['kernel_hashes']
    return definition.Guest(
        told.get('name', ''), told.get('uuid', ''), told['firmware']['path'],
        told['firmware'].get('sha256'), int(told['vcpus']),
        definition.Cpu(cpu['mode'], cpu.get('name'), cpus.Signature(*(
            int(cpu[part]) for part in cpus.Signature._fields))),
        int(told['policy']), int(told['guest_features']),
        hashes and kernel_hashes.Hashes(*(
            hashes[part] for part in kernel_hashes.Hashes._fields)),
        told.get('launch_digest'))


def _fail(path: str, reason: str) -> errors.CannotRun:
    return errors.CannotRun(
        "Description %s cannot be used: %s. 'nova-mem-encryption measure "
        "--json' on the host of a server writes one." % (
            path, reason.rstrip('.')))
