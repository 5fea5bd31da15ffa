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

"""Test that what is printed of the documentation is there."""
import io
import json
import os
import re

from docutils import nodes
import testtools

from nova.tests.unit.mem_encryption.launch_errors import test_meanings
from nova.tests.unit import test_check

from nova_mem_encryption.check import report
from nova_mem_encryption.engine import tree
from nova_mem_encryption import explain
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings
from nova_mem_encryption.nova.mem_encryption import models
from nova_mem_encryption.nova.mem_encryption import pages

PAGE = os.path.join(tree.root(), 'doc', 'source', 'troubleshooting.rst')
RECORDED = os.path.join(tree.root(), 'tools', 'check_hosts')


def get_anchors():
    """Return the anchors of all that can be printed."""
    return [pages.locate(kind, name).partition('#')[2] for kind, names in (
        ('check', [check.name for check in report.CHECKS]),
        ('cause', meanings.NAMES.values())) for name in names]


@testtools.skipUnless(os.path.isfile(PAGE),
                      'only a checkout has the documentation')
class PagesTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        with open(PAGE, encoding='utf-8') as f:
            self.labels = re.findall(
                r'^\.\. _((?:check|cause)-.*):$', f.read(), re.MULTILINE)

    def test_each_check_and_cause_has_its_place_and_nothing_else_has(self):
        self.assertEqual(sorted(get_anchors()), sorted(self.labels))

    def test_no_two_of_them_share_an_anchor(self):
        self.assertEqual(len(get_anchors()), len({*get_anchors()}))

    def test_built_as_html_it_has_these_anchors(self):
        self.assertEqual(self.labels, list(map(nodes.make_id, self.labels)))
        self.assertEqual(os.path.splitext(pages.PAGE)[0],
                         os.path.splitext(os.path.basename(PAGE))[0])

    def test_check_prints_it_of_what_is_to_be_done_and_of_that_alone(self):
        for name in os.listdir(RECORDED):
            path = os.path.join(RECORDED, name)
            if not os.path.isdir(os.path.join(path, 'root')):
                continue
            _, out, _ = test_check.run('--recorded', path, '--json')
            checks = json.loads(out)['checks']
            _, out, _ = test_check.run('--recorded', path)
            printed = re.findall(pages.PAGE + r'#[a-z0-9-]+', out)
            self.assertEqual([check['see'] for check in checks
                              if check['remedy']], printed)
            for check in checks:
                self.assertEqual(bool(check['remedy']), bool(check['see']))
            for place in printed:
                self.assertIn(place.partition('#')[2], self.labels)

    def test_all_options_are_named_where_one_configures(self):
        path = os.path.join(os.path.dirname(PAGE), 'operator.rst')
        with open(path, encoding='utf-8') as f:
            part = re.search(r'^Configuration\n=+\n(.*?)^=+$', f.read(),
                             re.MULTILINE | re.DOTALL)[1]
        named = re.findall(r'^    (\w+) = ', part, re.MULTILINE)
        self.assertEqual(sorted(filter(None, (
            option for row in models.get_added()
            for option in (row.option, row.reserved)))), sorted(named))

    def test_explain_tells_it_of_each_cause(self):
        text = '\n'.join(line for _, _, line in test_meanings.read_corpus())
        found = explain.explain(io.BytesIO(text.encode()))['explanations']
        self.assertGreater(len(found), 40)
        for each in found:
            page, _, anchor = each['see'].partition('#')
            self.assertEqual('troubleshooting.html', page)
            self.assertIn(anchor, self.labels)
