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

"""Test that a fault, wherever it happens, costs no server its protection."""
import collections
import itertools
import json
import os
import random
import time
from unittest import mock

import ddt
import eventlet

from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import faults
from nova.tests.functional.libvirt import mem_encryption as base

SEED = 'NOVA_MEM_ENCRYPTION_SEED'
CHAINS = 8  # of random faults
# Each eighth fault is tried, with any of eight as the first; and all where
# that is asked for.
STEP = 1 if os.environ.get('NOVA_MEM_ENCRYPTION_TRY') == 'all' else 8
MODELS = {'amd-sev': ('compute1', 'compute1_amd_sev'),
          'amd-sev-es': ('compute1_amd_sev_es',)}
COUNTS = {'amd-sev': 'max_guests', 'amd-sev-es': 'max_es_guests'}
BEGINNINGS = ('new_host', 'lost_in_use', 'lost', 'split_moved')
VERBS = (faults.READS, faults.WRITES)
ES_LOST = {'sev_es': 'N'}


class Chosen:
    """The faults that are tried, of those that could be."""

    def __init__(self):
        self.seed = os.environ.get(SEED) or str(random.randrange(10 ** 6))
        self._numbers = itertools.count(int(self.seed))

    def choose(self, names):
        return [name for name in names if next(self._numbers) % STEP == 0]

    def __str__(self):
        return '%s=%s' % (SEED, self.seed)


def get_totals(shape):
    """Return the resources that each consumer has, wherever they are."""
    totals = collections.defaultdict(collections.Counter)
    for provider in shape.values():
        for consumer, resources in provider['allocations'].items():
            totals[consumer].update(resources)
    return totals


def get_free(shape):
    """Return the free slots of each model, wherever they are offered."""
    return {model: sum(
        shape[name]['inventory'].get(base.SLOT, {'total': 0})['total'] -
        sum(resources.get(base.SLOT, 0)
            for resources in shape[name]['allocations'].values())
        for name in names if name in shape)
        for model, names in MODELS.items()}


def touch(placement, provider):
    """Write what a provider has again; its generation is another one then."""
    url = '/resource_providers/%s/aggregates' % provider['uuid']
    found = placement.get(url, version='1.19').body
    placement.put(url, found, version='1.19')


