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

"""Look at the first processor, as /proc/cpuinfo has it."""
import re

from nova_mem_encryption.nova.mem_encryption.host import files

CPUINFO = '/proc/cpuinfo'
MOST_BYTES = 64 * 1024  # those of one processor are some 2,000


def has_flag(name: str, root: str) -> bool:
    """Tell whether the kernel says that the processor has a flag.

    :param name: of the flag
    :param root: folder that stands for that of the host
    :returns: False if it cannot be told, too
    """
    try:
        with files.open_regular(files.locate(root, CPUINFO)) as (f, _):
            text = f.read(MOST_BYTES).decode(errors='replace')
    except files.Unfit:
        return False
    found = re.search(r'^flags\s*:(.*)$', text, re.MULTILINE)
    return found is not None and name in found.group(1).split()
