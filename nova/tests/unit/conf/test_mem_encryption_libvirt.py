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

"""Test the options of the series: what is deprecated, and what is new."""
import os
import re

import ddt
import fixtures
from oslo_config import cfg
from oslo_config import generator

import nova.conf
from nova.conf import libvirt
from nova import test

OPTION = 'num_memory_encrypted_guests'


class OptionBase(test.NoDBTestCase):

    def load(self, text):
        """Return the configuration that a file makes."""
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'n.conf')
        with open(path, 'w') as f:
            f.write('[libvirt]\n%s\n' % text)
        conf = cfg.ConfigOpts()
        libvirt.register_opts(conf)
        conf([], default_config_files=[path])
        return conf

    def sample(self):
        """Return the sample configuration, as operators make it."""
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'sample')
        generator.main(['--namespace', 'nova.conf', '--output-file', path])
        with open(path) as f:
            return f.read()


@ddt.ddt
class DeprecatedOptionTest(OptionBase):

    def read(self, text):
        """Read the option from a file; return it and what was warned of."""
        conf = self.load(text)
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
    def test_no_warning_where_it_is_not_set(self, text):
        self.assertEqual((None, []), self.read(text))

    def test_no_other_option_is_deprecated_for_this(self):
        self.assertEqual([OPTION], [
            opt.name for opt in libvirt.ALL_OPTS
            if 'SEV' in (opt.deprecated_reason or '')])

    def test_the_sample_says_so(self):
        sample = self.sample()
        text = sample[:sample.index('\n#%s =' % OPTION)]
        text = text[text.rindex('Maximum number of guests with encrypted'):]
        self.assertIn('This option is deprecated for removal', text)
        self.assertIn('Its value may be silently ignored', text)
        self.assertIn('# Reason: libvirt 8.0.0 and later tell', text)


@ddt.ddt
class ReservedOptionTest(OptionBase):

    @ddt.data(('', 0), ('reserved_sev_es_guests = 0', 0),
              ('reserved_sev_es_guests = 4', 4))
    @ddt.unpack
    def test_it_is_read(self, text, expected):
        self.assertEqual(expected,
                         self.load(text).libvirt.reserved_sev_es_guests)

    @ddt.data('-1', 'all', '1.5')
    def test_what_makes_no_sense_is_refused(self, value):
        conf = self.load('reserved_sev_es_guests = ' + value)
        self.assertRaises(cfg.ConfigFileValueError, getattr, conf.libvirt,
                          'reserved_sev_es_guests')

    def test_it_is_registered_with_those_of_nova(self):
        self.assertEqual(0, nova.conf.CONF.libvirt.reserved_sev_es_guests)
        (group, options), = libvirt.list_opts().items()
        self.assertEqual('libvirt', group.name)
        names = [option.name for option in options]
        self.assertEqual(1, names.count('reserved_sev_es_guests'))
        self.assertEqual(1, names.count('virt_type'))

    def test_the_sample_has_it(self):
        sample = self.sample()
        self.assertEqual(1, sample.count('\n#reserved_sev_es_guests = 0\n'))
        before = sample[:sample.index('#reserved_sev_es_guests = 0')]
        self.assertEqual('[libvirt]',
                         re.findall(r'^\[\w+\]$', before, re.M)[-1])
        text = before[before.rindex('Number of AMD SEV-ES guests'):]
        self.assertIn('(integer value)', text)
        self.assertIn('Minimum value: 0', text)


@ddt.ddt
class EnableOptionTest(OptionBase):

    @ddt.data(('', False), ('enable_amd_sev_snp = true', True),
              ('enable_amd_sev_snp = 0', False))
    @ddt.unpack
    def test_it_is_read(self, text, expected):
        self.assertIs(expected, self.load(text).libvirt.enable_amd_sev_snp)

    def test_the_sample_has_it(self):
        sample = self.sample()
        self.assertEqual(1, sample.count('\n#enable_amd_sev_snp = false\n'))
        before = sample[:sample.index('#enable_amd_sev_snp = false')]
        self.assertEqual('[libvirt]',
                         re.findall(r'^\[\w+\]$', before, re.M)[-1])
        text = before[before.rindex('Offer guests with AMD SEV-SNP'):]
        for words in ('``amd-sev-snp`` itself from 34 on',
                      'os-traits 3.7.0 brings', '(boolean value)'):
            self.assertIn(words, text)
