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

"""The save area of a vCPU that is about to start, as it is measured.

Its layout is that of AMD 24593, "System Programming", table B-4. The values
are those of a reset, as QEMU gives them to KVM (x86_cpu_reset_hold in
target/i386/cpu.c), and what KVM itself has to set for the guest to run.
"""
import struct
import typing as ty

from nova_mem_encryption.measure import digest

# The SNP_ACTIVE bit of SEV_FEATURES. KVM sets it; others QEMU does not ask for
# (KVM_SEV_INIT2 with vmsa_features of 0).
SNP_ACTIVE = 1 << 0

SEGMENT = struct.Struct('<HHIQ')  # selector, attributes, limit, base
# Present, and accessed; S where it is no system segment
CODE, DATA, TABLE, TASK = 0x9b, 0x93, 0x82, 0x8b
SEGMENTS = {
    **dict.fromkeys((0x00, 0x20, 0x30, 0x40, 0x50), DATA),  # ES, SS to GS
    0x60: 0, 0x70: TABLE, 0x80: 0, 0x90: TASK}  # GDTR, LDTR, IDTR, TR
CS, SELECTOR, LIMIT = 0x10, 0xf000, 0xffff

REGISTERS: ty.Dict[int, int] = {
    0x0d0: 1 << 12,             # EFER: SVME, which KVM keeps on
    0x148: 1 << 6,              # CR4: MCE, as KVM's own
    0x158: 1 << 4,              # CR0: ET; KVM takes CD and NW off
    0x160: 0x400,               # DR7
    0x168: 0xffff0ff0,          # DR6
    0x170: 0x2,                 # RFLAGS
    0x268: 0x0007040600070406,  # PAT
    0x3e8: 0x1,                 # XCR0
    0x408: 0x1f80,              # MXCSR
    0x410: 0x37f,               # FCW
}
RIP, RDX, SEV_FEATURES = 0x178, 0x310, 0x3b0

# Where the first vCPU starts; the others do where the firmware says.
RESET = 0xfffffff0


def make(start: int, signature: int, features: int) -> bytes:
    """Return the page of a vCPU.

    :param start: where it starts: segment and offset in one number
    :param signature: of the processor, which is in EDX after a reset
    :param features: SEV_FEATURES
    """
    page = bytearray(digest.PAGE)
    for offset, attributes in SEGMENTS.items():
        SEGMENT.pack_into(page, offset, 0, attributes, LIMIT, 0)
    SEGMENT.pack_into(page, CS, SELECTOR, CODE, LIMIT, start & 0xffff0000)
    for offset, value in {**REGISTERS, RIP: start & 0xffff, RDX: signature,
                          SEV_FEATURES: features}.items():
        struct.pack_into('<Q', page, offset, value)
    return bytes(page)
