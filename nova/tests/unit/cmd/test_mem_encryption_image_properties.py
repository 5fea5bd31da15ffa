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

"""Test what 'nova-manage image_property set' stores of a server."""
from unittest import mock

import ddt
import fixtures
from oslo_utils.fixture import uuidsentinel as uuids

from nova.cmd import manage
from nova import objects
from nova import test
from nova.tests.fixtures import tables


@ddt.ddt
class SetTest(test.NoDBTestCase):

    def set(self, *properties, state='stopped'):
        """Run it; return its exit status, what it says, and what is stored."""
        instance = objects.Instance(
            uuid=uuids.server, vm_state=state, image_ref=uuids.image,
            system_metadata={'image_hw_mem_encryption_model': 'amd-sev'})
        output = self.useFixture(fixtures.StringStream('stdout')).stream
        self.useFixture(fixtures.MonkeyPatch('sys.stdout', output))
        with mock.patch.object(objects.InstanceMapping,
                               'get_by_instance_uuid'), \
                mock.patch('nova.context.target_cell'), \
                mock.patch.object(objects.Instance, 'get_by_uuid',
                                  return_value=instance), \
                mock.patch.object(instance, 'save'), \
                mock.patch.object(objects.RequestSpec,
                                  'get_by_instance_uuid'):
            code = manage.ImagePropertyCommands().set(
                uuids.server, list(properties))
        output.seek(0)
        return code, output.read(), instance.system_metadata[
            'image_hw_mem_encryption_model']

    def test_a_model_is_stored(self):
        self.assertEqual((0, '', 'amd-sev-es'), self.set(
            'hw_mem_encryption_model=amd-sev-es'))

    @ddt.data('tdx', 'AMD-SEV', '')
    def test_what_is_no_model_is_refused(self, value):
        code, said, stored = self.set('hw_mem_encryption_model=' + value)
        self.assertEqual((6, 'amd-sev'), (code, stored))
        self.assertIn("hw_mem_encryption_model: '%s' is not one of amd-sev, "
                      "amd-sev-es" % value, said)

    @tables.data(
        ('stopped', ('hw_mem_encryption_model',), 4),
        ('stopped', ('bogus=1', 'hw_mem_encryption_model=tdx'), 5),
        ('active', ('hw_mem_encryption_model=tdx',), 3), by=2)
    @ddt.unpack
    def test_nova_speaks_first(self, state, properties, code):
        self.assertEqual((code, 'amd-sev'),
                         self.set(*properties, state=state)[::2])

    def test_another_property(self):
        self.assertEqual(0, self.set('hw_disk_bus=virtio')[0])
