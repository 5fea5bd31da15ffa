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

"""Get Debian 13's libvirt and QEMU, to lay over /usr of an imitated host.

    tools/sevhost/newer.py

prints the folder for the option --usr of sevhost.py.
"""
import os
import shutil
import subprocess
import sys

RELEASE = 'trixie'
PACKAGES = ['libvirt-clients', 'libvirt-daemon-driver-qemu',
            'libvirt-daemon-system', 'nftables', 'ovmf', 'qemu-system-x86',
            'qemu-utils']
FOLDER = os.path.join(sys.prefix, 'debian-' + RELEASE)


def get(folder):
    """Put them into a folder, if they are not there.

    :returns: the folder to lay over /usr
    """
    usr = os.path.join(folder, 'usr')
    if not os.path.exists(os.path.join(usr, 'sbin/libvirtd')):
        print('Getting libvirt and QEMU of Debian 13', file=sys.stderr,
              flush=True)
        # What was broken off is not taken for the whole.
        for path in (folder, folder + '.new'):
            shutil.rmtree(path, ignore_errors=True)
        subprocess.check_call([
            'mmdebstrap', '--quiet', '--variant=extract',
            '--include=' + ','.join(PACKAGES), RELEASE, folder + '.new'],
            stdout=sys.stderr)
        os.rename(folder + '.new', folder)
    return usr


if __name__ == '__main__':
    print(get(FOLDER))