class FaultsTestBase(base.MemEncryptionTestBase):
    """A host with servers, of which Placement can be put back."""

    TIMEOUT_SCALING_FACTOR = 4  # of a test, which starts nova-compute often

    def setUp(self):
        super().setUp()
        self.servers = {}  # by UUID, with the model
        self.candidates = {}  # by what Placement has stored
        self.host_kwargs = {}

    def boot_model(self, model):
        server = self.boot({'amd-sev': base.SEV_SPECS,
                            'amd-sev-es': base.ES_SPECS}[model])
        self.servers[server['id']] = model
        return server

    # -- where it begins -----------------------------------------------------

    def new_host(self):
        self.start_host()
        self.computes['compute1'].stop()
        for name in ('compute1_amd_sev', 'compute1_amd_sev_es', 'compute1'):
            self.placement.delete('/resource_providers/%s' %
                                  self.get_provider(name)['uuid'])

    def lost_in_use(self):
        self.start_host()
        self.boot_model('amd-sev')
        self.boot_model('amd-sev-es')
        self.sev.set(**ES_LOST)

    def lost(self):
        self.start_host()
        self.boot_model('amd-sev')
        self.sev.set(**ES_LOST)

    def split_moved(self):
        self.start_host()
        self.boot_model('amd-sev')
        self.boot_model('amd-sev-es')
        self.host_kwargs = {'max_guests': 60, 'max_es_guests': 55}

    # -- what must hold ------------------------------------------------------

    def get_wrong_candidates(self, shape):
        """Return the models of which a request finds a slot of the other.

        :param shape: what Placement has stored, on which alone that depends;
            so it is asked once for each
        """
        stored = json.dumps(shape, sort_keys=True)
        if stored not in self.candidates:
            self.candidates[stored] = self.find_wrong_candidates()
        return self.candidates[stored]

    def find_wrong_candidates(self):
        wrong = set()
        for model, trait, other in (
                ('amd-sev', base.SEV_TRAIT, 'amd-sev-es'),
                ('amd-sev-es', base.ES_TRAIT, 'amd-sev')):
            found = self.placement.get(
                '/allocation_candidates?resources=VCPU:1,%s:1&required=%s' % (
                    base.SLOT, trait), version='1.39').body
            names = {uuid: self._get_provider_name(uuid) for uuid in
                     found.get('provider_summaries', ())}
            for candidate in found.get('allocation_requests', ()):
                wrong |= {model for uuid, data in
                          candidate['allocations'].items()
                          if base.SLOT in data['resources'] and
                          names[uuid] in MODELS[other]}
        return wrong

    def _get_provider_name(self, uuid):
        return self.placement.get('/resource_providers/' + uuid).body['name']

    def assert_safe(self, why):
        """Check what must hold at any time, also while nothing runs."""
        shape = faults.read_placement()
        self.assertEqual(self.totals, get_totals(shape), why)
        for server, model in self.servers.items():
            slots = [name for name, provider in shape.items() if base.SLOT in
                     provider['allocations'].get(server, ())]
            self.assertEqual(1, len(slots), why)
            self.assertIn(slots[0], MODELS[model], why)
            domain = self.get_domain({'id': server})
            self.assertTrue(domain.isActive(), why)
            self.assertEqual(base.POLICIES[model], domain._sev_policy(), why)
        for model, free in get_free(shape).items():
            has = {**base.SPLIT, **self.host_kwargs}[COUNTS[model]]
            used = list(self.servers.values()).count(model)
            self.assertLessEqual(
                free, max(self.free[model], has - used), why)
        self.assertLessEqual(self.get_wrong_candidates(shape), self.wrong,
                             why)
        return shape

    def touch(self):
        """Write what is there again; so all generations are other ones."""
        for provider in self.get_placement().values():
            touch(self.placement, provider)
        for server in self.servers:
            url = '/allocations/%s' % server
            found = self.placement.get(url, version='1.28').body
            found['allocations'] = {
                uuid: {'resources': data['resources']}
                for uuid, data in found['allocations'].items()}
            self.assertEqual(204, self.placement.put(
                url, found, version='1.28').status)

    # -- what is tried -------------------------------------------------------

    def prepare(self):
        """Keep the state that runs begin with, and run once without fault."""
        self.state = faults.PlacementState()
        shape = faults.read_placement()
        self.totals, self.free = get_totals(shape), get_free(shape)
        self.wrong = self.get_wrong_candidates(shape)
        self.faults = self.useFixture(faults.Faults(self.touch))
        self.restart_host(**self.host_kwargs)
        self.calls = self.faults.calls
        self.good = self.assert_safe('without a fault')
        self.assertEqual(set(), self.get_wrong_candidates(self.good))

    def start(self, fault, at, why):
        """Start nova-compute, and let a fault happen."""
        self.faults.arm(fault, at)
        try:
            self.restart_host()
        except (faults.Killed, Exception) as e:
            # What a service ends with is said, and not judged, here.
            why = '%s; ended with %r' % (why, e)
        happened = self.faults.happened
        self.faults.arm()
        self.assert_safe(why)
        return happened

    def assert_recovers(self, why):
        """Check that all gets right by itself, or by a new start."""
        if 'compute1' in self.computes:
            self._run_periodics()
            self.assert_safe(why)
            self._run_periodics()
        else:
            self.restart_host()
        self.assertEqual(self.good, self.assert_safe(why), why)

    def try_each(self, beginning, verbs):
        """Let each fault that is chosen happen, at each call of some verbs."""
        self.prepare()
        chosen = Chosen()
        for at, verb in enumerate(self.calls):
            if verb not in verbs:
                continue
            names = [name for name, (befalls, _) in
                     faults.OF_PLACEMENT.items() if verb in befalls]
            if verbs == faults.READS and beginning != 'reshape':
                names = [names[at % len(names)]]  # in turn, to save time
            for name in chosen.choose(names):
                self.state.restore()
                why = '%s: %s at call %d, %s' % (chosen, name, at, verb)
                fault = faults.OF_PLACEMENT[name][1]
                self.assertTrue(self.start(fault, at, why), why)
                self.assert_recovers(why)
        self.assertGreater(self.faults.runs, 0)
        self.faults.tell('one fault, %s, %d calls to %s, %s' % (
            beginning, len([verb for verb in self.calls if verb in verbs]),
            ' '.join(verbs), chosen))

    def try_chains(self, beginning):
        """Let one fault come upon the other, before anything gets right."""
        seed = os.environ.get(SEED) or str(random.randrange(10 ** 6))
        chance = random.Random('%s %s' % (seed, beginning))
        self.prepare()
        for _ in range(CHAINS):
            self.state.restore()
            why = '%s=%s' % (SEED, seed)
            for _ in range(chance.randint(2, 4)):
                name = chance.choice(sorted(faults.OF_PLACEMENT))
                at = chance.randrange(len(self.calls))
                why += '; %s at call %d' % (name, at)
                self.start(faults.OF_PLACEMENT[name][1], at, why)
            self.assert_recovers(why)
        self.assertGreater(self.faults.runs, 0)
        self.faults.tell('chains of faults, %s, %s=%s' % (
            beginning, SEED, seed))


