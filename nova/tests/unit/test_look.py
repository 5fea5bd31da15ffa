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

"""Test the tool that looks at pages, where it cannot.

In place of selenium is one that starts no browser; tox -e docs has a real one.
"""
import os
import shutil
import subprocess
import sys

import fixtures
import testtools

from nova_mem_encryption.engine import tree

FOLDER = os.path.join(tree.root(), 'tools', 'pages')
SELENIUM = {
    'common/__init__.py': '',
    'common/exceptions.py': 'class WebDriverException(Exception): pass\n',
    'webdriver/chrome/service.py': 'Service = str\n',
    'webdriver/__init__.py': '''
import os
from selenium.common import exceptions
class ChromeOptions:
    def __init__(self): self.flags = []
    def add_argument(self, flag): self.flags.append(flag)
class Chrome:
    def __init__(self, options, service):
        profile, = [flag.partition('=')[2] for flag in options.flags
                    if flag.startswith('--user-data-dir=')]
        open(os.path.join(profile, 'begun'), 'w').close()
        if 'BROKEN' in os.environ:
            raise exceptions.WebDriverException('no browser')
    def quit(self): pass
'''}


@testtools.skipUnless(os.path.isdir(FOLDER), 'only a checkout has the tool')
class LookTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.path = self.useFixture(fixtures.TempDir()).path
        for name, text in SELENIUM.items():
            self.write('lib/selenium/' + name, text)
        for name in ('chromium', 'chromedriver'):
            self.write('bin/' + name, '#!/bin/sh\n')
            os.chmod(os.path.join(self.path, 'bin', name), 0o755)
        self.write('pages/index.html', '<p>')
        self.tools = os.path.join(self.path, 'tools')
        shutil.copytree(FOLDER, self.tools)
        os.mkdir(os.path.join(self.path, 'tmp'))

    def write(self, name, text):
        path = os.path.join(self.path, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)

    def run_it(self, **environ):
        return subprocess.run(
            [sys.executable, os.path.join(self.tools, 'look.py'),
             os.path.join(self.path, 'pages')], text=True, env={
                'PYTHONPATH': os.path.join(self.path, 'lib'),
                'PATH': os.path.join(self.path, 'bin'),
                'TMPDIR': os.path.join(self.path, 'tmp'), **environ},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def test_a_browser_that_does_not_start_leaves_nothing(self):
        done = self.run_it(BROKEN='1')
        self.assertEqual(
            (2, 'Chromium cannot be started: no browser\n'),
            (done.returncode, done.stderr))
        self.assertEqual([], os.listdir(os.path.join(self.path, 'tmp')))

    def test_without_specimens_nothing_is_said_to_be_well(self):
        specimens = os.path.join(self.tools, 'specimens')
        shutil.rmtree(specimens)
        os.mkdir(specimens)
        done = self.run_it()
        self.assertEqual((1, '%s: there are no specimens\n' % specimens),
                         (done.returncode, done.stdout), done.stderr)
