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

"""Test whether the series fits a Nova that is not installed."""
import json
import os
import random
import zipfile

import ddt
import fixtures

from nova.tests.fixtures import environment
from nova.tests.fixtures import packages
from nova.tests.unit import test_cli
from nova_mem_encryption.engine import packages as engine

OURS = 'setup_profiler'


def changed(text):
    return environment.changed(text, OURS)


@ddt.ddt
class FitsTest(test_cli.CommandTestCase):

    def setUp(self):
        super().setUp()
        self.folder = self.useFixture(fixtures.TempDir()).path

    def wheel(self, version='31.3.1', module=None, change=None):
        return packages.wheel(self.folder, version,
                              packages.contents(module, change))

    def unpacked(self, wheel, *place):
        folder = os.path.join(self.folder, 'unpacked')
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(os.path.join(folder, *place))
        return folder

    @ddt.data((), ('usr/lib/python3/dist-packages',),
              ('lib/python3.13/site-packages',))
    def test_a_folder_is_as_good_as_what_was_in_it(self, place):
        folder = self.unpacked(self.wheel('31.9.0'), *place)
        self.assertEqual(
            (0, '%s: Nova 31.9.0: the series fits\n' % folder, ''),
            self.call('fits', folder))

    @ddt.data('nova-31.0.0.egg-info', 'nova.egg-info')
    def test_the_version_may_be_in_an_egg_info(self, name):
        folder = self.unpacked(self.wheel('31.9.0'))
        os.rename(os.path.join(folder, 'nova-31.9.0.dist-info'),
                  os.path.join(folder, name))
        os.rename(os.path.join(folder, name, 'METADATA'),
                  os.path.join(folder, name, 'PKG-INFO'))
        self.assertIn(': Nova 31.9.0: ', self.call('fits', folder)[1])

    def test_the_version_of_a_source_tree_is_in_pkg_info(self):
        folder = self.unpacked(self.wheel('31.9.0'))
        os.rename(os.path.join(folder, 'nova-31.9.0.dist-info', 'METADATA'),
                  os.path.join(folder, 'PKG-INFO'))
        os.rmdir(os.path.join(folder, 'nova-31.9.0.dist-info'))
        self.assertIn(': Nova 31.9.0: ', self.call('fits', folder)[1])
        os.remove(os.path.join(folder, 'PKG-INFO'))
        self.assertIn(': Nova of unknown version: the series fits',
                      self.call('fits', folder)[1])

    def test_a_patch_of_something_else_is_named_and_fits(self):
        path = packages.deb(
            self.folder, 'python3-nova', '2:31.0.0-6+deb13u9',
            packages.contents('nova.service', lambda text: text + '\n'))
        code, out, err = self.call('fits', path)
        self.assertEqual((0, ''), (code, err))
        self.assertIn(': Nova 2:31.0.0-6+deb13u9: the series fits\n'
                      '  changed, but no function that the series is about: ',
                      out)
        self.assertIn('nova.service', out)

    def test_a_changed_function_is_named(self):
        for path in (self.wheel('31.3.1', 'nova.service', changed),
                     packages.deb(self.folder, 'python3-nova', '2:31.0.0-7',
                                  packages.contents('nova.service', changed))):
            code, out, err = self.call('fits', path)
            self.assertEqual((1, ''), (code, err))
            self.assertIn(': refused\nnova.service: %s\n  expected  ' % OURS,
                          out)
            self.assertIn('  file      nova/service.py\n', out)

    def test_it_is_what_the_gate_says_of_an_installed_one(self):
        wheel = self.wheel('31.3.1', 'nova.service', changed)
        env = self.useFixture(environment.Environment())
        env.write('nova/service.py', changed(env.read('nova/service.py')))
        status = json.loads(env.command('status', '--json').stdout)
        fits, = json.loads(self.call('fits', '--json', wheel)[1])
        for misfit in [*status['misfits'], *fits['misfits']]:
            del misfit['path']
        self.assertEqual(status['misfits'], fits['misfits'])
        self.assertEqual(status['state'], fits['state'])

    @ddt.data(('32.0.0', 0, 'not needed'), ('30.2.0', 1, 'refused'))
    @ddt.unpack
    def test_another_release(self, version, code, state):
        path = self.wheel(version, 'nova.service', changed)
        self.assertEqual(code, self.call('fits', path)[0])
        self.assertIn(': %s: Nova %s' % (state, version),
                      self.call('fits', path)[1])

    def test_a_backport(self):
        path = self.wheel('31.3.1', 'nova.objects.fields', lambda text: (
            text + '\n\nclass MemEncryptionModel:\n    pass\n'))
        code, out, _ = self.call('fits', path)
        self.assertEqual(1, code)
        self.assertIn(': backported: this Nova 31.3.1 has SEV-ES itself', out)

    def test_the_worst_of_several_counts_and_all_are_told(self):
        good, bad = self.wheel(), self.wheel('31.9.0', 'nova.service', changed)
        missing = os.path.join(self.folder, 'missing.whl')
        self.assertEqual(1, self.call('fits', bad, good)[0])
        code, out, err = self.call('fits', '--json', missing, bad, good)
        self.assertEqual(2, code)
        self.assertEqual([bad, good], [v['path'] for v in json.loads(out)])
        self.assertIn(missing, err)

    def test_a_package_without_nova(self):
        path = packages.deb(self.folder, 'nova-common', '2:31.0.0-6', {})
        self.assertEqual((2, '', '%s: no Nova in it\n' % path),
                         self.call('fits', path))

    def test_a_package_whose_data_cannot_be_unpacked(self):
        path = packages.deb(self.folder, 'python3-nova', '2:31.0.0-6', {})
        with open(path, 'rb') as f:
            data = f.read()
        at = data.rindex(b'\xfd7zXZ')  # where its data begin
        with open(path, 'wb') as f:
            f.write(data[:at] + b'\x28\xb5\x2f\xfd' + data[at + 4:])
        code, _, err = self.call('fits', path)
        self.assertEqual(2, code)
        self.assertIn("unpack it with 'dpkg-deb -x FILE FOLDER'", err)

    @ddt.data('wheel', 'deb')
    def test_a_damaged_archive_is_an_error(self, kind):
        files = {'nova/__init__.py': b'x = 1\n' * 200,
                 'nova/service.py': random.Random(1).randbytes(3000)}
        path = (packages.wheel(self.folder, '31.3.1', files)
                if kind == 'wheel' else
                packages.deb(self.folder, 'python3-nova', '31', files))
        with open(path, 'rb') as f:
            whole = f.read()
        random_ = random.Random(2)
        wrong = 0
        for number in range(300):
            data = bytearray(whole)
            if number % 3:
                for _ in range(random_.choice((1, 3, 20))):
                    data[random_.randrange(8, len(data))] = (
                        random_.randrange(256))
            else:
                del data[random_.randrange(len(data)):]
            with open(path, 'wb') as f:
                f.write(data)
            try:
                package = engine.open_package(path)
                package.find('nova.service')
            except (OSError, ValueError) as e:
                self.assertIn(path if isinstance(e, ValueError) else '',
                              str(e))
                wrong += 1
        self.assertGreater(wrong, 100)

    def test_where_nova_is_not_installed(self):
        env = self.useFixture(environment.Environment(nova=False))
        path = self.wheel()
        self.assertEqual(
            '%s: Nova 31.3.1: the series fits\n' % path,
            env.command('fits', path).stdout)
