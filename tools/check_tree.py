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

"""Check the rules of the project that no linter knows.

    tools/check_tree.py [FOLDER]    of a checkout, by default this one
"""
import ast
import os
import re
import sys

import tests_of

MOST_LINES = {'nova': 200, 'nova_mem_encryption': 250}  # of a file, not tests
UNWANTED = {
    r'(?<![\w./}])/(home|root|work|tmp)/\w': "a path of somebody's machine",
    r'\b(TO[D]O|FIXM[E]|XX[X])\b': 'unfinished work; open an issue',
    r'\b(?<!www\.)(pypi|pythonhosted|debian|npmjs)\.(org|com)\b':
        'a host of a package registry',
    r"pip install ['\"]?nova[-_]mem[-_]encryption":
        'a name that anybody could take on an index; say where it lies',
    r'[^\x00-\x7f]': 'not ASCII',
}
TAIL_IMPORT = r'noqa:.*\bE402\b'
MODELS = 'nova/mem_encryption/models.py'


def check_text(lines):
    """Yield what is wrong with any file: line number, problem."""
    for number, line in enumerate(lines, 1):
        for pattern, problem in UNWANTED.items():
            if re.search(pattern, line):
                yield number, problem


def names_a_model(node):
    """Tell whether an expression is a model by name, such as AMD_SEV_ES."""
    name = getattr(node, 'attr', None) or getattr(node, 'id', None) or (
        getattr(node, 'value', None))
    return isinstance(name, str) and bool(
        re.match('amd[-_]sev', name.lower()))


def check_source(path, lines):
    """Yield what is wrong with a file of ours that is no test."""
    most = MOST_LINES[path.split('/')[0]]
    if len(lines) > most:
        yield most + 1, '%d lines, more than %d' % (len(lines), most)
    for number, line in enumerate(lines, 1):
        if re.search(TAIL_IMPORT, line):
            yield number, 'an import that is not at the top'
    if path == MODELS:
        return
    for node in ast.walk(ast.parse('\n'.join(lines))):
        if isinstance(node, ast.Compare) and any(
                isinstance(op, (ast.Eq, ast.NotEq)) for op in node.ops
                ) and any(map(names_a_model, [node.left, *node.comparators])):
            yield node.lineno, 'asks for one model; make it a column of %s' % (
                MODELS)


def check_place(path, files):
    """Yield what is wrong with the path of a file."""
    parts = path.split('/')
    if parts[0] == 'nova' and parts[1] != 'tests' and (
            parts[-1] == '__init__.py'):
        yield 1, 'would shadow that of the installed Nova'
    if path.startswith('nova/tests/unit/') and tests_of.is_test(path) and (
            not tests_of.mirrored(path, files)):
        yield 1, 'no file has a path that it mirrors'


def check(top='.'):
    """Yield what is wrong with a checkout."""
    files = tuple(tests_of.listed(top))
    for path in files:
        # The licence is not ours to edit, and firmware is no text.
        if path == 'LICENSE' or path.endswith(('.pyc', '.fd')):
            continue
        with open(os.path.join(top, path), encoding='utf-8') as f:
            lines = f.read().splitlines()
        checks = [check_text(lines), check_place(path, files)]
        if path.endswith('.py') and path.split('/')[0] in MOST_LINES and (
                not path.startswith(tests_of.TESTS)):
            checks.append(check_source(path, lines))
        for found in checks:
            for number, problem in found:
                yield '%s:%d: %s' % (path, number, problem)


if __name__ == '__main__':
    wrong = list(check(*sys.argv[1:]))
    print('\n'.join(wrong), end='\n' if wrong else '')
    sys.exit(bool(wrong))
