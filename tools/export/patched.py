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
"""A patched Nova, installed in an environment that has no project in it."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig

import series
import sources

sys.path.insert(0, os.path.join(series.TREE, 'tools', 'nova_tests'))
import run  # it is in that folder
import test_nova

# What the new environment does not get of this one
WITHHELD = re.compile(r'(nova|nova[-_]mem[-_]encryption|__editable__.*nova.*)'
                      r'(-[\d.].*|\..*)?$')
PACKAGE = 'nova_mem_encryption'
# Imports each module, and prints which are there and why others are not
IMPORT = """
import importlib, json, sys, traceback
wrong = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception:
        wrong[name] = traceback.format_exc()
json.dump({'wrong': wrong, 'package': sorted(
    name for name in sys.modules if name.startswith(%r))}, sys.stdout)
""" % PACKAGE


class Patched:
    """A Nova of a release, with more and more patches.

    :param folder: of the environment, which is made
    :param wheel: path of Nova's
    """

    def __init__(self, folder, wheel):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, '-m', 'venv', '--without-pip',
                        folder], check=True)
        self.folder, self.wheel = folder, wheel
        self.python = os.path.join(folder, 'bin', 'python')
        self.site, = glob.glob(os.path.join(
            folder, 'lib', 'python3.*', 'site-packages'))
        for base in {sysconfig.get_path('purelib'),
                     sysconfig.get_path('platlib')}:
            for name in os.listdir(base):
                if not WITHHELD.match(name):
                    os.symlink(os.path.join(base, name),
                               os.path.join(self.site, name))
        sources.unpack(wheel, self.site)
        # Nova's tests look for it there.
        data, = glob.glob(os.path.join(self.site, 'nova-*.data', 'data'))
        os.rename(os.path.join(data, 'etc'), os.path.join(self.site, 'etc'))
        self.patches = []

    def apply(self, patch):
        """Apply a patch. :raises series.Wrong: if it does not apply"""
        try:
            series.apply(self.site, patch.text)
        except series.Wrong as e:
            raise series.Wrong('%s: %s' % (patch.name, e)) from e
        self.patches.append(patch)

    def compile(self):
        """Compile all of Nova, as its tests would in each process."""
        self.ask('-m', 'compileall', '-q', '-j0',
                 os.path.join(self.site, 'nova'))

    @property
    def environ(self):
        """What its interpreter and its tests are run with."""
        environ = {name: value for name, value in os.environ.items()
                   if name not in ('CI', 'PYTHONPATH', 'PYTHONHOME',
                                   'NOVA_MEM_ENCRYPTION')}
        return {**environ, 'PYTHONNOUSERSITE': '1', 'no_proxy': '*',
                'PYTHONDONTWRITEBYTECODE': '1',
                'OS_WSGI__API_PASTE_CONFIG': os.path.join(
                    self.site, 'etc', 'nova', 'api-paste.ini')}

    def ask(self, *arguments):
        """Run its interpreter; return exit status, stdout and stderr."""
        done = subprocess.run([self.python, *arguments], env=self.environ,
                              cwd=self.folder, text=True, capture_output=True)
        return done.returncode, done.stdout, done.stderr

    def see_absence(self):
        """Return how the project's package cannot be imported.

        :raises series.Wrong: if it can be
        """
        code, _, said = self.ask('-c', 'import %s' % PACKAGE)
        last = said.strip().splitlines()[-1:]
        if not code or not last[0].startswith('ModuleNotFoundError'):
            raise series.Wrong('%s can be imported where it must not be'
                               % PACKAGE)
        return last[0]

    def see_imports(self, modules):
        """Return the modules that cannot be imported, with why.

        :raises series.Wrong: if the interpreter ends, or one of them imports
            the project's package
        """
        code, out, said = self.ask('-c', IMPORT, *modules)
        if code:
            raise series.Wrong(said.strip())
        found = json.loads(out[out.index('{"wrong"'):])
        if found['package']:
            raise series.Wrong('they import %s' % found['package'])
        return found['wrong']

    def see_compiled(self, paths):
        """Compile files. :raises series.Wrong: if one does not compile"""
        code, out, said = self.ask('-m', 'py_compile', *(
            os.path.join(self.site, path) for path in paths))
        if code:
            raise series.Wrong((out + said).strip())

    def run_tests(self, name, concurrency, pattern=None, modules=None):
        """Run tests in it.

        :param name: of a suite of Nova's, or how modules are called
        :param modules: names of modules to be run in place of the suite
        :returns: run.Results
        """
        environ = self.environ
        if modules is not None:
            environ[test_nova.MODULES] = ' '.join(modules)
        return run.run(name, concurrency, pattern, self.python, environ)


def get_modules(paths):
    """Return the names of the modules of files of Nova, tests aside."""
    return [path[:-len('.py')].replace('/', '.').replace('.__init__', '')
            for path in paths if path.startswith('nova/') and
            path.endswith('.py') and not path.startswith('nova/tests/')]


def get_test_modules(paths, suite):
    """Return the names of the test modules among files, of one suite."""
    return sorted(path[:-len('.py')].replace('/', '.') for path in paths
                  if path.startswith('nova/tests/%s/' % suite) and
                  re.match(r'test_\w+\.py$', os.path.basename(path)))
