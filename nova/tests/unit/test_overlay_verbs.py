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

"""Test add, wrap and within on a module of Nova that they are made up for."""
import os
import subprocess
import sys

import ddt
from nova import exception
from nova import rpc
from oslo_messaging._drivers import common
import testtools

from nova.tests.fixtures import tables

# NOTE: in a process of its own, as a misfit ends what a process can do.
BEGIN = '''
import contextlib, functools, inspect
from nova import version
from nova_mem_encryption.engine import ledger, state
from nova_mem_encryption import overlay

class Base:
    inherited = None

class Thing(Base):
    colours = {'red': 1}
    checks = (('first', 1),)
    def f(self, a, b=2):
        """Say what it is."""
        return a, b
    @classmethod
    def c(cls, a):
        return cls.__name__, a
    @staticmethod
    def s(a):
        return a

Thing.__module__ = Base.__module__ = 'nova.version'
version.Thing = Thing
table = state.state().table
table['functions']['nova.version'] = dict.fromkeys(
    ['Thing.f', 'Thing.c', 'Thing.s'], 'a fingerprint')
table['additions']['nova.version'] = [
    'Thing.new', 'Thing.colours.blue', 'Thing.checks.second: of two',
    'Thing.inherited', 'Thing.f', 'Thing.__init__', 'Error']

@contextlib.contextmanager
def around(*args, **kwargs):
    print('in', args[1:], kwargs)
    yield
    print('out')
'''


def run(code):
    return subprocess.run(
        [sys.executable, '-c', BEGIN + code], text=True, cwd='/',
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'})


@ddt.ddt
class VerbTest(testtools.TestCase):

    def assert_says(self, expected, code):
        done = run(code)
        self.assertEqual((expected, ''), (done.stdout, done.stderr))

    def assert_misfit(self, error, code):
        done = run(code)
        self.assertEqual(1, done.returncode)
        self.assertIn('Misfit: nova-mem-encryption: nova.version: %s.\n'
                      % error, done.stderr)

    def test_a_value_goes_into_a_dict(self):
        self.assert_says(
            "{'red': 1, 'blue': 2}\n",
            "overlay.add(Thing, 'blue', 2, into='colours')\n"
            'print(Thing.colours)')

    def test_a_pair_goes_to_the_end_of_a_tuple(self):
        self.assert_says(
            "(('first', 1), ('second: of two', 2))\n"
            'Thing.checks.second: of two\n',
            "overlay.add(Thing, 'second: of two', 2, into='checks')\n"
            'print(Thing.checks)\n'
            'print(ledger.entries()[-1].name)')

    @tables.data(('overlay.add(Thing, "red", 2, into="colours")',
               'there is a Thing.colours.red already'),
              ('overlay.add(Thing, "first", 2, into="checks")',
               'there is a Thing.checks.first already'),
              ('overlay.add(Thing, "f", 2)',
               'there is a Thing.f already'),
              ('overlay.add(Thing, "inherited", 2)',
               'there is a Thing.inherited already, inherited from '
               'nova.version.Base'),
              ('overlay.add(Thing, "__init__", 2)',
               'there is a Thing.__init__ already, inherited from '
               'builtins.object'))
    @ddt.unpack
    def test_what_is_taken_is_not_added(self, code, error):
        self.assert_misfit(error, code)

    @tables.data('overlay.add(Thing, "old", 1)',
              'overlay.add(Thing, "new", 1, leans_on=["Thing.old"])',
              'overlay.wrap(Thing, leans_on=["Thing.old"])(Thing.f)',
              'overlay.within(Thing, "f", around, leans_on=["Thing.old"])')
    def test_what_is_not_in_the_table_is_refused(self, code):
        self.assert_misfit(
            'Thing.old has no fingerprint; run tools/fingerprints.py '
            '--refresh', code)

    def test_what_is_added_leans_on_functions(self):
        self.assert_says(
            "('Thing.f',)\n",
            "overlay.add(Thing, 'new', 1, leans_on=['Thing.f'])\n"
            'print(ledger.entries()[-1].leans_on)')

    def test_a_property_that_is_cached_is_told_its_name(self):
        self.assert_says('counted\n7 7\n', '''
@overlay.add(Thing)
@functools.cached_property
def new(self):
    print('counted')
    return 7

thing = Thing()
first = thing.new
print(first, thing.new)''')

    def test_a_class_is_of_the_module_that_it_is_added_to(self):
        self.assert_says('nova.version nova.version.Error\n', '''
@overlay.add(version)
class Error(Exception):
    pass

print(Error.__module__, '%s.%s' % (Error.__module__, Error.__qualname__))''')

    def test_a_wrap_that_mends_says_what(self):
        self.assert_says("None\n'rounding'\n'rounding too'\n", '''
@overlay.wrap(Thing)
def f(upstream, self, a, b=2):
    return upstream(self, a, b)

@overlay.wrap(Thing, mends='rounding')
def c(upstream, cls, a):
    return upstream(cls, a)

overlay.within(Thing, 's', around, mends='rounding too')
for entry in ledger.entries()[-3:]:
    print(repr(entry.mends))''')

    @tables.data(('f', 'Thing().f(1, b=3)', "(1,) {'b': 3}", '(1, 3)'),
              ('c', 'Thing.c(1)', '(1,) {}', "('Thing', 1)"),
              ('s', 'Thing.s(1)', '() {}', '1'))
    @ddt.unpack
    def test_a_function_runs_within_a_context(self, name, call, told,
                                              returned):
        self.assert_says(
            'in %s\nout\n%s\nTrue\nwithin\n' % (told, returned), f'''
before = inspect.signature(Thing.{name}), Thing.{name}.__doc__
kind = type(vars(Thing)['{name}'])
overlay.within(Thing, '{name}', around)
print({call})
print(before == (inspect.signature(Thing.{name}), Thing.{name}.__doc__) and
      kind is type(vars(Thing)['{name}']))
print(ledger.entries()[-1].verb)''')

    def test_it_counts_as_a_wrap(self):
        self.assert_says('1\n', r'''
import re
def count():
    return int(re.search(r'(\d+) wraps', state.summary()).group(1))
before = count()
overlay.within(Thing, 'f', around)
print(count() - before)''')


class RemoteTest(testtools.TestCase):
    """An exception that is added, on its way over RPC."""

    def test_it_keeps_its_type(self):
        for error in (exception.MemEncryptionUnavailable,
                      exception.MemEncryptionInvalid):
            try:
                raise error(model='amd-sev-es', reason='no slot')
            except error as e:
                sent = common.serialize_remote_exception(
                    (type(e), e, e.__traceback__))
            received = common.deserialize_remote_exception(
                sent, rpc.get_allowed_exmods())
            self.assertIsInstance(received, error)
            self.assertIn('no slot', str(received))
