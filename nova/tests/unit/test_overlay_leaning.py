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

"""Test that what is called of Nova is wrapped, leaned on, or of no concern."""
import ast
import importlib
import os

import nova
import testtools

from nova_mem_encryption.engine import declared
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import source
from nova_mem_encryption.engine import state
from nova_mem_encryption.engine import tree

# What variables and attributes of these names are
INSTANCES = {
    '_host': 'nova.virt.libvirt.host:Host',
    'host': 'nova.virt.libvirt.host:Host',
    'guest': 'nova.virt.libvirt.guest:Guest',
    'client': 'nova.scheduler.client.report:SchedulerReportClient',
    'reportclient': 'nova.scheduler.client.report:SchedulerReportClient',
    'report_client': 'nova.scheduler.client.report:SchedulerReportClient',
    '_placement': 'nova.scheduler.client.report:SchedulerReportClient',
    'placement': 'nova.scheduler.client.report:SchedulerReportClient',
    'provider_tree': 'nova.compute.provider_tree:ProviderTree',
    'driver': 'nova.virt.libvirt.driver:LibvirtDriver',
}
# Functions that need no look, with the reason
UNCHECKED = {
    'nova.cmd.manage:ImagePropertyCommands._validate_image_properties':
        'not the same in all releases; what it returns is looked at',
    'nova.context:get_admin_context': 'every service of Nova starts by it',
    **dict.fromkeys((
        'nova.context:load_cells', 'nova.context:scatter_gather_single_cell',
        'nova.context:scatter_gather_skip_cell0',
        'nova.db.main.api:pick_context_manager_reader'),
        'a command, which says so where it fails'),
    'nova.objects:register_all': 'every service of Nova starts by it',
    'nova.scheduler.client.report:report_client_singleton':
        'a command, which says so where it fails',
    'nova.utils:get_ksa_adapter': 'a command, which says so where it fails',
    'nova.virt.libvirt.guest:Guest.name': 'only for the log',
    'nova.virt.node:read_local_node_uuid':
        'a command, which says so where it fails',
    'nova.virt.libvirt.host:Host.get_hostname':
        'a name that does not fit is one of no provider',
    'nova.virt.libvirt.host:Host.get_loader':
        'not the same in all releases; whether it finds any is looked at',
}


def dotted(node):
    """Return the names of a.b.c; '' for what else it begins with."""
    if isinstance(node, ast.Attribute):
        return dotted(node.value) + [node.attr]
    return [getattr(node, 'id', '')]


class Reader(ast.NodeVisitor):
    """Find what a file of the tree uses of Nova.

    Its results are (line, module, function).
    """

    def __init__(self, path, name, folders, sources):
        with open(path, encoding='utf-8') as f:
            text = f.read()
        self.folders, self.found = folders, set()
        self.modules, self.names, self.sources = {}, {}, sources
        targets = {(call.module, call.target)
                   for call in declared.calls(text, name)
                   if call.target and not call.into}
        # Whose methods these are, or borrow the self of
        self.self = ':'.join(targets.pop()) if len(targets) == 1 else None
        self.visit(ast.parse(text))

    def source(self, module):
        if module not in self.sources:
            self.sources[module] = source.Source(fingerprints.read(
                tree.file_of(self.folders, module)))
        return self.sources[module]

    def use(self, node, module, function):
        if function in self.source(module).functions:
            self.found.add((node.lineno, module, function))

    def visit_Import(self, node):
        for alias in node.names:
            if alias.name.startswith('nova.'):
                self.modules[alias.asname or alias.name] = alias.name

    def visit_ImportFrom(self, node):
        if node.module.partition('.')[0] != 'nova':
            return
        for alias in node.names:
            full = '%s.%s' % (node.module, alias.name)
            name = alias.asname or alias.name
            if tree.file_of(self.folders, full):
                self.modules[name] = full
            elif node.module != 'nova':
                self.names[name] = node.module, alias.name

    def visit_Name(self, node):
        if node.id in self.names:
            self.use(node, *self.names[node.id])

    def visit_Attribute(self, node):
        self.generic_visit(node)
        names = dotted(node)
        for number in range(1, len(names)):
            module = self.modules.get('.'.join(names[:number]))
            if module:
                self.use(node, module, '.'.join(names[number:]))
                return
        owner = names[-2]
        instance = self.self if owner == 'self' else INSTANCES.get(owner)
        if instance:
            module, _, name = instance.partition(':')
            self.use(node, module, '%s.%s' % (name, node.attr))


def read():
    """Return what each file of the tree uses of Nova: name to a set."""
    folders, sources = list(nova.__path__), {}
    return {name: Reader(path, name, folders, sources).found
            for name, path in tree.tree().items()
            if not name.startswith(state.TESTS)}


class LeaningTest(testtools.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.used = read()
        cls.known = fingerprints.table()['functions']

    def test_what_is_used_is_checked_at_the_gate(self):
        wrong = [
            "%s:%d uses %s of %s: name '%s:%s' in leans_on of the add or "
            'wrap that it serves, and refresh the fingerprints; or in '
            'UNCHECKED of %s, with the reason' % (
                os.path.relpath(tree.tree()[name], tree.root()), line,
                function, module, module, function,
                os.path.basename(__file__))
            for name, found in sorted(self.used.items())
            for line, module, function in sorted(found)
            if function not in self.known.get(module, {}) and
            '%s:%s' % (module, function) not in UNCHECKED]
        self.assertEqual([], wrong)

    def test_what_is_not_checked_is_used_and_has_a_reason(self):
        used = {'%s:%s' % item[1:]
                for found in self.used.values() for item in found}
        for name in UNCHECKED:
            self.assertIn(name, used)
            self.assertNotEqual('', UNCHECKED.get(name))
            module, _, function = name.partition(':')
            self.assertNotIn(function, self.known.get(module, {}))

    def test_what_is_used_is_found(self):
        """If not, the others were in vain."""
        used = {item[1:] for found in self.used.values() for item in found}
        for expected in (
                ('nova.virt.libvirt.host', 'Host.supports_amd_sev'),
                ('nova.virt.libvirt.guest', 'Guest.resume'),
                ('nova.virt.hardware', 'get_mem_encryption_constraint')):
            self.assertIn(expected, used)

    def test_instances_are_those_of_nova(self):
        for name in INSTANCES.values():
            module, _, attribute = name.partition(':')
            self.assertTrue(hasattr(importlib.import_module(module),
                                    attribute))
