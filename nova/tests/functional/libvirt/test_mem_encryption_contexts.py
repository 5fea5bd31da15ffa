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

"""Test that what is known within a request is known to no other.

What the series cannot pass on by parameters is in context variables. Each
greenthread has its own, and a new one starts with none.
"""
import contextlib
import contextvars
import os
import random
import re
import sys

import ddt
import eventlet
import fixtures
import greenlet
from testtools import matchers

from nova.scheduler import utils as scheduler_utils
from nova.tests.fixtures import firmware as fake
from nova.tests.functional.libvirt import mem_encryption as base
from nova.tests.functional.libvirt import test_mem_encryption_limits as limits
from nova import utils
from nova.virt.libvirt import driver

from nova_mem_encryption.engine import ledger
from nova_mem_encryption.engine import tree
from nova_mem_encryption.engine import verbs
from nova_mem_encryption.nova.mem_encryption.compute import starts

#: What servers ask for: model, extra specs, image properties
REQUESTS = (
    (None, {}, {}),
    ('amd-sev', base.SEV_SPECS, {}),
    ('amd-sev-es', base.ES_SPECS, {}),
    ('amd-sev', {}, base.SEV_PROPERTIES),
    ('amd-sev-es', {}, base.ES_PROPERTIES),
)


class ContextsTestBase(limits.LimitsTestBase):

    def setUp(self):
        super().setUp()
        self.flags(driver='nova.quota.UnifiedLimitsDriver', group='quota')
        self.set_limits(VCPU=100, MEM_ENCRYPTION_CONTEXT=100, DISK_GB=1000,
                        MEMORY_MB=100000, servers=100)
        self.start_host()

    def patch(self, target, name, function):
        """Put a function around one of Nova, called with that first."""
        upstream = getattr(target, name)
        self.useFixture(fixtures.MonkeyPatch(
            '.'.join(filter(None, [
                target.__module__ if isinstance(target, type) else None,
                getattr(target, '__qualname__', target.__name__), name])),
            lambda *args, **kwargs: function(upstream, *args, **kwargs)))

    def replace_variables(self, kind, *others):
        """Replace the context variables of the series; return what by.

        :param others: those that are left as they are
        """
        guests = self.computes['compute1'].driver._mem_encryption.guests
        owners = [module for name, module in sorted(sys.modules.items())
                  if name.startswith('nova_mem_encryption.nova.') and
                  '.tests.' not in name]
        replaced = []
        for owner in (*owners, guests):
            for name, value in vars(owner).copy().items():
                if isinstance(value, contextvars.ContextVar) and (
                        value not in others):
                    replaced.append(kind(value))
                    self.useFixture(fixtures.MockPatchObject(
                        owner, name, replaced[-1]))
        return replaced


class Interleaved:
    """How many are at a place at the same time.

    Each lets others go on before it does, as Nova does wherever it waits for
    something.
    """

    def __init__(self):
        self.now = self.most = 0
        self.random = random.Random(5)

    @contextlib.contextmanager
    def at(self):
        self.now += 1
        self.most = max(self.most, self.now)
        eventlet.sleep(self.random.uniform(0, 0.05))
        try:
            yield
        finally:
            self.now -= 1


