/*
 * Licensed under the Apache License, Version 2.0 (the "License"); you may
 * not use this file except in compliance with the License. You may obtain
 * a copy of the License at
 *
 *      http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
 * WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
 * License for the specific language governing permissions and limitations
 * under the License.
 */

/*
 * What the headers of Linux 6.12 have, for machines whose own are older:
 * linux/kvm.h (Documentation/virt/kvm/api.rst: VM types, guest_memfd, memory
 * attributes; Documentation/virt/kvm/x86/amd-memory-encryption.rst) and
 * linux/psp-sev.h. The names are shorter, so that both can be included.
 */
#ifndef SEVHOST_UAPI_H
#define SEVHOST_UAPI_H

#include <linux/kvm.h>
#include <stdint.h>

enum { /* KVM_CAP_* */
    CAP_EXIT_HYPERCALL = 201, CAP_USER_MEMORY2 = 231,
    CAP_MEMORY_FAULT_INFO = 232, CAP_MEMORY_ATTRIBUTES = 233,
    CAP_GUEST_MEMFD = 234, CAP_VM_TYPES = 235,
};
#define HYPERCALLS (1 << 12) /* those that end KVM_RUN: MAP_GPA_RANGE */

enum vm_type { VM_DEFAULT = 0, VM_SEV = 2, VM_SEV_ES = 3, VM_SNP = 4 };

enum { /* commands of KVM_MEMORY_ENCRYPT_OP */
    SEV_INIT2 = 22,
    SNP_LAUNCH_START = 100, SNP_LAUNCH_UPDATE, SNP_LAUNCH_FINISH,
};

struct memory_region2 {
    uint32_t slot, flags;
    uint64_t address, size, memory, file_offset;
    uint32_t file, pad1;
    uint64_t pad2[14];
};
#define SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct memory_region2)
#define MEMORY_GUEST_MEMFD (1 << 2) /* one of its flags */

struct memory_attributes {
    uint64_t address, size, attributes, flags;
};
#define SET_MEMORY_ATTRIBUTES _IOW(KVMIO, 0xd2, struct memory_attributes)
#define MEMORY_PRIVATE (1ULL << 3)

struct guest_memfd {
    uint64_t size, flags, reserved[6];
};
#define CREATE_GUEST_MEMFD _IOWR(KVMIO, 0xd4, struct guest_memfd)

struct sev_init2 {
    uint64_t vmsa_features;
    uint32_t flags;
    uint16_t ghcb_version, pad1;
    uint32_t pad2[8];
};
#define GHCB_VERSION 2 /* the highest */

struct snp_launch_start {
    uint64_t policy;
    uint8_t gosvw[16];
    uint16_t flags;
    uint8_t pad0[6];
    uint64_t pad1[4];
};

enum page_type {
    PAGE_NORMAL = 1, PAGE_VMSA, PAGE_ZERO, PAGE_UNMEASURED, PAGE_SECRETS,
    PAGE_CPUID, PAGE_TYPES,
};

struct snp_launch_update {
    uint64_t frame, memory, size;
    uint8_t type, pad0;
    uint16_t flags;
    uint32_t pad1;
    uint64_t pad2[4];
};

struct snp_launch_finish {
    uint64_t id_block, id_auth;
    uint8_t id_block_enabled, author_key_enabled, vcek_disabled;
    uint8_t host_data[32];
    uint8_t pad0[3];
    uint16_t flags;
    uint64_t pad1[4];
};

/* What the firmware wants of the CPUID page: AMD 56860, SNP_LAUNCH_UPDATE */
#define SNP_CPUIDS 64
#define SNP_CPUID_X2APIC (1 << 21) /* of leaf 1, ECX */
struct snp_cpuid {
    uint32_t count, pad0;
    uint64_t pad1;
    struct {
        uint32_t eax_in, ecx_in;
        uint64_t xcr0_in, xss_in;
        uint32_t eax, ebx, ecx, edx;
        uint64_t pad2;
    } entries[SNP_CPUIDS];
};

/* Of SEV_ISSUE_CMD */
#define SNP_PLATFORM_STATUS 9
#define SNP_COMMANDS 13 /* SEV_MAX of 6.12 */

struct snp_status {
    uint8_t api_major, api_minor, state, rmp_initialised;
    uint32_t build, flags, guest_count;
    uint64_t current_tcb_version, reported_tcb_version;
} __attribute__((packed));

#endif
