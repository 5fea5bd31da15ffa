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

"""The family, model and stepping that a guest sees."""
import re
import typing as ty

VERSION = re.compile(r'-v\d+$')


class Signature(ty.NamedTuple):
    """What CPUID 0x00000001 says in EAX, in its parts."""

    family: int
    model: int
    stepping: int

    @property
    def value(self) -> int:
        """EAX itself (AMD 24594, CPUID Fn0000_0001_EAX)."""
        base = min(self.family, 0xf)
        return ((self.family - base) << 20 | self.model >> 4 << 16 |
                base << 8 | (self.model & 0xf) << 4 | self.stepping)


# The highest that EAX has room for
MOST = Signature(0xf + 0xff, 0xff, 0xf)

# QEMU's CPU models, of its target/i386/cpu.c. All versions of a model have the
# same signature. qemu64 is what libvirt takes where no model is asked for.
NAMED = {
    'EPYC': Signature(23, 1, 2),
    'EPYC-IBPB': Signature(23, 1, 2),
    'EPYC-Rome': Signature(23, 49, 0),
    'EPYC-Milan': Signature(25, 1, 1),
    'EPYC-Genoa': Signature(25, 17, 0),
    'EPYC-Turin': Signature(26, 0, 0),
    'qemu64': Signature(15, 107, 1),
}


def find(name: str) -> ty.Optional[Signature]:
    """Return the signature of a CPU model of QEMU, None if it is not known.

    :param name: with or without its version
    """
    return NAMED.get(VERSION.sub('', name))
