#!/usr/bin/env python3
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

"""Tell which tests belong to files: by their path, or as they name it.

    tools/tests_of.py nova/virt/hardware.py
    tools/tests_of.py --since HEAD

It prints the commands that run them. A test belongs to a file whose path it
mirrors, as CONTRIBUTING.rst says, and to one that it imports or names.
"""
import argparse
import ast
import functools
import os
import re
import subprocess
import sys

TESTS = 'nova/tests/'
SUITES = {'unit': r'nova\.tests\.unit\.',
          'functional': r'nova\.tests\.functional\.(?!.*\.test_sevhost_)',
          'sevhost': r'nova\.tests\.functional\..*\.test_sevhost_'}
SKIPPED = {'.git', '.tox', '.venv', '.stestr', '.hypothesis', '__pycache__',
           '.mypy_cache', '.ruff_cache', 'build', 'dist'}
MANY = 20  # tests that name a file: then it is but a means for most of them
# What tests are of whose name is no path; what else they name, as the names of
# Nova's own files that test_overlay_environments changes, is but a means.
ENGINE = 'nova_mem_encryption/engine/%s.py'
SUBJECTS = {
    'absence': ('nova/virt/mem_encryption.py', 'nova_mem_encryption.pth',
                ENGINE % 'finder', 'nova_mem_encryption/bootstrap.py'),
    'fingerprints_tool': ('tools/fingerprints.py',),
    'hostile': ('nova/virt/libvirt/host/mem_encryption.py',
                'nova/virt/libvirt/config/capabilities.py'),
    'ids': ('nova/tests/fixtures/tables.py',),
    'new_model': ('nova/mem_encryption/models.py',),
    'overlay': tuple(ENGINE % name for name in (
        'declared', 'finder', 'ledger', 'state', 'tree', 'verbs')),
    'overlay_environments': tuple(ENGINE % name for name in (
        'finder', 'gate', 'release', 'state')) + (
            'nova_mem_encryption/bootstrap.py',),
    'overlay_fingerprint': tuple(ENGINE % name for name in (
        'declared', 'fingerprints', 'source')),
    'overlay_leaning': (ENGINE % 'declared',),
    'overlay_scan': tuple(ENGINE % name for name in (
        'scan', 'source', 'strings')),
    'overlay_verbs': (ENGINE % 'ledger', ENGINE % 'verbs',
                      'nova_mem_encryption/overlay.py'),
    'examples': (
        'etc/apt/90nova-mem-encryption', 'etc/firmware/10-local.json',
        'etc/firmware/70-amd-sev-snp.json',
        'etc/systemd/nova-compute.service.d/mem-encryption-driver.conf', *(
            'etc/systemd/nova-%s.service.d/mem-encryption.conf' % name
            for name in ('api', 'api-metadata', 'compute', 'conductor',
                         'scheduler')), *(
            'etc/monitoring/nova-mem-encryption-metrics@' + name
            for name in ('.service', '.timer',
                         'servers.service.d/differing.conf'))),
    'packaging': ('setup.py', 'setup.cfg', 'MANIFEST.in'),
    'patches': tuple('tools/export/%s.py' % name for name in (
        'hunks', 'lint', 'patched', 'prove', 'series', 'sources', 'ways',
        'wheel')),
    'peers': ('nova/objects/image_meta.py',),
    'roll_out': ('etc/ansible/roll-out.yml', 'doc/source/recipes.rst'),
}


def listed(top='.'):
    """Yield the files of a checkout, but not what tools have left in it."""
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and
                            not f.endswith('.egg-info'))
        for file in sorted(set(files) - SKIPPED):
            yield os.path.relpath(os.path.join(folder, file), top)


def changed(base):
    """Return the files that changed since a commit, new ones included."""
    return sorted({*subprocess.check_output(
        ['git', 'diff', '--name-only', '--relative', base],
        text=True).split(), *subprocess.check_output(
            ['git', 'ls-files', '--others', '--exclude-standard'],
            text=True).split()})


def is_test(path):
    return path.startswith(TESTS) and os.path.basename(path).startswith(
        'test_')


def dotted(path):
    """Return the name under which a file is imported."""
    name = path[:-len('.py')].replace('/', '.')
    if name.startswith('nova.') and not name.startswith('nova.tests.'):
        return 'nova_mem_encryption.' + name
    return name


