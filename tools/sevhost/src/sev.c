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
 * KVM_MEMORY_ENCRYPT_OP, the launch of a guest: the structures of linux/kvm.h,
 * Documentation/virt/kvm/x86/amd-memory-encryption.rst and, for the errors,
 * arch/x86/kvm/svm/sev.c of Linux; the guest's states as AMD 55766 ("Secure
 * Encrypted Virtualization API") has them. Nothing is encrypted, and the
 * measurement is a checksum. SEV-SNP has commands of its own: snp.c.
 */
#include <errno.h>
#include <unistd.h>

#include "host.h"

#define POLICY_ES (1 << 2) /* AMD 55766, table 2, bit 2 */
#define MEASUREMENT 48     /* AMD 55766, LAUNCH_MEASURE: MAC and nonce */

/* AMD 55766, table 38 */
enum state { UNINIT = 0, LAUNCH_UPDATE = 1, LAUNCH_SECRET = 2, RUNNING = 3 };

static struct {
    unsigned asid, es, policy, measured;
    int lock; /* file descriptor that holds the ASID */
    enum state state;
    uint64_t bytes; /* of launch data */
    uint32_t checksum;
} guest = { .checksum = 2166136261u };

static int firmware_error(struct kvm_sev_cmd *command, sev_ret_code code)
{
    command->error = code;
    return fail(EIO);
}

/* sev_guest_init: first an ASID, then the secure processor. */
static int init(struct kvm_sev_cmd *command, const char *call,
                enum vm_type type)
{
    int asid = type == VM_SEV_ES && !host.es ? -ENOTTY :
               guest.asid || vcpu_count ? -EINVAL :
               take_asid(type != VM_SEV, &guest.lock);

    if (asid > 0) {
        int result = psp_init(&command->error);

        if (result) {
            close(guest.lock);
            asid = result;
        }
    }
    log_call(call, asid < 0 ? asid : 0, ", \"asid\": %d, \"vm_type\": %d, "
             "\"error\": %u", asid < 0 ? 0 : asid, vm_type, command->error);
    if (asid < 0)
        return fail(-asid);
    guest.asid = asid;
    guest.es = type == VM_SEV_ES;
    return 0;
}

/* sev_guest_init2; this processor has no features that are to be chosen. */
static int init2(struct kvm_sev_cmd *command, const struct sev_init2 *data)
{
    if (vm_type == VM_DEFAULT || data->flags || data->vmsa_features ||
        data->ghcb_version > GHCB_VERSION ||
        (vm_type == VM_SEV && data->ghcb_version))
        return fail(EINVAL);
    return init(command, "KVM_SEV_INIT2", vm_type);
}

static int launch_start(struct kvm_sev_cmd *command,
                        struct kvm_sev_launch_start *data)
{
    /* The firmware takes no SEV-ES policy for a guest that is plain SEV. With
       CVE-2025-48514 fixed it takes none beside SEV-SNP: AMD-SB-3023. */
    sev_ret_code code = !(data->policy & POLICY_ES) ? SEV_RET_SUCCESS :
                        host.snp ? SEV_RET_UNSUPPORTED :
                        guest.es && host.psp_es ? SEV_RET_SUCCESS :
                        SEV_RET_POLICY_FAILURE;

    log_call("KVM_SEV_LAUNCH_START", code ? -EIO : 0,
             ", \"policy\": %u, \"error\": %u", data->policy, code);
    if (code)
        return firmware_error(command, code);
    guest.policy = data->policy;
    guest.state = LAUNCH_UPDATE;
    data->handle = guest.asid;
    return 0;
}

static int launch_update_data(struct kvm_sev_launch_update_data *data)
{
    const uint8_t *bytes = (void *)(uintptr_t)data->uaddr;

    for (uint32_t i = 0; i < data->len; i++) /* FNV-1a */
        guest.checksum = (guest.checksum ^ bytes[i]) * 16777619u;
    guest.bytes += data->len;
    log_call("KVM_SEV_LAUNCH_UPDATE_DATA", 0, ", \"bytes\": %u", data->len);
    return 0;
}

static int launch_measure(struct kvm_sev_cmd *command,
                          struct kvm_sev_launch_measure *data)
{
    uint8_t *bytes = (void *)(uintptr_t)data->uaddr;

    if (data->len < MEASUREMENT) {
        data->len = MEASUREMENT; /* this is how one asks for the length */
        return firmware_error(command, SEV_RET_INVALID_LEN);
    }
    for (int i = 0; i < MEASUREMENT; i++)
        bytes[i] = guest.checksum >> 8 * (i % 4);
    data->len = MEASUREMENT;
    guest.state = LAUNCH_SECRET;
    log_call("KVM_SEV_LAUNCH_MEASURE", 0, ", \"checksum\": %u",
             guest.checksum);
    return 0;
}

static int launch(struct kvm_sev_cmd *command, void *data)
{
    struct kvm_sev_guest_status *status = data;

    if (command->id == KVM_SEV_GUEST_STATUS) {
        status->handle = guest.asid;
        status->policy = guest.policy;
        status->state = guest.state;
        return 0;
    }
    if (command->id == KVM_SEV_LAUNCH_START && guest.state == UNINIT)
        return launch_start(command, data);
    if (command->id == KVM_SEV_LAUNCH_UPDATE_DATA &&
        guest.state == LAUNCH_UPDATE)
        return launch_update_data(data);
    if (command->id == KVM_SEV_LAUNCH_UPDATE_VMSA && guest.es &&
        guest.state == LAUNCH_UPDATE) {
        log_call("KVM_SEV_LAUNCH_UPDATE_VMSA", 0, "%s", "");
        return 0;
    }
    if (command->id == KVM_SEV_LAUNCH_MEASURE &&
        guest.state == LAUNCH_UPDATE)
        return launch_measure(command, data);
    if (command->id == KVM_SEV_LAUNCH_SECRET &&
        guest.state == LAUNCH_SECRET) {
        log_call("KVM_SEV_LAUNCH_SECRET", 0, "%s", "");
        return 0;
    }
    if (command->id == KVM_SEV_LAUNCH_FINISH &&
        guest.state == LAUNCH_SECRET) {
        log_call("KVM_SEV_LAUNCH_FINISH", 0, ", \"policy\": %u, "
                 "\"bytes\": %llu", guest.policy,
                 (unsigned long long)guest.bytes);
        guest.state = RUNNING;
        return 0;
    }
    log_call("KVM_MEMORY_ENCRYPT_OP", -EIO, ", \"command\": %u, "
             "\"state\": %d", command->id, guest.state);
    return firmware_error(command, SEV_RET_INVALID_GUEST_STATE);
}

int sev_ioctl(struct kvm_sev_cmd *command)
{
    if (!host.sev)
        return fail(ENOTTY);
    if (!command) /* "does KVM have SEV?" */
        return 0;
    command->error = SEV_RET_SUCCESS;
    if (guest.asid && vm_type == VM_SNP)
        return snp_launch(command);
    if (command->id == SEV_INIT2)
        return init2(command, (void *)(uintptr_t)command->data);
    if (command->id == KVM_SEV_INIT || command->id == KVM_SEV_ES_INIT) {
        if (vm_type != VM_DEFAULT)
            return fail(EINVAL);
        return command->id == KVM_SEV_INIT ?
               init(command, "KVM_SEV_INIT", VM_SEV) :
               init(command, "KVM_SEV_ES_INIT", VM_SEV_ES);
    }
    if (!guest.asid)
        return fail(ENOTTY);
    return launch(command, (void *)(uintptr_t)command->data);
}
