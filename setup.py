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

"""What setup.cfg cannot say: where the tree goes, and the switch."""
import os
import shutil

import setuptools
from setuptools.command import build_py
from setuptools.command import editable_wheel

# Read when an interpreter starts: the first by Python up to 3.17, the second
# from 3.15 on (PEP 829).
SWITCHES = ['nova_mem_encryption.pth', 'nova_mem_encryption.start']
# What 'nova-mem-encryption demo' is made of besides Nova's own fixtures
FIXTURES = 'nova_mem_encryption.nova.tests.fixtures'
DEMO = ['firmware', 'libvirt']
# For Glance, QEMU, systemd and apt, which are told where it is, or get a copy
SHARE = 'share/nova-mem-encryption'
# The commands print places of it, wherever they are.
PAGE = 'doc/source/troubleshooting.rst'


def find_data():
    """Return the files of etc/ and a page, by the folder for them."""
    return [(SHARE, [PAGE])] + [(SHARE + folder[len('etc'):], [
        os.path.join(folder, name) for name in files])
        for folder, _, files in sorted(os.walk('etc')) if files]


def copy_switches(folder):
    for name in SWITCHES:
        shutil.copyfile(name, os.path.join(folder, name))


class BuildPy(build_py.build_py):
    """Put the switch beside the package, and no test into it."""

    def find_package_modules(self, package, package_dir):
        found = super().find_package_modules(package, package_dir)
        return found if package != FIXTURES else [
            module for module in found if module[1] in DEMO]

    def run(self):
        if not self.editable_mode:
            # What is there of an older checkout would be installed, too.
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            copy_switches(self.build_lib)

    def get_outputs(self, include_bytecode=True):
        return super().get_outputs(include_bytecode) + [
            os.path.join(self.build_lib, name) for name in SWITCHES]


class EditableWheel(editable_wheel.editable_wheel):
    """Put it there for 'pip install -e' too, which copies no modules."""

    def _run_build_commands(self, dist_name, unpacked_wheel, *args):
        result = super()._run_build_commands(dist_name, unpacked_wheel, *args)
        copy_switches(unpacked_wheel)
        return result


# The tree must not be installed as nova/, which is Nova's.
setuptools.setup(
    packages=setuptools.find_packages(
        include=['nova_mem_encryption', 'nova_mem_encryption.*']) + [
        'nova_mem_encryption.' + package for package in
        setuptools.find_namespace_packages(
            include=['nova', 'nova.*'],
            exclude=['nova.tests', 'nova.tests.*'])] + [FIXTURES],
    package_dir={'nova_mem_encryption': 'nova_mem_encryption',
                 'nova_mem_encryption.nova': 'nova'},
    data_files=find_data(),
    cmdclass={'build_py': BuildPy, 'editable_wheel': EditableWheel},
)
