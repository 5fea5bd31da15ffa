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

"""Where a check has its facts from: this host, or one that was recorded."""
import contextlib
import json
import os
import re
import typing as ty

import jsonschema

from nova_mem_encryption.check import commands
from nova_mem_encryption.check import nova_process
from nova_mem_encryption.check import questions
from nova_mem_encryption.nova.mem_encryption.host import files

MOST_BYTES = 4 << 20  # of a file or an answer
ROOT_ONLY = 'Run this as root.'
RECORD_AGAIN = ("Record the host again, as root in the environment of "
                "nova-compute: 'nova-mem-encryption check --record DIR'.")
# What is to be run on a host, at the end of what is recorded of it
RUN = re.compile(r'( Run [^.]+\.)+$')
# Of a recorded host: its files, by their paths, and its answers
FILES, COMMANDS = 'root', 'commands'
UNREADABLE = '.error'  # suffix of why there is no answer


class Unanswered(Exception):
    """A fact cannot be had; the message says why, in a sentence."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return (ROOT_ONLY if str(self).endswith(ROOT_ONLY) else
                'Correct that, and run this again.')


class Missing(Unanswered):
    """It cannot, as there is no such file, or a question has no answer."""


class NotRecorded(Missing):
    """An older version, which did not ask that, has recorded the host."""


class Host:
    """What checks ask. Each question is asked once."""

    root = '/'  # folder of the host's files

    def __init__(self) -> None:
        self._answers: ty.Dict[str, ty.Union[str, Unanswered]] = {}

    def read(self, path: str) -> str:
        """Return the text of a file.

        :param path: absolute, as on the host
        :raises Missing: if there is none
        :raises Unanswered: if it cannot be read
        """
        try:
            with files.open_regular(
                    files.locate(self.root, path)) as (f, _):
                return _decode(path, f.read(MOST_BYTES + 1))
        except files.Unfit as e:
            if isinstance(e.__cause__, (FileNotFoundError,
                                        NotADirectoryError)):
                raise Missing('There is no %s.' % path) from e
            hint = ''
            if isinstance(e.__cause__, PermissionError):
                hint = ' ' + ROOT_ONLY
            raise Unanswered('%s: %s.%s' % (path, e, hint)) from e

    def ask(self, name: str) -> str:
        """Return the answer to one of questions.QUESTIONS.

        :raises Unanswered: if there is none
        """
        if name not in self._answers:
            try:
                self._answers[name] = self._ask(name)
            except Unanswered as e:
                self._answers[name] = e
        answer = self._answers[name]
        if isinstance(answer, Unanswered):
            raise answer
        return answer

    def _ask(self, name: str) -> str:
        raise NotImplementedError

    def again(self, how: str) -> str:
        """Return the remedy where check is to be run again.

        :param how: what to do before, or as whom to run it; sentences
        """
        return how

    def ask_json(self, name: str) -> ty.Any:
        """Return an answer that is JSON, parsed and checked.

        :raises Unanswered: if there is none, or it is not what it should be
        """
        try:
            answer = json.loads(self.ask(name))
            wrong = next(jsonschema.Draft7Validator(
                questions.QUESTIONS[name].schema).iter_errors(answer), None)
        except ValueError as e:
            raise Unanswered('%s: it is no JSON: %.60s.' % (name, e)) from e
        except RecursionError as e:
            raise Unanswered('%s: it is too deep.' % name) from e
        if wrong is not None:
            raise Unanswered('%s: %s: %.100s.' % (
                name, wrong.json_path, wrong.message))
        return answer


class Live(Host):
    """This host.

    :param options: '--config-file=PATH' and '--config-dir=PATH', absolute;
        none for the files that nova-compute reads
    :param waiting: called with who is asked what may take long, returns a
        context manager for as long as that takes
    """

    def __init__(self, options: ty.Sequence[str] = (),
                 waiting: ty.Callable[[str], ty.ContextManager[ty.Any]] =
                 contextlib.nullcontext) -> None:
        super().__init__()
        self._nova = nova_process.Nova(options)
        self._waiting = waiting

    def _ask(self, name: str) -> str:
        question = questions.QUESTIONS[name]
        waiting = (self._waiting(question.awaited) if question.awaited else
                   contextlib.nullcontext())
        try:
            with waiting:
                return question.answer(self._nova)
        except commands.NoAnswer as e:
            hint = ''
            if e.may_need_root and os.geteuid() != 0:
                hint = ' ' + ROOT_ONLY
            raise Missing(str(e) + hint) from e


class Recorded(Host):
    """A host that 'check --record' made a folder of.

    :param folder: that one
    :raises Unanswered: if it is none
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder
        self.root = os.path.join(folder, FILES)
        for name in (FILES, COMMANDS):
            try:
                found = os.path.isdir(files.locate(folder, name))
            except files.Unfit as e:
                raise Unanswered('%s: %s.' % (
                    os.path.join(folder, name), e)) from e
            if not found:
                raise Unanswered(
                    'There is no folder %s in %s. Give a folder that '
                    "'nova-mem-encryption check --record' has made."
                    % (name, folder))

    def read(self, path: str) -> str:
        """Return the text of a file; it may say why there is none."""
        try:
            return super().read(path)
        except Missing:
            why = self._read_if_any(FILES + path + UNREADABLE)
            if why is None:
                raise
            raise Unanswered(RUN.sub('', why)) from None

    def _ask(self, name: str) -> str:
        path = os.path.join(COMMANDS, name)
        answer = self._read_if_any(path)
        if answer is not None:
            return answer
        why = self._read_if_any(path + UNREADABLE)
        if why is None and questions.QUESTIONS[name].newer:
            raise NotRecorded('That was not recorded: %s.' % name)
        raise Missing(RUN.sub('', why or '') or
                      'That was not recorded: %s.' % name)

    def again(self, how: str) -> str:
        """Return the remedy where check is to be run again: elsewhere."""
        return RECORD_AGAIN

    def _read_if_any(self, path: str) -> ty.Optional[str]:
        try:
            with files.open_regular(
                    files.locate(self.folder, path)) as (f, _):
                return _decode(path, f.read(MOST_BYTES + 1)).strip()
        except files.Unfit as e:
            if isinstance(e.__cause__, (FileNotFoundError,
                                        NotADirectoryError)):
                return None
            raise Unanswered('%s: %s.' % (path, e)) from e


def _decode(path: str, data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise Unanswered('%s has more than %d bytes.' % (path, MOST_BYTES))
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise Unanswered('%s is not text.' % path) from e
