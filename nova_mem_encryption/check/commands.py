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

"""Run commands whose output has answers."""
import os
import re
import shutil
import subprocess

SECONDS = 30  # that a command may take


class NoAnswer(Exception):
    """There is none; the message says why, in a sentence."""

    def __init__(self, why: str, may_need_root: bool = False) -> None:
        super().__init__(why)
        self.may_need_root = may_need_root


def run(*command: str, name: str = '') -> str:
    """Return what a command prints.

    It is run in '/': nothing of the current folder, which may be anybody's, is
    imported.

    :param name: of what it is, if not that of the command
    :raises NoAnswer: if it fails, or takes longer than SECONDS
    """
    name = name or os.path.basename(command[0])
    if shutil.which(command[0]) is None:
        raise NoAnswer('There is no command %s.' % name)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=SECONDS, cwd='/',
            env={**os.environ, 'LC_ALL': 'C.UTF-8', 'LANGUAGE': 'C'})
    except subprocess.TimeoutExpired as e:
        raise NoAnswer('%s did not answer in %d seconds.' % (
            name, SECONDS)) from e
    except OSError as e:
        raise NoAnswer('%s cannot be run: %s.' % (name, e.strerror)) from e
    if done.returncode:
        lines = done.stderr.decode(errors='replace').split('\n')
        said = [re.sub('^error: ', '', line.strip()) for line in lines]
        raise NoAnswer('%s: %s.' % (name, ' '.join(
            filter(None, said[-4:])).rstrip('.') or 'nothing, and ended with '
            'status %d' % done.returncode), may_need_root=True)
    return done.stdout.decode(errors='replace')
