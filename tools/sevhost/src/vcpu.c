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
 * The vCPUs of a guest: what QEMU has set them to is kept, as a launch
 * measures it, and the first one runs what guest.c has.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

#define RESET_VECTOR 0xfff0
#define IDLE_MS 50
#define MSR_PAT 0x277

struct vcpu vcpus[VCPUS];
unsigned vcpu_count;

int create_vcpu(unsigned long id)
{
    int fd = memfd_create("kvm-vcpu", MFD_CLOEXEC);
    struct vcpu *vcpu = &vcpus[vcpu_count];

    if (fd < 0 || id >= VCPUS || vcpu_count == VCPUS ||
        ftruncate(fd, RUN_SIZE))
        return fail(EINVAL);
    vcpu->run = mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                     0);
    if (vcpu->run == MAP_FAILED)
        return fail(ENOMEM);
    vcpu->fd = fd;
    vcpu_count++;
    return fd;
}

static int run(struct vcpu *vcpu)
{
    if (vcpu == vcpus && !vcpu->run->immediate_exit && guest_run(vcpu->run))
        return 0;
    poll(NULL, 0, IDLE_MS); /* ends early when QEMU kicks the vCPU */
    return fail(EINTR);
}

static size_t cpuid_size(const struct kvm_cpuid2 *table)
{
    return sizeof(*table) + table->nent * sizeof(table->entries[0]);
}

static int set_cpuid(struct vcpu *vcpu, const struct kvm_cpuid2 *table)
{
    free(vcpu->cpuid);
    vcpu->cpuid = malloc(cpuid_size(table));
    if (!vcpu->cpuid)
        return fail(ENOMEM);
    memcpy(vcpu->cpuid, table, cpuid_size(table));
    return 0;
}

static int get_cpuid(const struct vcpu *vcpu, struct kvm_cpuid2 *table)
{
    if (!vcpu->cpuid || table->nent < vcpu->cpuid->nent)
        return fail(E2BIG);
    memcpy(table, vcpu->cpuid, cpuid_size(vcpu->cpuid));
    return 0;
}

static int set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
    vcpu->regs = *regs;
    if (vcpu == vcpus && regs->rip == RESET_VECTOR)
        guest_reset();
    return 0;
}

static int set_msrs(struct vcpu *vcpu, const struct kvm_msrs *msrs)
{
    for (unsigned i = 0; i < msrs->nmsrs; i++)
        if (msrs->entries[i].index == MSR_PAT)
            vcpu->pat = msrs->entries[i].data;
    return msrs->nmsrs;
}

/* Whether FD is of a vCPU; then *RESULT is what the ioctl returns, except
   where all of KVM's do the same. */
int vcpu_ioctl(int fd, unsigned long request, void *argument, int *result)
{
    struct vcpu *vcpu = vcpus;

    while (vcpu < vcpus + vcpu_count && vcpu->fd != fd)
        vcpu++;
    if (vcpu == vcpus + vcpu_count)
        return 0;
    *result = 0;
    switch (request) {
    case KVM_RUN:
        *result = run(vcpu);
        return 1;
    case KVM_SET_CPUID2:
        *result = set_cpuid(vcpu, argument);
        return 1;
    case KVM_GET_CPUID2:
        *result = get_cpuid(vcpu, argument);
        return 1;
    case KVM_SET_REGS:
        *result = set_regs(vcpu, argument);
        return 1;
    case KVM_SET_MSRS:
        *result = set_msrs(vcpu, argument);
        return 1;
    case KVM_SET_SREGS:
        vcpu->sregs = *(struct kvm_sregs *)argument;
        return 1;
    case KVM_SET_DEBUGREGS:
        vcpu->debugregs = *(struct kvm_debugregs *)argument;
        return 1;
    case KVM_SET_XCRS:
        vcpu->xcrs = *(struct kvm_xcrs *)argument;
        return 1;
    case KVM_SET_XSAVE:
        memcpy(&vcpu->fpu, argument, sizeof(vcpu->fpu));
        return 1;
    }
    return 0;
}
