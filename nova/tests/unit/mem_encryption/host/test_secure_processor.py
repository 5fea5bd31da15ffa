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


"""Test what is made of what the secure processor says."""
import ctypes
import errno
import os

import ddt

from nova import exception
from nova import test
from nova.tests.fixtures import libvirt as fakelibvirt
from nova.tests.fixtures import tables

from nova_mem_encryption.nova.mem_encryption.host import (
    secure_processor as psp)
from nova_mem_encryption.nova.mem_encryption.host import dev_sev
from nova_mem_encryption.nova.mem_encryption.launch_errors import causes
from nova_mem_encryption.nova.mem_encryption import models

SEV, ES = models.MODELS['amd-sev'], models.MODELS['amd-sev-es']
READY = psp.Status((1, 55), 24, 1, True)
STATUS = ('api_major', 'api_minor', 'state', 'flags', 'build', 'guest_count')


@ddt.ddt
class ReadTest(test.NoDBTestCase):

    def setUp(self):
        super().setUp()
        self.sev = self.useFixture(fakelibvirt.SEVHosts())

    def test_it_is_asked_as_the_kernel_wants_it(self):
        # _IOWR of include/uapi/asm-generic/ioctl.h; both structs are packed.
        self.assertEqual((12, 32, 16), tuple(map(ctypes.sizeof, (
            dev_sev.PlatformStatus, dev_sev.SNPPlatformStatus,
            dev_sev.Command))))
        self.assertEqual(3 << 30 | 16 << 16 | ord('S') << 8 | 0,
                         dev_sev.SEV_ISSUE_CMD)

    # API, state, flags, build, guests; and what that is
    @tables.data(
        ((1, 55, 1, 0x100, 24, 0), READY),
        ((0, 17, 2, 0x101, 48, 3), psp.Status((0, 17), 48, 2, True)),
        ((1, 55, 1, 0xfffffeff, 24, 0), psp.Status((1, 55), 24, 1, False)),
        ((255, 255, 255, 0x100, 255, 2 ** 32 - 1),
         psp.Status((255, 255), 255, 255, True)))
    @ddt.unpack
    def test_what_it_says(self, fields, status):
        self.sev.set_secure_processor(**dict(zip(STATUS, fields)))
        self.assertEqual(status, psp.read_status(self.sev.path))

    def test_the_device_is_closed_whatever_it_says(self):
        before = os.listdir('/proc/self/fd')
        self.sev.set_secure_processor(OSError(errno.EIO, 'no'))
        self.assertRaises(OSError, psp.read_status, self.sev.path)
        self.assertEqual(before, os.listdir('/proc/self/fd'))

    @ddt.data(('Y\n', False), ('1', False), ('N\n', True), ('0\n', True),
              ('', False), (None, False))
    @ddt.unpack
    def test_whether_it_is_lazy(self, text, lazy):
        path = self.sev.path + psp.AT_ONCE_FILE
        os.makedirs(os.path.dirname(path))
        if text is not None:
            with open(path, 'w') as f:
                f.write(text)
        self.assertIs(lazy, psp.is_lazy(self.sev.path))


@ddt.ddt
class FaultTest(test.NoDBTestCase):

    # The status, whether it is lazy, and the causes of no SEV and no SEV-ES
    @tables.data(
        (READY, False, None, None), (READY, True, None, None),
        (READY._replace(state=2), False, None, None),
        (READY._replace(state=0), False,
         causes.UNINITIALISED, causes.UNINITIALISED),
        (READY._replace(state=0, es=False), False,
         causes.UNINITIALISED, causes.UNINITIALISED),
        (READY._replace(state=0, es=False), True, None, causes.LAZY),
        (READY._replace(es=False), False, None, causes.NOT_FOR_ES),
        (READY._replace(es=False), True, None, causes.NOT_FOR_ES),
        (READY._replace(api=(0, 16)), False, None, causes.OLD_FIRMWARE),
        (READY._replace(api=(0, 17)), False, None, None))
    @ddt.unpack
    def test_what_it_keeps_from_starting(self, status, lazy, sev, sev_es):
        for model, cause in ((SEV, sev), (ES, sev_es)):
            fault = psp.find_fault(status, lazy) or (
                psp.find_fault_of_model(status, model))
            self.assertEqual(cause, fault and fault.cause)

    @ddt.data(*errno.errorcode)
    def test_each_error_is_one_of_it_or_of_who_asks(self, number):
        fault = psp.read_error(OSError(number, os.strerror(number)))
        if number not in (errno.EBUSY, errno.ETIMEDOUT, errno.EIO,
                          errno.ENODEV):
            self.assertIsNone(fault)
        else:
            self.assertIn(os.strerror(number), fault.found)
            self.assertEqual(
                causes.NOT_READY, fault.cause.reason)

    def test_its_remedy_begins_before_nova_cuts_it_off(self):
        """A fault has 255 characters, and some are of what was asked for."""
        for model in models.get_added():
            fault = psp.find_fault_of_snp(False, model)
            text = str(exception.MemEncryptionUnavailable(
                model=model.value, reason='%s. %s' % (
                    fault.found, fault.cause.remedy)))[:255]
            self.assertIn('Switch SEV-SNP on in the BIOS', text)
            self.assertEqual(1, text.count('initialised'))

    def test_it_is_told_in_words(self):
        for status, words in (
                (READY,
                 'SEV API 1.55, build 24; initialised, also for SEV-ES'),
                (READY._replace(state=0, es=False),
                 'SEV API 1.55, build 24; not initialised'),
                (READY._replace(state=9, es=False),
                 'SEV API 1.55, build 24; in state 9')):
            self.assertEqual(words, str(status))