@functools.lru_cache(maxsize=None)
def keys(path):
    """Return what tests of a file may be called, and the folder they are in.

    nova/virt/libvirt/driver/launch.py has the tests virt/libvirt/test_driver*
    and virt/libvirt/test_launch*, or virt/libvirt/driver/test_launch*. What
    Nova has no folder for is below mem_encryption/, or at the top.
    """
    top, *parts = os.path.splitext(path)[0].split('/')
    found = set()
    for i, name in enumerate(parts):
        if top == 'nova':
            found.add(('/'.join(parts[:i]), name))
            if i == len(parts) - 1:
                found.add(('/'.join(parts[:max(i - 1, 0)]), name))
        if top != 'nova' or parts[0] == 'mem_encryption':
            found.add(('', name))
    if top != 'nova':
        found.add(('', top))
    elif len(parts) > 1:
        found.add(('/'.join(parts[:-1]), ''))
    return found


def subject(test):
    """Return what the name of a test says that it is of."""
    return re.sub('^test_((mem_encryption|sevhost)(_|$))?', '',
                  os.path.basename(test)[:-len('.py')])


@functools.lru_cache(maxsize=None)
def mirrored(test, files):
    """Return the files whose path the path of a test mirrors.

    :param test: the path of a test
    :param files: those of the checkout, a tuple
    """
    if subject(test) in SUBJECTS:
        return set(SUBJECTS[subject(test)])
    suite, _, rest = test[len(TESTS):].partition('/')
    folder = os.path.dirname(rest)
    words = subject(test)
    found = {}
    for path in files:
        if path.startswith((TESTS, 'doc/')):
            continue
        for where, key in keys(path):
            if (where == folder or suite != 'unit') and (
                    words == key or key and words.startswith(key + '_')):
                found.setdefault(len(key), set()).add(path)
    return found[max(found)] if found else set()


@functools.lru_cache(maxsize=None)
def named(test):
    """Return what a test imports, and the text that it has in quotes."""
    with open(test, encoding='utf-8') as f:
        tree = ast.parse(f.read())
    imports, text = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imports |= {'%s.%s' % (node.module, alias.name)
                        for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text.append(node.value)
    return imports, '\n'.join(text)


def tests_of(path, files):
    """Return the tests that belong to a file, in order.

    :param path: the file, as git names it
    :param files: those of the checkout
    """
    if is_test(path):
        return [path]
    tests = [file for file in files if is_test(file)]
    found = {test for test in tests if path in mirrored(test, files)}
    words = [path] + [dotted(path)] * path.endswith('.py')
    pattern = re.compile(r'(?<![\w./])(%s)(?![\w/])' % '|'.join(
        map(re.escape, words)))
    others = {test for test in tests if subject(test) not in SUBJECTS and (
        words[-1] in named(test)[0] or pattern.search(named(test)[1]))}
    if len(others - found) <= MANY:
        found |= others
    else:
        print('%s: %d tests name it; here are those of its path. Run all.'
              % (path, len(others)), file=sys.stderr)
    return sorted(found)


def tests_of_all(paths):
    """Return the tests that belong to any of some files, in order."""
    files = tuple(listed())
    return sorted({test for path in paths for test in tests_of(path, files)
                   if os.path.exists(test)})


def modules(tests, suite):
    """Return the modules of the tests of a suite."""
    return [name for name in map(dotted, tests)
            if re.match(SUITES[suite], name)]


def expression(names):
    r"""Return the regular expression of all tests of modules.

    :param names: of the modules; each ends in \., or test_host would also
        be the start of test_hostile
    """
    return r'^(%s)\.' % '|'.join(map(re.escape, names))


def main():
    """Print the commands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('file', nargs='*')
    parser.add_argument('--since', metavar='COMMIT',
                        help='also the files that changed since')
    args = parser.parse_args()
    tests = tests_of_all(
        args.file + (changed(args.since) if args.since else []))
    for suite in SUITES:
        if modules(tests, suite):
            print("tools/tox -e %s -- '%s'" % (
                suite, expression(modules(tests, suite))))
    if not tests:
        sys.exit('No test names it; run all.')


if __name__ == '__main__':
    main()
