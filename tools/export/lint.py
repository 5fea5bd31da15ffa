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
"""Have Nova's own linters look at a patched Nova, as Nova configures them.

    tools/export/lint.py [--release 31.3.1] [--source FOLDER]

flake8 with hacking and Nova's checks, and mypy, say no more of Nova's source
with the series than without.
"""
import argparse
import collections
import glob
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

import series
import sources

# Position and text of what a linter has found
FOUND = re.compile(
    r'(?:\./)?(?P<path>[\w/.]+\.py):(?P<place>[\d:]+) (?P<text>.*)')


def get_source(release, folder):
    """Download the source of a release; return where it is unpacked.

    :raises series.Wrong: if pip cannot
    """
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps',
         '--disable-pip-version-check', '--no-binary', 'nova',
         '--no-build-isolation', '-d', folder, 'nova==' + release],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    archives = glob.glob(os.path.join(folder, 'nova-*.tar.gz'))
    if not archives:
        raise series.Wrong('pip cannot download the source of Nova %s: %s' % (
            release, done.stdout.strip()))
    with tarfile.open(archives[0]) as opened:
        opened.extractall(folder)
    return archives[0][:-len('.tar.gz')]


def call(folder, *words):
    """Run a linter; return its findings, each with where they are.

    :returns: (path, text) to places
    :raises series.Wrong: if it does not run
    """
    done = subprocess.run(
        [sys.executable, '-m', *words], cwd=folder, text=True,
        capture_output=True, env={**os.environ, 'PYTHONPATH': folder})
    found = collections.defaultdict(list)
    for match in map(FOUND.match, done.stdout.splitlines()):
        if match and not match['text'].startswith('note: '):
            found[match['path'], match['text']].append(match['place'])
    if done.returncode not in (0, 1) or done.returncode and not found:
        raise series.Wrong('%s: %s' % (' '.join(words[:2]), (
            done.stdout + done.stderr)[-2000:]))
    return found


def compare(before, after):
    """Yield the findings that are new, a line each."""
    for (path, text), places in sorted(after.items()):
        more = len(places) - len(before.get((path, text), ()))
        if more > 0:
            yield '%s:%s %s' % (path, ' or '.join(places), text)


def main():
    """Compare the two; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sources.add_release(parser)
    parser.add_argument('--source', metavar='FOLDER',
                        help='that is unpacked already')
    args = parser.parse_args()
    wrong, passed = [], 0
    with tempfile.TemporaryDirectory(prefix='lint-') as folder:
        try:
            plain = args.source or get_source(args.release, folder)
            changed = os.path.join(folder, 'changed')
            shutil.copytree(plain, changed, symlinks=True)
            series.write(os.path.join(folder, 'patches'), plain)
            paths = set()
            for patch in series.read(os.path.join(folder, 'patches')):
                series.apply(changed, patch.text)
                paths |= {path for path in patch.paths
                          if path.endswith('.py')}
            for name, words in (('flake8', ['--config', 'tox.ini']),
                                ('mypy', ['--config-file', 'setup.cfg'])):
                before, after = (call(where, name, *words, *(
                    sorted(path for path in paths if os.path.exists(
                        os.path.join(where, path)))
                    if name == 'flake8' else [])) for where in (
                        plain, changed))
                found = list(compare(before, after))
                wrong += ['%s: %s' % (name, line) for line in found]
                passed += not found
                print('%s: %d new findings, %d of Nova itself' % (
                    name, len(found), sum(map(len, before.values()))),
                    flush=True)
        except series.Wrong as e:
            wrong.append(str(e))
    for line in wrong:
        print(line)
    print('%d passed, %d failed, 0 skipped' % (passed, len(wrong)))
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
