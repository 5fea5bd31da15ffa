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

"""Make the environments that are compared, and start MariaDB."""
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(HERE)
# NOTE: Placement and all libraries are the same in all of them, as is what
# runs the benchmarks, so that the difference is Nova's. Nova 32 needs newer
# ones than those of 2025.1; Nova 31 takes them.
COMMON = ['-r', os.path.join(HERE, 'nova-requirements.txt')]
CONSTRAINTS = [  # the first that names a package
    os.path.join(TREE, 'tools', 'cloud', 'constraints-2025.2.txt'),
    os.path.join(TREE, 'constraints-2025.1.txt')]
NOVA = {'nova31': '31.3.1', 'series': '31.3.1', 'nova32': '32.2.1'}
START_SECONDS = 60


def prepare(tell):
    """Make what is missing; return the Python of each environment.

    One is made again when what it is made of has changed. The series is
    installed again each time, as it may be another.

    :param tell: called with what is done
    """
    pythons = {}
    constraints = _merge_constraints()
    for name, release in NOVA.items():
        folder = os.path.join(sys.prefix, name)
        pythons[name] = os.path.join(folder, 'bin', 'python')
        made_of = describe(release, constraints)
        if _read(os.path.join(folder, 'ready')) != made_of:
            tell('making environment ' + name)
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.check_call([sys.executable, '-m', 'venv', folder])
            with tempfile.NamedTemporaryFile('w', suffix='.txt') as f:
                f.write(constraints)
                f.flush()
                _pip(pythons[name], '-c', f.name, 'nova==' + release, *COMMON)
            with open(os.path.join(folder, 'ready'), 'w') as f:
                f.write(made_of)
    tell('installing the series')
    _pip(pythons['series'], '--no-deps', '--force-reinstall', TREE)
    return pythons


def describe(release, constraints):
    """Return all that an environment is made of, as text.

    :param str release: of Nova
    :param str constraints: what is handed to pip
    """
    return '\n'.join(['Python ' + sys.version, 'nova==' + release,
                      _read(COMMON[1]), constraints])


def _read(path):
    """Return the text of a file, none if there is no such file."""
    try:
        with open(path) as f:
            return f.read()
    except FileNotFoundError:
        return ''


def _merge_constraints():
    names, found = {'nova'}, []
    for file in CONSTRAINTS:
        with open(file) as f:
            lines = [line for line in f if line[0] != '#' and
                     line.partition('=')[0] not in names and not (
                         file == CONSTRAINTS[0] and line.startswith(
                             'openstack-placement='))]
        names |= {line.partition('=')[0] for line in lines}
        found += lines
    return ''.join(found)


def _pip(python, *arguments):
    subprocess.check_call([
        python, '-m', 'pip', '-q', '--disable-pip-version-check', 'install',
        *arguments], stdout=sys.stderr)


@contextlib.contextmanager
def mariadb():
    """Run a MariaDB of its own; give its URL, None if it is not installed."""
    if not shutil.which('mariadbd') or not shutil.which('mariadb-install-db'):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix='nova-benchmarks-') as folder:
        data, socket = (os.path.join(folder, n) for n in ('data', 'socket'))
        options = ['--no-defaults', '--datadir=' + data]
        if os.geteuid() == 0:
            options.append('--user=root')
        with open(os.path.join(folder, 'log'), 'w+') as log:
            subprocess.check_call([
                'mariadb-install-db', *options, '--skip-test-db',
                '--auth-root-authentication-method=normal'],
                stdout=log, stderr=log)
            script = os.path.join(folder, 'init')
            with open(script, 'w') as f:
                f.write('CREATE DATABASE placement CHARACTER SET utf8;\n')
            process = subprocess.Popen([
                'mariadbd', *options, '--socket=' + socket, '--init-file=' +
                script, '--skip-networking', '--pid-file=' + socket + '.pid',
                '--innodb-flush-log-at-trx-commit=0'], stdout=log, stderr=log)
            try:
                end = time.monotonic() + START_SECONDS
                while not os.path.exists(socket):
                    if process.poll() is not None or time.monotonic() > end:
                        log.seek(0)
                        raise RuntimeError('no MariaDB: ' + log.read()[-2000:])
                    time.sleep(0.1)
                yield ('mysql+pymysql://root@localhost/placement?charset=utf8'
                       '&unix_socket=' + socket)
            finally:
                process.terminate()
                process.wait()
