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

"""Test how dead links are found."""
import os
import sys

import ddt
import fixtures
import testtools

from nova_mem_encryption.engine import tree

FOLDER = os.path.join(tree.root(), 'tools', 'pages')
sys.path.append(FOLDER)
PAGE = '<h1 id="top">Hosts</h1><a name="old"></a>'


@testtools.skipUnless(os.path.isdir(FOLDER), 'only a checkout has the tool')
@ddt.ddt
class LinksTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path
        self.write('hosts.html', PAGE)
        self.write('deep/page.html', PAGE)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)

    def check(self, element):
        import links
        self.write('index.html', '<p id="here">\n%s' % element)
        return links.check(self.folder)

    @ddt.data(
        'href="hosts.html"', 'href="hosts.html#top"', 'href="hosts.html#old"',
        'href="#here"', 'href="#"', 'href=""', 'href="deep/page.html#top"',
        'href="deep/../hosts.html?a=b#top"', 'href="%68osts.html"',
        'href="https://example.com/none.html#none"', 'id="anchor alone"',
        'href="mailto:nobody@example.com"')
    def test_a_link_that_leads_somewhere(self, attribute):
        self.assertEqual([], self.check('<a %s>x</a>' % attribute)[1])

    @ddt.data(
        ('none.html', 'there is no such file'),
        ('deep', 'there is no such file'),
        ('deep/hosts.html', 'there is no such file'),
        ('/hosts.html', 'there is no such file'),
        ('hosts.html#none', 'there is no such anchor'),
        ('hosts.html#Top', 'there is no such anchor'),
        ('#top', 'there is no such anchor'))
    @ddt.unpack
    def test_a_dead_link(self, target, reason):
        self.assertEqual(
            (1, ['index.html:2: %s: %s' % (target, reason)]),
            self.check('<a href="%s">x</a>' % target))

    @ddt.data('<img src="%s">', '<script src="%s"></script>',
              '<link rel="stylesheet" href="%s">', '<link href="%s">')
    def test_what_a_page_loads_is_in_the_folder(self, element):
        for target, reason in (
                ('none.js', 'there is no such file'),
                ('https://example.com/a.js',
                 'the page needs the network for it'),
                ('//example.com/a.js', 'the page needs the network for it')):
            self.assertEqual(['index.html:2: %s: %s' % (target, reason)],
                             self.check(element % target)[1])
        for target in ('hosts.html', 'data:image/svg+xml,x'):
            self.assertEqual([], self.check(element % target)[1])

    def test_what_is_only_told_of_may_be_elsewhere(self):
        self.assertEqual([], self.check(
            '<link rel="canonical" href="https://example.com/">')[1])

    def test_a_page_in_a_folder_is_looked_at_from_there(self):
        self.write('deep/page.html', '<a href="../hosts.html#top">x</a>'
                   '<a href="hosts.html">x</a>')
        count, wrong = self.check('')
        self.assertEqual((2, ['deep/page.html:1: hosts.html: there is no such '
                              'file']), (count, wrong))

    def test_no_pages_are_no_success(self):
        import links
        empty = self.useFixture(fixtures.TempDir()).path
        self.assertIn('no links', str(self.assertRaises(
            SystemExit, links.main, empty)))

    def test_status_is_1_where_a_link_is_dead(self):
        import links
        self.check('<a href="none.html">x</a>')
        with fixtures.StringStream('out') as out:
            self.useFixture(fixtures.MonkeyPatch('sys.stdout', out.stream))
            self.assertEqual(1, links.main(self.folder))
            self.check('<a href="hosts.html">x</a>')
            self.assertEqual(0, links.main(self.folder))
