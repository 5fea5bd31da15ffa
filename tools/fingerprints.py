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

"""Make the table of fingerprints from releases of Nova, and compare.

    tools/fingerprints.py --refresh RELEASE...    write the table anew
    tools/fingerprints.py --check RELEASE...      compare with it

Without an option the table is printed. A release is a wheel, a .deb, or a
folder. The package has to be installed, or PYTHONPATH=. to be set. Exit
status: 0 well; 1 not.
"""
import argparse
import functools
import json
import os
import sys
import typing as ty

from nova_mem_encryption.engine import declared
from nova_mem_encryption.engine import fingerprints
from nova_mem_encryption.engine import packages
from nova_mem_encryption.engine import patched
from nova_mem_encryption.engine import source
from nova_mem_encryption.engine import state
from nova_mem_encryption.engine import tree
from nova_mem_encryption.export import series


def _wanted(modules, what) -> ty.Dict[str, ty.Set[str]]:
    """Return what all files of the tree declare."""
    wanted: ty.Dict[str, ty.Set[str]] = {}
    for module, path in modules.items():
        for name, found in _read(what, module, path).items():
            wanted.setdefault(name, set()).update(found)
    return wanted


@functools.lru_cache(maxsize=None)
def _read(what, module: str, path: str) -> ty.Mapping[str, ty.Iterable[str]]:
    """Return what a file of the tree declares."""
    with open(path, encoding='utf-8') as f:
        return what(f.read(), module)


@functools.lru_cache(maxsize=None)
def _make_series() -> series.Series:
    return series.Series(_read_nothing)


def _get_patched(modules, releases) -> ty.Dict[str, ty.Any]:
    """Return what the patches have of what the tree declares.

    Where a hunk by hand leaves a function as it is, a line that it adds
    elsewhere tells whether it is there.
    """
    made = _make_series()
    left = made.left_out()
    exported = {name: path for name, path in modules.items()
                if name not in left and not name.startswith(state.TESTS)}
    elsewhere = {(hunk.module, verb)
                 for hunk in made.by_hand for verb in hunk.elsewhere}

    def pick(what):
        found = {module: sorted(name for name in names
                                if (module, name) not in elsewhere)
                 for module, names in _wanted(exported, what).items()}
        return {module: found[module] for module in sorted(found)
                if found[module]}

    return {'functions': pick(declared.wraps),
            'additions': pick(declared.additions),
            'lines': _find_lines(made.by_hand, releases),
            'modules': sorted(
                name for name in exported
                if name.startswith(patched.PACKAGE + '.') or
                name == tree.DRIVER)}


def _find_lines(by_hand, releases) -> ty.Dict[str, ty.List[str]]:
    """Return a line of each hunk that changes what no verb names.

    :returns: module to lines that no release has
    :raises ValueError: if a hunk has none
    """
    found: ty.Dict[str, ty.List[str]] = {}
    for each in by_hand:
        if not each.elsewhere:
            continue
        texts = [release.find(each.module)[1] for release in releases]
        for hunk in each.hunks:
            new = [line[1:] for line in hunk if line[0] == '+' and not any(
                line[1:].encode() in text for text in texts)]
            if not new:
                raise ValueError('%s: no line of a hunk is new' % each.name)
            found.setdefault(each.module, []).append(new[0])
    return found


def _read_nothing(path: str) -> bytes:
    raise KeyError(path)


