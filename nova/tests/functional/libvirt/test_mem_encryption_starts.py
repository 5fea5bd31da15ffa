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

"""Test every way to start a server against all that can have changed.

A cell of the table is what a server asked for, what has changed since, and a
way to start it. Whatever comes of it, no guest runs as anything but what its
server asks for, and each has the slot for that, and no other.
"""
import collections
import os
import random
import sys

import ddt

from nova.compute import api
from nova.tests.functional.api import client
from nova.tests.functional.libvirt import mem_encryption as base

from nova_mem_encryption.engine import ledger

# What a server asks for: its model, extra specs, properties
ASKED = {
    'plain': (None, {}, {}),
    'sev, flavor': ('amd-sev', base.SEV_SPECS, {}),
    'sev, image': ('amd-sev', {}, base.SEV_PROPERTIES),
    'es, flavor': ('amd-sev-es', base.ES_SPECS, {}),
    'es, image': ('amd-sev-es', {}, base.ES_PROPERTIES),
}
# ... on a host with SEV-SNP in place of SEV-ES
ASKED_OF_SNP = {
    'snp, flavor': ('amd-sev-snp', base.SNP_SPECS, {}),
    'snp, image': ('amd-sev-snp', {}, base.SNP_PROPERTIES),
    'plain': ASKED['plain'],
    'sev, flavor': ASKED['sev, flavor'],
}
ALL = {**ASKED, **ASKED_OF_SNP}
# What an image or a flavor may ask for then
PROPERTIES = {None: {}, 'amd-sev': base.SEV_PROPERTIES,
              'amd-sev-es': base.ES_PROPERTIES,
              'amd-sev-snp': base.SNP_PROPERTIES}
SPECS = {None: {}, 'amd-sev': base.SEV_SPECS, 'amd-sev-es': base.ES_SPECS,
         'amd-sev-snp': base.SNP_SPECS}
READ = {'hw_mem_encryption': 'hw:mem_encryption',
        'hw_mem_encryption_model': 'hw:mem_encryption_model'}

# What becomes of a server: it runs, as something was done; it runs on, as
# that was refused; it is off, as that was refused
STARTED, KEPT, OFF = 'started', 'kept', 'off'
# Each so many-th cell is tried, from another one on with each seed; and all
# where that is asked for.
STEP = 1 if os.environ.get('NOVA_MEM_ENCRYPTION_TRY') == 'all' else 10
SEED = 'NOVA_MEM_ENCRYPTION_SEED'


def read_asked(instance):
    """Return the model that a stored server asks for; None, if none."""
    asked, model = (
        instance.flavor.extra_specs.get(
            spec, instance.system_metadata.get('image_' + field))
        for field, spec in READ.items())
    return (model or 'amd-sev') if str(asked).lower() == 'true' else None


def combine(asked, model):
    """Return what a server would ask for with an image of some model."""
    _, specs, _ = ALL[asked]
    properties = PROPERTIES[model]
    if 'true' not in (specs.get('hw:mem_encryption'),
                      properties.get('hw_mem_encryption')):
        return None
    return (specs.get('hw:mem_encryption_model') or
            properties.get('hw_mem_encryption_model') or 'amd-sev')


class Cell(collections.namedtuple('Cell', 'asked changed way')):
    """One of the table.

    :param asked: key of ALL
    :param changed: what has changed since, '' for nothing
    :param way: how it is started
    """


def expect(cell):
    """Return what the rule says that becomes of a server."""
    model, _, _ = ALL[cell.asked]
    what, _, changed = cell.changed.rpartition(' ')
    changed = None if changed == 'None' else changed
    way, _, chosen = cell.way.partition(' with ')
    starts_again = cell.way not in ('pause, unpause', 'nova-compute starts')
    if model and cell.way in ('suspend, resume', 'snapshot'):
        return KEPT  # QEMU cannot save the memory
    if what == 'no more' and model and starts_again:
        lost = changed == 'amd-sev' or model == changed
        off = cell.way.startswith(('stop,', 'shelve,', 'the host boots'))
        return STARTED if not lost else OFF if off else KEPT
    if what == 'edited to' and cell.way == 'rescue, unrescue':
        return KEPT  # What was edited is kept for the end of the rescue.
    if what == 'edited to' and cell.way in ('suspend, resume', 'snapshot'):
        return OFF if cell.way == 'suspend, resume' else KEPT
    image = changed if what == 'image of' else model
    if chosen:
        image = None if chosen == 'None' else chosen
    if combine(cell.asked, image) != model and way in (
            'rescue', 'rescue, unrescue', 'rebuild', 'shelve, unshelve') and (
            chosen or way != 'shelve, unshelve'):
        return OFF if way == 'shelve, unshelve' else KEPT
    return STARTED


