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

"""Test how what is found is told."""
import contextlib
import io
import json

import ddt
from oslo_upgradecheck import upgradecheck

from nova import exception
from nova import test

from nova_mem_encryption.cli import upgrade_check
from nova_mem_encryption.nova.mem_encryption.upgrade import checks
from nova_mem_encryption.nova.mem_encryption.upgrade import findings


def make(count, severity=findings.WARNING):
    return [findings.Finding(severity, 'Server %d' % number, 'is wrong.',
                             'Mend it.') for number in range(count)]


@ddt.ddt
class TellTest(test.NoDBTestCase):

    def test_what_was_found_before_an_error_is_told_too(self):
        def check():
            yield from make(2)
            raise exception.NovaException('no answer.')
        found = list(checks.find(check))
        self.assertEqual(make(2), found[:2])
        self.assertEqual('This cannot be checked: no answer. Check '
                         'nova.conf, and what it names.', found[2].message)
        self.assertEqual(3, len(found))

    def test_nova_status_sums_up(self):
        result = checks.get_result(lambda: make(100000) + make(
            2, findings.FAILURE))
        self.assertEqual(upgradecheck.Code.FAILURE, result.code)
        self.assertEqual(52, result.details.count('is wrong.'))
        self.assertTrue(result.details.endswith(
            "99950 more are listed by 'nova-mem-encryption upgrade-check'."),
            result.details[-100:])

    def test_nova_status_tells_all_of_few(self):
        result = checks.get_result(lambda: make(2))
        self.assertEqual(
            (upgradecheck.Code.WARNING,
             'Server 0 is wrong. Mend it. Server 1 is wrong. Mend it.'),
            (result.code, result.details))
        result = checks.get_result(lambda: [])
        self.assertEqual((upgradecheck.Code.SUCCESS, None),
                         (result.code, result.details))

    @ddt.data(0, 1, 3)
    def test_json(self, count):
        expected = {'files': ['/a'], 'findings': [
            {'check': 'servers', **finding._asdict()}
            for finding in make(count)]}
        with contextlib.redirect_stdout(io.StringIO()) as out:
            upgrade_check._write_json((
                ('servers', finding) for finding in make(count)), ['/a'])
        self.assertEqual(expected, json.loads(out.getvalue()))

    @ddt.data(upgrade_check._write_json, upgrade_check._write_text)
    def test_each_is_printed_when_it_is_found(self, write):
        printed = []

        def find():
            for finding in make(3):
                yield 'servers', finding
                printed.append(finding.object in out.getvalue())
        with contextlib.redirect_stdout(io.StringIO()) as out:
            write(find(), [])
        self.assertEqual([True] * 3, printed)
