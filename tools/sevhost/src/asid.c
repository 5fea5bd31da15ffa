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
 * The ASIDs of guests, as sev_asid_new of arch/x86/kvm/svm/sev.c of Linux
 * gives them: those below the lowest one of plain SEV are for SEV-ES and
 * SEV-SNP together. One that is taken is a lock on a file of HOST_DIR/asids,
 * so it is given back however QEMU ends; inside.py counts them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "host.h"

int take_asid(int es, int *lock)
{
    unsigned lowest = es ? 1 : host.min_asid;
    unsigned highest = es ? host.min_asid - 1 : host.max_asid;
    char path[64];

    if (lowest > highest)
        return -ENOTTY; /* none is set aside for this model */
    for (unsigned asid = lowest; asid <= highest; asid++) {
        snprintf(path, sizeof(path), HOST_DIR "/asids/%s-%u",
                 es ? "sev_es" : "sev", asid);
        *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (*lock < 0)
            return -errno;
        if (!flock(*lock, LOCK_EX | LOCK_NB))
            return asid;
        close(*lock);
    }
    return -EBUSY;
}
