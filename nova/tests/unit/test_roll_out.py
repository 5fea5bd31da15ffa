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

"""Test the play; tools/tox -e roll-out runs it."""
import os
import re

import testtools
import yaml

from nova_mem_encryption.engine import tree

PLAY = os.path.join(tree.root(), 'etc', 'ansible', 'roll-out.yml')
PAGE = os.path.join(tree.root(), 'doc', 'source', 'recipes.rst')
# What is no module in a task
KEYWORDS = {'changed_when', 'delay', 'failed_when', 'loop', 'name', 'register',
            'retries', 'throttle', 'until', 'when'}


def _read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def _tasks(tasks):
    """Yield the tasks of a list, and those of its blocks."""
    for task in tasks:
        if 'block' in task:
            yield from _tasks(task['block'] + task['rescue'])
        else:
            yield task


class RollOutTestCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.control, self.compute = yaml.safe_load(_read(PLAY))

    def test_control_plane_comes_first_and_all_of_it_must_pass(self):
        self.assertIn("'nova_control'", self.control['hosts'])
        self.assertIn("'nova_compute'", self.compute['hosts'])
        self.assertTrue(self.control['any_errors_fatal'])

    def test_compute_hosts_come_one_after_the_other(self):
        self.assertEqual(1, self.compute['serial'])

    def test_no_collection_is_needed(self):
        for play in (self.control, self.compute):
            for task in _tasks(play['pre_tasks'] + play['tasks']):
                module, = set(task) - KEYWORDS
                self.assertThat(module, testtools.matchers.StartsWith(
                    'ansible.builtin.'))

    def test_page_has_the_variables_of_the_play(self):
        table = _read(PAGE).partition('The variables')[2].partition(
            'Groups with')[0]
        self.assertEqual(
            {*re.findall(r'nova_mem_encryption_(\w+)', re.sub(
                '#.*', '', _read(PLAY)))},
            {name for names in re.findall(r'^   \* - (.*)', table, re.M)
             for name in re.findall(r'``(\w+)``', names)})