class TogetherTest(ContextsTestBase):

    TIMEOUT_SCALING_FACTOR = 3

    def setUp(self):
        super().setUp()
        self.number = 2 * len(REQUESTS)
        self.flags(max_concurrent_builds=self.number)
        self.counted = []  # name of a flavor, slots that were counted
        self.places = {}
        self.patch(scheduler_utils, 'resources_for_limits', self.count)
        for name in ('_get_guest_xml', '_create_guest'):
            self.patch(driver.LibvirtDriver, name, self.yield_at(name))

    def count(self, upstream, flavor, is_bfv):
        with self.places.setdefault('limits', Interleaved()).at():
            found = upstream(flavor, is_bfv)
            self.counted.append((flavor.flavorid, found.get(base.SLOT, 0)))
            return found

    def yield_at(self, name):
        place = self.places.setdefault(name, Interleaved())

        def function(upstream, *args, **kwargs):
            with place.at():
                return upstream(*args, **kwargs)
        return function

    def together(self, function):
        """Call a function once for each server, all at the same time."""
        threads = [eventlet.spawn(function, number)
                   for number in range(self.number)]
        return [thread.wait() for thread in threads]

    def act_together(self, action, bodies=None, status='ACTIVE'):
        """Do something with all servers at the same time, and wait."""
        self.together(lambda number: self.api.post_server_action(
            self.servers[number]['id'],
            {action: bodies[number] if bodies else None}))
        self.settle(status)

    def settle(self, status='ACTIVE'):
        for server in self.servers:
            self._wait_for_server_parameter(server, {
                'status': status, 'OS-EXT-STS:task_state': None},
                max_retries=300)

    def assert_counted(self, flavors):
        """Check that for each server its own slot was counted, or none.

        That is done twice: by the API first, and when the server is there.
        """
        for number, flavor in enumerate(flavors):
            model, _, _ = REQUESTS[number % len(REQUESTS)]
            self.assertEqual(
                [int(model is not None)] * 2,
                [slots for name, slots in self.counted if name == flavor])
        self.counted.clear()

    def assert_guests(self, paths=None):
        """Check that each server has what it asked for, exactly.

        :param paths: which firmware the servers have that are encrypted
        """
        for number, server in enumerate(self.servers):
            model, _, _ = REQUESTS[number % len(REQUESTS)]
            if model is None:
                self.assert_plain(server)
                continue
            self.assert_model(server, model)
            if paths is not None:
                self.assertEqual(paths[number], self.get_xml(
                    server).findtext('os/loader'))

    def create_together(self):
        """Create servers; return their flavors and images."""
        flavors, images = [], []
        for number in range(self.number):
            _, specs, properties = REQUESTS[number % len(REQUESTS)]
            flavors.append(self.create_flavor(specs))
            images.append(self.create_image(**properties))
        self.servers = self.together(lambda number: self.api.post_server({
            'server': self._build_server(
                flavor_id=flavors[number], image_uuid=images[number],
                networks='none')}))
        self.settle()
        return flavors, images

    def reboot_together(self):
        """Reboot servers that have firmware each; return its paths."""
        paths = ['/firmware%d.fd' % number for number in range(self.number)]
        for number, path in enumerate(paths):
            self.sev.firmware.write(path, fake.make_image(*fake.OVMF))
            self.sev.firmware.describe('70-%d.json' % number, [
                'amd-sev', 'amd-sev-es'], path)
            domain = self.get_domain(self.servers[number])
            if domain._loader is not None:
                domain._loader.text = path
        self.act_together('reboot', [{'type': 'HARD'}] * self.number)
        return paths

    def test_all_requests_twice(self):
        flavors, images = self.create_together()
        self.assert_guests()
        self.assert_counted(flavors)
        self.assert_guests(self.reboot_together())
        self.act_together('rebuild', [{'imageRef': image}
                                      for image in images])
        self.assert_guests()
        self.act_together('shelve', status='SHELVED_OFFLOADED')
        self.act_together('unshelve')
        self.assert_guests()
        self.assert_counted(flavors)
        for name, place in self.places.items():
            self.assertGreater(place.most, 5, name)

    def test_what_all_share_would_be_seen(self):
        # Without it servers are not started, so that none would be another.
        self.replace_variables(Shared, starts.CURRENT)
        flavors, _ = self.create_together()
        self.assertRaises(matchers.MismatchError, self.assert_counted,
                          flavors)
        paths = self.reboot_together()
        self.assertRaises(matchers.MismatchError, self.assert_guests, paths)


class Shared:
    """A variable that is the same for all greenthreads."""

    def __init__(self, variable):
        self.value = variable.get()

    def get(self):
        return self.value

    def set(self, value):
        last, self.value = self.value, value
        return last

    reset = set


