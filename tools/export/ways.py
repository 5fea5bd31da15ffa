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
"""Apply the series as its page says, each way, to each release of Nova.

    tools/export/ways.py [short|all] [--release 31.3.1] [--way quilt]

The commands are those of doc/source/patches.rst. Each way has to apply without
fuzz, give the same text as the others, and give Nova's own text back. 'short'
takes two releases, and another way with each.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from docutils import nodes
import series
import sources

sys.path.insert(0, os.path.join(series.TREE, 'tools'))
import doc_commands  # it is in the folder above

PAGE = 'doc/source/patches.rst'
VERSION = '31.3.1'  # that the page names, but for Debian's
LABEL = 'patches-'
# What is not run, and why
NOT_RUN = [
    (r'apt-get source\b', 'the source is fetched once, for all ways'),
    (r'kolla-build --patches-path\b', "it builds an image; kolla-build's own "
     'script is run on the files in its place'),
    (r'rdopkg\b', 'it reads the repository rdoinfo on the Internet'),
]
# Way: programs that it needs; of what is in none of them, git and patch
WAYS = {
    'quilt': ['quilt'],
    'git': ['git'],
    'debian': ['quilt', 'dpkg-source', 'dch'],
    'kolla': ['kolla-build', 'patch', 'unshare'],
    'rpm': ['rpmbuild', 'git'],
}
SHORT = ('quilt', 'git')


def get_commands(text):
    """Return the commands of each section that has a label.

    :param text: of the page
    :returns: name to lists of lines: of what is done, and of the way back
    """
    found = {}
    name = None
    for node in doc_commands.core.publish_doctree(
            text, settings_overrides={'report_level': 5, 'halt_level': 5}
            ).findall():
        if isinstance(node, nodes.target) and node.get('refid', '').startswith(
                LABEL):
            name = node['refid'][len(LABEL):]
            found[name] = []
        elif isinstance(node, nodes.section) and name and (
                LABEL + name not in node['ids']):
            name = None
        elif isinstance(node, nodes.literal_block) and name:
            lines = list(doc_commands._lines(node))
            if not lines:
                raise series.Wrong('%s, %s: no command is known in:\n%s' % (
                    PAGE, name, node.astext()))
            found[name].append(lines)
    return found


def select(lines, release, named=VERSION):
    """Return the lines that are run, for a release, and why others are not.

    :param named: the release that the lines name; None if they are to name
        that one already
    """
    run, reasons = [], []
    for line in lines:
        reason = next((reason for pattern, reason in NOT_RUN
                       if re.match(pattern, line)), None)
        if reason is None:
            run.append(line.replace(named, release) if named else line)
        else:
            reasons.append('%s: %s' % (line, reason))
    return run, reasons


def run(lines, folder):
    """Run lines as a shell does, one after the other; return what they say.

    :raises series.Wrong: if one fails, or applies a patch with fuzz
    """
    done = subprocess.run(
        ['bash', '-euo', 'pipefail', '-c', '\n'.join(lines)], cwd=folder,
        env=series.with_tools(
            HOME=folder, DEBEMAIL='nobody@localhost',
            DEBFULLNAME='Nobody', GIT_COMMITTER_NAME='Nobody',
            GIT_COMMITTER_EMAIL='nobody@localhost'),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    check(done.stdout, done.returncode)
    return done.stdout


def check(said, code=0):
    """Look at what programs that apply patches have said.

    :raises series.Wrong: if they failed, or applied one with fuzz
    """
    wrong = [line for line in said.splitlines()
             if re.search(r'\bfuzz\b(?!=)|FAILED|\bReversed\b', line)]
    if code or wrong:
        raise series.Wrong('\n'.join(
            wrong or said.splitlines()[-15:] or ['exit status %d' % code]))


def try_way(way, commands, source, patches, folder):
    """Apply a series in one way, and take it away again.

    :param source: a sources.Source
    :param patches: the folder of the series
    :returns: the texts of the patched files, and the lines that were not run
    :raises series.Wrong: if it does not go as it has to
    """
    series.make_anew(folder)
    shutil.copytree(patches, os.path.join(folder, 'patches'))
    place = sources.PLACES[way](source, folder)
    before = series.get_texts(place)
    there, *back = commands[way]
    named = VERSION
    if way == 'debian':
        # As Debian's sources are named, unless they stand in for others.
        named = None if source.archive else sources.RELEASE_OF_DEBIAN
    lines, reasons = select(there, source.release, named)
    run(lines, folder)
    place = sources.finish(way, source, folder, check) or place
    after = series.get_texts(place)
    if not series.compare(before, after):
        raise series.Wrong('it has changed nothing')
    for number, each in enumerate(back):
        if number == 0 and way in sources.REVERSIBLE:
            run([line for line in lines if line.startswith('cd ')] +
                select(each, source.release, named)[0], folder)
            left = series.compare(before, series.get_texts(place))
            if left:
                raise series.Wrong('back it is not as before: %s'
                                   % ', '.join(left[:5]))
        else:
            reasons += select(each, source.release, named)[1]
    return after, reasons


def try_source(source, ways, commands, folder):
    """Try ways with one source.

    :returns: counts of what passed, failed and was skipped; a digest of the
        patches themselves
    """
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    patches = os.path.join(folder, 'patches')
    shutil.copytree(source.folder, os.path.join(
        series.make_anew(folder), 'nova-' + source.release), symlinks=True)
    run(select(commands['write'][0], source.release)[0], folder)
    made = series.read(patches)
    print('%s: %d patches, %d hunks' % (
        source.name, len(made), sum(patch.hunks for patch in made)))
    first = None
    for way in ways:
        missing = [program for program in WAYS[way]
                   if shutil.which(program, path=series.with_tools()[
                       'PATH']) is None]
        if missing:
            say(counts, 'skipped', '%s, %s: not run: there is no %s' % (
                source.name, way, ' and no '.join(missing)))
            continue
        started = time.monotonic()
        try:
            after, reasons = try_way(way, commands, source, patches,
                                     os.path.join(folder, way))
            differ = series.compare(sources.limit(way, after),
                                    sources.limit(way, first or after))
            if differ:
                raise series.Wrong('not the text of the other ways: %s'
                                   % ', '.join(differ[:5]))
            if way not in sources.PARTIAL:
                first = first or after
        except series.Wrong as e:
            say(counts, 'failed', '%s, %s: %s' % (source.name, way, e))
            continue
        say(counts, 'passed', '%s, %s: no fuzz, the same text%s (%d s)' % (
            source.name, way, ', and back' * (way in sources.REVERSIBLE),
            time.monotonic() - started))
        for reason in reasons:
            print('    not run: ' + reason)
    return counts, series.get_texts(patches)


def say(counts, outcome, line):
    counts[outcome] += 1
    print(line, flush=True)


def main():
    """Try the ways; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('amount', nargs='?', default='all',
                        choices=('short', 'all'))
    parser.add_argument('--release', action='append', metavar='RELEASE',
                        help="of Nova, or 'debian'; default: all")
    parser.add_argument('--way', action='append', choices=sorted(WAYS))
    sources.add_wheels(parser)
    args = parser.parse_args()
    short = args.amount == 'short'
    names = sources.releases()
    names = args.release or (names[::len(names) - 1] if short else
                             names + ['debian'])
    with open(os.path.join(series.TREE, PAGE), encoding='utf-8') as f:
        commands = get_commands(f.read())
    totals = {'passed': 0, 'failed': 0, 'skipped': 0}
    same = {}
    with tempfile.TemporaryDirectory(prefix='ways-') as folder:
        for number, name in enumerate(names):
            ways = args.way or (SHORT[number % 2:][:1] if short else
                                list(WAYS))
            try:
                source = sources.get(name, args.wheels,
                                     os.path.join(folder, 'sources'))
            except sources.Unreachable as e:
                say(totals, 'skipped', '%s: not run: %s' % (name, e))
                continue
            try:
                counts, patches = try_source(
                    source, ways, commands, os.path.join(folder, name))
            except series.Wrong as e:
                say(totals, 'failed', '%s: %s' % (name, e))
                continue
            for outcome in totals:
                totals[outcome] += counts[outcome]
            same.setdefault(repr(sorted(patches.items())), []).append(name)
            shutil.rmtree(os.path.join(folder, name))
    if len(same) > 1:
        say(totals, 'failed', 'The series is not one: it differs for %s' % (
            ' and '.join(', '.join(names) for names in same.values())))
    elif same:
        say(totals, 'passed', 'One series, to the byte, for %s' % ', '.join(
            *same.values()))
    print('%(passed)d passed, %(failed)d failed, %(skipped)d skipped' % totals)
    return 1 if totals['failed'] or not totals['passed'] else 0


if __name__ == '__main__':
    sys.exit(main())
