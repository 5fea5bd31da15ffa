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

"""Test how guests are found that have ASIDs and no slots."""
import logging
from unittest import mock

import ddt
from keystoneauth1 import exceptions as ks_exc
from oslo_serialization import jsonutils
from oslo_utils.fixture import uuidsentinel as uuids

from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables
from nova.tests.unit import fake_requests
from nova.tests.unit.virt.libvirt import mem_encryption

LOGGER = mem_encryption.LOGGER
XML = '''<domain type='kvm'><name>%s</name><uuid>%s</uuid>
<memory>1024</memory><vcpu>1</vcpu>
<os><type machine='q35'>hvm</type></os><devices/>%s</domain>'''
POLICY = "<launchSecurity type='%s'><policy>%s</policy></launchSecurity>"
SEV = POLICY % ('sev', '0x0033')
ES = POLICY % ('sev', '0x0037')
SNP = POLICY % ('sev-snp', '0x00030000')


@ddt.ddt
class CountTest(mem_encryption.SEVTestCase):

    def setUp(self):
        super().setUp()
        self.driver = self.get_driver()
        # What the kernel says is set where it matters.
        self.connection._sev_counts = None
        # Who has slots: name of the provider to consumers; the UUID of a
        # provider is its name's sentinel. None if Placement does not answer
        self.slots = {}
        self.driver.virtapi.reportclient.get.side_effect = self.answer

    def answer(self, path, version):
        """Answer as Placement does."""
        if self.slots is None:
            raise ks_exc.ConnectFailure('no Placement')
        if path == '/resource_providers?in_tree=' + uuids.node:
            body = {'resource_providers': [
                {'name': name, 'uuid': getattr(uuids, name),
                 'root_provider_uuid': uuids.node,
                 'parent_provider_uuid':
                     None if name == 'node' else uuids.node}
                for name in {'node', *self.slots}]}
        else:
            name, = [name for name in {'node', *self.slots} if path ==
                     '/resource_providers/%s/allocations' % getattr(
                         uuids, name)]
            body = {'allocations': {
                uuids.other: {'resources': {'VCPU': 1}},
                **{getattr(uuids, consumer): {
                    'resources': {'MEM_ENCRYPTION_CONTEXT': 1}}
                   for consumer in self.slots.get(name, ())}}}
        return fake_requests.FakeResponse(200, jsonutils.dumps(body))

    def start(self, name, security=''):
        """Start a guest that has the name's sentinel for UUID."""
        return self.connection.createXML(
            XML % (name, getattr(uuids, name), security), 0)

    def count_all(self):
        return self.driver._mem_encryption.foreign_guests.count(
            set(), uuids.node, {})

    def count(self, *known, slots=None, moves=None):
        """Look at the guests as an update does; return both counts.

        :param known: names of servers
        :param slots: as self.slots; None if the servers have theirs
        :param moves: names of migrations to those of servers
        """
        if self.slots is not None:
            self.slots = {'node_amd_sev': known, 'node_amd_sev_es': known
                          } if slots is None else slots
        self.driver._get_vcpu_used()
        foreign_guests = self.driver._mem_encryption.foreign_guests
        found = foreign_guests.count(
            {getattr(uuids, name) for name in known}, uuids.node,
            {getattr(uuids, name): getattr(uuids, server)
             for name, server in (moves or {}).items()})
        self.assertEqual(found, {
            model: foreign_guests.get_count(model) for model in found})
        return found['amd-sev'], found['amd-sev-es']

    @tables.data(('', 0, 0), (SEV, 1, 0), (ES, 0, 1), (SNP, 0, 1),
                 (POLICY % ('sev', '55'), 0, 1),
                 (POLICY % ('sev', '51'), 1, 0))
    @ddt.unpack
    def test_what_has_which_asid(self, security, sev, sev_es):
        self.start('guest', security)
        self.assertEqual((sev, sev_es), self.count())
        self.assertEqual((0, 0), self.count('guest'))

    def test_they_are_named_once(self):
        for name in ('one', 'two'):
            self.start(name, ES)
        self.start('three', SEV)
        self.start('plain')
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            for _ in range(3):
                self.assertEqual((1, 1), self.count('two', 'four'))
        self.assertEqual(2, len(logs.records))
        for record, name in zip(logs.records, ('three', 'one')):
            said = record.getMessage()
            self.assertIn('%s (%s)' % (name, getattr(uuids, name)), said)
            for other in {'one', 'two', 'three', 'plain'} - {name}:
                self.assertNotIn(getattr(uuids, other), said)
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            self.assertEqual((1, 2), self.count())
        self.assertEqual(1, len(logs.records))

    def test_that_they_are_gone_is_said_too(self):
        domain = self.start('guest', ES)
        self.assertEqual((0, 1), self.count())
        domain.destroy()
        with self.assertLogs(LOGGER, 'INFO') as logs:
            for _ in range(3):
                self.assertEqual((0, 0), self.count())
        self.assertEqual(
            ['Only servers have ASIDs of amd_sev_es on this host again.'],
            [record.getMessage() for record in logs.records
             if 'Only' in record.getMessage()])

    def test_libvirt_is_asked_once_for_each_start(self):
        domain = self.start('guest', ES)
        asked = []
        original = type(domain).XMLDesc

        def describe(domain, flags):
            asked.append(domain.name())
            return original(domain, flags)

        self.stub_out('nova.tests.fixtures.libvirt.Domain.XMLDesc', describe)
        for _ in range(3):
            self.count()
        self.assertEqual(['guest'], asked)
        # It is started again, as another.
        domain.destroy()
        self.count()
        self.start('guest', SEV)
        self.assertEqual((1, 0), self.count())
        self.assertEqual(['guest'] * 2, asked)

    @ddt.data((fakelibvirt.VIR_ERR_NO_DOMAIN, False),
              (fakelibvirt.VIR_ERR_INTERNAL_ERROR, True))
    @ddt.unpack
    def test_one_that_cannot_be_asked(self, code, warned):
        self.start('guest', ES)
        self.start('other', ES)
        original = fakelibvirt.Domain.XMLDesc

        def fail(domain, flags):
            if domain.name() == 'other':
                return original(domain, flags)
            raise fakelibvirt.make_libvirtError(
                fakelibvirt.libvirtError, 'no', error_code=code)

        with mock.patch.object(fakelibvirt.Domain, 'XMLDesc', fail):
            with self.assertLogs(LOGGER, 'WARNING') as logs:
                self.assertEqual((0, 1), self.count())
        self.assertEqual(warned, 'Cannot tell whether guest guest' in ''.join(
            logs.output))
        # It is asked again.
        self.assertEqual((0, 2), self.count())

    def test_a_host_without_sev(self):
        self.sev.set(sev='N')
        self.driver = self.get_driver()
        self.connection._sev_counts = None
        self.start('guest', ES)
        self.driver._get_vcpu_used()
        with self.assert_silence():
            self.assertEqual({}, self.count_all())

    def test_before_anybody_has_looked(self):
        self.assertEqual({}, self.count_all())

    def test_only_what_runs_counts(self):
        self.connection.defineXML(XML % ('off', uuids.off, ES))
        self.driver._host.list_guests(only_running=False)
        self.assertEqual((0, 0), self.count())
        self.driver._host.list_guests(only_running=False)
        self.assertEqual({'amd-sev': 0, 'amd-sev-es': 0}, self.count_all())

    @tables.data(ES, SNP)
    def test_each_counts_once(self, security):
        """For the model that the host gives, of those with such ASIDs."""
        for model, snp in (('amd-sev-es', False), ('amd-sev-snp', True)):
            self.flags(enable_amd_sev_snp=snp, group='libvirt')
            self.sev.set(sev_snp='Y' if snp else 'N')
            self.sev.firmware.describe_one_file()
            self.driver = self.get_driver(libvirt='11.3.0', qemu='10.0.0')
            self.connection._sev_counts = None
            self.start('guest', security)
            self.driver._get_vcpu_used()
            self.assertEqual({'amd-sev': 0, model: 1}, self.count_all())

    # -- servers that have none ----------------------------------------------

    @tables.data(
        (SEV, {}, (1, 0)), (ES, {}, (0, 1)), (SNP, {}, (0, 1)),
        ('', {}, (0, 0)),
        (SEV, {'node_amd_sev': ['server']}, (0, 0)),
        (SEV, {'node_amd_sev': ['another']}, (1, 0)),
        # Before the first reshape
        (SEV, {'node': ['server']}, (0, 0)),
        (SEV, {'node_amd_sev_es': ['server']}, (1, 0)),
        (ES, {'node_amd_sev_es': ['server']}, (0, 0)),
        (ES, {'node_amd_sev': ['server'], 'node_amd_sev_es': []}, (0, 1)),
        (ES, {'node': ['server']}, (0, 1)),
        (SNP, {'node_amd_sev_snp': ['server']}, (0, 0)),
        (SNP, {'node_amd_sev_es': [], 'node_amd_sev_snp': ['another']},
         (0, 1)),
        # One that moves away
        (ES, {'node_amd_sev_es': ['move']}, (0, 0)),
        (ES, {'node_amd_sev_es': ['another']}, (0, 1)))
    @ddt.unpack
    def test_a_server_without_a_slot(self, security, slots, counts):
        self.start('server', security)
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            logging.getLogger(LOGGER).warning('one')
            for _ in range(2):
                self.assertEqual(counts, self.count(
                    'server', slots=slots, moves={'move': 'server'}))
        self.assertEqual(1 + max(counts), len(logs.records))
        for record in logs.records[1:]:
            self.assertIn('no slots of %s: server (%s)' % (
                'amd_sev' if counts[0] else 'amd_sev_es', uuids.server),
                record.getMessage())

    def test_they_are_counted_with_foreign_guests(self):
        for name in ('one', 'two', 'three'):
            self.start(name, ES)
        self.assertEqual((0, 2), self.count(
            'one', 'two', slots={'node_amd_sev_es': ['two']}))

    def test_placement_is_asked_for_what_matters(self):
        self.start('plain')
        self.start('foreign', ES)
        self.count('plain')
        self.assertEqual([], self.driver.virtapi.reportclient.mock_calls)

    def test_a_placement_that_does_not_answer(self):
        self.start('server', ES)
        self.start('foreign', ES)
        self.slots = None
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            for _ in range(3):
                self.assertEqual((0, 1), self.count('server'))
        self.assertEqual(1, len([
            line for line in logs.output
            if 'Cannot tell which servers have slots: no Placement' in line]))

    def test_a_placement_that_answers_an_error(self):
        self.start('server', ES)
        self.driver.virtapi.reportclient.get.side_effect = None
        for response in (fake_requests.FakeResponse(503),
                         fake_requests.FakeResponse(200, 'a proxy')):
            self.driver.virtapi.reportclient.get.return_value = response
            with self.assertLogs(LOGGER, 'WARNING') as logs:
                self.assertEqual((0, 0), self.count('server'))
            self.assertIn('Cannot tell which servers', logs.output[0])

    # -- guests that libvirt does not know of --------------------------------

    def set_current(self, sev, sev_es):
        self.sev.set_misc(capacity={'sev': 100, 'sev_es': 15},
                          current={'sev': sev, 'sev_es': sev_es})

    def test_it_takes_two_looks_to_believe_the_kernel(self):
        self.start('guest', ES)
        self.start('server', SEV)
        self.set_current(3, 5)
        with self.assertLogs(LOGGER, 'WARNING') as logs:
            self.assertEqual((0, 1), self.count('server'))
            self.assertNotIn('libvirt does not know', ''.join(logs.output))
            self.set_current(4, 3)
            self.assertEqual((2, 3), self.count('server'))
        self.assertIn('2 that libvirt does not know of', logs.output[-2])
        self.assertIn('(%s), 2 that libvirt' % uuids.guest, logs.output[-1])
        self.set_current(1, 1)
        self.assertEqual((0, 1), self.count('server'))

    def test_fewer_than_there_are_guests(self):
        """The kernel counts late, or not at all."""
        for name in ('one', 'two'):
            self.start(name, ES)
        self.set_current(0, 1)
        for _ in range(3):
            self.assertEqual((0, 2), self.count())

    def test_a_kernel_that_does_not_tell(self):
        self.start('guest', ES)
        self.sev.set_misc(capacity={'sev': 100, 'sev_es': 15})
        with self.assertLogs(LOGGER, 'INFO') as logs:
            for _ in range(3):
                self.assertEqual((0, 1), self.count())
        said, = [line for line in logs.output if 'are not looked for' in line]
        self.assertIn('Linux 6.5', said)