class Spy:
    """A context variable, of which is kept who sets it and who reads it.

    :param variable: the one that it stands for
    """

    def __init__(self, variable):
        self.variable = variable
        self.spans = []   # those that are open
        self.closed = []

    def set(self, value):
        self.spans.append(Span(_find_wrapped()))
        return self.variable.set(value)

    def reset(self, token):
        self.closed.append(self.spans.pop())
        self.variable.reset(token)

    def get(self):
        for span in self.spans:
            (span.own if span.greenlet is greenlet.getcurrent() else
             span.others).append(greenlet.getcurrent())
        return self.variable.get()


class Span:
    """The run of a function within a context: who read it."""

    def __init__(self, name):
        self.name = name
        self.greenlet = greenlet.getcurrent()
        self.own, self.others = [], []


def _find_wrapped():
    """Return the name of the function of Nova that is wrapped."""
    frame = sys._getframe()
    while (frame.f_code.co_filename, frame.f_code.co_name) != (
            verbs.__file__, 'call'):
        frame = frame.f_back
    return frame.f_locals['function'].__qualname__


def get_withins():
    """Return the names of all functions of Nova that run within a context.

    One of them is wrapped instead, as it refuses too.
    """
    return {'API._check_quota_for_upsize'} | {
        entry.name for entry in ledger.entries() if entry.verb == 'within'}


@ddt.ddt
class GuardTest(ContextsTestBase):
    """What reads a context is not left to a new greenthread, that has none."""

    def setUp(self):
        super().setUp()
        # A deleted server stays until it is restored.
        self.flags(reclaim_instance_interval=1000)
        self.flags(allow_resize_to_same_host=True)
        self.spies = self.replace_variables(Spy)

    def run_all(self):
        """Do all for which a function runs within a context."""
        self.act_on_plain()
        server = self.boot({}, base.ES_PROPERTIES)
        self._reboot_server(server, hard=True)
        self._resize_server(server, self._create_flavor(
            memory_mb=512, vcpu=2, disk=1, ephemeral=0))
        self._confirm_resize(server)
        self._shelve_server(server)
        self._unshelve_server(server)
        self.api.delete_server(server['id'])
        self._wait_for_state_change(server, 'SOFT_DELETED')
        self.api.post_server_action(server['id'], {'restore': {}})
        self._wait_for_state_change(server, 'ACTIVE')

    def act_on_plain(self):
        """Make a snapshot, for which a guest is saved and started again."""
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        server = self.boot()
        self._snapshot_server(server, 'a snapshot')
        self._wait_for_server_parameter(
            server, {'OS-EXT-STS:task_state': None})

    def get_spans(self):
        """Return the spans of each wrapped function, by its name."""
        found = {}
        for spy in self.spies:
            for span in spy.closed:
                found.setdefault(span.name, []).append(span)
        return found

    def test_the_variables_are_all(self):
        count = 0
        for folder, _, names in os.walk(os.path.join(tree.root(), 'nova')):
            for name in names:
                path = os.path.join(folder, name)
                if name.endswith('.py') and '/nova/tests/' not in path:
                    with open(path) as f:
                        count += len(re.findall(
                            r'contextvars\.ContextVar\(|threading\.local\(',
                            f.read()))
        self.assertEqual(count, len(self.spies))

    def test_contexts_are_read_where_they_are_set(self):
        self.run_all()
        spans = self.get_spans()
        self.assertEqual(set(), get_withins() - set(spans), 'were not run')
        for name, runs in spans.items():
            self.assertTrue(
                name not in get_withins() or any(span.own for span in runs),
                '%s read none' % name)
            self.assertEqual([], [other for span in runs
                                  for other in span.others],
                             '%s spawns' % name)

    @ddt.data((scheduler_utils, 'resources_for_limits'),
              (driver.LibvirtDriver, '_get_guest_xml'))
    @ddt.unpack
    def test_it_would_be_seen(self, target, name):
        """Nova does it in another greenthread."""
        self.patch(target, name, lambda upstream, *args, **kwargs:
                   utils.spawn(upstream, *args, **kwargs).wait())
        self.run_all()
        self.assertEqual(
            get_withins() - {'LibvirtDriver._resume_guest_after_snapshot'}
            if target is scheduler_utils else {'LibvirtDriver._hard_reboot'},
            {name for name, runs in self.get_spans().items()
             if any(span.others for span in runs)})
