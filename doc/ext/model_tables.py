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


"""Make the tables of the pages that say something of each model.

The directive is ``.. models:: NAME``, with one of TABLES for a name.
"""
import os
import sys
import typing as ty

from docutils import nodes
from docutils.parsers import rst
from docutils import statemachine

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))

from nova_mem_encryption.engine import tree

# NOTE: in a checkout, the models are found only after this.
tree.tree()

from nova_mem_encryption.nova.mem_encryption import (  # noqa: E402
    differing)
from nova_mem_encryption.nova.mem_encryption import (  # noqa: E402
    model as model_row)
from nova_mem_encryption.nova.mem_encryption import models  # noqa: E402
from nova_mem_encryption.nova.mem_encryption import providers  # noqa: E402

Rows = ty.List[ty.List[str]]
SLOT = providers.SLOT


def _name(model: model_row.Model) -> str:
    return '``%s``' % providers.name_of('<node>', model.value)


def _list(texts: ty.Iterable[str]) -> str:
    return ', '.join(texts)


def get_names() -> Rows:
    """Return what is called how."""
    rows = models.MODELS.values()
    native = models.NATIVE.title
    return [
        ['what', 'name'],
        ['extra spec', '``hw:mem_encryption_model``: %s. Other values are '
         'refused by the flavor API from microversion 2.86 on, and for a '
         'server always' % _list('``%s``' % row.value for row in rows)],
        ['image property', '``hw_mem_encryption_model``: the same'],
        ['resource class', '``%s``, 1 for each server' % SLOT],
        ['providers', '%s; children of the node\'s root provider, which has '
         'neither slots nor the %s trait' % (_list(
             '%s with ``%s``' % (_name(row), row.trait) for row in rows),
             native)],
        ['statistics', '%s of ``compute_nodes.stats``: foreign guests, as '
         'nova-compute counted them last' % _list(
             '``%s``' % row.foreign_stat for row in rows)],
        ['', '``%s``: servers that run as what they do not ask for' %
         differing.STAT]]


def get_inventories() -> Rows:
    """Return the fields of the inventory of each provider."""
    rows = list(models.MODELS.values())
    totals = []
    for row in rows:
        total = '%s of libvirt, at most ``%s`` of ``misc.capacity``' % (
            row.count.element, row.count.asids)
        if row.native:
            total += ' and the option below'
        if not row.count.required:
            total += '; unlimited (2147483647) if nobody tells'
        totals.append(total)
    reserved = ['foreign guests' + (
        ', at least ``%s``' % row.reserved if row.reserved else '')
        for row in rows]
    return [['field', *map(_name, rows)], ['total', *totals],
            ['min_unit, max_unit', *['1'] * len(rows)],
            ['step_size', *['1'] * len(rows)], ['reserved', *reserved],
            ['allocation_ratio', *['1.0'] * len(rows)]]


MEANINGS = {
    'NODEBG': 'no debugging of the guest',
    'NOKS': 'no sharing of its keys with other guests',
    'ES': 'its registers are encrypted too',
    'NOSEND': 'not to be sent to another platform',
    'DOMAIN': 'not to be sent to one of another domain',
    'SEV': 'not to be sent to one that is not SEV-capable',
    'SMT': 'may run where there are sibling threads',
    'RESERVED_1': 'reserved, must be one',
    'MIGRATE_MA': 'may be migrated by a migration agent',
    'DEBUG': 'may be debugged',
    'SINGLE_SOCKET': 'runs on one socket only',
    'CXL_ALLOW': 'may run where there are CXL devices',
    'MEM_AES_256_XTS': 'its memory is encrypted with AES 256 XTS',
    'RAPL_DIS': 'runs only where the power it takes cannot be measured',
    'CIPHERTEXT_HIDING_DRAM': 'runs only where its ciphertext is hidden',
    'PAGE_SWAP_DISABLE': 'the host cannot move or swap its pages'}


def get_policies() -> Rows:
    """Return the bits of the policy of a guest of each model."""
    rows = list(models.MODELS.values())
    bits: ty.Dict[str, int] = {}
    for row in rows:
        bits.update(row.launch_security.bits)
    return [['bit', 'name', *(row.title for row in rows), 'meaning']] + [
        [str(mask.bit_length() - 1), name, *(
            'x' * (name in row.launch_security.policy) for row in rows),
         MEANINGS.get(name, '')]
        for name, mask in sorted(bits.items(), key=lambda bit: bit[1])] + [
        ['', '', *('``0x%04x``' % row.launch_security.value for row in rows),
         'all together, in ``<policy>``']]


def get_versions() -> Rows:
    """Return the least that each model needs."""
    return [['', *(row.title for row in models.MODELS.values())]] + [
        [what, *(get(row) for row in models.MODELS.values())]
        for what, get in (
            ('processor', lambda row: row.processor),
            ('Linux', lambda row: '.'.join(map(str, row.min_kernel))),
            ('libvirt', lambda row: '.'.join(map(str, row.min_libvirt))),
            ('QEMU', lambda row: '.'.join(map(str, row.min_qemu))),
            ('on', lambda row: _list(
                '``kvm_amd.%s``' % name for name in row.parameters_on)),
            ('off', lambda row: _list(
                '``kvm_amd.%s``' % name for name in row.parameters_off)),
            ('firmware', lambda row: ' or '.join(
                '``%s``' % name for name in row.firmware.features)))]


TABLES: ty.Dict[str, ty.Callable[[], Rows]] = {
    'names': get_names, 'inventories': get_inventories,
    'policies': get_policies, 'versions': get_versions}


def format_table(rows: Rows) -> ty.List[str]:
    """Return the lines of a table, the first row of which is its head."""
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for row in rows:
        for number, cell in enumerate(row):
            lines.append('   %s - %s' % (' ' if number else '*', cell))
    return lines


class Models(rst.Directive):
    """Put the table into the page."""

    required_arguments = 1
    tables = TABLES

    def run(self) -> ty.List[nodes.Node]:
        try:
            rows = self.tables[self.arguments[0]]()
        except KeyError as e:
            raise self.error('%s: there is no table %s' % (self.name, e)
                             ) from e
        node = nodes.Element()
        self.state.nested_parse(statemachine.StringList(
            format_table(rows), source=__file__), 0, node)
        return node.children


def setup(app):
    """Tell Sphinx of the directive."""
    app.add_directive('models', Models)
    return {'parallel_read_safe': True}
