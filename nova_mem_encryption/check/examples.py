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

"""Find the examples that are installed with the program."""
import json
import os
import shlex
import sys
import sysconfig
import typing as ty

from nova_mem_encryption.engine import tree
from nova_mem_encryption.nova.mem_encryption.host import files
from nova_mem_encryption.nova.mem_encryption.host.firmware import (
    descriptor_format)
from nova_mem_encryption.nova.mem_encryption.host.firmware import guided_table
from nova_mem_encryption.nova.mem_encryption import model as model_row

LOCAL = '/etc/qemu/firmware'
# Where they are in a checkout, and where setup.py has them installed
FOLDERS = [os.path.join(tree.root(), 'etc'), *(
    os.path.join(prefix, 'share/nova-mem-encryption')
    for prefix in dict.fromkeys([sysconfig.get_path('data'), sys.prefix]))]


def find_descriptor(model: model_row.Model
                    ) -> ty.Optional[descriptor_format.Descriptor]:
    """Return the descriptor for the firmware of a model.

    :returns: None if there is none, or it was not installed
    """
    name = 'firmware/70-%s.json' % model.value
    for folder in FOLDERS:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, encoding='utf-8') as f:
                return descriptor_format.parse(path, json.load(f))
    return None


def install(model: model_row.Model, root: str) -> ty.Optional[str]:
    """Return the command that installs the descriptor of a model.

    :param model: the model
    :param root: folder that stands for that of the host
    :returns: None if no firmware is there that it is for
    """
    found = find_descriptor(model)
    if found is None or found.executable is None:
        return None
    try:
        image = files.locate(root, found.executable)
    except files.Unfit:
        return None
    if guided_table.find_flaw(image, model.firmware) is not None:
        return None
    return 'install -D -m 644 -t %s %s' % (LOCAL, shlex.quote(found.path))
