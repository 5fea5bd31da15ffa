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

"""What can go wrong between nova-compute, Placement and libvirt."""
import collections
import json
import sqlite3
import sys

import eventlet
import fixtures
from keystoneauth1 import exceptions as ks_exc
from oslo_concurrency import lockutils
from placement import db_api
import requests

from nova.scheduler.client import report
from nova.tests.fixtures import libvirt as fakelibvirt

READS, WRITES = ('get',), ('post', 'put', 'delete')

#: A call that a fault befalls: its name, and what does it
Call = collections.namedtuple('Call', 'name perform')


class Killed(BaseException):
    """The end of a process, as nothing catches it."""


def _respond(status):
    response = requests.Response()
    response.status_code = status
    return response


def stop(faults, call):
    faults.dead = True
    faults.die()


def stop_after(faults, call):
    call.perform()
    stop(faults, call)


def _time_out(faults, call):
    raise ks_exc.ConnectTimeout()


def _disconnect(faults, call):
    raise ks_exc.ConnectFailure()


def _lose_answer(faults, call):
    call.perform()
    raise ks_exc.ConnectTimeout()


def _fail(faults, call):
    return _respond(500)


def _fail_after(faults, call):
    call.perform()
    return _respond(500)


def _refuse_service(faults, call):
    return _respond(503)


def _conflict(faults, call):
    """Let somebody else write first, so that Placement answers 409."""
    faults.touch()
    return call.perform()


def _answer_of_old(faults, call):
    """Give the generations of before, as a read of stale data does."""
    response = call.perform()
    if response.content:
        response._content = json.dumps(_age(response.json())).encode()
    return response


def _age(found):
    if isinstance(found, list):
        return [_age(value) for value in found]
    if not isinstance(found, dict):
        return found
    return {name: max(value - 1, 0)
            if name.endswith('generation') and value is not None
            else _age(value) for name, value in found.items()}


def _restart_libvirt(faults, call):
    """Fail as libvirt's client does whose libvirtd went away."""
    raise fakelibvirt.make_libvirtError(
        fakelibvirt.libvirtError, 'Cannot recv data: Connection reset by peer',
        error_code=fakelibvirt.VIR_ERR_SYSTEM_ERROR,
        error_domain=fakelibvirt.VIR_FROM_RPC)


def _restart_libvirt_after(faults, call):
    call.perform()
    _restart_libvirt(faults, call)


#: What befalls a call of libvirt
OF_LIBVIRT = {
    'stopped before': stop,
    'stopped after': stop_after,
    'libvirt restarts': _restart_libvirt,
    'libvirt restarts, though done': _restart_libvirt_after,
}
#: What befalls which calls of Placement
OF_PLACEMENT = {
    'stopped before': (WRITES, stop),
    'stopped after': (WRITES, stop_after),
    'conflict': (WRITES, _conflict),
    'old generation': (READS, _answer_of_old),
    '500': (READS + WRITES, _fail),
    '500, though done': (WRITES, _fail_after),
    '503': (WRITES, _refuse_service),
    'timeout': (READS + WRITES, _time_out),
    'timeout, though done': (WRITES, _lose_answer),
    'no connection': (READS + WRITES, _disconnect),
}


class Faults(fixtures.Fixture):
    """Let one call of Placement, or of something else, go wrong.

    Nova calls the real Placement, past what Nova's PlacementFixture puts in
    the place of its client.

    :param touch: a function that lets somebody else write to Placement
    :param bool freeze: whether a thread of a process that was stopped does
        nothing any more, and not even clean up; else it raises Killed
    """

    def __init__(self, touch, freeze=False):
        super().__init__()
        self.touch = touch
        self.freeze = freeze
        self.runs = 0  # in which a fault happened
        self.arm()

    def _setUp(self):
        for verb in READS + WRITES:
            self.watch(report.SchedulerReportClient, verb)

    def watch(self, target, name):
        """Count the calls of a function, and let faults befall them."""
        upstream = getattr(target, name)

        def function(*args, **kwargs):
            if self.dead:
                self.die()
            self.calls.append(name)
            call = Call(name, lambda: upstream(*args, **kwargs))
            if len(self.calls) - 1 != self.at:
                return call.perform()
            self.happened = True
            self.runs += 1
            return self.fault(self, call)
        self.useFixture(fixtures.MonkeyPatch(
            '%s.%s.%s' % (target.__module__, target.__qualname__, name),
            function))

    def die(self):
        if self.freeze:
            # What it has locked is locked no more.
            lockutils._semaphores = lockutils.Semaphores()
            eventlet.event.Event().wait()
        raise Killed()

    def tell(self, what):
        """Print what was tried, for .ci/run to add up."""
        print('%d faulted runs: %s' % (self.runs, what), file=sys.__stderr__)

    def arm(self, fault=None, at=None):
        """Let a fault happen.

        :param fault: a function, as those of OF_PLACEMENT; None for none
        :param int at: number of the call that it befalls, from now on
        """
        self.fault, self.at = fault, at
        self.calls = []
        self.dead = self.happened = False


def _with_database(function):
    """Call a function with the database of Placement."""
    connection = db_api.get_placement_engine().raw_connection()
    try:
        return function(connection.driver_connection)
    finally:
        connection.close()


class PlacementState:
    """What Placement has stored, to go back to it."""

    def __init__(self):
        self.copy = sqlite3.connect(':memory:', check_same_thread=False)
        _with_database(lambda database: database.backup(self.copy))

    def restore(self):
        _with_database(self.copy.backup)


INVENTORY = ('total', 'reserved', 'min_unit', 'max_unit', 'step_size',
             'allocation_ratio')
OF_PROVIDER = 'JOIN resource_providers p ON p.id = resource_provider_id '
OF_CLASS = 'JOIN resource_classes c ON c.id = resource_class_id '


def read_placement():
    """Return what Placement has stored, but for what is new with each run.

    Its API tells the same, by a dozen requests that take a hundred times as
    long.

    :returns: provider's name to a dict: its parent's name, inventory, traits,
        and allocations, consumer to resources
    """
    return _with_database(_read)


def _read(database):
    execute = database.cursor().execute
    shape = {name: {'parent': parent, 'inventory': {}, 'traits': [],
                    'allocations': {}} for name, parent in execute(
        'SELECT p.name, parent.name FROM resource_providers p '
        'LEFT JOIN resource_providers parent '
        'ON parent.id = p.parent_provider_id')}
    for provider, resource, *values in execute(
            'SELECT p.name, c.name, %s FROM inventories %s' % (
                ', '.join(INVENTORY), OF_PROVIDER + OF_CLASS)):
        shape[provider]['inventory'][resource] = dict(zip(INVENTORY, values))
    for provider, trait in execute(
            'SELECT p.name, t.name FROM resource_provider_traits %s'
            'JOIN traits t ON t.id = trait_id ORDER BY t.name' % OF_PROVIDER):
        shape[provider]['traits'].append(trait)
    for provider, consumer, resource, used in execute(
            'SELECT p.name, consumer_id, c.name, used FROM allocations %s' % (
                OF_PROVIDER + OF_CLASS)):
        shape[provider]['allocations'].setdefault(
            consumer, {})[resource] = used
    return shape
