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

"""Check the rules of the project that no linter knows."""
import os
import re
import sys

MOST_LINES = 200  # of a file of the tree nova/, tests aside
UNWANTED = {
    r'(?<![\w./}])/(home|root|work|tmp)/\w': "a path of somebody's machine",
    r'\b(TO[D]O|FIXM[E]|XX[X])\b': 'unfinished work; open an issue',
    r'\b(pypi|pythonhosted|debian|npmjs)\.(org|com)\b':
        'a host of a package registry',
    r'[^\x00-\x7f]': 'not ASCII',
}
SKIPPED = {'.git', '.tox', '.venv', '.stestr', '.hypothesis', '__pycache__',
           '.mypy_cache', '.ruff_cache', 'build', 'dist'}


def check_file(path):
    """Yield what is wrong with one file."""
    with open(path, encoding='utf-8') as f:
        lines = f.read().splitlines()
    for number, line in enumerate(lines, 1):
        for pattern, problem in UNWANTED.items():
            if re.search(pattern, line):
                yield '%s:%d: %s' % (path, number, problem)
    parts = path.split('/')
    if parts[0] != 'nova' or parts[1] == 'tests':
        return
    if len(lines) > MOST_LINES:
        yield '%s: %d lines, more than %d' % (path, len(lines), MOST_LINES)
    if parts[-1] == '__init__.py':
        yield '%s: would shadow that of the installed Nova' % path


def check():
    """Yield what is wrong with the checkout."""
    for folder, folders, files in os.walk('.'):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and
                            not f.endswith('.egg-info'))
        for file in sorted(files):
            path = os.path.relpath(os.path.join(folder, file), '.')
            # The licence is not ours to edit, firmware is no text, and .git
            # is a file where git has linked another worktree.
            if path not in ('LICENSE', '.git') and not file.endswith(
                    ('.pyc', '.fd')):
                yield from check_file(path)


if __name__ == '__main__':
    wrong = list(check())
    print('\n'.join(wrong), end='\n' if wrong else '')
    sys.exit(bool(wrong))
