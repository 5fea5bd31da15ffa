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
 * The secure processor (PSP) behind /dev/sev: SEV_ISSUE_CMD of
 * linux/psp-sev.h, the commands that QEMU gives. Lengths and codes are those
 * of AMD 55766, "Secure Encrypted Virtualization API", chapter 5;
 * certificates and identity are filler. What the kernel does is
 * drivers/crypto/ccp/sev-dev.c of Linux 5.16 to 6.14, by the functions named
 * here. (From 6.15 on, a command that has had to initialise the platform
 * shuts it down again.) The status of SEV-SNP is AMD 56860's, "SEV Secure
 * Nested Paging Firmware ABI", SNP_PLATFORM_STATUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

#define INITIALISED HOST_DIR "/psp-initialised" /* what is lazy was woken */
#define CERTIFICATE 2084 /* AMD 55766, table C.1; a chain has three */
#define IDENTITY 64
#define BUILD 21
#define TCB 0xd315000000000004 /* of boot loader, TEE, SNP, microcode */

/* AMD 55766, table 8 */
enum state { UNINIT = 0, INIT = 1, WORKING = 2 };

static int firmware_error(struct sev_issue_cmd *command, sev_ret_code code)
{
    command->error = code;
    return -EIO;
}

static int initialised(void)
{
    return !host.psp_dead && !host.psp_error &&
           (!host.psp_lazy || !access(INITIALISED, F_OK));
}

/* sev_platform_init, __sev_platform_init_locked */
int psp_init(uint32_t *error)
{
    int fd;

    if (!host.psp)
        return -ENODEV;
    if (initialised())
        return 0;
    if (host.psp_dead) {
        *error = SEV_RET_NO_FW_CALL;
        return -EBUSY; /* __sev_do_cmd_locked: psp_dead */
    }
    *error = host.psp_error;
    if (host.psp_error)
        return -EIO;
    fd = open(INITIALISED, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* As the misc cgroup has it, which inside.py writes. With SEV-SNP on there
   are no guests of SEV-ES, so the ASIDs that are theirs are of SEV-SNP. */
static unsigned count_guests(int snp)
{
    FILE *file = fopen("/sys/fs/cgroup/misc.current", "re");
    unsigned count, sum = 0;
    char key[16];

    if (!file)
        return 0;
    while (fscanf(file, "%15s %u\n", key, &count) == 2)
        if (snp == (host.snp && !strcmp(key, "sev_es")))
            sum += count;
    fclose(file);
    return sum;
}

/* sev_ioctl_do_platform_status; what is not initialised answers, too. */
static int platform_status(struct sev_user_data_status *status)
{
    memset(status, 0, sizeof(*status));
    status->api_major = API_MAJOR;
    status->api_minor = host.psp_minor;
    status->build = BUILD;
    if (!initialised())
        return 0;
    status->guest_count = count_guests(0);
    status->state = status->guest_count ? WORKING : INIT;
    if (host.psp_es)
        status->flags = 1 << 8; /* AMD 55766, table 23: CONFIG.ES */
    return 0;
}

/* sev_ioctl_do_snp_platform_status */
static int snp_platform_status(struct snp_status *status)
{
    if (!host.snp || !status)
        return -EINVAL;
    *status = (struct snp_status){
        .api_major = API_MAJOR, .api_minor = host.psp_minor, .state = INIT,
        .rmp_initialised = 1, .build = BUILD, .guest_count = count_guests(1),
        .current_tcb_version = TCB, .reported_tcb_version = TCB };
    return 0;
}

/* sev_ioctl_do_pdh_export */
static int export_certificates(struct sev_issue_cmd *command,
                               struct sev_user_data_pdh_cert_export *data,
                               int writable)
{
    uint32_t error = command->error;
    int result;

    if (!initialised()) {
        if (!writable)
            return -EPERM;
        result = psp_init(&error);
        command->error = error;
        if (result)
            return result;
    }
    command->error = SEV_RET_SUCCESS;
    if (data->pdh_cert_len < CERTIFICATE ||
        data->cert_chain_len < 3 * CERTIFICATE) {
        /* This is how one asks for the lengths. */
        data->pdh_cert_len = CERTIFICATE;
        data->cert_chain_len = 3 * CERTIFICATE;
        return firmware_error(command, SEV_RET_INVALID_LEN);
    }
    memset((void *)(uintptr_t)data->pdh_cert_address, 'P', CERTIFICATE);
    memset((void *)(uintptr_t)data->cert_chain_address, 'C',
           3 * CERTIFICATE);
    return 0;
}

/* sev_ioctl_do_get_id2; that needs no initialisation. */
static int get_id(struct sev_issue_cmd *command,
                  struct sev_user_data_get_id2 *data)
{
    if (data->length < IDENTITY) {
        data->length = IDENTITY;
        return firmware_error(command, SEV_RET_INVALID_LEN);
    }
    memset((void *)(uintptr_t)data->address, 'I', IDENTITY);
    return 0;
}

static const char *const names[] = {
    [SEV_PLATFORM_STATUS] = "SEV_PLATFORM_STATUS",
    [SEV_PDH_CERT_EXPORT] = "SEV_PDH_CERT_EXPORT",
    [SEV_GET_ID2] = "SEV_GET_ID2",
    [SNP_PLATFORM_STATUS] = "SNP_PLATFORM_STATUS" };

static int issue(struct sev_issue_cmd *command, int writable)
{
    void *data = (void *)(uintptr_t)command->data;

    if (command->cmd >= SNP_COMMANDS)
        return -EINVAL;
    if (command->cmd == SEV_PDH_CERT_EXPORT)
        return export_certificates(command, data, writable);
    if (command->cmd == SNP_PLATFORM_STATUS)
        return snp_platform_status(data);
    if (host.psp_dead)
        /* __sev_do_cmd_locked; the caller's error stays what it was. */
        return -EBUSY;
    command->error = SEV_RET_SUCCESS;
    if (command->cmd == SEV_PLATFORM_STATUS)
        return platform_status(data);
    if (command->cmd == SEV_GET_ID2)
        return get_id(command, data);
    return firmware_error(command, SEV_RET_UNSUPPORTED);
}

int psp_ioctl(struct sev_issue_cmd *command, int writable)
{
    int result = issue(command, writable);
    const char *name = command->cmd < sizeof(names) / sizeof(*names)
                       ? names[command->cmd] : NULL;

    if (command->error != SEV_RET_INVALID_LEN) /* that is but a question */
        log_call(name ? name : "SEV_ISSUE_CMD", result,
                 ", \"command\": %u, \"error\": %u", command->cmd,
                 command->error);
    if (!result)
        return 0;
    errno = -result;
    return -1;
}
