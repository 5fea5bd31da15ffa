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

"""The bits of guest policies."""

# Guest policy of SEV and SEV-ES: AMD 55766, "Secure Encrypted Virtualization
# API", table 2.
SEV = {
    'NODEBG': 1 << 0,  # no debugging of the guest
    'NOKS': 1 << 1,    # no sharing of its keys with other guests
    'ES': 1 << 2,      # its registers are encrypted too
    'NOSEND': 1 << 3,  # not to be sent to another platform
    'DOMAIN': 1 << 4,  # ... to one of another domain
    'SEV': 1 << 5,     # ... to one that is not SEV-capable
}
# That of SEV-SNP: AMD 56860, "SEV Secure Nested Paging Firmware ABI", table
# of the guest policy. Without DEBUG and MIGRATE_MA, the host can do neither.
# The first firmware knew those up to SINGLE_SOCKET.
SNP = {
    'SMT': 1 << 16,         # it may run where there are sibling threads
    'RESERVED_1': 1 << 17,  # must be one
    'MIGRATE_MA': 1 << 18,  # may be migrated with a migration agent
    'DEBUG': 1 << 19,       # may be debugged
    'SINGLE_SOCKET': 1 << 20,  # runs on one socket only
    'CXL_ALLOW': 1 << 21,      # it may run where there are CXL devices
    'MEM_AES_256_XTS': 1 << 22,  # its memory is encrypted with AES 256 XTS
    'RAPL_DIS': 1 << 23,       # runs only where power cannot be measured
    'CIPHERTEXT_HIDING_DRAM': 1 << 24,  # ... where its ciphertext is hidden
    'PAGE_SWAP_DISABLE': 1 << 25,  # its pages are not moved or swapped
}