def collect(
    tree: ty.Mapping[str, str],
    releases: ty.Sequence[str],
    known: ty.Optional[ty.Mapping[str, ty.Any]] = None,
) -> ty.Dict[str, ty.Any]:
    """Make the table.

    :param tree: the modules of the tree, name to file
    :param releases: paths of wheels, of .deb or of site-packages
    :param known: the table as it is; of distributions that are not among the
        releases, those files are kept of which no more is wanted now
    :returns: the table, see fingerprints.table()
    :raises ValueError: if a function that is wrapped or leaned on differs
        between the releases, or does not exist in one, or if a name that is
        added is taken
    """
    wanted = _wanted(tree, declared.functions)
    additions = _wanted(tree, declared.additions)
    modules = sorted({*wanted, *additions})
    result: ty.Dict[str, ty.Any] = {
        'releases': [], 'distributions': {},
        'files': {m: {} for m in modules},
        'functions': {m: {} for m in sorted(wanted)},
        'additions': {m: sorted(additions[m]) for m in sorted(additions)}}
    opened = sorted(map(packages.open_package, releases), key=_key)
    for release in opened:
        changed: ty.Dict[str, ty.Dict[str, int]] = {}
        if release.name is None:
            result['releases'].append(release.version)
        for module in modules:
            path, text = release.find(module)
            if path is None:
                raise ValueError('Nova %s has no %s'
                                 % (release.version, module))
            digest = fingerprints.digest(text)
            if digest in result['files'][module]:
                continue  # so are its functions
            _check(result, release, module, source.Source(text),
                   wanted.get(module, ()))
            files = (result['files'] if release.name is None else changed)
            files.setdefault(module, {})[digest] = len(text)
        if release.name is not None:
            result['distributions']['%s %s' % release[1:3]] = changed
    result['patched'] = _get_patched(tree, opened)
    _keep(result, known)
    return result


def _key(release):
    """Return what to sort by: those of PyPI first, by number."""
    return (release.name or '', [release.version] if release.name else
            [int(n) for n in release.version.split('.')])


def _check(result, release, module, found, wanted) -> None:
    """Compare the functions of a module with those of the first release."""
    for name in sorted(wanted):
        value = found.fingerprint(name)
        if value is None:
            raise ValueError('Nova %s: %s has no %s'
                             % (release.version, module, name))
        first = result['functions'][module].setdefault(name, value)
        if first != value:
            raise ValueError('Nova %s: %s: %s is not that of Nova %s' % (
                release.version, module, name, result['releases'][0]))
    for name in result['additions'].get(module, ()):
        problem = found.find_problem(name)
        if problem:
            raise ValueError('Nova %s: %s: %s'
                             % (release.version, module, problem))


def _keep(result, known) -> None:
    for name, files in ((known or {}).get('distributions') or {}).items():
        if name in result['distributions']:
            continue
        result['distributions'][name] = {
            module: digests for module, digests in files.items()
            if module in result['files'] and
            all(known['functions'].get(module, {}).get(function) == value
                for function, value in
                result['functions'].get(module, {}).items()) and
            set(result['additions'].get(module, ())) <=
            set(known['additions'].get(module, ()))}


def main(argv: ty.Optional[ty.Sequence[str]] = None) -> int:
    """Run the command; :returns: exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('release', nargs='+',
                        help='a wheel of Nova, a .deb of it, or a folder in '
                             'which it is')
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--check', action='store_true',
                       help='compare with the table')
    group.add_argument('--refresh', action='store_true',
                       help='write the table')
    args = parser.parse_args(argv)
    known: ty.Dict[str, ty.Any] = {'releases': []}
    if os.path.exists(fingerprints.TABLE):
        known = fingerprints.table()
    try:
        made = collect(tree.tree(), args.release, known)
    except (OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    text = json.dumps(made, indent=1, sort_keys=False) + '\n'
    if args.refresh:
        with open(fingerprints.TABLE, 'w', encoding='utf-8') as f:
            f.write(text)
        print('%s: %d functions of Nova %s' % (
            fingerprints.TABLE, sum(map(len, made['functions'].values())),
            ', '.join(made['releases'])))
        return 0
    if not args.check:
        print(text, end='')
        return 0
    for release in made['releases']:
        print('%-8s %s' % (release, 'known' if release in known['releases']
                           else 'not in the table'))
    if made != known:
        print('The table is not that of these releases; make it again with '
              '--refresh.', file=sys.stderr)
        return 1
    print('The series fits: %d functions are the same in all of them.'
          % sum(map(len, made['functions'].values())))
    return 0


if __name__ == '__main__':
    sys.exit(main())
