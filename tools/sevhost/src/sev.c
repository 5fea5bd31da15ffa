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
 * measurement is a checksum.
 *
 * An ASID is a lock on a file of HOST_DIR/asids, so it is given back however
 * QEMU ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
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

static int fail(int error)
{
    errno = error;
    return -1;
}

static int firmware_error(struct kvm_sev_cmd *command, sev_ret_code code)
{
    command->error = code;
    return fail(EIO);
}

/* Take the lowest free ASID of a range; the lock lasts as long as QEMU. MODEL
   is what the misc cgroup calls it. */
static int take_asid(const char *model, unsigned lowest, unsigned highest)
{
    char path[64];

    if (lowest > highest)
        return -ENOTTY; /* sev_asid_new: none is set aside for this model */
    for (unsigned asid = lowest; asid <= highest; asid++) {
        snprintf(path, sizeof(path), HOST_DIR "/asids/%s-%u", model,
                 asid);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return -errno;
        if (!flock(fd, LOCK_EX | LOCK_NB)) {
            guest.lock = fd;
            return asid;
        }
        close(fd);
    }
    return -EBUSY;
}

/* sev_guest_init: first an ASID, then the secure processor. */
static int init(struct kvm_sev_cmd *command, const char *call, unsigned es)
{
    int asid = es && !host.es ? -ENOTTY :
               guest.asid ? -EINVAL :
               es ? take_asid("sev_es", 1, host.min_asid - 1) :
               take_asid("sev", host.min_asid, host.max_asid);

    if (asid > 0) {
        int result = psp_init(&command->error);

        if (result) {
            close(guest.lock);
            asid = result;
        }
    }
    log_call(call, asid < 0 ? asid : 0, ", \"asid\": %d, \"error\": %u",
             asid < 0 ? 0 : asid, command->error);
    if (asid < 0)
        return fail(-asid);
    guest.asid = asid;
    guest.es = es;
    return 0;
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
    if (command->id == KVM_SEV_INIT)
        return init(command, "KVM_SEV_INIT", 0);
    if (command->id == KVM_SEV_ES_INIT)
        return init(command, "KVM_SEV_ES_INIT", 1);
    if (!guest.asid)
        return fail(ENOTTY);
    return launch(command, (void *)(uintptr_t)command->data);
}
