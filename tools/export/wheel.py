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
"""Make the wheel of a patched Nova.

    tools/export/wheel.py FOLDER [--release 31.3.1]

It is Nova's wheel with what runs of the series, and is installed in place of
it: tools/cloud and tools/sevhost take the Nova that is installed.
"""
import argparse
import base64
import hashlib
import os
import sys
import tempfile
import zipfile

import series
import sources

ROW = '%s,sha256=%s,%d\n'


def pack(folder, path):
    """Pack what a wheel was unpacked to, with a record of its files."""
    record = None
    rows = []
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as made:
        for name in sorted(series.get_texts(folder)):
            with open(os.path.join(folder, name), 'rb') as f:
                data = f.read()
            if name.endswith('.dist-info/RECORD'):
                record = name
                continue
            digest = base64.urlsafe_b64encode(
                hashlib.sha256(data).digest()).decode().rstrip('=')
            rows.append(ROW % (name, digest, len(data)))
            made.write(os.path.join(folder, name), name)
        made.writestr(record, ''.join(rows) + '%s,,\n' % record)


def main():
    """Make it; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('folder', metavar='FOLDER', help='where it is to be')
    sources.add_release(parser)
    sources.add_wheels(parser)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='wheel-') as folder:
        try:
            wheel = sources.get_wheel(args.release, args.wheels)
            made = os.path.join(args.folder, os.path.basename(wheel))
            if os.path.exists(made):
                raise series.Wrong('%s is there already; give another folder'
                                   % made)
            series.write(os.path.join(folder, 'patches'), wheel)
            tree = sources.unpack(wheel, os.path.join(folder, 'nova'))
            for patch in series.read(os.path.join(folder, 'patches')):
                if patch.runs:
                    series.apply(tree, patch.text)
            os.makedirs(args.folder, exist_ok=True)
            pack(tree, made)
        except series.Wrong as e:
            print(e, file=sys.stderr)
            return 1
    print(made)
    return 0


if __name__ == '__main__':
    sys.exit(main())
