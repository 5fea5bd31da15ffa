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

#include <errno.h>
#include <linux/kvm.h>
#include <linux/psp-sev.h>
#include <stddef.h>
#include <stdint.h>

#include "uapi.h"

/* Where the host keeps what it is and does, in its own mount namespace. */
#define HOST_DIR "/run/sevhost"

#define PAGE_SIZE 4096
#define API_MAJOR 1 /* of the secure processor's firmware */

/* What the host is: the lines name=number of HOST_DIR/host.conf. */
struct host {
    unsigned sev;      /* the CPU has SEV, and kvm_amd uses it */
    unsigned es;       /* kvm_amd uses SEV-ES */
    unsigned cbitpos;  /* bit of a page table entry that says: encrypted */
    unsigned min_asid; /* lowest ASID of a guest that is not SEV-ES */
    unsigned max_asid; /* highest ASID */
    unsigned kvm_snp;  /* kvm_amd uses SEV-SNP */
    unsigned snp;      /* the firmware does, and so it refuses SEV-ES */
    /* the secure processor; see psp.py */
    unsigned psp, psp_es, psp_minor, psp_error, psp_dead, psp_lazy;
    unsigned psp_no_cpuid;
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

static inline int fail(int error)
{
    errno = error;
    return -1;
}

/* cpuid.c */
void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
void trap_cpuid(void);

/* kvm.c; a KVM ioctl of any of its file descriptors */
extern enum vm_type vm_type;
int kvm_open(void);
int kvm_ioctl(int fd, unsigned long request, void *argument);

/* vcpu.c */
#define VCPUS 288
#define RUN_SIZE (3 * 4096) /* struct kvm_run, port data, coalesced MMIO */
struct fxsave { /* the first bytes of struct kvm_xsave */
    uint16_t fcw, fsw, ftw, fop;
    uint64_t ip, dp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16], xmm[16][16];
};
struct vcpu { /* what the ioctls of these names have set */
    int fd;
    struct kvm_run *run;
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_debugregs debugregs;
    struct kvm_xcrs xcrs;
    struct fxsave fpu;
    struct kvm_cpuid2 *cpuid;
    uint64_t pat;
};
extern struct vcpu vcpus[VCPUS];
extern unsigned vcpu_count;
int create_vcpu(unsigned long id);
int vcpu_ioctl(int fd, unsigned long request, void *argument, int *result);

/* memory.c */
int set_memory_region(const struct memory_region2 *region);
int set_memory_attributes(const struct memory_attributes *change);
int create_guest_memfd(const struct guest_memfd *file);
int has_guest_memfd(uint64_t address);
int is_private(uint64_t address);

/* guest.c */
void guest_reset(void);
void guest_interrupt(unsigned line, unsigned level);
int guest_run(struct kvm_run *run);

/* sev.c; KVM_MEMORY_ENCRYPT_OP, NULL: is there any? */
int sev_ioctl(struct kvm_sev_cmd *command);

/* asid.c; the lowest free ASID, held by *LOCK, or a negative errno */
int take_asid(int es, int *lock);

/* snp.c; KVM_MEMORY_ENCRYPT_OP of a SEV-SNP guest that has an ASID */
int snp_launch(struct kvm_sev_cmd *command);

/* vmsa.c; whether a vCPU cannot be measured */
int make_save_area(uint8_t page[PAGE_SIZE], const struct vcpu *vcpu,
                   uint64_t sev_features);

/* sha384.c */
#define SHA384 48
void sha384(uint8_t digest[SHA384], const void *message, size_t size);

/* psp.c; SEV_ISSUE_CMD. psp_init() returns 0 or a negative errno. */
int psp_init(uint32_t *error);
int psp_ioctl(struct sev_issue_cmd *command, int writable);

#endif