@ddt.ddt
class FaultsTest(FaultsTestBase):

    @tables.data(*itertools.product(BEGINNINGS, VERBS), by=0)
    @ddt.unpack
    def test_one_fault(self, beginning, verbs):
        getattr(self, beginning)()
        self.try_each(beginning, verbs)

    @ddt.data(*BEGINNINGS)
    def test_chains_of_faults(self, beginning):
        getattr(self, beginning)()
        self.try_chains(beginning)


@ddt.ddt
class OlderHostTest(FaultsTestBase):
    """A host on which Nova ran without the series."""

    BEGINNINGS = ('reshape', 'reshape_again', 'no_sev')

    def reshape(self):
        """Nova without the series has the slots on the root."""
        self.start_host(plain=True)
        self.boot_model('amd-sev')
        self.boot_model('amd-sev')

    def reshape_again(self):
        """Nova ran without the series meanwhile."""
        self.start_host()
        self.boot_model('amd-sev')
        self.boot_model('amd-sev-es')
        self.restart_host(plain=True)
        server = self.boot_model('amd-sev')
        if self.get_slots(server) != ['compute1']:
            self.put_slot(server, 'compute1', remove=self.get_slots(server)[0])

    def no_sev(self):
        """There is nothing to reshape, but a trait on the root."""
        self.start_host(plain=True, max_guests=0)

    def begin(self, beginning):
        {'reshape': self.reshape, 'reshape_again': self.reshape_again,
         'no_sev': self.no_sev}[beginning]()

    @tables.data(*itertools.product(BEGINNINGS, VERBS), by=0)
    @ddt.unpack
    def test_one_fault(self, beginning, verbs):
        self.begin(beginning)
        self.try_each(beginning, verbs)

    @ddt.data(*BEGINNINGS)
    def test_chains_of_faults(self, beginning):
        self.begin(beginning)
        self.try_chains(beginning)


