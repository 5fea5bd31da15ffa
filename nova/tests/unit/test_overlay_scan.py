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

"""Test that what is read fast is never what parsing would refuse."""
import importlib
import random
import re

import ddt
import testtools

from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import scan
from nova_mem_encryption.engine import source
from nova_mem_encryption.engine import strings

# Short ones, with and without classes, and with a dict and a tuple that are
# added to
MODULES = ('nova.cmd.status', 'nova.objects.image_meta', 'nova.service',
           'nova.scheduler.utils')
SEED = 311862


def find(text, name):
    """Return the lines of a function, from and to, and its indentation."""
    node = source.Source(text.encode()).functions[name]
    first = min([node.lineno] + [d.lineno for d in node.decorator_list])
    return first - 1, node.end_lineno, ' ' * node.col_offset


def last(name):
    return name.rpartition('.')[2]


# -- how a file may have been changed ----------------------------------------
# Each is called with the lines of a module, those of a function of it, from
# and to, its indentation and its name, and a source of chance.

def edit(lines, first, end, blanks, name, chance):
    """Change a character of the function, where that leaves it Python."""
    at = chance.randrange(first, end)
    lines[at] = re.sub(r'\b(self|None|True|\d+|if|not)\b', 'another',
                       lines[at], count=1)


def add_last_line(lines, first, end, blanks, name, chance):
    lines.insert(end, blanks + '    another = 1\n')


def add_last_line_after_a_gap(lines, first, end, blanks, name, chance):
    lines[end:end] = ['\n', '# A comment\n', '\n', blanks + '    pass\n']


def add_comment_after(lines, first, end, blanks, name, chance):
    lines.insert(end, blanks + '    # A comment\n')


def add_line_within(lines, first, end, blanks, name, chance):
    lines.insert(chance.randrange(first + 1, end + 1),
                 blanks + '    # A comment\n')


def add_empty_line_within(lines, first, end, blanks, name, chance):
    lines.insert(chance.randrange(first + 1, end + 1), '\n')


def add_blanks_within(lines, first, end, blanks, name, chance):
    at = chance.randrange(first, end)
    lines[at] = lines[at].rstrip('\n') + ' ' * chance.randrange(1, 6) + '\n'


def take_blanks(lines, first, end, blanks, name, chance):
    at = chance.randrange(first, end)
    if lines[at].startswith('    '):
        lines[at] = lines[at][chance.choice([1, 4]):]


def add_blanks_before_all(lines, first, end, blanks, name, chance):
    lines[first:end] = [' ' * 4 + line if line.strip() else line
                        for line in lines[first:end]]
    lines.insert(first, blanks + chance.choice(
        ['if True:\n', 'class Inner:\n', 'def outer():\n',
         'for number in range(2):\n', 'with open(__file__):\n']))


def put_in_another_class(lines, first, end, blanks, name, chance):
    lines.insert(first, 'class Another:\n')


def put_in_a_string(lines, first, end, blanks, name, chance):
    quote = chance.choice(['"""', "'''"])
    lines.insert(end, quote + '\n')
    lines.insert(first, '%sTEXT = %s\n' % (blanks, quote))


def quote_before(lines, first, end, blanks, name, chance):
    lines.insert(first, blanks + chance.choice([
        "TEXT = '\"\"\"'\n", '# """\n', 'TEXT = "\'\'\'"\n', "# '''\n",
        "TEXT = '''\"\"\"'''\n", "TEXT = r'\"\"\"\\\\'\n",
        "TEXT = 'a\\\n\"\"\"'\n", 'TEXT = """\\""""\n',
        "TEXT = f'{1}' \"\"\"a\"\"\"\n", 'TEXT = f"""{1}"""\n']))


def define_again(lines, first, end, blanks, name, chance):
    lines[end:end] = ['\n', blanks + chance.choice([
        'def %s(self): pass\n', 'async def %s(self): pass\n',
        'def %s (self): pass\n', 'class %s: pass\n', '%s = None\n',
        '%s: object = None\n', 'another = %s = None\n', '%s, another = 1, 2\n',
        'import os as %s\n', 'from os import path as %s\n',
        'if True:\n' + blanks + '    %s = 1\n',
        'if True:\n' + blanks + '    def %s(self): pass\n',
        'if True:\n' + blanks + '    class %s: pass\n',
        'try:\n' + blanks + '    pass\n' + blanks +
        'except Exception as %s:\n' + blanks + '    pass\n',
        'for %s in (): pass\n', 'with open(__file__) as %s: pass\n',
        'print(%s := 1)\n', 'del %s\n', '(%s) = 1\n', '[%s] = [1]\n',
        'another = (\n' + blanks + ') if (%s := 1) else None\n',
        '\\\n' + blanks + '%s = 1\n',
        'pass; %s = 1\n', 'if True: %s = 1\n']) % last(name)]


def define_again_far_away(lines, first, end, blanks, name, chance):
    del blanks
    lines += ['\n\n', chance.choice([
        'def %s(self): pass\n', 'class %s: pass\n', '%s = None\n',
        'if True:\n    %s = None\n', 'import os as %s\n',
        'class %s(object):\n    def another(self): pass\n']) %
        name.partition('.')[0]]


