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

"""Tell whether a Nova carries the series as patches, and all of them.

Then there is nothing to lay over it. Patches of which some are missing may
start a server with less than it asks for, so services are not to run.
"""
from __future__ import annotations

import nova_mem_encryption
from nova_mem_encryption.engine import state as engine

# What they add; it says in VERSION which release of the series they are.
PACKAGE = 'nova.mem_encryption'
# Who has it has SEV-ES: it was in no Nova before.
FEATURE = 'nova.objects.fields', 'MemEncryptionModel'
MOST = 3  # of what is missing that is named


def version(find) -> str | None:
    """Return the version of the patches that a Nova carries.

    :param find: returns the path and the text of the file of a module
    :returns: None if there are none
    """
    for line in find(PACKAGE)[1].splitlines():
        name, _, value = line.partition(b'=')
        if name.strip() == b'VERSION':
            return value.strip().strip(b'\'"').decode('ascii', 'replace')
    return None


def is_begun(table: dict, find) -> bool:
    """Tell whether a Nova has modules of the patches, if not their version.

    :param table: what fingerprints.table() returned
    :param find: as of version()
    """
    return any(find(module)[0] is not None
               for module in table['patched']['modules']
               if module.startswith(PACKAGE + '.'))


def has_feature(find) -> bool:
    """Tell whether a Nova has SEV-ES, by whatever patches.

    :param find: as of version()
    """
    from nova_mem_encryption.engine import source
    module, name = FEATURE
    return source.has_class(find(module)[1], name)


def judge(table: dict, find) -> tuple[str, str, list]:
    """Judge a Nova that says that it carries the patches.

    :param table: what fingerprints.table() returned
    :param find: as of version()
    :returns: as gate.judge()
    """
    theirs, ours = version(find), nova_mem_encryption.__version__
    # NOTE: no more than is told, as to find each may take parsing a module.
    lacking = [name for _, name in zip(
        range(MOST + 1), find_lacking(table, find))]
    # NOTE: what another release has is not known; but none goes without that.
    if lacking and (theirs in (None, ours) or not has_feature(find)):
        return engine.REFUSED, (
            'this Nova carries patches of nova-mem-encryption %s, and not '
            'all of them; missing are %s%s' % (
                theirs or 'of unknown version', ', '.join(lacking[:MOST]),
                ' and more' if len(lacking) > MOST else '')), []
    reason = 'this Nova carries nova-mem-encryption %s as patches' % theirs
    if theirs != ours:
        reason += (', and the package is %s: install %s of it, whose commands '
                   'know them' % (ours, theirs))
    return engine.PATCHED, reason, []


def find_lacking(table: dict, find):
    """Yield what patches of this release have, and a Nova has not.

    :param table: as of judge()
    :param find: as of judge()
    """
    from nova_mem_encryption.engine import fingerprints
    wanted = table['patched']
    if version(find) is None:
        yield '%s: VERSION' % PACKAGE
    for module in sorted({*wanted['functions'], *wanted['additions'],
                          *wanted['lines']}):
        text = find(module)[1]
        if not fingerprints.carries(table, module, text):
            from nova_mem_encryption.engine import source
            for name in source.find_unpatched(table, module, text):
                yield '%s: %s' % (module, name)
    for module in wanted['modules']:
        if find(module)[0] is None:
            yield module
