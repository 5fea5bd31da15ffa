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

Whatever ends it, tox ends what it has started. Exit status: 0 all went well; 1
not all, or nobody reads what is printed; 128 and the number of the signal that
ended it.
"""
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

TOX = os.path.join(os.path.dirname(sys.executable), 'tox')
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# NOTE: both build the package, in the same folder; but the first comes to it
# after the linters and the documentation, and tox has it locked meanwhile.
LANES = {
    'tests': ('--skip-env', '^(processes|hosts)$'),
    'processes': ('-e', 'processes,hosts'),
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
        self.unsaid = None  # why a line could not be printed
        self.interrupted = False
        # NOTE: with a session of its own, tox gets from interrupt() what a
        # terminal would send, too, and gets it once.
        self.process = subprocess.Popen(
            [TOX, 'run', *options], stdin=subprocess.DEVNULL, text=True,
            errors='replace', stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True)

    def run(self):
        # NOTE: to the end, whoever reads it: tox has to write to end well.
        for line in self.process.stdout:
            self.say(line.rstrip('\n'))
        self.say('ended with exit status %d after %d s' % (
            self.process.wait(), time.monotonic() - self.begun))

    def say(self, text):
        """Print a line whole, whatever the other lane prints."""
        if self.unsaid is not None:
            return
        try:
            with self.printing:
                print('%-*s | %s' % (max(map(len, LANES)), self.name, text),
                      flush=True)
        except OSError as e:
            self.unsaid = e
            self.interrupt()

    def interrupt(self):
        """Have tox end what it has started, and then itself."""
        self.interrupted = True
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGINT)


def run():
    """Run both lanes to their end; return the exit status."""
    lanes, signals = [], []

    def interrupt(number, frame):
        signals.append(number)
        for lane in lanes:
            lane.interrupt()

    for number in SIGNALS:
        signal.signal(number, interrupt)
    for name, options in LANES.items():
        if not signals:
            lanes.append(Lane(name, options))
            # It may have come before the lane was one of them.
            if signals and not lanes[-1].interrupted:
                lanes[-1].interrupt()
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    unsaid = [lane.unsaid for lane in lanes if lane.unsaid is not None]
    if unsaid:
        print('lanes.py: interrupted, as nothing can be printed: %s' %
              unsaid[0], file=sys.stderr)
        # What is left to print would fail once more, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if signals:
        return 128 + signals[0]
    return int(bool(unsaid) or any(lane.process.returncode for lane in lanes))


if __name__ == '__main__':
    sys.exit(run())