def use_far_away(lines, first, end, blanks, name, chance):
    lines += ['\n\n', chance.choice([
        'print(%s)\n', 'another = [%s]\n', "another = {'a': %s,\n     }\n",
        '%s.another = 1\n', 'another = %s\n']) % name.partition('.')[0]]


def decorate(lines, first, end, blanks, name, chance):
    lines.insert(first, blanks + chance.choice(
        ['@another\n', '@another(\n    1)\n', '@another\n\n',
         '@another\n# A comment\n']))


def decorate_no_more(lines, first, end, blanks, name, chance):
    if lines[first].lstrip().startswith('@'):
        del lines[first]


def end_lines_otherwise(lines, first, end, blanks, name, chance):
    lines[:] = [line.replace('\n', chance.choice(['\r\n', '\r\n', '\r']))
                for line in lines]


def end_one_line_otherwise(lines, first, end, blanks, name, chance):
    at = chance.randrange(len(lines))
    lines[at] = lines[at].replace('\n', '\r\n')


def feed(lines, first, end, blanks, name, chance):
    lines.insert(first, '\f\n')
    if chance.random() < .5:
        lines[first + 1] = '     \f' + lines[first + 1]


def use_tabs(lines, first, end, blanks, name, chance):
    lines[first:end] = [re.sub('^(    |        )', '\t', line)
                        for line in lines[first:end]]


def indent_class_by_less(lines, first, end, blanks, name, chance):
    at = max((number for number in range(first)
              if lines[number].startswith('class ')), default=first)
    lines.insert(at + 1, '  another = 1\n')


def add_byte_order_mark(lines, first, end, blanks, name, chance):
    lines[0] = '\ufeff' + lines[0]


def name_another_encoding(lines, first, end, blanks, name, chance):
    lines.insert(0, '# -*- coding: latin-1 -*-\n')


def change_nothing_of_it(lines, first, end, blanks, name, chance):
    lines += ['# Of a distribution\n', 'def patched():\n    pass\n']


CHANGES = [
    edit, add_last_line, add_last_line_after_a_gap, add_comment_after,
    add_line_within, add_empty_line_within, add_blanks_within, take_blanks,
    add_blanks_before_all, put_in_another_class, put_in_a_string,
    quote_before, define_again, define_again_far_away, use_far_away, decorate,
    decorate_no_more, end_lines_otherwise, end_one_line_otherwise, feed,
    use_tabs, indent_class_by_less, add_byte_order_mark,
    name_another_encoding, change_nothing_of_it]


@ddt.ddt
class ScanTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.known = fingerprints.table()
        self.fast = 0

    def compare(self, module, text):
        """Assert that both ways agree, or that the fast one has doubts."""
        try:
            compile(text, 'module', 'exec')
        except (SyntaxError, ValueError):
            return
        parsed = source.Source(text)
        try:
            outline = scan.Outline(text)
        except strings.Doubt:
            return
        for name in self.known['functions'].get(module, {}):
            try:
                found = fingerprints.digest(outline.get(name.encode()))
            except strings.Doubt:
                continue
            if found == self.known['functions'][module][name]:
                self.assertEqual(found, parsed.fingerprint(name), name)
                self.fast += 1
        for name in self.known['additions'].get(module, []):
            if outline.lacks(name.encode()):
                self.assertIsNone(parsed.find_problem(name), name)
                self.fast += 1

    def read(self, module):
        with open(importlib.import_module(module).__file__, 'rb') as f:
            return f.read()

    @ddt.data(*CHANGES)
    def test_change(self, change):
        chance = random.Random(SEED)
        for module in MODULES:
            text = self.read(module).decode()
            names = sorted(self.known['functions'].get(module, {}))
            for name in chance.sample(names, min(3, len(names))):
                for _ in range(8 if change is define_again else 2):
                    lines = text.splitlines(keepends=True)
                    change(lines, *find(text, name), name, chance)
                    self.compare(module, ''.join(lines).encode())
        if change in (change_nothing_of_it, add_comment_after, use_far_away):
            # Or the test were in vain.
            self.assertGreater(self.fast, 10)

    @ddt.data('%s = 1\n', 'def %s(): pass\n', 'class %s: pass\n',
              'if True:\n    %s = 1\n', 'import os as %s\n')
    def test_taken(self, form):
        """Additions whose names are taken in many ways."""
        for module, names in self.known['additions'].items():
            if not module.startswith('nova.tests.'):
                text = self.read(module)
                for name in names:
                    if '.' not in name:
                        changed = text + (form % name).encode()
                        self.compare(module, changed)
                        self.assertIsNotNone(
                            source.Source(changed).find_problem(name))

    def test_each_module_is_read_fast(self):
        """If not, it would have to be parsed on each start."""
        for module in self.known['files']:
            if not module.startswith('nova.tests.'):
                text = self.read(module) + b'\n# Of a distribution\n'
                self.assertTrue(
                    fingerprints.fits(self.known, module, text), module)
                self.assertFalse(
                    fingerprints.is_known(self.known, module, text))
