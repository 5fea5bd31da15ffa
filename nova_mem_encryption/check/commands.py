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
import typing as ty

SECONDS = 30  # that a command may take


class NoAnswer(Exception):
    """There is none; the message says why, in a sentence."""

    def __init__(self, why: str, may_need_root: bool = False) -> None:
        super().__init__(why)
        self.may_need_root = may_need_root


class Late(NoAnswer):
    """It takes longer than SECONDS."""

    def __init__(self, name: str) -> None:
        super().__init__('%s did not answer in %d seconds.' % (name, SECONDS))


class Failed(NoAnswer):
    """It ended with an exit status; the message has the end of its stderr."""

    def __init__(self, name: str, status: int, stderr: bytes) -> None:
        lines = stderr.decode(errors='replace').split('\n')
        said = [re.sub('^error: ', '', line.strip()) for line in lines]
        super().__init__('%s: %s.' % (name, ' '.join(
            filter(None, said[-4:])).rstrip('.') or 'nothing, and ended with '
            'status %d' % status), may_need_root=True)


def get_environment() -> ty.Dict[str, str]:
    """Return the environment of commands: this one, in English."""
    return {**os.environ, 'LC_ALL': 'C.UTF-8', 'LANGUAGE': 'C'}


def run(*command: str) -> str:
    """Return what a command prints.

    It is run in '/': nothing of the current folder, which may be anybody's, is
    imported.

    :raises NoAnswer: if it fails, or takes longer than SECONDS
    """
    name = os.path.basename(command[0])
    if shutil.which(command[0]) is None:
        raise NoAnswer('There is no command %s.' % name)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=SECONDS, cwd='/',
            env=get_environment())
    except subprocess.TimeoutExpired as e:
        raise Late(name) from e
    except OSError as e:
        raise NoAnswer('%s cannot be run: %s.' % (name, e.strerror)) from e
    if done.returncode:
        raise Failed(name, done.returncode, done.stderr)
    return done.stdout.decode(errors='replace')
