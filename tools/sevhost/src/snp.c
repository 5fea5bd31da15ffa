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
 * The launch of a SEV-SNP guest: KVM_SEV_SNP_LAUNCH_* of
 * Documentation/virt/kvm/x86/amd-memory-encryption.rst and, for the errors,
 * snp_launch_* of arch/x86/kvm/svm/sev.c of Linux 6.12; what the firmware
 * does is AMD 56860, "SEV Secure Nested Paging Firmware ABI", by the commands
 * named here. Nothing is encrypted, but the launch digest is that of the
 * pages and registers that QEMU has given.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host.h"

/* SNP_LAUNCH_START, the guest policy */
#define POLICY_ABI 0xffffULL /* the firmware's version, at least */
#define POLICY_SMT (1 << 16)
#define POLICY_ONE (1 << 17) /* reserved, must be one */
#define POLICY_DEBUG (1 << 19)
#define POLICY_SINGLE_SOCKET (1 << 20)

#define VMSA_ADDRESS 0xfffffffff000ULL /* INITIAL_VMSA_GPA of KVM */
#define FEATURE_SNP 1                  /* of SEV_FEATURES in a save area */

static struct {
    unsigned started, finished;
    uint64_t policy, pages[PAGE_TYPES]; /* how many, by type */
    uint8_t digest[SHA384];
} guest;

static const char *hex(char *text, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
    return text;
}

static int log_start(int result, uint64_t policy, uint32_t error)
{
    log_call("KVM_SEV_SNP_LAUNCH_START", result, ", \"policy\": %llu, "
             "\"error\": %u", (unsigned long long)policy, error);
    return result ? fail(-result) : 0;
}

static int launch_start(struct kvm_sev_cmd *command,
                        struct snp_launch_start *data)
{
    uint64_t policy = data->policy;
    uint64_t valid = POLICY_ABI | POLICY_SMT | POLICY_ONE | POLICY_DEBUG;

    /* Linux 6.12 wants SMT and no single socket; later ones take either. */
    if (guest.started || data->flags || policy & ~valid ||
        !(policy & POLICY_ONE) || !(policy & POLICY_SMT))
        return log_start(-EINVAL, policy, command->error);
    if (!host.snp) {
        command->error = SEV_RET_INVALID_PLATFORM_STATE;
        return log_start(-ENOTTY, policy, command->error);
    }
    if ((policy & POLICY_ABI) > (API_MAJOR << 8 | host.psp_minor)) {
        command->error = SEV_RET_POLICY_FAILURE;
        return log_start(-EIO, policy, command->error);
    }
    guest.started = 1;
    guest.policy = policy;
    return log_start(0, policy, command->error);
}

/* SNP_LAUNCH_UPDATE, PAGE_INFO: add a page to the launch digest. */
static void measure(enum page_type type, uint64_t address,
                    const void *content)
{
    struct {
        uint8_t digest[SHA384], content[SHA384];
        uint16_t size;
        uint8_t type, imi, permissions[4]; /* none of a migration agent, */
        uint64_t address;                  /* nor for VMPL 1 to 3 */
    } info = { .size = sizeof(info), .type = type, .address = address };

    memcpy(info.digest, guest.digest, SHA384);
    if (type == PAGE_NORMAL || type == PAGE_VMSA)
        sha384(info.content, content, PAGE_SIZE);
    sha384(guest.digest, &info, sizeof(info));
    guest.pages[type]++;
}

/* SNP_LAUNCH_UPDATE, CPUID page: where a feature is not the processor's, the
   firmware refuses it, and writes what it would take. */
static void refuse_cpuid(struct snp_cpuid *page)
{
    for (uint32_t i = 0; i < page->count && i < SNP_CPUIDS; i++)
        if (page->entries[i].eax_in == 1)
            page->entries[i].ecx &= ~SNP_CPUID_X2APIC;
}

