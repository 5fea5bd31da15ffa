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

"""Check the layers: which part of the project may import which.

The contracts are import-linter's, in pyproject.toml. It looks for packages,
and nova/ must not be one, so a copy that is made of packages is staged. Beside
it stands what is imported of Nova, as empty modules: only their names count.
"""
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile

from importlinter import api
from importlinter import Contract
from importlinter import ContractCheck
from importlinter import fields
from importlinter import output

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CONTRACTS = 'pyproject.toml'
PACKAGE = 'nova_mem_encryption'


def circles(imports):
    """Return the groups of modules that import one another.

    :param imports: module to the modules that it imports
    """
    def reach(start):
        found, left = set(), [start]
        while left:
            new = set(imports.get(left.pop(), ())) - found
            found |= new
            left += new
        return found

    reached = {module: reach(module) for module in imports}
    return sorted({
        tuple(sorted(other for other in reached[module]
                     if module in reached.get(other, ())))
        for module in imports if module in reached[module]})


class Acyclic(Contract):
    """No module imports one that imports it, however far around."""

    # NOTE: import-linter's own, of siblings, is not there for Python 3.9.
    type_name = 'acyclic'
    ignore_imports = fields.SetField(
        subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph, verbose):
        """Implement Contract.check."""
        ignored = {(str(e.importer), str(e.imported))
                   for e in self.ignore_imports or ()}
        for importer, imported in sorted(ignored):
            if importer not in graph.modules or imported not in (
                    graph.find_modules_directly_imported_by(importer)):
                raise ValueError('%s -> %s is ignored and not there any more'
                                 % (importer, imported))
        found = circles({
            module: [other for other in
                     graph.find_modules_directly_imported_by(module)
                     if (module, other) not in ignored]
            for module in graph.modules})
        return ContractCheck(kept=not found, metadata={'imports': [
            (importer, imported, detail['line_number'])
            for circle in found for importer in circle for imported in circle
            for detail in graph.get_import_details(
                importer=importer, imported=imported)]})

    def render_broken_contract(self, check):
        """Implement Contract.render_broken_contract."""
        for line in check.metadata['imports']:
            output.print_error('-   %s -> %s (l.%d)' % line)


def imported(path):
    """Yield the names that a file imports, in full."""
    with open(path, encoding='utf-8') as f:
        tree = ast.parse(f.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ('%s.%s' % (node.module, alias.name)
                        for alias in node.names)


def stage(checkout, folder):
    """Lay out a checkout, tests aside, so that import-linter finds it.

    :param checkout: the folder of the checkout
    :param folder: where to put it
    :returns: the modules and packages: name to path in the checkout, None for
        those of Nova
    """
    found = {}
    for root, above in ((PACKAGE, ''), ('nova', PACKAGE)):
        for path, folders, files in os.walk(os.path.join(checkout, root)):
            folders[:] = [f for f in folders
                          if f not in ('tests', '__pycache__')]
            relative = os.path.relpath(path, checkout)
            target = os.path.join(folder, above, relative)
            os.makedirs(target)
            package = os.path.join(above, relative).replace(os.sep, '.')
            found[package] = relative
            for file in {'__init__.py'} | {f for f in files
                                           if f.endswith('.py')}:
                if file not in files:
                    open(os.path.join(target, file), 'w').close()
                    continue
                shutil.copy(os.path.join(path, file), target)
                name = ('%s.%s' % (package, file[:-3])
                        if file != '__init__.py' else package)
                found[name] = os.path.join(relative, file)
    for path in [path for path in found.values() if path.endswith('.py')]:
        for name in imported(os.path.join(checkout, path)):
            parts = name.split('.') if name.startswith('nova.') else []
            for i in range(1, len(parts) + 1):
                where = os.path.join(folder, *parts[:i])
                os.makedirs(where, exist_ok=True)
                open(os.path.join(where, '__init__.py'), 'w').close()
                found['.'.join(parts[:i])] = None
    return found


def missing(options, modules):
    """Yield the names in contracts that no module has.

    :param options: what api.read_configuration returns
    :param modules: what stage returns
    """
    for contract in options['contracts_options']:
        for key in ('source_modules', 'forbidden_modules'):
            for name in contract.get(key, ()):
                if name not in modules:
                    yield '%s: %s: there is no %s' % (
                        CONTRACTS, contract['name'], name)


def lint(checkout=CHECKOUT):
    """Check the contracts.

    :returns: exit status, and what there is to say
    """
    contracts = os.path.join(checkout, CONTRACTS)
    with tempfile.TemporaryDirectory() as folder:
        modules = stage(checkout, folder)
        wrong = list(missing(api.read_configuration(contracts), modules))
        if wrong:
            return 1, '\n'.join(wrong) + '\n'
        # NOTE: -S, or the engine would be armed, and look at imports of nova.
        done = subprocess.run(
            [sys.executable, '-S', '-c', 'from importlinter import cli; '
             'cli.lint_imports_command()', '--config', contracts,
             '--no-cache'], cwd=folder, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={
                **os.environ, 'COLUMNS': '200', 'PYTHONPATH': os.pathsep.join(
                    [folder, os.path.dirname(os.path.abspath(__file__))] +
                    sys.path[1:])})
    said = re.sub(r'\033\[[0-9;]*m', '', done.stdout)
    said = re.sub(r'\b%s(\.\w+)+' % PACKAGE,
                  lambda match: modules.get(match[0]) or match[0], said)
    # NOTE: without the banner, and the list of what was kept.
    return done.returncode, said[max(said.find('Broken contracts'), 0):]


if __name__ == '__main__':
    status, said = lint(*sys.argv[1:])
    print(said if status else said.splitlines()[-1],
          end='' if status else '\n')
    sys.exit(status)
