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

"""Test the description of the extra spec hw:mem_encryption_model."""
import os
import subprocess
import sys

import ddt

from nova.api.validation.extra_specs import validators
from nova import exception
from nova import test

NAME = 'hw:mem_encryption_model'
ASK = ('from nova.api.validation.extra_specs import validators; '
       'print(%r in validators.VALIDATORS, '
       '"hw:mem_encryption" in validators.VALIDATORS)' % NAME)


@ddt.ddt
class ValidatorTest(test.NoDBTestCase):

    @ddt.data('amd-sev', 'amd-sev-es')
    def test_a_model_is_valid(self, value):
        validators.validate(NAME, value)

    @ddt.data('', 'amd-tdx', 'AMD-SEV', 'amd_sev_es', 'true', ' amd-sev')
    def test_anything_else_is_not(self, value):
        e = self.assertRaises(exception.ValidationError, validators.validate,
                              NAME, value)
        self.assertIn('amd-sev', str(e))

    def test_it_is_described_for_the_operator(self):
        validator = validators.VALIDATORS[NAME]
        self.assertEqual(['amd-sev', 'amd-sev-es', 'amd-sev-snp'],
                         validator.value['enum'])
        self.assertIn('hw:mem_encryption', validator.description)
        self.assertFalse(validator.deprecated)

    @ddt.data(('on', 'True True'), ('off', 'False True'))
    @ddt.unpack
    def test_it_is_known(self, switch, known):
        # NOTE: it is registered when Nova's module is imported, so that takes
        # an interpreter of its own.
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', '-c', ASK], check=True,
            stdout=subprocess.PIPE, universal_newlines=True,
            env={**os.environ, 'NOVA_MEM_ENCRYPTION': switch})
        self.assertEqual(known, done.stdout.strip())
