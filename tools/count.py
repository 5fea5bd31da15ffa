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

"""Count what the design wants little of, side by side for some checkouts.

    .tox/unit/bin/python tools/count.py [FOLDER...]

Python is one that has Nova, for 'nova-mem-encryption status'. To compare with
another commit, have it laid out by 'git worktree add FOLDER COMMIT'.
"""
import ast
import json
import os
import subprocess
import sys
import tempfile

import check_layers

VERBS = {'wrap': 'wraps', 'within': 'calls within a context',
         'add': 'additions'}


def status(checkout):
    """Return what 'status --json' prints."""
    done = subprocess.run(
        [sys.executable, '-m', 'nova_mem_encryption.cli', 'status', '--json'],
        cwd=checkout, stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': os.path.abspath(checkout)})
    try:
        found = json.loads(done.stdout)
    except ValueError:
        sys.exit("%s: 'nova-mem-encryption status' fails" % checkout)
    if found['state'] != 'applied':
        sys.exit('%s: %s: %s' % (checkout, found['state'], found['reason']))
    return found


def is_context_variable(node):
    return isinstance(node, ast.Call) and ast.unparse(node.func) in (
        'contextvars.ContextVar', 'ContextVar')


def is_attribute(node):
    """Tell whether a statement gives a class of Nova a state of ours."""
    decorators = [ast.unparse(decorator) for decorator in getattr(
        node, 'decorator_list', [])]
    if 'functools.cached_property' in decorators:
        return any(name.startswith('overlay.add(') for name in decorators)
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        '.add') and len(node.args) > 1 and isinstance(
        node.args[1], ast.Constant) and str(node.args[1].value)[0] == '_'


def tail_imports(tree):
    """Return how many imports follow the first function or class."""
    rest = list(tree.body)
    while rest and not isinstance(rest[0], (ast.FunctionDef, ast.ClassDef)):
        del rest[0]
    return sum(isinstance(node, (ast.Import, ast.ImportFrom))
               for node in rest)


def count(checkout):
    """Return what the sources of a checkout have: name to number."""
    with tempfile.TemporaryDirectory() as folder:
        modules = {
            name: path for name, path in
            check_layers.stage(checkout, folder).items()
            if path and path.endswith('.py')}
    lines, trees, imports = {}, [], {}
    for name, path in modules.items():
        path = os.path.join(checkout, path)
        with open(path, encoding='utf-8') as f:
            text = f.read()
        lines[name] = text.count('\n')
        trees.append(ast.parse(text))
        imports[name] = modules.keys() & set(check_layers.imported(path))
    nodes = [node for tree in trees for node in ast.walk(tree)]
    longest = max(lines, key=lines.__getitem__)
    return {
        'context variables': sum(map(is_context_variable, nodes)),
        "attributes on Nova's classes": sum(map(is_attribute, nodes)),
        'imports not at the top': sum(map(tail_imports, trees)),
        'circles of imports': len(check_layers.circles(imports)),
        'files, tests aside': len(lines),
        'lines, tests aside': sum(lines.values()),
        'longest file': '%d %s' % (lines[longest], modules[longest]),
    }


def main(*checkouts):
    """Print a table, with a column for each checkout."""
    columns = []
    for checkout in checkouts or ['.']:
        verbs = [entry['verb'] for entry in status(checkout)['ledger']]
        columns.append({**{VERBS[verb]: verbs.count(verb) for verb in VERBS},
                        **count(checkout)})
    for name in columns[0]:
        line = ('%-30s' + ' %-38s' * len(columns)) % (
            name, *(column[name] for column in columns))
        print(line.rstrip())


if __name__ == '__main__':
    main(*sys.argv[1:])
