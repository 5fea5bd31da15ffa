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

"""Test the process in which 'nova-mem-encryption check' asks Nova."""
import gc
import os
import sys

import fixtures
from oslotest import base

from nova_mem_encryption.check import hosts
from nova_mem_encryption.check import questions


class NovaProcessTest(base.BaseTestCase):

    def setUp(self):
        super().setUp()
        # It answers, however much else the machine has to do.
        self.useFixture(fixtures.MonkeyPatch(
            'nova_mem_encryption.check.commands.SECONDS', 600))

    def install(self, script):
        """Have a Python of our own for what is asked of Nova."""
        folder = self.useFixture(fixtures.TempDir()).path
        path = os.path.join(folder, 'python')
        with open(path, 'w') as f:
            f.write('#!/bin/sh\necho >> "%s/started"\n%s' % (folder, script))
        os.chmod(path, 0o755)
        self.useFixture(fixtures.MonkeyPatch('sys.executable', path))
        return folder + '/started'

    def ask_all(self, order):
        """Return the answers of one host, by question."""
        host, found = hosts.Live(['--config-file=' + self.conf]), {}
        for name in order:
            try:
                found[name] = host.ask(name)
            except hosts.Unanswered as e:
                found[name] = str(e)
        return found

    def test_one_process_answers_all(self):
        self.conf = os.path.join(
            self.useFixture(fixtures.TempDir()).path, 'conf')
        with open(self.conf, 'w') as f:
            f.write('[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n')
        names = [name for name, question in questions.QUESTIONS.items()
                 if question.nova]
        alone = {}
        for name in names:
            alone.update(self.ask_all([name]))
        self.assertIn('An auth plugin is required', alone['placement'])
        started = self.install('exec %s "$@"\n' % sys.executable)
        # The services are those that are beside Python.
        known = [name for name in names if name != 'services']
        for order in (known, known[::-1]):
            self.assertEqual({name: alone[name] for name in known},
                             self.ask_all(order))
        with open(started) as f:
            self.assertEqual(2, len(f.readlines()))

    def test_a_process_that_ends_loses_one_answer(self):
        started = self.install('''
read what
if [ "$what" = conf ]; then echo "Traceback" >&2; exit 3; fi
echo '{"answer": "1"}'
read what
echo "x: it broke" >&2
''')
        host = hosts.Live()
        self.assertEqual('1', host.ask('engine'))
        why = self.assertRaises(hosts.Unanswered, host.ask, 'services')
        self.assertIn('services: x: it broke.', str(why))
        why = self.assertRaises(hosts.Unanswered, host.ask, 'nova-conf')
        self.assertIn('conf: Traceback.', str(why))
        self.assertEqual('1', host.ask('placement'))
        with open(started) as f:
            self.assertEqual(3, len(f.readlines()))

    def test_a_process_that_does_not_answer_loses_one_answer(self):
        self.install('''
while read what; do
    if [ "$what" = services ]; then exec sleep 60; fi
    echo "{\\"answer\\": \\"$$\\"}"
done
''')
        host = hosts.Live()
        first = host.ask('engine')
        with fixtures.MonkeyPatch(
                'nova_mem_encryption.check.commands.SECONDS', 0.2):
            why = self.assertRaises(hosts.Unanswered, host.ask, 'services')
        self.assertIn('services did not answer in 0 seconds', str(why))
        self.assertRaises(ProcessLookupError, os.kill, int(first), 0)
        last = host.ask('placement')
        self.assertNotEqual(first, last)
        # Nothing is left of it.
        del host, why
        gc.collect()
        self.assertRaises(ProcessLookupError, os.kill, int(last), 0)

    def test_a_python_that_is_not_there(self):
        self.useFixture(fixtures.MonkeyPatch('sys.executable', '/none'))
        why = self.assertRaises(hosts.Unanswered, hosts.Live().ask, 'engine')
        self.assertIn('/none cannot be run: No such file', str(why))
