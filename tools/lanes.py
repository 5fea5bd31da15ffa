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

"""Run all that tox runs by default, in two lanes at the same time.

What starts processes waits for them a third of its time, so it goes beside
the others. Each line is printed when it is written, after the name of its
lane; 'tox run-parallel' would print nothing before an environment ends.
"""
import os
import signal
import subprocess
import sys
import threading
import time

TOX = os.path.join(os.path.dirname(sys.executable), 'tox')
# NOTE: both build the package, in the same folder; but the first comes to it
# after the linters and the documentation.
LANES = {
    'tests': ('--skip-env', '^processes$'),
    'processes': ('-e', 'processes'),
}


class Lane(threading.Thread):
    """A run of tox, line by line.

    :param str name: what its lines begin with
    :param options: those of 'tox run'
    """

    printing = threading.Lock()

    def __init__(self, name, options):
        super().__init__(name=name)
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [TOX, 'run', *options], stdin=subprocess.DEVNULL, text=True,
            errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)

    def run(self):
        for line in self.process.stdout:
            self.say(line.rstrip('\n'))
        self.say('ended with exit status %d after %d s' % (
            self.process.wait(), time.monotonic() - self.begun))

    def say(self, text):
        """Print a line whole, whatever the other lane prints."""
        with self.printing:
            print('%-*s | %s' % (max(map(len, LANES)), self.name, text),
                  flush=True)


def run():
    """Run both lanes to their end; return the exit status: 0, or 1."""
    lanes = [Lane(*lane) for lane in LANES.items()]

    def interrupt(number, frame):
        # tox ends what it has started when it is interrupted.
        for lane in lanes:
            lane.process.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)
    # What the terminal sends, tox has got too.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return int(any(lane.process.returncode for lane in lanes))


if __name__ == '__main__':
    sys.exit(run())
