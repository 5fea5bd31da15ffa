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

"""What a firmware descriptor of QEMU says, if it makes sense.

Its format is that of docs/interop/firmware.json of QEMU.
"""
import typing as ty

import jsonschema

from nova_mem_encryption.nova.mem_encryption.host import files

# Absolute, and of characters that XML can have
_PATH = {'type': 'string', 'pattern':
         '^/[^\0-\x1f\x7f\ud800-\udfff\ufffe\uffff]+\\Z'}
_FILE = {
    'type': 'object',
    'properties': {'filename': _PATH, 'format': {'type': 'string'}},
    'required': ['filename', 'format']}
_STRINGS = {'type': 'array', 'items': {'type': 'string'}}
SCHEMA = jsonschema.Draft7Validator({
    'type': 'object',
    'properties': {
        'interface-types': _STRINGS,
        'features': _STRINGS,
        'targets': {
            'type': 'array',
            'items': {
                'type': 'object',
                'properties': {'architecture': {'type': 'string'},
                               'machines': _STRINGS},
                'required': ['architecture', 'machines']}},
        'mapping': {
            'type': 'object',
            'properties': {'device': {'type': 'string'},
                           'mode': {'type': 'string'},
                           'filename': _PATH,  # of device memory
                           'executable': _FILE,
                           'nvram-template': _FILE},
            'required': ['device']}},
    'required': ['interface-types', 'mapping', 'targets', 'features']})


class Descriptor(ty.NamedTuple):
    """What a descriptor says."""

    path: str  # of the descriptor itself; all paths are those of the host
    device: str  # that it is mapped into: flash, kernel, memory, ...
    mode: ty.Optional[str]  # of flash only: split, combined, ...
    executable: ty.Optional[str]  # of flash and memory only
    nvram_template: ty.Optional[str]  # of flash only
    formats: ty.FrozenSet[str]  # of these two
    interfaces: ty.FrozenSet[str]
    features: ty.FrozenSet[str]
    targets: ty.Tuple[ty.Tuple[str, ty.Tuple[str, ...]], ...]


def parse(path, spec):
    """Return what a descriptor says.

    :param str path: of the descriptor
    :param spec: its JSON, parsed
    :returns: a Descriptor
    :raises files.Unfit: if it does not make sense
    """
    try:
        problem = next(SCHEMA.iter_errors(spec), None)
    except RecursionError as e:
        raise files.Unfit('it is too deep') from e
    if problem is not None:
        raise files.Unfit('%s: %.100s' % (problem.json_path,
                                                   problem.message))
    mapping, mode = spec['mapping'], None
    if mapping['device'] == 'flash':
        mode = mapping.get('mode', 'split')
    elif 'filename' in mapping:  # which QEMU maps as it is
        mapping = {'device': mapping['device'], 'executable': {
            'filename': mapping['filename'], 'format': 'raw'}}
    mapped = [mapping.get(name, {})
              for name in ('executable', 'nvram-template')]
    return Descriptor(
        path, mapping['device'], mode, *(f.get('filename') for f in mapped),
        frozenset(f['format'] for f in mapped if f),
        frozenset(spec['interface-types']), frozenset(spec['features']),
        tuple((target['architecture'], tuple(target['machines']))
              for target in spec['targets']))
