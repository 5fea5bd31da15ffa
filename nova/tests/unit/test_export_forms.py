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

"""How code of the tree goes into functions of Nova."""
import textwrap

import ddt
import testtools

from nova.tests.fixtures import tables

from nova_mem_encryption.export import assemble
from nova_mem_encryption.export import forms
from nova_mem_encryption.export import hunks
from nova_mem_encryption.export import lines
from nova_mem_encryption.export import names
from nova_mem_encryption.export import source as sources

NOVA = '''\
import os

from nova import exception
from nova import utils

LOG = object()


class Red:

    def plain(self, a, b=None):
        """Be plain."""
        return utils.f(a, b)

    def falls_through(self, a):
        utils.f(a)

    def returns_a_name(self, a):
        found = utils.f(a)
        return found

    def returns_early(self, a):
        if a:
            return 1
        return 2

    def changes(self, a):
        a = utils.f(a)

    @utils.decorated
    def decorated(self, a):
        return a

    @classmethod
    def of_class(cls, a):
        return a

    def yields(self, a):
        yield a
'''
WRAP = '''\
"""Say what is wrapped."""
from nova import red
from nova import utils

from nova_mem_encryption import overlay
from nova_mem_encryption.nova.mem_encryption import blue

LOG = object()


@overlay.wrap(red.Red)
def %s(upstream, %s):
    """Look at it.

    Because.
    """
%s
'''


class AssemblyTestCase(testtools.TestCase):

    def assemble(self, text, nova=NOVA, by_hand=()):
        """Return Nova's module red with a file of the tree in it."""
        tree = {'nova.red': sources.Source('nova.red', 'nova/red.py', text)}
        found = {'nova.red': sources.Source('nova.red', 'nova/red.py', nova)}
        self.assembly = assemble.Assembly(tree, found.get, by_hand)
        target = self.assembly.targets['nova.red']
        return lines.text_of(lines.lay(nova, target.edits(tree)))

    def wrap(self, name, params, body):
        return self.assemble(WRAP % (name, params, textwrap.indent(
            textwrap.dedent(body), '    ')))


@ddt.ddt
class FormsTest(AssemblyTestCase):

    def assert_form(self, form):
        self.assertEqual([form], [done.form for done in self.assembly.done])

    def test_top(self):
        text = self.wrap('plain', 'self, a, b=None', '''\
            blue.check(a)
            return upstream(self, a, b=b)''')
        self.assert_form(forms.TOP)
        self.assertIn('''\
    def plain(self, a, b=None):
        """Be plain."""
        # Look at it. Because.
        blue.check(a)

        return utils.f(a, b)
''', text)

    def test_bottom(self):
        text = self.wrap('falls_through', 'self, a', '''\
            found = blue.find(a)
            upstream(self, a)
            blue.check(found)''')
        self.assert_form(forms.BOTTOM)
        self.assertIn('''\
        found = blue.find(a)

        utils.f(a)

        blue.check(found)
''', text)

    def test_before_the_one_return(self):
        text = self.wrap('returns_a_name', 'self, a', '''\
            found = upstream(self, a)
            blue.check(found)
            return found''')
        self.assert_form(forms.RETURN)
        self.assertIn('''\
        found = utils.f(a)
        # Look at it. Because.
        blue.check(found)
        return found
''', text)

    @tables.data(
        ('decorated', 'self, a', 'return upstream(self, a)'),
        ('returns_early', 'self, a',
         'found = upstream(self, a)\nreturn found'),
        # Nova's function changes what is read behind it.
        ('changes', 'self, a', 'upstream(self, a)\nblue.check(a)'),
        # It gets something else.
        ('falls_through', 'self, a', 'upstream(self, blue.get(a))'),
        # It is called twice, or within something.
        ('falls_through', 'self, a',
         'if a:\n    return upstream(self, a)\nupstream(self, a)'),
        ('falls_through', 'self, a',
         'with blue.context():\n    upstream(self, a)'),
        # A local hides a module that it uses.
        ('falls_through', 'self, a',
         'utils = blue.get(a)\nupstream(self, a)'),
        # Its code runs when it is asked for a value.
        ('yields', 'self, a', 'blue.check(a)\nreturn upstream(self, a)'),
        by=0)
    @ddt.unpack
    def test_a_decorator_where_else_it_would_not_be_the_same(
            self, name, params, body):
        text = self.wrap(name, params, body)
        self.assert_form(forms.DECORATOR)
        compile(text, 'red.py', 'exec')
        self.assertIn('    @_mem_encryption_%s\n' % name, text)
        self.assertNotIn('upstream', text)

    def test_a_decorator_reads_as_one(self):
        text = self.wrap('decorated', 'self, a', 'return upstream(self, a)')
        self.assertIn('''\
def _mem_encryption_decorated(function):
    """Look at it.

    Because.
    """
    @functools.wraps(function)
    def decorated(self, a):
        return function(self, a)

    return decorated


class Red:
''', text)
        self.assertIn('''\
    @_mem_encryption_decorated
    @utils.decorated
    def decorated(self, a):
''', text)

    def test_it_goes_below_classmethod(self):
        text = self.wrap('of_class', 'cls, a', 'return upstream(cls, a + 1)')
        self.assertIn('''\
    @classmethod
    @_mem_encryption_of_class
    def of_class(cls, a):
''', text)

    def test_other_parameters_than_nova_has(self):
        self.wrap('plain', 'self, other, b=None',
                  'return upstream(self, other, b=b)')
        self.assert_form(forms.DECORATOR)

    @ddt.data(('plain', 'self, a, b=None', False),
              ('plain', 'self, a, b=1', True), ('plain', 'self, a, b', True),
              ('plain', 'self, a=None, b=None', True),
              ('plain', 'self, a, *args, **kwargs', False),
              ('decorated', 'self, a', True))
    @ddt.unpack
    def test_other_defaults_than_nova_has(self, name, params, is_decorator):
        given = ', '.join(param.partition('=')[0]
                          for param in params.split(', ')[1:])
        self.wrap(name, params, """\
            print(a)
            return upstream(self, %s)
            """ % given)
        form, = [done.form for done in self.assembly.done]
        self.assertEqual(is_decorator, form == forms.DECORATOR)

    def test_a_context_is_a_decorator(self):
        text = self.assemble('''\
"""Say what is wrapped."""
from nova import red

from nova_mem_encryption import overlay

# Where it counts
overlay.within(red.Red, 'plain', lambda self, a, b=None: red.LOG)
''')
        self.assertIn('''\
    # Where it counts
    @contexts.within(lambda self, a, b=None: LOG)
    def plain(self, a, b=None):
''', text)


