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
 * linux/psp-sev.h, the commands that QEMU gives. See AMD 55766, "Secure
 * Encrypted Virtualization API", chapter 5, and drivers/crypto/ccp/sev-dev.c
 * of Linux for the errors. Certificates and identity are filler.
 */
#include <errno.h>
#include <string.h>

#include "host.h"

#define CERTIFICATE 2084 /* AMD 55766, table C.1; a chain has three */
#define IDENTITY 64

static int fail(struct sev_issue_cmd *command, sev_ret_code code)
{
    command->error = code;
    errno = EIO;
    return -1;
}

static int platform_status(struct sev_user_data_status *status)
{
    memset(status, 0, sizeof(*status));
    status->api_major = 1;
    status->api_minor = 55;
    status->build = 21;
    status->state = 1; /* table 8: INIT */
    status->flags = host.psp_es ? 1 << 8 : 0; /* table 23: CONFIG.ES */
    log_call("SEV_PLATFORM_STATUS", 0, ", \"es\": %u", host.psp_es);
    return 0;
}

static int export_certificates(struct sev_issue_cmd *command,
                               struct sev_user_data_pdh_cert_export *data)
{
    if (data->pdh_cert_len < CERTIFICATE ||
        data->cert_chain_len < 3 * CERTIFICATE) {
        /* This is how one asks for the lengths. */
        data->pdh_cert_len = CERTIFICATE;
        data->cert_chain_len = 3 * CERTIFICATE;
        return fail(command, SEV_RET_INVALID_LEN);
    }
    memset((void *)(uintptr_t)data->pdh_cert_address, 'P', CERTIFICATE);
    memset((void *)(uintptr_t)data->cert_chain_address, 'C',
           3 * CERTIFICATE);
    log_call("SEV_PDH_CERT_EXPORT", 0, "%s", "");
    return 0;
}

static int get_id(struct sev_issue_cmd *command,
                  struct sev_user_data_get_id2 *data)
{
    if (data->length < IDENTITY) {
        data->length = IDENTITY;
        return fail(command, SEV_RET_INVALID_LEN);
    }
    memset((void *)(uintptr_t)data->address, 'I', IDENTITY);
    log_call("SEV_GET_ID2", 0, "%s", "");
    return 0;
}

int psp_ioctl(struct sev_issue_cmd *command)
{
    void *data = (void *)(uintptr_t)command->data;

    command->error = SEV_RET_SUCCESS;
    switch (command->cmd) {
    case SEV_PLATFORM_STATUS:
        return platform_status(data);
    case SEV_PDH_CERT_EXPORT:
        return export_certificates(command, data);
    case SEV_GET_ID2:
        return get_id(command, data);
    }
    log_call("SEV_ISSUE_CMD", -EIO, ", \"command\": %u", command->cmd);
    return fail(command, SEV_RET_UNSUPPORTED);
}
