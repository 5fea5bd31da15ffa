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

"""Write the constraints of what tox installs, for each Python.

    tools/constraints.py UPPER PYTHON... > constraints-2025.1.txt

UPPER is the file upper-constraints.txt of OpenStack's release, PYTHON the
interpreters of all versions that the project is for. Nothing is installed.
"""
import json
import re
import subprocess
import sys
import tempfile

# What the release pins and should not be used, with the reason
DROPPED = {
    'fixtures': '4.2.4.post1 was yanked',
    'libvirt-python': 'a later one is built with any libvirt',
    'selenium': '3.141.0 is of 2018',
    'yaql': 'it wants pkg_resources, which setuptools has no more',
}
# What the release does not pin, but has
RELEASE = ['glance>=30.0.0,<31', 'nova==31.3.1',
           'openstack-placement>=13.0.0,<14']
# What tools/with_packages.py installs
LATER = ['libvirt-python>=7.8.0']
FILES = ['requirements.txt', 'test-requirements.txt', 'doc/requirements.txt',
         'benchmarks/requirements.txt', 'tools/automation/requirements.txt',
         'tools/cloud/requirements.txt', 'tools/export/requirements.txt',
         'tools/monitoring/requirements.txt']


def resolve(python, upper):
    """Return name to version of what pip would install."""
    command = [python, '-m', 'pip', 'install', '--dry-run',
               '--ignore-installed', '--quiet', '--report', '-',
               '-c', upper, 'tox'] + RELEASE + LATER
    for file in FILES:
        command += ['-r', file]
    report = json.loads(subprocess.check_output(command))
    return {item['metadata']['name'].lower().replace('_', '-'):
            item['metadata']['version'] for item in report['install']}


def main(upper, *pythons):
    """Print the file."""
    found = {}
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as f:
        for line in open(upper):
            if re.split('=', line)[0].lower() not in DROPPED:
                f.write(line)
        f.flush()
        for python in pythons:
            version = subprocess.check_output(
                [python, '-c', 'import sys; print("%d.%d" % '
                 'sys.version_info[:2])'], text=True).strip()
            for name, pin in resolve(python, f.name).items():
                found.setdefault(name, {}).setdefault(pin, []).append(version)
    print("# What tox installs. Made by 'tools/constraints.py UPPER PYTHON...'"
          '\n# from the upper-constraints.txt of OpenStack 2025.1.')
    for name, pins in sorted(found.items()):
        for pin, versions in pins.items():
            # NOTE: a package that not all of them need is in nobody's way.
            markers = '' if len(pins) == 1 else '; ' + ' or '.join(
                "python_version == '%s'" % version for version in versions)
            print('%s==%s%s' % (name, pin, markers))


if __name__ == '__main__':
    main(*sys.argv[1:])
