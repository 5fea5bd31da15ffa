#!/usr/bin/env python3
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

"""Write the metadata definitions for Glance, from the table of models."""
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATH = os.path.join(ROOT, 'etc', 'metadefs', 'mem-encryption-model.json')


def make():
    """Return the definitions as JSON."""
    from nova_mem_encryption.engine import tree
    tree.tree()
    from nova_mem_encryption.nova.mem_encryption import models
    first, *others = models.MODELS.values()
    protection = ', '.join(
        ['%s encrypts %s' % (first.value, first.protects)] +
        ['%s %s' % (model.value, model.protects) for model in others])
    return json.dumps({
        'namespace': 'NovaMemEncryption::Model',
        'display_name': 'Memory Encryption Model',
        'description':
            'How the memory of servers is encrypted, on hosts that can do it. '
            'This comes with nova-mem-encryption, for Nova 2025.1; Glance\'s '
            'own definitions have mem_encryption, the request for it.',
        'visibility': 'public',
        'protected': True,
        'resource_type_associations': [
            {'name': 'OS::Nova::Flavor', 'prefix': 'hw:'},
            {'name': 'OS::Glance::Image', 'prefix': 'hw_'},
            {'name': 'OS::Cinder::Volume', 'prefix': 'hw_',
             'properties_target': 'image'}],
        'properties': {'mem_encryption_model': {
            'title': 'Memory Encryption Model',
            'description':
                '%s. Set it in the flavor or the image; in both only to the '
                'same value. It is refused without hw:mem_encryption=true in '
                'the flavor or hw_mem_encryption=true in the image, and needs '
                'an image with hw_firmware_type=uefi and hw_machine_type=q35. '
                'Without it, an encrypted server gets %s.' % (
                    protection, models.NATIVE.value),
            'type': 'string',
            'enum': list(models.MODELS)}},
        'objects': []}, indent=4) + '\n'


if __name__ == '__main__':
    sys.path.insert(0, ROOT)
    text = make()
    with open(PATH, 'w', encoding='utf-8') as f:
        f.write(text)
