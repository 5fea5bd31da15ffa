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

"""Compare the launch digest of SEV-SNP guests with that of sev-snp-measure.

That is another program, by others, which knows the firmware's file and what
else a user can know. SEVHOST_USR may name a folder with another libvirt and
QEMU, for --usr.
"""
import itertools
import sys
import unittest

import ddt

import test_snp

KNOWN = sys.version_info >= (3, 10)  # which sev-snp-measure needs
if KNOWN:
    from sevsnpmeasure import guest
    from sevsnpmeasure import sev_mode
    from sevsnpmeasure import vcpu_types

VCPUS = (1, 2, 4, 64)
MODELS = ('EPYC', 'EPYC-Rome', 'EPYC-Milan')
UNUSED = 0x10000  # an offset in what variables do not fill yet; 64 KiB
FEATURES = 1  # SEV_FEATURES: SEV-SNP, and nothing that is to be chosen


@ddt.ddt
class DigestTest(test_snp.Base):

    def assert_digest(self, firmware, vcpus, model):
        """Start a guest; its digest is what it must be. Return that."""
        self.boot('--snp')
        name = self.start_snp(firmware=self.write_firmware(firmware),
                              vcpus=vcpus, cpu=model)
        last = self.calls()[-1]
        self.assertEqual(('KVM_SEV_SNP_LAUNCH_FINISH', vcpus),
                         (last['call'], last['vmsa']))
        self.virsh('destroy', name)
        self.assertEqual(guest.calc_launch_digest(
            sev_mode.SevMode.SEV_SNP, vcpus, vcpu_types.CPU_SIGS[model],
            self.folder + '/firmware.fd', None, None, None, FEATURES).hex(),
            last['digest'])
        return last['digest']

    @ddt.data(*itertools.product(VCPUS, MODELS))
    @ddt.unpack
    def test_digest(self, vcpus, model):
        """With the host's firmware, and that of this machine."""
        contents = {test_snp.read(path(test_snp.FIRMWARE))
                    for path in (test_snp.outside, str)}
        self.assertEqual(len(contents), len({
            self.assert_digest(content, vcpus, model)
            for content in contents}))

    def test_firmware_that_is_hardly_another(self):
        """With a bit changed, and without a part that nothing uses."""
        content = test_snp.read(test_snp.outside(test_snp.FIRMWARE))
        self.assertEqual(0xff, content[UNUSED])
        self.assertEqual(3, len({
            self.assert_digest(content, 1, 'EPYC') for content in (
                content, content[UNUSED:],
                content[:UNUSED] + b'\xfe' + content[UNUSED + 1:])}))


def load_tests(loader, tests, pattern):
    """Leave it out where libvirt does not know SEV-SNP."""
    return tests if KNOWN and test_snp.KNOWN else unittest.TestSuite()
