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

"""Test that the examples ask for what the table of models has.

tools/tox -e automation has them read by the tools that they are for.
"""
import os
import re
import shlex

import ddt
import testtools
import yaml

from nova.objects import fields

from nova_mem_encryption.engine import tree
from nova_mem_encryption.nova.mem_encryption import models

FOLDER = os.path.join(tree.root(), 'etc', 'automation')
QUICK_START = os.path.join(tree.root(), 'doc', 'source', 'quickstart.rst')
ASKED, MODEL = (name.replace('hw_', 'hw:', 1) for name in models.ASKED)
SPECS = {ASKED: 'true', MODEL: models.get_default()[0].value}
PROPERTIES = dict(zip(models.NEEDED, (fields.FirmwareType.UEFI, 'q35')))


def read_commands(text):
    """Return the properties of flavor and image of openstack commands."""
    found = {}
    for line in text.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ['openstack'] and '--property' in words:
            found[words[1]] = dict(
                value.split('=') for option, value in zip(words, words[1:])
                if option == '--property')
    return found['flavor'], found['image']


def read_heat(text):
    made = yaml.safe_load(text)['resources']
    return (made['flavor']['properties']['extra_specs'],
            made['image']['properties']['extra_properties'])


def read_terraform(text):
    return tuple(dict(re.findall(r'^ +"?([\w:]+)"? += "(.*)"$', block, re.M))
                 for block in re.findall(
                     r'^  (?:extra_specs|properties) += {\n(.*?)^  }$', text,
                     re.M | re.S))


def read_ansible(text):
    flavor, image, _ = yaml.safe_load(text)[0]['tasks']
    return (flavor['openstack.cloud.compute_flavor']['extra_specs'],
            image['openstack.cloud.image']['properties'])


READERS = {'openstackclient.sh': read_commands, 'heat.yaml': read_heat,
           'main.tf': read_terraform, 'ansible.yml': read_ansible}


@ddt.ddt
@testtools.skipUnless(os.path.isdir(FOLDER), 'only a checkout has them here')
class AutomationTest(testtools.TestCase):

    def test_each_file_is_looked_at(self):
        self.assertEqual({*READERS}, {*os.listdir(FOLDER)})

    @ddt.data(*READERS)
    def test_specs_and_properties_are_those_of_the_table(self, name):
        with open(os.path.join(FOLDER, name), encoding='utf-8') as f:
            self.assertEqual((SPECS, PROPERTIES), READERS[name](f.read()))

    def test_quick_start_has_the_same(self):
        with open(QUICK_START, encoding='utf-8') as f:
            text = re.sub(r'(?m)^    ', '', f.read().replace("'", ''))
        self.assertEqual((SPECS, PROPERTIES), read_commands(
            '\n'.join(re.findall(r'(?m)^openstack (?:.*\\\n)*.*$', text))))