class PlacesTest(AssemblyTestCase):

    def test_functions_of_self_become_methods(self):
        text = self.assemble(WRAP % ('plain', 'self, a, b=None', '''\
    _check(self, a, b=b)
    return upstream(self, a, b=b)


def _check(self, a, b):
    """Check it."""
    LOG.info(blue.check(self, a))'''))
        self.assertIn('        self._check(a, b=b)\n', text)
        self.assertIn('''\
        return utils.f(a, b)

    def _check(self, a, b):
        """Check it."""
        LOG.info(blue.check(self, a))

    def falls_through(self, a):
''', text)

    def test_what_is_aligned_with_a_call_stays_so(self):
        text = self.assemble(WRAP % ('plain', 'self, a, b=None', '''\
    _check(self, a,
           b=b)
    return upstream(self, a, b=b)


def _check(self, a, b):
    """Check it."""'''))
        self.assertIn('''\
        self._check(a,
                    b=b)
''', text)

    def test_what_nova_has_is_not_there_twice(self):
        text = self.wrap('plain', 'self, a, b=None', '''\
            LOG.info(a)
            return upstream(self, a, b=b)''')
        self.assertEqual(1, text.count('LOG = object()'))

    def test_a_name_that_is_taken(self):
        self.assertRaises(names.Unclear, self.assemble, '''\
"""Take a name."""
from nova import red

from nova_mem_encryption import overlay

LOG = 1


@overlay.wrap(red.Red)
def plain(upstream, self, a, b=None):
    """Look at it."""
    return upstream(self, a, b=b)
''')

    def test_imports_are_in_novas_order(self):
        text = self.wrap('decorated', 'self, a', 'return upstream(self, a)')
        self.assertIn('import functools\nimport os\n', text)
        text = self.wrap('plain', 'self, a, b=None', '''\
            blue.check(a)
            return upstream(self, a, b=b)''')
        self.assertIn('''\
from nova import exception
from nova.mem_encryption import blue
from nova import utils
''', text)
        self.assertNotIn('overlay', text)

    def test_a_class_that_is_added(self):
        text = self.assemble('''\
"""Add a class."""
from nova import red

from nova_mem_encryption import overlay


@overlay.add(red.Red)
@property
def colour(self):
    """Return it."""
    return red.LOG


overlay.add(red.Red, 'shade', 1)


@overlay.wrap(red.Red)
def plain(upstream, self, a, b=None):
    """Look at it."""
    return upstream(self, a, b=b)
''')
        self.assertIn('''\
    @property
    def colour(self):
        """Return it."""
        return LOG
''', text)
        self.assertIn('    shade = 1\n', text)
        self.assertEqual(
            {('add', 'Red.colour'), ('add', 'Red.shade'),
             ('wrap', 'Red.plain')},
            {(done.verb, done.name) for done in self.assembly.done})


class WithoutTest(testtools.TestCase):

    def test_a_statement_is_taken_out_with_what_is_above_it(self):
        found = sources.Source('nova.red', 'nova/red.py', NOVA)
        text = sources.without(found, [found.body[0]]).text
        self.assertEqual(NOVA.replace('\nLOG = object()\n', ''), text)


class ByHandTest(AssemblyTestCase):

    def put(self, *hunk):
        by_hand = hunks.ByHand('nova.red', 'nova.red', ('Red.plain',),
                               'it reads better', '', (), [list(hunk)])
        return self.assemble(WRAP % (
            'plain', 'self, a, b=None', '    return upstream(self, a, b=b)'),
            by_hand=[by_hand])

    def test_it_is_put_for_the_wrap(self):
        text = self.put(' import os', '+import sys')
        self.assertIn('import os\nimport sys\n', text)
        self.assertEqual('by hand', self.assembly.done[0].form)

    def test_lines_that_are_taken_away(self):
        text = self.put('-import os', '+import sys')
        self.assertTrue(text.startswith('import sys\n'), text)

    def test_what_is_not_there(self):
        self.assertRaises(ValueError, self.put, ' import nothing', '+x')

    def test_what_is_there_twice(self):
        self.assertRaises(ValueError, self.put, ' ', '+x')

    def test_all_of_them_can_be_read(self):
        for each in hunks.load():
            self.assertNotEqual('', each.reason)
            taken = any(line[0] == '-' for hunk in each.hunks
                        for line in hunk)
            self.assertEqual(taken, bool(each.taken), each.name)
