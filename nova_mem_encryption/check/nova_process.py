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

"""Ask Nova, in a process of its own: to load it changes much.

It is loaded once: the process answers each question when it is asked. One that
fails, or takes too long, ends the process; the next has another.
"""
import json
import os
import select
import subprocess
import sys
import time
import typing as ty
import weakref

from nova_mem_encryption.check import commands

# NOTE: the folder of the package comes last. A checkout needs it; first, as -m
# has the current folder, it would hide what Python and Nova import.
ASK_NOVA = """\
import sys
sys.path.append(sys.argv[1])
from nova_mem_encryption.check import ask_nova
sys.exit(ask_nova.main(*sys.argv[2:]))
"""
PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


class Nova:
    """The Nova of this environment.

    :param options: '--config-file=PATH' and '--config-dir=PATH', absolute;
        none for the files that nova-compute reads
    """

    def __init__(self, options: ty.Sequence[str] = ()) -> None:
        self._options = options
        self._process: ty.Optional[_Process] = None

    def ask(self, what: str) -> str:
        """Return the answer to one of ask_nova.QUESTIONS.

        :raises commands.NoAnswer: if there is none
        """
        process = self._process or _Process(self._options)
        self._process = None  # should it fail
        answer = process.ask(what)
        self._process = process
        if 'error' in answer:
            raise commands.NoAnswer('%s: %s.' % (
                what, answer['error'].rstrip('.')), may_need_root=True)
        return answer['answer']


class _Process:
    """What runs ask_nova.main(), until it fails or is let go of."""

    def __init__(self, options: ty.Sequence[str]) -> None:
        # NOTE: a file, as a pipe that nobody reads would fill up.
        self._errors = open(os.memfd_create('stderr'), 'w+b')
        try:
            self._process = subprocess.Popen(
                [sys.executable, '-c', ASK_NOVA, PACKAGE, *options],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=self._errors, cwd='/', env=commands.get_environment())
        except OSError as e:
            raise commands.NoAnswer('%s cannot be run: %s.' % (
                sys.executable, e.strerror)) from e
        self._stdin = ty.cast(ty.IO[bytes], self._process.stdin).fileno()
        self._stdout = ty.cast(ty.IO[bytes], self._process.stdout).fileno()
        self._end = weakref.finalize(self, _end, self._process)

    def ask(self, what: str) -> ty.Dict[str, str]:
        """Return an 'answer' or an 'error'.

        :raises commands.NoAnswer: if the process ends, or takes longer than
            commands.SECONDS, and is ended
        """
        try:
            os.write(self._stdin, what.encode() + b'\n')
        except BrokenPipeError:
            pass  # it has ended, so there is nothing to read
        try:
            line = self._read_line()
        except TimeoutError as e:
            self._end()
            raise commands.Late(what) from e
        if not line.endswith(b'\n'):
            self._end()
            self._errors.seek(0)
            raise commands.Failed(what, self._process.returncode,
                                  self._errors.read())
        return json.loads(line)

    def _read_line(self) -> bytes:
        """Return an answer; its beginning, if the process has ended."""
        end = time.monotonic() + commands.SECONDS
        line = b''
        while not line.endswith(b'\n'):
            ready = select.select([self._stdout], [], [], max(
                0, end - time.monotonic()))[0]
            if not ready:
                raise TimeoutError
            data = os.read(self._stdout, 1 << 16)
            if not data:
                break
            line += data
        return line


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()
