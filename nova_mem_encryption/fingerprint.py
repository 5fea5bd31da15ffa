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

"""Fingerprints of the functions that the series wraps or leans on.

The table, fingerprints.json, is made by 'nova-mem-encryption fingerprints'
from the releases of Nova that the series is known to fit. It is read before
any module of Nova runs, so everything here works on source text alone.
"""
import ast
import hashlib
import json
import os
import textwrap
import typing as ty

TABLE = os.path.join(os.path.dirname(__file__), 'fingerprints.json')


class Misfit(ty.NamedTuple):
    """One function that is not the one the series was made for."""

    module: str
    function: str
    expected: str
    found: ty.Optional[str]  # None: there is no such function
    path: str


def digest(data: bytes) -> str:
    """Return the sha256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def functions(source: bytes) -> ty.Dict[str, str]:
    """Return the fingerprint of each function of a module.

    :param source: the text of the module
    :returns: 'function' or 'Class.function' to the sha256 of its dedented
        source text, decorators included
    :raises SyntaxError: if it is not the source of a Python module
    """
    # NOTE: lines of bytes, as Python counts them; those of str also end at
    # form feeds and the like.
    lines = source.splitlines(keepends=True)
    found = {}

    def visit(body, prefix):
        for node in body:
            if isinstance(node, ast.ClassDef):
                visit(node.body, prefix + node.name + '.')
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([node.lineno] + [
                    d.lineno for d in node.decorator_list])
                text = b''.join(lines[first - 1:node.end_lineno])
                found[prefix + node.name] = digest(
                    textwrap.dedent(text.decode('utf-8')).encode())

    visit(ast.parse(source).body, '')
    return found


def table() -> ty.Dict[str, ty.Any]:
    """Read the table: releases, files and functions that are known."""
    with open(TABLE, encoding='utf-8') as f:
        return json.load(f)


def is_known(
    known: ty.Mapping[str, ty.Any],
    module: str,
    path: ty.Optional[str],
) -> bool:
    """Tell whether a file is, to the byte, that of a known release.

    Then its functions need no look. That of a distribution with patches of
    its own is not, and may still have all the functions.

    :param known: what table() returned
    :param module: name of the module, 'nova.virt.hardware'
    :param path: the file that it would be imported from; None if there is
        none
    """
    try:
        with open(path or '', 'rb') as f:
            return digest(f.read()) in known['files'].get(module, [])
    except OSError:
        return False


def check(
    known: ty.Mapping[str, ty.Any],
    module: str,
    path: ty.Optional[str],
) -> ty.List[Misfit]:
    """Compare the functions of a module of the installed Nova with the table.

    :param known: what table() returned
    :param module: name of the module, 'nova.virt.hardware'
    :param path: the file that it would be imported from; None if there is
        none
    :returns: the functions that are not the known ones
    """
    expected = known['functions'].get(module, {})
    found: ty.Dict[str, str] = {}
    try:
        with open(path or '', 'rb') as f:
            found = functions(f.read())
    except (OSError, SyntaxError, UnicodeDecodeError):
        pass  # then there is no such function
    return [
        Misfit(module, name, value, found.get(name), path or '(no file)')
        for name, value in expected.items() if found.get(name) != value
    ]


def declared(source: str, module: str) -> ty.Dict[str, ty.Set[str]]:
    """Return what a file of the tree wraps and leans on.

    :param source: the text of the file
    :param module: the module of Nova that it extends
    :returns: module to names of functions
    :raises ValueError: if a wrap is written so that it cannot be read
    """
    tree = ast.parse(source)
    imported = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = (
                    '%s.%s' % (node.module, alias.name))
    result: ty.Dict[str, ty.Set[str]] = {}
    for node in tree.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            continue
        for call in node.decorator_list:
            if not (isinstance(call, ast.Call) and
                    ast.unparse(call.func) == 'overlay.wrap'):
                continue
            base, _, qualname = ast.unparse(call.args[0]).partition('.')
            where = imported.get(base)
            if where is None:
                raise ValueError('%s: overlay.wrap(%s) names no imported '
                                 'module' % (module, base))
            name = '.'.join(filter(None, [qualname, node.name]))
            result.setdefault(where, set()).add(name)
            for keyword in call.keywords:
                for other in ast.literal_eval(keyword.value):
                    elsewhere, _, function = other.rpartition(':')
                    result.setdefault(elsewhere or where, set()).add(function)
    return result


def sources(path: str) -> ty.Tuple[str, ty.Callable[[str], bytes]]:
    """Open a release of Nova: a wheel, or a folder that it is installed in.

    :param path: of the wheel, or of site-packages
    :returns: version, and a function that reads a file by its path below
    :raises ValueError: if there is no Nova
    """
    # NOTE: imported late: it takes locks, before eventlet has patched them.
    import zipfile

    names: ty.Iterable[str]
    if os.path.isdir(path):
        names = os.listdir(path)

        def read(name):
            with open(os.path.join(path, name), 'rb') as f:
                return f.read()
    else:
        try:
            archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as e:
            raise ValueError('%s: neither a folder nor a wheel' % path) from e
        names = {name.split('/')[0] for name in archive.namelist()}
        read = archive.read
    for name in names:
        if name.startswith('nova-') and name.endswith('.dist-info'):
            return name[len('nova-'):-len('.dist-info')], read
    raise ValueError('%s: no nova-*.dist-info in it' % path)


def collect(
    tree: ty.Mapping[str, str],
    releases: ty.Sequence[str],
) -> ty.Dict[str, ty.Any]:
    """Make the table.

    :param tree: the modules of the tree, name to file
    :param releases: paths of wheels or of site-packages
    :returns: the table
    :raises ValueError: if a function that is wrapped or leaned on differs
        between the releases, or does not exist in one
    """
    wanted: ty.Dict[str, ty.Set[str]] = {}
    for module, path in tree.items():
        with open(path, encoding='utf-8') as f:
            for name, found in declared(f.read(), module).items():
                wanted.setdefault(name, set()).update(found)
    result: ty.Dict[str, ty.Any] = {
        'releases': [], 'files': {m: [] for m in sorted(wanted)},
        'functions': {m: {} for m in sorted(wanted)}}
    opened = [sources(path) for path in releases]
    for version, read in sorted(
            opened, key=lambda o: [int(n) for n in o[0].split('.')]):
        result['releases'].append(version)
        for module in sorted(wanted):
            try:
                source = read(module.replace('.', '/') + '.py')
            except (FileNotFoundError, KeyError) as e:
                raise ValueError('Nova %s has no %s'
                                 % (version, module)) from e
            if digest(source) in result['files'][module]:
                continue  # so are its functions
            result['files'][module].append(digest(source))
            present = functions(source)
            for name in sorted(wanted[module]):
                if name not in present:
                    raise ValueError('Nova %s: %s has no %s'
                                     % (version, module, name))
                first = result['functions'][module].setdefault(
                    name, present[name])
                if first != present[name]:
                    raise ValueError(
                        'Nova %s: %s: %s is not that of Nova %s' % (
                            version, module, name, result['releases'][0]))
    return result
