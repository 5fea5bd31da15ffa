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

"""Say what the lines of a log mean, for 'nova-mem-encryption explain'."""
import typing as ty

from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption.launch_errors import meanings
from nova_mem_encryption.nova.mem_encryption import pages

# Of a line, in bytes: no program says more in one, and a file may have none
LONGEST = 1 << 16
# A line that follows from another is so near to it.
NEAR = 5
# Of the lines that are of memory encryption, and that nothing knows
MOST_UNKNOWN = 20
HEADS = {True: 'This host cannot start the guest: ',
         False: 'No host can start this server: ', None: ''}


class Explanation:
    """A cause, and the last line that tells it."""

    def __init__(self, cause: causes.Cause) -> None:
        self.cause = cause
        self.line, self.why = '', ''
        self.number = self.times = 0
        self.follows = True

    def add(self, meaning: meanings.Meaning, number: int) -> None:
        """Count a line with this cause."""
        self.line, self.why = meaning.line, meaning.why
        self.number = number
        self.times += 1
        self.follows = self.follows and meaning.follows

    def show(self) -> ty.Dict[str, ty.Any]:
        """Return it for people and machines."""
        return {'meaning': HEADS[self.cause.elsewhere] + self.cause.reason,
                'why': self.why, 'remedy': self.cause.remedy,
                'see': pages.locate('cause', meanings.NAMES[self.cause]),
                'elsewhere': self.cause.elsewhere, 'line': self.line,
                'number': self.number, 'times': self.times}


def explain(stream: ty.BinaryIO) -> ty.Dict[str, ty.Any]:
    """Return what a log means.

    :param stream: of bytes; it is read line by line
    :returns: explanations, the last first, but those that only follow from
        another after the others; and the lines that are of memory encryption,
        and that nothing knows
    """
    found: ty.Dict[causes.Cause, Explanation] = {}
    unknown: ty.Dict[str, ty.Dict[str, ty.Any]] = {}
    # said: the last line that says why
    number, said, begins = 0, -NEAR - 1, True
    while True:
        raw = stream.readline(LONGEST)
        if not raw:
            break
        number += begins
        begins = raw.endswith(b'\n')
        line = raw.decode(errors='replace')
        if not meanings.may_mean(line):
            continue
        meaning = meanings.find_in_line(line)
        if meaning is not None:
            if not meaning.follows:
                said = number
            elif number - said <= NEAR:
                continue
            found.setdefault(meaning.cause, Explanation(meaning.cause)).add(
                meaning, number)
            continue
        for text in meanings.find_unknown(line):
            entry = unknown.pop(text, {'line': text, 'times': 0})
            entry.update(number=number, times=entry['times'] + 1)
            unknown[text] = entry
            if len(unknown) > MOST_UNKNOWN:
                del unknown[next(iter(unknown))]
    return {
        'explanations': [each.show() for each in sorted(
            found.values(), key=lambda each: (each.follows, -each.number))],
        'unknown': list(unknown.values())}
