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

"""The launch digest of an SEV-SNP guest, as the secure processor extends it.

Source: AMD 56860, "SEV Secure Nested Paging Firmware ABI Specification",
8.17.2 (structure PAGE_INFO), and the types of pages of SNP_LAUNCH_UPDATE.
"""
import hashlib
import struct

PAGE = 4096
EMPTY = bytes(hashlib.sha384().digest_size)
NORMAL, VMSA, ZERO, SECRETS, CPUID = 1, 2, 3, 5, 6
WITH_CONTENT = (NORMAL, VMSA)
# Digest so far, digest of the content, length of this structure, type of the
# page; whether it is of a migration agent, what VMPL 3, 2 and 1 may do with
# it, reserved: all 0 here; address
PAGE_INFO = struct.Struct('<48s48sHB5xQ')
# Where the pages of vCPUs are taken to be, all of them: the last one that an
# address of 48 bits has (snp_launch_update_vmsa in the kernel's
# arch/x86/kvm/svm/sev.c)
VMSA_ADDRESS = 0xfffffffff000


class Digest:
    """A digest, from nothing to that of the launch."""

    def __init__(self) -> None:
        self.value = EMPTY

    def add(self, kind: int, address: int, content: bytes = b'') -> None:
        """Add a page.

        :param kind: its type
        :param address: of the guest
        :param content: of the page, of those that are measured with it
        """
        self.value = hashlib.sha384(PAGE_INFO.pack(
            self.value, hashlib.sha384(content).digest()
            if kind in WITH_CONTENT else EMPTY, PAGE_INFO.size, kind, address,
        )).digest()

    def add_all(self, kind: int, address: int, content: bytes) -> None:
        """Add pages with content that follow each other."""
        for at in range(0, len(content), PAGE):
            self.add(kind, address + at, content[at:at + PAGE])

    def add_blank(self, kind: int, address: int, size: int) -> None:
        """Add pages whose content is not measured."""
        for at in range(0, size, PAGE):
            self.add(kind, address + at)
