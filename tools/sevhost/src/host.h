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

/* The imitated host, as its parts see it. */
#ifndef SEVHOST_HOST_H
#define SEVHOST_HOST_H

#include <linux/kvm.h>
#include <linux/psp-sev.h>
#include <stdint.h>

/* Where the host keeps what it is and does, in its own mount namespace. */
#define HOST_DIR "/run/sevhost"

/* What the host is: the lines name=number of HOST_DIR/host.conf. */
struct host {
    unsigned sev;      /* the CPU has SEV, and kvm_amd uses it */
    unsigned es;       /* kvm_amd uses SEV-ES */
    unsigned cbitpos;  /* bit of a page table entry that says: encrypted */
    unsigned min_asid; /* lowest ASID of a guest that is not SEV-ES */
    unsigned max_asid; /* highest ASID */
    unsigned snp;      /* SEV-SNP is on, and so the firmware refuses SEV-ES */
    /* the secure processor; see psp.py */
    unsigned psp, psp_es, psp_error, psp_dead, psp_lazy;
};
extern struct host host;
void read_host(void);

/* What this process is; any other gets no more than /dev/sev. */
extern int in_qemu, in_libvirtd;

/*
 * Log a call as a line of JSON in HOST_DIR/kernel.log, with the guest that
 * made it. FORMAT is of more members, or "".
 */
void log_call(const char *call, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* cpuid.c */
void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
void trap_cpuid(void);

/* kvm.c; a KVM ioctl of any of its file descriptors */
int kvm_open(void);
int kvm_ioctl(int fd, unsigned long request, void *argument);

/* guest.c */
void guest_reset(void);
void guest_interrupt(unsigned line, unsigned level);
int guest_run(struct kvm_run *run);

/* sev.c; KVM_MEMORY_ENCRYPT_OP */
int sev_ioctl(struct kvm_sev_cmd *command);

/* psp.c; SEV_ISSUE_CMD. psp_init() returns 0 or a negative errno. */
int psp_init(uint32_t *error);
int psp_ioctl(struct sev_issue_cmd *command, int writable);

#endif