/* kvm_gmem_populate: how many pages it has populated, or an error */
static int populate(struct kvm_sev_cmd *command,
                    const struct snp_launch_update *data)
{
    uint64_t pages = data->size / PAGE_SIZE;
    uint8_t *content = (void *)(uintptr_t)data->memory;

    for (uint64_t i = 0; i < pages; i++) {
        uint64_t address = (data->frame + i) * PAGE_SIZE;

        if (!has_guest_memfd(address) || !is_private(address))
            return i ? (int)i : -EINVAL;
        if (data->type == PAGE_CPUID && host.psp_no_cpuid) {
            refuse_cpuid((void *)(content + i * PAGE_SIZE));
            command->error = SEV_RET_INVALID_PARAM;
            return -EIO;
        }
        measure(data->type, address, content + i * PAGE_SIZE);
    }
    return pages;
}

static int launch_update(struct kvm_sev_cmd *command,
                         struct snp_launch_update *data)
{
    int result = 0, count;

    if (!guest.started || data->size % PAGE_SIZE || data->flags ||
        data->type < PAGE_NORMAL || data->type == PAGE_VMSA ||
        data->type >= PAGE_TYPES || !has_guest_memfd(data->frame * PAGE_SIZE))
        result = -EINVAL;
    else if (guest.finished) {
        command->error = SEV_RET_INVALID_GUEST_STATE;
        result = -EIO;
    }
    count = result ? 0 : populate(command, data);
    if (count < 0)
        result = -EIO;
    log_call("KVM_SEV_SNP_LAUNCH_UPDATE", result, ", \"type\": %u, "
             "\"address\": %llu, \"bytes\": %llu, \"error\": %u", data->type,
             (unsigned long long)data->frame * PAGE_SIZE,
             (unsigned long long)data->size, command->error);
    if (result)
        return fail(-result);
    data->frame += count;
    data->size -= count * PAGE_SIZE;
    if (data->type != PAGE_ZERO)
        data->memory += count * PAGE_SIZE;
    return 0;
}

/* snp_launch_update_vmsa: QEMU does not ask for this. */
static int measure_vcpus(void)
{
    uint8_t page[PAGE_SIZE];

    for (unsigned i = 0; i < vcpu_count; i++) {
        if (make_save_area(page, &vcpus[i], FEATURE_SNP))
            return -EINVAL;
        measure(PAGE_VMSA, VMSA_ADDRESS, page);
    }
    return 0;
}

static int launch_finish(struct kvm_sev_cmd *command,
                         struct snp_launch_finish *data)
{
    char digest[2 * SHA384 + 1], host_data[2 * sizeof(data->host_data) + 1];
    int result = !guest.started || data->flags ? -EINVAL : 0;

    if (!result && guest.finished) {
        command->error = SEV_RET_INVALID_GUEST_STATE;
        result = -EIO;
    }
    if (!result)
        result = measure_vcpus();
    guest.finished = guest.finished || !result;
    log_call("KVM_SEV_SNP_LAUNCH_FINISH", result, ", \"policy\": %llu, "
             "\"digest\": \"%s\", \"normal\": %llu, \"zero\": %llu, "
             "\"secrets\": %llu, \"cpuid\": %llu, \"vmsa\": %llu, "
             "\"id_block\": %u, \"host_data\": \"%s\", \"error\": %u",
             (unsigned long long)guest.policy,
             hex(digest, guest.digest, SHA384),
             (unsigned long long)guest.pages[PAGE_NORMAL],
             (unsigned long long)guest.pages[PAGE_ZERO],
             (unsigned long long)guest.pages[PAGE_SECRETS],
             (unsigned long long)guest.pages[PAGE_CPUID],
             (unsigned long long)guest.pages[PAGE_VMSA],
             data->id_block_enabled,
             hex(host_data, data->host_data, sizeof(data->host_data)),
             command->error);
    return result ? fail(-result) : 0;
}

int snp_launch(struct kvm_sev_cmd *command)
{
    void *data = (void *)(uintptr_t)command->data;

    switch (command->id) {
    case SNP_LAUNCH_START:
        return launch_start(command, data);
    case SNP_LAUNCH_UPDATE:
        return launch_update(command, data);
    case SNP_LAUNCH_FINISH:
        return launch_finish(command, data);
    }
    log_call("KVM_MEMORY_ENCRYPT_OP", -EPERM, ", \"command\": %u",
             command->id);
    return fail(command->id < SNP_LAUNCH_START ? EPERM : EINVAL);
}
