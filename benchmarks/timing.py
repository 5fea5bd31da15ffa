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

"""Time what is measured; or profile it, where that is asked for."""
import atexit
import cProfile
import os
import time

# Which benchmark is profiled, and where that is written
WANTED = os.environ.get('NOVA_BENCHMARK_PROFILE', '')
OUTPUT = os.environ.get('NOVA_BENCHMARK_OUTPUT', '')
_excluded = 0.0  # seconds
_stopped = None  # the time of the profile, while it stands still


def _get_time():
    """Return the time of the profile, which is without what is excluded."""
    return time.perf_counter() - _excluded if _stopped is None else _stopped


# To ask a function for the time takes time.
_profile = cProfile.Profile(_get_time) if 'alone' in WANTED else (
    cProfile.Profile())


class Section:
    """A context whose seconds are those of a benchmark.

    :param names: of the benchmark, and of others that are a part of it
    """

    def __init__(self, *names):
        self._profiled = WANTED in names
        self._begun = self.seconds = 0.0

    def __enter__(self):
        if self._profiled:
            # Not before, as a program that is started may write it.
            atexit.register(_profile.dump_stats, OUTPUT)
            _profile.enable()
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *args):
        self.seconds = time.perf_counter() - self._begun
        if self._profiled:
            _profile.disable()


class Excluded(Section):
    """A part of a section, which some of its benchmarks are without.

    :param names: of those
    """

    def __enter__(self):
        global _stopped
        if self._profiled:
            _stopped = _get_time()
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *args):
        global _stopped, _excluded
        self.seconds = time.perf_counter() - self._begun
        if self._profiled:
            _stopped, _excluded = None, _excluded + self.seconds