class StartsTestBase(base.MemEncryptionTestBase):

    # The models that the hosts have, and their parameters of kvm_amd
    MODELS = None, 'amd-sev', 'amd-sev-es'
    PARAMETERS = 'sev', 'sev_es'

    def setUp(self):
        super().setUp()
        # A guest is suspended for a snapshot, and started again.
        self.flags(disable_libvirt_livesnapshot=True, group='workarounds')
        self.start_hosts('compute1', 'compute2')
        self.seed = os.environ.get(SEED) or str(random.randrange(10 ** 6))
        self.outcomes, self.breaches = {}, []
        self.server, self.lost = None, ()

    def start_hosts(self, *hosts):
        for host in hosts:
            self.start_host(host)

    def fill(self, asked, changes, ways):
        """Try each way to start a server, after each of some changes.

        :param asked: key of ALL
        :param changes: name to a function that is given the server
        :param ways: name to a list of actions of the API, or to a function
            that is given the server
        """
        for changed, change in changes.items():
            chance = random.Random(' '.join((self.seed, asked, changed)))
            for name, way in list(ways.items())[chance.randrange(STEP)::STEP]:
                server = self.get_server(asked)
                change(server)
                error = (way(server) if callable(way) else
                         self.act(server, *way))
                self.note(Cell(asked, changed, name), server, error)
                self.restore(server)

    def get_server(self, asked):
        """Return a server that runs on the first host, as it was created."""
        for compute in self.computes.values():
            # Within a minute; the services of tests do not by themselves.
            compute.service_ref.report_count += 1
            compute.service_ref.save()
        if self.server is None:
            _, specs, properties = ALL[asked]
            self.server = self.boot(specs, properties, host='compute1')
            self.image = self.get_instance(self.server).image_ref
            self.model = ALL[asked][0] if properties else None
        return self.server

    def note(self, cell, server, error):
        """Note what became of a cell, and whether that is a breach."""
        self.assertNotIn(cell, self.outcomes)
        running = False
        for host, connection in self.connections.items():
            for domain in list(connection._running_vms.values()):
                instance = self.get_instance({'id': domain.UUIDString()})
                running |= instance.uuid == server['id']
                model = read_asked(instance)
                found = domain._sev_policy(), domain._is_snp(), [
                    slot for slot in self.get_slots({'id': instance.uuid})
                    if slot.startswith(host)]
                if found != (base.POLICIES.get(model), model == 'amd-sev-snp',
                             [] if model is None else ['%s_%s' % (
                                 host, model.replace('-', '_'))]):
                    self.breaches.append((cell, model) + found)
        self.outcomes[cell] = (
            STARTED if running and not error else KEPT if running else OFF,
            error)

    def restore(self, server):
        """Have the server as it was created, or no more at all."""
        self.set_image(self.image, self.model)
        if self.lost:
            self.set_hosts(())
        found = self.api.get_server(server['id'])
        domain = self.connections['compute1']._vms.get(found[
            'OS-EXT-SRV-ATTR:instance_name'])
        if found['status'] != 'ACTIVE' or domain is None or (
                found['OS-EXT-SRV-ATTR:host'] != 'compute1' or
                domain._edited or not domain.isActive() or
                self.get_instance(server).image_ref != self.image):
            self.api.post_server_action(
                server['id'], {'os-resetState': {'state': 'error'}})
            self._delete_server(server)
            self.server = None

    def act(self, server, *actions):
        """Do one thing after the other; return the first error."""
        for action, body in actions:
            try:
                self.api.post_server_action(server['id'], {action: body})
            except client.OpenStackApiException as e:
                self.assertIn(e.response.status_code, (400, 409, 500))
                return str(e)
            for _ in range(200):
                found = self.api.get_server(server['id'])
                if found['OS-EXT-STS:task_state'] is None and (
                        found['status'] not in ('BUILD', 'RESIZE')):
                    break
            for latest in self.api.get_instance_actions(server['id'])[:1]:
                for event in self.api.get_instance_action_details(
                        server['id'], latest['request_id'])['events']:
                    if event['result'] == 'Error':
                        return event['details'] or 'failed'
        return None

    # -- what changes --------------------------------------------------------

    def set_image(self, image, model):
        """Have an image of Glance ask for a model."""
        properties = self.glance.images[image]['properties']
        for name in READ:
            properties.pop(name, None)
        properties.update(PROPERTIES[model])

    def images(self, asked):
        """Return what may become of the image that a server is of."""
        _, _, properties = ALL[asked]
        return {'image of %s' % model: lambda server, model=model:
                self.set_image(self.image, model) for model in self.MODELS
                if PROPERTIES[model] != properties}

    def definitions(self, asked):
        """Return how 'virsh edit' may change what libvirt starts."""
        return {'edited to %s' % model: lambda server, model=model:
                self.get_domain(server).edit(base.POLICIES.get(model),
                                             base.ELEMENTS.get(model))
                for model in self.MODELS if model != ALL[asked][0]}

    def losses(self):
        """Return what the hosts may have lost."""
        return {'no more %s' % model: lambda server, lost=lost:
                self.set_hosts(lost)
                for model, lost in (
                    (self.MODELS[-1], self.PARAMETERS[-1:]),
                    ('amd-sev', self.PARAMETERS))}

    def set_hosts(self, lost):
        """Start both hosts anew, without some of what they had."""
        self.lost = lost
        self.sev.set(**{name: 'N' if name in lost else 'Y'
                        for name in self.PARAMETERS})
        for host, connection in self.connections.items():
            connection.set_sev(**{**base.SPLIT, **(
                {'max_es_guests': 0} if lost else {})})
            if 'sev' in lost:
                connection.unset_sev()
            self.restart_host(host)

    # -- ways to start -------------------------------------------------------

    def ways(self):
        """Return the ways for which no image or flavor is chosen."""
        soft, hard = (('reboot', {'type': kind}) for kind in ('SOFT', 'HARD'))
        stop, start = ('os-stop', None), ('os-start', None)
        rescue, migrate = ('rescue', {}), ('migrate', None)
        confirm, revert = ('confirmResize', None), ('revertResize', None)
        return {
            'soft reboot': [soft],
            'hard reboot': [hard],
            'stop, start': [stop, start],
            'stop, hard reboot': [stop, hard],
            'pause, unpause': [('pause', None), ('unpause', None)],
            'suspend, resume': [('suspend', None), ('resume', None)],
            'rescue': [rescue],
            'rescue, unrescue': [rescue, ('unrescue', None)],
            'migrate': [migrate],
            'migrate, confirm, hard reboot': [migrate, confirm, hard],
            'migrate, revert': [migrate, revert],
            'shelve, unshelve': [('shelve', None), ('unshelve', None)],
            'snapshot': [('createImage', {'name': 'a snapshot'})],
            'evacuate': self.evacuate,
            'the host boots': self.boot_host,
            'nova-compute starts': lambda server: self.restart_host(),
            'rebuild': lambda server: self.act(
                server, ('rebuild', {'imageRef': self.image})),
        }

    def evacuate(self, server):
        """Start it on another host, and have its own come back."""
        self.force_down('compute1')
        error = self.act(server, ('evacuate', {}), ('os-start', None))
        self.restart_host('compute1')
        self.api.put_service_force_down(
            self.computes['compute1'].service_ref.uuid, False)
        return error

    def boot_host(self, server):
        """Have all guests of a host end, and nova-compute start them."""
        self.flags(resume_guests_state_on_host_boot=True)
        for domain in list(self.connections['compute1']._running_vms.values()):
            domain.destroy()
        self.restart_host('compute1')
        self.flags(resume_guests_state_on_host_boot=False)

    def with_images(self):
        """Return the ways for which an image is chosen."""
        found = {}
        for model in self.MODELS:
            image = self.create_image(**PROPERTIES[model])
            stable = self.create_image(
                hw_rescue_device='disk', hw_rescue_bus='virtio',
                **PROPERTIES[model])
            found.update({
                'rescue with %s' % model: [
                    ('rescue', {'rescue_image_ref': image})],
                'stable rescue with %s' % model: [
                    ('rescue', {'rescue_image_ref': stable})],
                'rebuild with %s' % model: [('rebuild', {'imageRef': image})],
                'shelve, unshelve with %s' % model:
                    lambda server, model=model: self.unshelve(server, model)})
        return found

    def unshelve(self, server, model):
        """Shelve a server, change its snapshot, and unshelve it."""
        error = self.act(server, ('shelve', None))
        self.assertIsNone(error)
        self.set_image(self.get_instance(server).system_metadata[
            'shelved_image_id'], model)
        return self.act(server, ('unshelve', None))

    def with_flavors(self):
        """Return the ways for which a flavor is chosen."""
        found = {}
        for model in self.MODELS:
            resize = ('resize', {'flavorRef': self.create_flavor(
                SPECS[model])})
            for after in ('', 'confirmResize', 'revertResize'):
                found['resize to %s %s' % (model, after)] = [resize] + [
                    (after, None)] * bool(after)
        return found

    def without_the_api(self):
        """Have the API refuse nothing that only the series refuses."""
        for entry in ledger.entries():
            if entry.target is api.API and entry.verb == 'wrap':
                self.stub_out('nova.compute.api.API.' + entry.attribute,
                              entry.original)

    def check(self, asked):
        """Check the table: nothing is a breach, and all is as by the rule."""
        why = '%s=%s' % (SEED, self.seed)
        self.assertEqual([], self.breaches, why)
        self.assertEqual([], [
            (cell, found, expect(cell), error)
            for cell, (found, error) in self.outcomes.items()
            if found != expect(cell)], why)
        self.assertNotEqual({}, self.outcomes, why)
        print('%d ways to start a server, of %s, %s' % (
            len(self.outcomes), asked, why), file=sys.__stderr__)


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class StartsTest(StartsTestBase):

    @ddt.data(*ASKED)
    def test_nothing_has_changed(self, asked):
        self.fill(asked, {'': lambda server: None},
                  {**self.ways(), **self.with_images(), **self.with_flavors()})
        self.check(asked)

    @ddt.data(*ASKED)
    def test_its_image_has_changed(self, asked):
        self.fill(asked, self.images(asked), self.ways())
        self.check(asked)

    @ddt.data(*ASKED)
    def test_its_definition_was_edited(self, asked):
        self.fill(asked, self.definitions(asked), self.ways())
        self.check(asked)

    @ddt.data(*ASKED)
    def test_the_host_has_lost_a_model(self, asked):
        self.fill(asked, self.losses(), self.ways())
        self.check(asked)

    @ddt.data(*ASKED)
    def test_the_api_refuses_nothing(self, asked):
        self.without_the_api()
        self.fill(asked, {'': lambda server: None}, self.with_images())
        self.fill(asked, self.images(asked), {
            name: way for name, way in self.ways().items()
            if name.startswith(('rescue', 'rebuild', 'evacuate'))})
        self.check(asked)


@ddt.ddt(testNameFormat=ddt.TestNameFormat.INDEX_ONLY)
class StartsOfSNPTest(StartsTestBase):

    MODELS = None, 'amd-sev', 'amd-sev-snp'
    PARAMETERS = 'sev', 'sev_es', 'sev_snp'

    def start_hosts(self, *hosts):
        self.upgrade_os_traits()
        for host in hosts:
            self.start_snp_host(host)

    def create_image(self, **properties):
        return super().create_image(**{**base.STATELESS, **properties})

    @ddt.data(*ASKED_OF_SNP)
    def test_nothing_has_changed(self, asked):
        self.fill(asked, {'': lambda server: None},
                  {**self.ways(), **self.with_images(), **self.with_flavors()})
        self.check(asked)

    @ddt.data(*ASKED_OF_SNP)
    def test_all_that_can_have_changed(self, asked):
        self.fill(asked, {**self.images(asked), **self.definitions(asked),
                          **self.losses()}, self.ways())
        self.check(asked)

    @ddt.data(*ASKED_OF_SNP)
    def test_the_api_refuses_nothing(self, asked):
        self.without_the_api()
        self.fill(asked, {'': lambda server: None}, self.with_images())
        self.check(asked)
