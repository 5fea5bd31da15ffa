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

"""Test that the option that caps SEV guests is deprecated, and still works.
"""
import os

import ddt
import fixtures
from oslo_config import cfg
from oslo_config import generator

from nova.conf import libvirt
from nova import test

OPTION = 'num_memory_encrypted_guests'


@ddt.ddt
class DeprecatedOptionTest(test.NoDBTestCase):

    def read(self, text):
        """Read the option from a file; return it and what was warned of."""
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'n.conf')
        with open(path, 'w') as f:
            f.write('[libvirt]\n%s\n' % text)
        conf = cfg.ConfigOpts()
        libvirt.register_opts(conf)
        conf([], default_config_files=[path])
        with self.assertLogs('oslo_config', 'WARNING') as logs:
            # assertLogs wants one at least.
            cfg.LOG.warning('one')
            value = conf.libvirt.num_memory_encrypted_guests
        return value, [r.getMessage() for r in logs.records[1:]]

    def test_it_is_warned_of_where_it_is_set(self):
        value, warnings = self.read('%s = 15' % OPTION)
        self.assertEqual(15, value)
        warning, = warnings
        self.assertIn(OPTION, warning)
        self.assertIn('deprecated', warning)
        self.assertIn('tell how many SEV and how many SEV-ES', warning)

    @ddt.data('', 'virt_type = kvm')
    def test_it_is_not_warned_of_where_it_is_not_set(self, text):
        self.assertEqual((None, []), self.read(text))

    def test_no_other_option_is_deprecated_for_this(self):
        self.assertEqual([OPTION], [
            opt.name for opt in libvirt.ALL_OPTS
            if 'SEV' in (opt.deprecated_reason or '')])

    def test_the_sample_says_so(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'sample')
        generator.main(['--namespace', 'nova.conf', '--output-file', path])
        with open(path) as f:
            sample = f.read()
        text = sample[:sample.index('\n#%s =' % OPTION)]
        text = text[text.rindex('Maximum number of guests with encrypted'):]
        self.assertIn('This option is deprecated for removal', text)
        self.assertIn('Its value may be silently ignored', text)
        self.assertIn('# Reason: libvirt 8.0.0 and later tell', text)