@ddt.ddt
class LaunchTest(base.MemEncryptionTestBase):
    """A host on which a server is started, and something goes wrong."""

    TIMEOUT_SCALING_FACTOR = 4
    CAST_AS_CALL = False  # so nobody waits for what was stopped
    CALLS = ((fakelibvirt.Connection, 'defineXML'),
             (fakelibvirt.Domain, 'createWithFlags'),
             (fakelibvirt.Domain, 'launchSecurityInfo'),
             (fakelibvirt.Domain, 'resume'))

    def setUp(self):
        # NOTE: no service waits for its threads when it stops, or is stopped
        # after the test: some are frozen.
        wait = mock.patch('oslo_messaging.server.MessageHandlingServer.wait')
        wait.start()
        self.addCleanup(wait.stop)
        super().setUp()
        self.start_host()
        self.connection = self.connections['compute1']
        self.faults = self.useFixture(faults.Faults(
            self.touch, freeze=True))
        for target, name in self.CALLS:
            self.faults.watch(target, name)
        self.request = self._build_server(
            flavor_id=self.create_flavor(base.ES_SPECS),
            image_uuid=self.create_image(), networks='none')

    def touch(self):
        """Let all generations be other ones."""
        for provider in self.get_placement().values():
            touch(self.placement, provider)

    def lose(self, faults, call):
        """Let the host lose SEV-ES after it was examined."""
        self.connection.set_sev(max_es_guests=0)
        return call.perform()

    def create(self):
        self.api.post_server({'server': self.request})

    def reboot(self):
        server, = self.api.get_servers()
        self.api.post_server_action(server['id'], {'reboot': {
            'type': 'HARD'}})

    def run_with(self, action, fault=None, at=None):
        """Act, and let a fault happen; what died is started again.

        :returns: the calls that were made
        """
        self.faults.arm(fault, at)
        # NOTE: of what died, others would wait for an answer.
        thread = eventlet.spawn(self.ask, action)
        self.wait(thread)
        thread.kill()
        died, calls = self.faults.dead, self.faults.calls
        self.faults.arm()
        if died:
            self.restart_host()
        return calls

    def ask(self, action):
        try:
            getattr(self, action)()
        except (faults.Killed, client.OpenStackApiException):
            pass

    def wait(self, thread):
        """Wait until nothing happens any more."""
        for _ in range(400):
            time.sleep(0.02)
            if self.faults.dead or (not thread and all(
                    server['OS-EXT-STS:task_state'] is None and
                    server['status'] != 'BUILD'
                    for server in self.api.get_servers(detail=True))):
                return
        self.fail('A server does not get ready: %s' % self.api.get_servers(
            detail=True))

    def assert_safe(self, why):
        """Check that what runs is SEV-ES, and has a slot of it."""
        servers = {server['id']: server for server in
                   self.api.get_servers(detail=True)}
        running = [domain for domain in self.connection._running_vms.values()
                   if domain.info()[0] == fakelibvirt.VIR_DOMAIN_RUNNING]
        for domain in running:
            self.assertEqual(0x37, domain._sev_policy(), why)
            self.assertIn(self.connection._sev_policy_reported, (None, 0x37),
                          why)
            self.assertEqual(['compute1_amd_sev_es'],
                             self.get_slots(domain.UUIDString()), why)
        for uuid, server in servers.items():
            self.assertLessEqual(
                set(self.get_slots(uuid)), {'compute1_amd_sev_es'}, why)
            if server['status'] == 'ACTIVE':
                self.assertEqual(['compute1_amd_sev_es'],
                                 self.get_slots(uuid), why)

    def clean_up(self, why):
        """Delete the server; nothing may be left of it."""
        self.connection.set_sev(**base.SPLIT)
        for server in self.api.get_servers():
            self._delete_server(server)
        self.assertEqual({}, self.connection._vms, why)
        for name in ('compute1', 'compute1_amd_sev', 'compute1_amd_sev_es'):
            self.assertEqual(set(), self.get_provider(name)['consumers'], why)

    def get_faults(self, call):
        """Return what can befall a call.

        nova-compute can be stopped where it calls libvirt. Where Placement is
        written to, it is the scheduler that does so.
        """
        if call not in faults.READS + faults.WRITES:
            return {**faults.OF_LIBVIRT, 'SEV-ES is lost': self.lose}
        return {name: fault
                for name, (verbs, fault) in faults.OF_PLACEMENT.items()
                if call in verbs and not name.startswith('stopped')}

    @ddt.data(*itertools.product(('create', 'reboot'), (None, 0x33)))
    @ddt.unpack
    def test_one_fault(self, action, reported):
        """One fault befalls a start; or one whose guest is less, besides."""
        calls = self.prepare_and_run(action, reported)
        self.assert_safe('without a fault')
        self.assertEqual(int(reported is None),
                         len(self.connection._running_vms))
        self.clean_up('without a fault')
        chosen = Chosen()
        for at, call in enumerate(calls):
            if reported is not None and call in (
                    faults.READS + faults.WRITES):
                continue  # Nova leaves such a server as it is being built
            befalls = self.get_faults(call)
            for name in chosen.choose(befalls):
                why = '%s: %s at call %d, %s' % (chosen, name, at, call)
                self.prepare_and_run(action, reported, befalls[name], at)
                self.assert_safe(why)
                self.clean_up(why)
        self.assertGreater(self.faults.runs, 0)
        self.faults.tell('%s, QEMU reports %s, %d calls, %s' % (
            action, reported and hex(reported), len(calls), chosen))

    def prepare_and_run(self, action, reported, *fault):
        self.connection._sev_policy_reported = None
        if action == 'reboot':
            self.run_with('create')
        self.connection._sev_policy_reported = reported
        return self.run_with(action, *fault)
