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

"""Skip those of Nova's tests whose expectation the feature contradicts."""
import ast
import os
import textwrap
import typing as ty

from nova_mem_encryption.engine import tree as trees
from nova_mem_encryption.export import source as sources
from nova_mem_encryption.export import target as targets

LIST = os.path.join('tools', 'nova_tests', 'superseded.txt')


def read() -> ty.Dict[str, str]:
    """Return the tests that are superseded: id to reason.

    It is in a checkout only, as the tests are.
    """
    found = {}
    with open(os.path.join(trees.root(), LIST), encoding='utf-8') as f:
        for line in f:
            if line.strip() and not line.startswith('#'):
                name, _, reason = line.strip().partition(' ')
                found[name] = reason
    return found


def skip(nova: ty.Callable[[str], ty.Optional[sources.Source]]
         ) -> ty.Dict[str, targets.Target]:
    """Have each superseded test skip itself, with the reason.

    :param nova: returns a module of Nova, None if it is not there
    :returns: module to what is put into it
    :raises KeyError: if there is no such test
    """
    found: ty.Dict[str, targets.Target] = {}
    done = set()
    for test, reason in read().items():
        module, cls, name = test.rsplit('.', 2)
        source = nova(module)
        if source is None:
            continue  # of this Nova the tests are in another package
        target = found.setdefault(module, targets.Target(source, LIST))
        node = _find(source, cls, name)
        if (module, node.lineno) in done:
            continue  # of a base of several classes
        done.add((module, node.lineno))
        first = node.body[0]
        documented = ast.get_docstring(node) is not None
        line = first.end_lineno + 1 if documented else source.first_line(first)
        target.put(line, _statement(reason))
    return found


def _find(source: sources.Source, cls: str, name: str) -> ty.Any:
    """Return the test, which may be of a base of the class."""
    node = source.find(cls)
    for each in node.body:
        if getattr(each, 'name', None) == name:
            return each
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in source.defined:
            return _find(source, base.id, name)
    raise KeyError('%s: no test %s.%s' % (source.path, cls, name))


def _statement(reason: str) -> str:
    lines = textwrap.wrap(reason, 60, drop_whitespace=False)
    return '        self.skipTest(\n%s)\n\n' % '\n'.join(
        '            ' + repr(line) for line in lines)
